"""`owc-deploy catalogue lint` and `catalogue resolve`."""

import json
from pathlib import Path

import pytest

from owc_deploy.cli.main import run
from owc_deploy.resources import resource_folder

COMPOSITIONS = resource_folder("inventories") / "example-compositions"
OWC = resource_folder("catalogues") / "owc"
WITH_OWN = ["--source", str(OWC), "--source", str(COMPOSITIONS / "supplied")]


def test_lint_counts_and_names_what_cannot_be_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalogue", "lint"]) == 0
    out = capsys.readouterr().out
    assert "no problems" in out
    assert "openwoo 3.0.1" in out


def test_lint_says_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "news.yml").write_text(
        "schema_version: 1\nname: news\nkind: plugin\ntitle: News\nfolder: news\n"
        "releases:\n  - version: 1.0.0\n    requires: [{any_of: [nobody]}, {function: nothing}]\n"
    )
    assert run(["catalogue", "lint", "--source", str(tmp_path)]) == 3
    err = capsys.readouterr().err
    assert "no file says what nobody is" in err
    assert "nothing provides nothing()" in err
    assert "2 problems in the block files" in err
    assert "catalogue lint" in err


def test_resolve_shows_what_a_site_would_get(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalogue", "resolve", "woo-data", "--fleet", str(COMPOSITIONS), *WITH_OWN]) == 0
    captured = capsys.readouterr()
    assert "woo-data: PHP 8.2, WordPress 7.1.1\n" in captured.out
    assert "  openwoo 4.3.0\n" in captured.out
    assert "no lock" in captured.err


def test_resolve_says_why_not_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    # Without the operator's own folder the paid plugins have no release that will do.
    arguments = ["catalogue", "resolve", "--fleet", str(COMPOSITIONS), "--format", "json"]
    assert run(arguments) == 3
    sites = json.loads(capsys.readouterr().out)["sites"]
    assert "gravityforms" in str(sites["mijn-omgeving"]["refusals"])
    assert sites["woo-portaal"]["theme"]["name"] == "woo-portal-theme"


def test_resolve_refuses_a_site_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalogue", "resolve", "woo-date", "--fleet", str(COMPOSITIONS)]) == 2
    assert "woo-data" in capsys.readouterr().err
