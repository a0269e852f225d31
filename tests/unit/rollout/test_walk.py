"""Walking a rollout: one decision after the other, until there is nothing to do, or to wait for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, time, timedelta

import pytest
from fakes.walking import BEGINS, FakeClock, MemoryJournal, ScriptedHands
from unit.rollout.examples import ALWAYS, MINUTE, A, B, C, on, ring, rollout, site

from owc_deploy.errors import LeaseHeldError
from owc_deploy.fleet.models import FreezeDays, SlaTier, Window
from owc_deploy.rollout.decide import Calendar
from owc_deploy.rollout.models import NewEvent, Rollout, Stand, Wait
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.walk import POLL, walk


@dataclass
class Walked:
    made: Rollout
    calendar: Calendar = ALWAYS
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = MemoryJournal(self.clock)
        self.hands = ScriptedHands(self.journal)
        self.standing = Standing(self.made)

    def on(self, patience: timedelta | None = None) -> Wait | Stand:
        return walk(
            self.standing,
            self.journal,
            self.hands,
            self.calendar,
            self.clock,
            patience=patience,
            tell=self.told.append,
        )


def test_after_a_wait_it_goes_on_with_what_is_written_then() -> None:
    walked = Walked(rollout(ring("canary", A, soak_seconds=600), ring("all", B)))
    later = ScriptedHands(walked.journal)
    merger = FreezeDays(date(2026, 11, 20), date(2026, 12, 1), "a merger")
    asked: list[date] = []

    def read_again() -> tuple[ScriptedHands, Calendar]:
        asked.append(walked.clock.now().date())
        return later, Calendar({}, [merger])

    stopped = walk(
        *(walked.standing, walked.journal, walked.hands, ALWAYS, walked.clock),
        read_again=read_again,
    )
    assert stopped == Stand("done", "")
    assert asked == [BEGINS.date(), date(2026, 12, 1)]
    assert (walked.hands.did, later.did) == (
        ["change canary: a"],
        ["check canary: a", "change all: b"],
    )


TWO_RINGS = rollout(
    ring("canary", A, soak_seconds=600), ring("all", B, C, wave_sizes=(1, 1), undo_since="canary")
)


def test_a_good_rollout_is_walked_to_its_end() -> None:
    walked = Walked(TWO_RINGS)
    assert walked.on() == Stand("done", "")
    assert walked.hands.did == [
        "change canary: a",
        "check canary: a",
        "change all: b",
        "change all: c",
    ]
    assert walked.told == [
        "ring canary: a",
        "ring canary: every site had its turn",
        "waiting until 2026-11-25 09:10:00Z: ring canary soaks for 10 minutes",
        "ring canary: looking at it after its soak",
        "ring canary has ended",
        "ring all: b",
        "ring all: c",
        "ring all: every site had its turn",
        "ring all has ended",
        "the rollout is done",
    ]
    assert walked.clock.now() == BEGINS + 10 * MINUTE


def test_a_bad_one_is_halted_and_undone() -> None:
    walked = Walked(TWO_RINGS)
    walked.hands.outcomes["b"] = "rolled-back"
    why = "ring all: failed 1, allowed 0: b"
    assert walked.on() == Stand("halted", why)
    assert walked.hands.did[-1] == "undo a"
    assert walked.told[-2:] == [f"halted: {why}; undoing ring canary, all", "undoing: a"]


def test_it_waits_no_longer_than_its_patience() -> None:
    walked = Walked(TWO_RINGS)
    stopped = walked.on(patience=5 * MINUTE)
    assert stopped == Wait(BEGINS + 10 * MINUTE, "ring canary soaks for 10 minutes")
    assert walked.clock.now() == BEGINS
    assert walked.on(patience=10 * MINUTE) == Stand("done", "")


def test_times_are_told_in_utc() -> None:
    late = SlaTier("late", "Europe/Amsterdam", (Window(("wednesday",), time(23), time(23, 30)),))
    walked = Walked(rollout(ring("all", site("a", sla_tier="late"))), Calendar({"late": late}, ()))
    assert walked.on() == Stand("done", "")
    assert walked.told[0].startswith("waiting until 2026-11-25 22:00:00Z: a is outside its window")
    assert walked.clock.now().isoformat() == "2026-11-25T22:00:00+00:00"


def test_a_pause_is_noticed_while_it_waits() -> None:
    walked = Walked(TWO_RINGS)

    class Impatient(FakeClock):
        def sleep_until(self, moment: object) -> None:
            del moment
            self.moment += POLL
            walked.journal.append(NewEvent("rollout-paused", body={"why": "lunch"}))

    walked.clock = Impatient()
    assert walked.on() == Stand("paused", "lunch")
    assert walked.clock.now() == BEGINS + POLL


def test_what_cannot_be_reached_is_tried_and_given_up() -> None:
    sites = on("web1", "a", "b", "c")
    walked = Walked(rollout(ring("all", *sites, allowed_unreachable=3)))
    walked.hands.outcomes.update(dict.fromkeys("abc", "unreachable"))
    assert walked.on() == Stand("incomplete", "")
    assert walked.hands.did == 3 * ["change all: a b"]
    assert "c: unreachable: web1 was not reached in 3 attempts" in walked.told
    assert walked.clock.now() == BEGINS + 2 * MINUTE


def test_nothing_is_done_once_the_right_to_walk_is_lost() -> None:
    walked = Walked(TWO_RINGS)

    def lost() -> None:
        raise LeaseHeldError("somebody else walks it")

    with pytest.raises(LeaseHeldError):
        walk(*(walked.standing, walked.journal, walked.hands, ALWAYS, walked.clock), require=lost)
    assert walked.journal.written == []
