"""`owc-deploy catalogue`, typed as a person would."""

import json
from pathlib import Path
from typing import Any

import pytest
from unit.catalogue.archives import plugin_folder, plugin_zip

from owc_deploy.cli.main import run


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    return tmp_path / "catalogue"


def typed(catalogue: Path, *words: str | Path) -> int:
    verb, *rest = map(str, words)
    return run(["catalogue", verb, *rest, "--catalogue", str(catalogue)])


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return document


def test_add_list_show_verify(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = plugin_zip(tmp_path / "cmb2.zip")
    metadata = tmp_path / "cmb2.yml"
    metadata.write_text("title: CMB 2\nlicence: GPL-2.0-or-later\nwordpress: '>=6.0'\n")
    words = ("add", archive, "--name", "cmb2", "--kind", "plugin", "--php", ">=7.4")
    more = (
        "--requires",
        "meta-box|meta-box-aio:>=4",
        "--requires",
        "function:f",
        "--provides",
        "g",
    )
    assert typed(catalogue, *words, *more, "--metadata", metadata) == 0
    assert "cmb2 2.11.0 recorded" in capsys.readouterr().out
    assert typed(catalogue, *words) == 0
    assert "is listed already" in capsys.readouterr().out

    assert typed(catalogue, "list") == 0
    assert "CMB 2" in capsys.readouterr().out
    assert typed(catalogue, "list", "--format", "json") == 0
    assert as_json(capsys)["blocks"]["cmb2"]["releases"] == ["2.11.0"]

    assert typed(catalogue, "show", "cmb2", "--format", "json") == 0
    (release,) = as_json(capsys)["releases"]
    assert release["requires"] == [
        {"any_of": ["meta-box", "meta-box-aio"], "version": ">=4"},
        {"function": "f"},
    ]
    assert (release["php"], release["wordpress"], release["provides"]) == (">=7.4", ">=6.0", ["g"])
    assert typed(catalogue, "show", "cmb2") == 0
    assert "meta-box or meta-box-aio >=4, f()" in capsys.readouterr().out

    assert typed(catalogue, "verify") == 0
    assert "1 artefacts, none damaged" in capsys.readouterr().out
    (artefact,) = (catalogue / "artefacts").glob("*.zip")
    artefact.write_bytes(b"x")
    assert typed(catalogue, "verify") == 1
    assert "cmb2 2.11.0: the artefact" in capsys.readouterr().out
    assert typed(catalogue, "verify", "--format", "json") == 1
    assert as_json(capsys)["damaged"][0]["name"] == "cmb2"


def test_build_goes_on_after_a_refusal(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin_folder(tmp_path, "good")
    (tmp_path / "empty").mkdir()
    source = tmp_path / "source.yml"
    source.write_text(
        "schema_version: 1\nreleases:\n"
        "  - {archive: empty, name: empty, kind: plugin}\n"
        "  - {archive: good, name: good, kind: plugin}\n"
    )
    assert typed(catalogue, "build", source) == 1
    shown = capsys.readouterr()
    assert "good 2.11.0 recorded" in shown.out
    assert "empty: " in shown.err
    assert typed(catalogue, "build", source, "--format", "json") == 1
    document = as_json(capsys)
    assert (document["refused"], document["releases"][0]["changed"]) == (1, False)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("add", "nothing.zip", "--name", "a", "--kind", "plugin"),
            1,
            "neither a zip nor a folder",
        ),
        (("add", "https://x.example/a.zip", "--name", "a", "--kind", "plugin"), 1, "--sha256"),
        (("add", "a.zip", "--name", "a", "--kind", "block"), 2, "is not one of"),
        (("list",), 1, "there is no catalogue"),
        (("verify",), 1, "there is no catalogue"),
    ],
)
def test_refusals(
    catalogue: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert typed(catalogue, *words) == code
    assert said in capsys.readouterr().err


def test_an_unknown_block_has_a_neighbour(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(catalogue, "add", plugin_folder(tmp_path), "--name", "cmb2", "--kind", "plugin")
    assert typed(catalogue, "show", "cmb3") == 2
    assert "nearest: cmb2" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["add", "build", "list", "show", "verify"])
def test_help(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert run(["catalogue", verb, "--help"]) == 0
    assert "--catalogue" in capsys.readouterr().out


def add_guaranteed(tmp_path: Path, catalogue: Path, until_date: str, more: str = "") -> int:
    metadata = tmp_path / "cmb2.yml"
    promise = f"{{by: Gemeente Buren, from_date: '2020-01-01', until_date: '{until_date}'}}"
    metadata.write_text(f"guarantee: {promise}\n{more}")
    words = ("add", plugin_zip(tmp_path / "cmb2.zip"), "--name", "cmb2", "--kind", "plugin")
    return typed(catalogue, *words, "--metadata", metadata)


def test_stewards_says_who_promised_what(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "support: hulp@buren.example\nsuccessor: fields\n"
    assert add_guaranteed(tmp_path, catalogue, "2024-02-29", more) == 0
    capsys.readouterr()
    assert typed(catalogue, "stewards") == 0
    assert "Gemeente Buren" in capsys.readouterr().out
    assert typed(catalogue, "stewards", "--format", "json") == 0
    (row,) = as_json(capsys)["blocks"]
    assert row["lapsed"] is True
    assert (row["support"], row["successor"]) == ("hulp@buren.example", "fields")


def test_a_guarantee_on_a_day_that_is_not_is_refused(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add_guaranteed(tmp_path, catalogue, "2026-02-31") == 3
    assert "guarantee.until_date" in capsys.readouterr().err


def test_a_beta_becomes_stable_with_the_same_artefact(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = plugin_zip(tmp_path / "cmb2.zip")
    words = ("add", archive, "--name", "cmb2", "--kind", "plugin", "--php", ">=7.4")
    assert typed(catalogue, *words, "--channel", "beta") == 0
    capsys.readouterr()
    assert typed(catalogue, "show", "cmb2", "--format", "json") == 0
    (beta,) = as_json(capsys)["releases"]
    assert beta["channel"] == "beta"
    assert typed(catalogue, "promote", "cmb2", "2.11.0") == 0
    assert typed(catalogue, "promote", "cmb2", "v2.11.0") == 0
    assert capsys.readouterr().out == (
        "cmb2 2.11.0 is stable now\ncmb2 v2.11.0 was stable already\n"
    )
    assert typed(catalogue, "show", "cmb2", "--format", "json") == 0
    (stable,) = as_json(capsys)["releases"]
    assert stable == {key: value for key, value in beta.items() if key != "channel"}


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [("cmb2", "3", "holds no cmb2 3"), ("other", "2.11.0", "no other"), ("cmb2", "x", "version")],
)
def test_what_cannot_be_promoted(
    tmp_path: Path,
    catalogue: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    version: str,
    said: str,
) -> None:
    archive = plugin_zip(tmp_path / "cmb2.zip")
    assert typed(catalogue, "add", archive, "--name", "cmb2", "--kind", "plugin") == 0
    assert typed(catalogue, "promote", name, version) == 1
    assert said in capsys.readouterr().err


def test_publiccode_is_judged_and_corrected(
    tmp_path: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = tmp_path / "publiccode.yml", tmp_path / "corrected.yml"
    file.write_text("name: Blok\nlegal:\n\tlicense: EUPL-1.2\npubliccodeYmlVersion: '0.4'\n")
    assert run(["catalogue", "lint-publiccode", str(file), "--no-catalogue"]) == 3
    out = capsys.readouterr().out
    assert f"{file}:3:1: a tab indents this line" in out
    assert f"{file}:1:1: `maintenance` is missing" in out
    words = ["catalogue", "import-publiccode", str(file), "--no-catalogue", "--write", str(target)]
    before = file.read_bytes()
    assert run(words) == 0
    assert capsys.readouterr().out == "title: Blok\nlicence: EUPL-1.2\n"
    assert target.read_text().endswith(
        "publiccodeYmlVersion: '0.4'\nname: Blok\nlegal:\n  license: EUPL-1.2\n"
    )
    assert file.read_bytes() == before
    assert run(words) == 2
    assert "exists, and is not overwritten" in capsys.readouterr().err
    assert run([*words[:4], "--format", "json"]) == 0
    assert as_json(capsys)["details"] == {"title": "Blok", "licence": "EUPL-1.2"}
    assert typed(catalogue, "lint-publiccode", file) == 1
