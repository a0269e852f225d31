"""Tiers and freeze days: what is refused, with its place and what to write; what is accepted."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest
from unit.fleet.fleet_folder import FLEET, manifest, write_fleet

from owc_deploy.fleet.load import check_fleet, load_fleet
from owc_deploy.fleet.models import FreezeDays, SlaTier, Window

TIER = """\
sla_tiers:
  night:
    time_zone: Europe/Amsterdam
    windows:
      - days: [monday, friday]
        from_time: 22:00
        until_time: 04:00
freeze_days:
  - from_date: 2026-12-18
    until_date: 2027-01-03
    reason: the town hall is closed
    sla_tiers: [night]
"""

# What is replaced, by what, the problem's reference, its place, its line, words in the message and
# in the suggestion.
ROWS = [
    (
        "Europe/Amsterdam",
        "Europe/Amsterdm",
        "unknown-time-zone",
        "sla_tiers.night.time_zone",
        9,
        "IANA",
        "Europe/Amsterdam",
    ),
    (
        "Europe/Amsterdam",
        "Amsterdam",
        "unknown-time-zone",
        "sla_tiers.night.time_zone",
        9,
        "IANA",
        "Europe/Amsterdam",
    ),
    (
        "Europe/Amsterdam",
        "Europe",
        "unknown-time-zone",
        "sla_tiers.night.time_zone",
        9,
        "IANA",
        "",
    ),
    (
        "Europe/Amsterdam",
        "../../etc/passwd",
        "format",
        "sla_tiers.night.time_zone",
        9,
        "IANA",
        "Europe/Amsterdam",
    ),
    (
        "04:00",
        '"22:00"',
        "empty-window",
        "sla_tiers.night.windows[0].until_time",
        13,
        "ends when it begins, at 22:00",
        "from 00:00 until 12:00",
    ),
    (
        "from_time: 22:00",
        "from_time: 79200",
        "format",
        "sla_tiers.night.windows[0].from_time",
        12,
        "24-hour clock",
        "22:00",
    ),
    ("04:00", "4:00", "format", "sla_tiers.night.windows[0].until_time", 13, "two digits", ""),
    ("04:00", "24:00", "format", "sla_tiers.night.windows[0].until_time", 13, "23:59", ""),
    ("monday", "maandag", "not-allowed", "sla_tiers.night.windows[0].days[0]", 11, "", "monday"),
    ("2026-12-18", "2026-02-30", "date", "freeze_days[0].from_date", 15, "calendar", "2026-12-31"),
    (
        "2027-01-03",
        "2026-01-03",
        "freeze-days-reversed",
        "freeze_days[0].until_date",
        16,
        "end on 2026-01-03, before they begin on 2026-12-18",
        "from_date: 2026-01-03 and until_date: 2026-12-18",
    ),
    (
        "sla_tiers: [night]",
        "sla_tiers: [nigth]",
        "unknown-tier",
        "freeze_days[0].sla_tiers[0]",
        18,
        "not a tier",
        "night",
    ),
]


@pytest.mark.parametrize(("old", "new", "reference", "path", "line", "words", "instead"), ROWS)
def test_what_is_refused(
    tmp_path: Path,
    old: str,
    new: str,
    reference: str,
    path: str,
    line: int,
    words: str,
    instead: str,
) -> None:
    write_fleet(tmp_path, {"fleet.yml": FLEET + TIER.replace(old, new, 1)})
    (problem,) = check_fleet(tmp_path)[1]
    assert (problem.reference, problem.path, problem.line) == (reference, path, line)
    assert words in problem.message
    assert instead in problem.suggestion


def test_an_unknown_tier_of_a_site_is_refused(tmp_path: Path) -> None:
    site = manifest(sla_tier="sla_tier: nigt")
    write_fleet(tmp_path, {"fleet.yml": FLEET + TIER, "sites/voorbeeld.yml": site})
    (problem,) = check_fleet(tmp_path)[1]
    assert (problem.reference, problem.path) == ("unknown-tier", "sla_tier")
    assert problem.suggestion == "night"


def test_every_problem_comes_at_once(tmp_path: Path) -> None:
    text = TIER.replace("Europe/Amsterdam", "Mars/Base").replace("04:00", "22:00")
    site = manifest(sla_tier="sla_tier: day")
    text = text.replace("2027", "2025")
    write_fleet(tmp_path, {"fleet.yml": FLEET + text, "sites/voorbeeld.yml": site})
    assert [problem.reference for problem in check_fleet(tmp_path)[1]] == [
        "unknown-time-zone",
        "empty-window",
        "freeze-days-reversed",
        "unknown-tier",
    ]


@pytest.mark.parametrize("quote", ["", '"'])
def test_times_are_read_with_and_without_quotes(tmp_path: Path, quote: str) -> None:
    text = TIER.replace("22:00", f"{quote}22:00{quote}").replace("04:00", f"{quote}04:00{quote}")
    write_fleet(tmp_path, {"fleet.yml": FLEET + text})
    settings = load_fleet(tmp_path).settings
    window = Window(("monday", "friday"), time(22), time(4))
    assert settings.sla_tiers == {"night": SlaTier("night", "Europe/Amsterdam", (window,))}
    assert settings.freeze_days == (
        FreezeDays(date(2026, 12, 18), date(2027, 1, 3), "the town hall is closed", ("night",)),
    )


def test_the_tier_of_a_site(tmp_path: Path) -> None:
    night = manifest(sla_tier="sla_tier: night")
    write_fleet(tmp_path, {"fleet.yml": FLEET + TIER, "sites/voorbeeld.yml": night})
    fleet = load_fleet(tmp_path)
    assert fleet.settings.tier_of(fleet.manifests["voorbeeld"]).windows
    write_fleet(tmp_path)
    fleet = load_fleet(tmp_path)
    assert fleet.settings.tier_of(fleet.manifests["voorbeeld"]) == SlaTier("default")
