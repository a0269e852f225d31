"""When a rollout begins sites: windows, freeze days, emergencies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes.walking import BEGINS
from unit.rollout.examples import (
    MINUTE,
    C,
    D,
    after,
    decided,
    done,
    ended,
    given_up,
    halted,
    ring,
    rollout,
    site,
    started,
)

from owc_deploy.fleet.models import FreezeDays, SlaTier, Window
from owc_deploy.rollout.decide import Calendar, decide
from owc_deploy.rollout.models import Decision, Emergency, GiveUp, RolloutSite, Start, Undo, Wait

NIGHTS = SlaTier("nights", "UTC", (Window(("thursday",), time(1, 0), time(3, 0)),))
NEVER = SlaTier("never", "UTC", (Window(("monday",), time(1, 0), time(3, 0)),))
FROZEN = FreezeDays(date(2026, 11, 26), date(2026, 11, 26), "election")
FROZEN_FOR_LONG = FreezeDays(date(2026, 11, 1), date(2029, 1, 1), "closed", ("never",))


def waits(decision: Decision) -> tuple[float, str]:
    """Return for how many minutes after the beginning, and why."""
    assert isinstance(decision, Wait), decision
    return (decision.until - BEGINS) / MINUTE, decision.why


IN_AN_EMERGENCY = Emergency("being exploited", "Bo")


def tiered(tier: str, *names: str) -> list[RolloutSite]:
    return [site(name, sla_tier=tier) for name in names]


def calendar(*freeze_days: FreezeDays) -> Calendar:
    return Calendar({"nights": NIGHTS, "never": NEVER}, freeze_days)


# BEGINS is a Wednesday at 9:00 UTC; the window of `nights` is on Thursdays from 1:00 to 3:00.
NIGHTLY = rollout(ring("all", *tiered("nights", "a", "b"), C))
NIGHT = timedelta(hours=16)


def test_a_site_waits_for_its_window_and_keeps_nobody_waiting() -> None:
    assert started(decided(NIGHTLY, [], calendar())) == ["c"]
    minutes, why = waits(decided(NIGHTLY, done(C), calendar()))
    assert minutes == 16 * 60
    assert why.startswith("a is outside its window: the tier nights has the window thursday")


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (NIGHT, ["a", "b"]),
        (NIGHT + timedelta(hours=2) - timedelta(seconds=1), ["a", "b"]),
    ],
    ids=["its first moment", "its last"],
)
def test_it_begins_inside_its_window(later: timedelta, expected: list[str]) -> None:
    assert started(decided(NIGHTLY, done(C), calendar(), later)) == expected


def test_at_the_end_of_a_window_it_waits_for_the_next() -> None:
    minutes, _ = waits(decided(NIGHTLY, done(C), calendar(), NIGHT + timedelta(hours=2)))
    assert minutes == (7 * 24 + 16) * 60


def test_one_calendar_answers_for_moment_after_moment() -> None:
    kept = calendar()
    for hours, expected in ((0, Wait), (16, Start), (17, Start), (18, Wait), (9, Wait)):
        decision = decided(NIGHTLY, done(C), kept, timedelta(hours=hours))
        assert isinstance(decision, expected), hours


def test_freeze_days_are_skipped() -> None:
    minutes, why = waits(decided(NIGHTLY, done(C), calendar(FROZEN)))
    assert minutes == (7 * 24 + 16) * 60
    assert why == (
        "a is outside its window: the tier nights has the window thursday 01:00-03:00;"
        " skipped: the freeze days 2026-11-26 (election)"
    )
    assert started(decided(NIGHTLY, done(C), calendar(FROZEN), 7 * 24 * 60 * MINUTE + NIGHT)) == [
        "a",
        "b",
    ]


def test_a_site_that_may_always_be_changed_is_told_of_the_freeze_days() -> None:
    frozen = calendar(replace(FROZEN, from_date=BEGINS.date()))
    wait = decided(rollout(ring("all", C)), [], frozen)
    # The freeze days end at midnight in Amsterdam.
    minutes, why = waits(wait)
    assert minutes == (24 + 14) * 60
    assert why == (
        "c is outside its window: the tier default has no windows: its sites may be changed at"
        " any time; skipped: the freeze days 2026-11-25 to 2026-11-26 (election)"
    )
    assert isinstance(wait, Wait)
    assert wait.until.tzinfo is UTC


def test_a_site_without_any_window_is_given_up_once_nothing_else_can_begin() -> None:
    sites = [*tiered("never", "a", "b"), *tiered("nights", "c"), D]
    made = rollout(ring("all", *sites, allowed_unreachable=2))
    frozen = calendar(FROZEN_FOR_LONG)
    assert started(decided(made, [], frozen)) == ["d"]
    given = decided(made, done(D), frozen)
    never = tuple(tiered("never", "a", "b"))
    assert given == GiveUp(never, "not-attempted", "it has no window in the next 400 days")
    assert waits(decided(made, [*done(D), *given_up("not-attempted", *never)], frozen))[0] == 960


def test_an_emergency_passes_over_windows_and_freeze_days() -> None:
    sites = [*tiered("never", "a"), *tiered("nights", "b")]
    made = rollout(ring("all", *sites), emergency=IN_AN_EMERGENCY)
    assert started(decided(made, [], calendar(FROZEN, FROZEN_FOR_LONG))) == ["a", "b"]


def test_what_is_tried_again_waits_for_its_window_as_well() -> None:
    sites = tiered("nights", "a", "b")
    story = [NIGHT, *ended("busy", *sites), timedelta(hours=2)]
    minutes, _ = waits(decided(rollout(ring("all", *sites)), story, calendar()))
    assert minutes == (7 * 24 + 16) * 60


def test_undoing_waits_for_no_window() -> None:
    sites = tiered("nights", "a")
    made = rollout(ring("all", *sites))
    assert decided(made, [*done(*sites), halted("all")], calendar(FROZEN)) == Undo(tuple(sites))


def test_a_moment_may_be_told_in_any_time_zone() -> None:
    standing, _ = after(NIGHTLY, done(C))
    moment = datetime(2026, 11, 26, 2, 0, tzinfo=ZoneInfo("Europe/Amsterdam"))
    assert started(decide(standing, calendar(), moment)) == ["a", "b"]
