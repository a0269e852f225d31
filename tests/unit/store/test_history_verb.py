"""`owc-deploy history`, on a fleet as `owc-deploy init` writes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from owc_deploy.cli.main import run
from owc_deploy.fleet.load import load_fleet
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.store import open_store
from owc_deploy.store.models import Intent


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    root = tmp_path / "fleet"
    assert run(["init", str(root)]) == 0
    capsys.readouterr()
    return root


@pytest.fixture
def filled(fleet: Path) -> Path:
    moment = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
    history = open_store(load_fleet(fleet).settings.state, clock=lambda: moment).history
    for verb, outcome in (("apply", "changed"), ("update", "rolled-back")):
        number = history.begin_run(
            verb=verb,
            operator="anna@controller",
            reason="advisory 12" if verb == "update" else "",
            intents=[Intent("heusden", "web1", "canary"), Intent("breda", "web1", "all")],
        )
        for site in ("heusden", "breda"):
            history.record_outcome(
                number,
                SiteOutcome(site, "web1", outcome, "gate:\nno", release_id="r1", seconds=1.25),
            )
        history.finish_run(number, outcome)
    history.begin_run(verb="rollback", operator="bo", intents=[Intent("breda", "web1", "all")])
    return fleet


def test_a_new_fleet_has_no_history(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--fleet", str(fleet)]) == 0
    assert capsys.readouterr().out == "nothing was done yet\n"


def test_newest_first_with_who_what_and_how(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["history", "--fleet", str(filled)]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "WHEN",
        "WHO",
        "VERB",
        "SITE",
        "OUTCOME",
        "RELEASE",
        "SECONDS",
        "MESSAGE",
    ]
    assert [line.split()[3:6] for line in lines] == [
        ["rollback", "breda", "interrupted"],
        ["update", "breda", "rolled-back"],
        ["update", "heusden", "rolled-back"],
        ["apply", "breda", "changed"],
        ["apply", "heusden", "changed"],
    ]
    assert lines[1].endswith("gate: no [advisory 12]")


def test_of_one_site_and_limited(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "heusden", "--limit", "1", "--fleet", str(filled)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_as_json(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "heusden", "--format", "json", "--fleet", str(filled)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    newest = document["outcomes"][0]
    assert newest["outcome"] == "rolled-back"
    assert newest["run"]["verb"] == "update"
    assert newest["run"]["operator"] == "anna@controller"
    assert newest["seconds"] == 1.25


def test_a_damaged_store_is_explained_not_a_bug(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = load_fleet(fleet).settings.state
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_bytes(b"not a database at all " * 100)
    assert run(["history", "--fleet", str(fleet)]) == 1
    error = capsys.readouterr().err
    assert "not a history store" in error
    assert f"mv {state}" in error
