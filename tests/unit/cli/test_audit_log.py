"""`owc-deploy audit-log`, on a fleet as `owc-deploy init` writes it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
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
    moment = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
    store = open_store(
        load_fleet(root).settings.state, clock=lambda: moment, actor="anna@controller"
    )
    number = store.history.begin_run(
        verb="update",
        operator="anna@controller",
        reason="advisory\n12",
        intents=[Intent("heusden", "web1"), Intent("breda", "web1")],
        rollout_id="r1",
    )
    for site in ("heusden", "breda"):
        store.history.record_outcome(
            number, SiteOutcome(site, "web1", "changed", "\x1b[31mred", release_id="new")
        )
    store.history.finish_run(number, "changed")
    capsys.readouterr()
    return root


def verify(*arguments: object) -> int:
    return run(["audit-log", "verify", *map(str, arguments)])


def alter(fleet: Path) -> None:
    with closing(sqlite3.connect(load_fleet(fleet).settings.state)) as connection:
        connection.execute("DROP TRIGGER audit_log_is_not_updated")
        connection.execute("UPDATE audit_log SET actor = 'bo@elsewhere' WHERE number = 3")
        connection.commit()


def test_a_whole_log_tells_its_head_and_that_it_may_be_short(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify("--fleet", fleet) == 0
    printed = capsys.readouterr()
    whole, head = printed.out.splitlines()
    assert whole == "whole: 4 entries"
    assert head.startswith("head: 4:")
    assert "newest entries may be missing" in printed.err
    assert verify("--fleet", fleet, "--expect", head.removeprefix("head: ")) == 0
    assert capsys.readouterr().err == ""


def test_an_altered_log_is_broken(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alter(fleet)
    assert verify("--fleet", fleet) == 1
    broken, whole = capsys.readouterr().out.splitlines()
    assert broken.startswith("broken at entry 3: entry 3 was altered")
    assert whole.startswith("whole until then: 2:")
    assert verify("--fleet", fleet, "--format", "json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["whole"] is False
    assert document["head"]["number"] == 2
    assert (document["broken"]["number"], document["broken"]["reference"]) == (3, "altered")


def test_an_exported_log_is_verified_without_the_fleet(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "log.jsonl"
    assert run(["audit-log", "export", "--out", str(out), "--fleet", str(fleet)]) == 0
    head = capsys.readouterr().out.strip()
    nowhere = ("--fleet", tmp_path / "nowhere")
    assert verify(out, "--expect", head, *nowhere) == 0
    capsys.readouterr()
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    out.write_text("".join(lines[:3]), encoding="utf-8")
    assert verify(out, *nowhere) == 0
    capsys.readouterr()
    assert verify(out, "--expect", head, *nowhere) == 1
    assert capsys.readouterr().out.startswith("broken at entry 4: the log ends at entry 3")


def test_an_export_overwrites_nothing(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "log.jsonl"
    out.write_text("mine", encoding="utf-8")
    assert run(["audit-log", "export", "--out", str(out), "--fleet", str(fleet)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "mine"
    lost = tmp_path / "no" / "log.jsonl"
    assert run(["audit-log", "export", "--out", str(lost), "--fleet", str(fleet)]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["4", "4:abc", "x:" + "0" * 64, "-1:" + "0" * 64])
def test_a_head_is_written_in_one_way(
    fleet: Path, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify("--fleet", fleet, f"--expect={given}") == 2
    assert "NUMBER:SHA256" in capsys.readouterr().err


def test_newest_entries_first_without_what_a_terminal_obeys(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit-log", "show", "--limit", "2", "--fleet", str(fleet)]) == 0
    out = capsys.readouterr().out
    assert "\x1b[31m" not in out
    newest, before = [line.split() for line in out.splitlines()[2:]]
    assert (newest[0], newest[3:7]) == ("4", ["anna@controller", "run-ended", "-", "r1"])
    assert (before[0], before[4:6]) == ("3", ["outcome", "breda"])
    assert "outcome=changed" in before
    assert "sha256" not in out


def test_entries_of_a_site_are_outcomes_and_intents(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit-log", "show", "--format", "json", "--fleet", str(fleet)]
    assert run([*arguments, "--site", "breda"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert [entry["number"] for entry in document["entries"]] == [3, 1]
    assert run([*arguments, "--rollout", "other"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == []
    assert run([*arguments[:2], "--rollout", "other", *arguments[4:]]) == 0
    assert capsys.readouterr().out == "no entries\n"
