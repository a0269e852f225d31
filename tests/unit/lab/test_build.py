"""What a recipe asks the catalogue to record, and what is refused before any server is made."""

from dataclasses import replace
from pathlib import Path

import pytest

from owc_deploy.catalogue.source import BlockSource, read_source
from owc_deploy.cli.main import run
from owc_deploy.lab.build import Job, RecipeError, build_jobs, request_of
from owc_deploy.resources import resource_folder

OWC = resource_folder("catalogues") / "owc"


def job(source: BlockSource, version: str) -> Job:
    return Job(source, next(r for r in source.block.releases if r.version == version))


def test_everything_that_is_known_is_recorded() -> None:
    source = read_source(OWC / "openpub-base.yml")
    request = request_of(job(source, "2.3.13"), Path("built"), "0" * 40)
    assert (request.name, request.version, request.header_version) == (
        "openpub-base",
        "2.3.13",
        "2.3.10",
    )
    assert (request.folder, request.main_file) == ("openpub-base", "openpub-base.php")
    assert (request.archive, request.commit, request.train) == (Path("built"), "0" * 40, None)
    assert [requirement.any_of for requirement in request.requires] == [
        ("meta-box", "meta-box-aio"),
        ("elasticpress",),
    ]


def test_what_has_no_recipe_is_brought_not_built(tmp_path: Path) -> None:
    source = read_source(OWC / "gravityforms.yml")
    with pytest.raises(RecipeError, match="bring its artefact"):
        list(build_jobs([job(source, "2.7.15")], tmp_path, lambda _: None))


def test_every_field_of_a_release_is_recorded() -> None:
    source = read_source(OWC / "openwoo.yml")
    newest = replace(source.block.releases[0], withdrawn="a reason")
    request = request_of(Job(source, newest), Path("built"), "0" * 40)
    for name in ("php", "requires", "updates_from", "migrations", "gate", "withdrawn", "source"):
        assert getattr(request, name) == getattr(newest, name)
    assert request.support == "owc@yard.nl"


def test_files_without_a_recipe_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(OWC / "facetwp.yml")
    assert run(["catalogue", "build", file, "--catalogue", str(tmp_path / "c")]) == 0
    assert "bring its artefact" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_release_that_is_not_listed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--release", "9.9.9", "--catalogue", str(tmp_path / "c")]
    assert run(["catalogue", "build", str(OWC / "openwoo.yml"), *arguments]) == 2
    assert "4.3.0" in capsys.readouterr().err
