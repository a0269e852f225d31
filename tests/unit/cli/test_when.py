"""`owc-deploy when`: what it prints for people and for programs, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.fleet.fleet_folder import FLEET, MANIFEST, write_fleet

from owc_deploy.cli.main import run

TIERS = """\
sla_tiers:
  night:
    windows:
      - days: [thursday]
        from_time: 22:00
        until_time: 04:00
  overseas:
    time_zone: America/Curacao
    windows:
      - days: [thursday]
        from_time: 22:00
        until_time: 04:00
freeze_days:
  - from_date: 2026-12-24
    until_date: 2026-12-25
    reason: Christmas
    sla_tiers: [night]
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    names = {"aalten": "night", "bonaire": "overseas", "cuijk": None}
    sites = {
        f"sites/{name}.yml": MANIFEST.replace("voorbeeld", name)
        + (f"sla_tier: {tier}\n" if tier else "")
        for name, tier in names.items()
    }
    return write_fleet(tmp_path, {"fleet.yml": FLEET + TIERS, **sites})


def test_each_site_in_its_own_time_and_why(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["when", "aalten", "bonaire", "cuijk", "--at", "2026-12-24T20:00"]
    assert run([*arguments, "--fleet", str(fleet)]) == 0
    assert (
        capsys.readouterr().out
        == """\
aalten                   thursday 2026-12-31 22:00 = 2026-12-31 21:00Z, until friday 2027-01-01 \
04:00 = 2027-01-01 03:00Z (Europe/Amsterdam)
    the tier night has the window thursday 22:00-04:00
    skipped: the freeze days 2026-12-24 to 2026-12-25 (Christmas)
bonaire                  thursday 2026-12-24 22:00 = 2026-12-25 02:00Z, until friday 2026-12-25 \
04:00 = 2026-12-25 08:00Z (America/Curacao)
    the tier overseas has the window thursday 22:00-04:00
cuijk                    at that moment, without an end (Europe/Amsterdam)
    the tier default has no windows: its sites may be changed at any time
"""
    )


def test_json_names_the_same_moments(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moment = "2026-12-18T01:00:00+01:00"
    arguments = ["when", "aalten", "--at", moment, "--format", "json"]
    assert run([*arguments, "--fleet", str(fleet)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "sites": [
            {
                "site": "aalten",
                "sla_tier": "night",
                "time_zone": "Europe/Amsterdam",
                "at": moment,
                "is_open": True,
                "begins": moment,
                "begins_utc": "2026-12-18T00:00:00+00:00",
                "ends": "2026-12-18T04:00:00+01:00",
                "ends_utc": "2026-12-18T03:00:00+00:00",
                "why": ["the tier night has the window thursday 22:00-04:00"],
            }
        ],
    }


def test_a_site_without_a_next_time_is_a_failure(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = TIERS.replace("2026-12-25", "2029-12-31")
    (fleet / "fleet.yml").write_text(FLEET + frozen)
    arguments = ["when", "aalten", "--at", "2026-12-24T20:00", "--fleet", str(fleet)]
    assert run(arguments) == 1
    assert "at no time" in capsys.readouterr().out


def test_a_reason_does_not_steer_the_terminal(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "fleet.yml").write_text(FLEET + TIERS.replace("Christmas", r'"\e[2Jgone"'))
    arguments = ["when", "aalten", "--at", "2026-12-24T20:00", "--fleet", str(fleet)]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "[2Jgone" in printed
    assert "\x1b" not in printed


def test_without_a_moment_it_is_now(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["when", "cuijk", "--fleet", str(fleet)]) == 0
    assert " now, without an end" in capsys.readouterr().out


@pytest.mark.parametrize("moment", ["tomorrow", "0001-01-01", "9999-12-31T23:00", ""])
def test_what_is_no_moment_is_refused(
    fleet: Path, moment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["when", "--at", moment, "--fleet", str(fleet)]) == 2
    assert "owc-deploy when --at 2026-12-24T20:00" in capsys.readouterr().err
