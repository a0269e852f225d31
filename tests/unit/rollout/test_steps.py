"""The steps of an engine that does several things at once, by tables and in a simulated rush."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Any

import pytest
from fakes.walking import BEGINS, FakeClock, MemoryJournal
from hypothesis import given, settings
from hypothesis import strategies as st

from owc_deploy.fleet.models import FreezeDays, RolloutLimits, SlaTier, Window
from owc_deploy.rollout.decide import UNDER_WAY, Calendar
from owc_deploy.rollout.models import (
    CheckRing,
    End,
    EndRing,
    Event,
    NewEvent,
    Rollout,
    RolloutRing,
    RolloutSite,
    SettleRing,
    Stand,
    Wait,
)
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.steps import (
    Batch,
    EnterRing,
    LeaveRing,
    Note,
    Work,
    given_up,
    next_step,
    still_due,
)
from owc_deploy.rollout.walk import noted

ALWAYS = Calendar({}, ())


def site(name: str, server: str = "web1", **changes: Any) -> RolloutSite:
    return replace(RolloutSite(name, server, "sha", "default"), **changes)


def rollout(*rings: RolloutRing, **limits: Any) -> Rollout:
    return Rollout(
        "20261125T090000Z-1",
        "test",
        "2026-11-25T09:00:00+00:00",
        "anna",
        "locks",
        rings,
        limits=replace(RolloutLimits(), **limits),
    )


def ring(name: str, *sites: RolloutSite, **changes: Any) -> RolloutRing:
    return replace(RolloutRing(name, sites, (len(sites),)), **changes)


def standing(made: Rollout, *events: NewEvent) -> Standing:
    stands = Standing(made)
    stands.learn(
        Event(event.kind, event.site, event.body, BEGINS, "test", number)
        for number, event in enumerate(events, start=1)
    )
    return stands


def under_way(
    stands: Standing,
    *,
    changing: Sequence[str] = (),
    undoing: Sequence[str] = (),
    checking: Sequence[str] = (),
) -> Standing:
    stands.take_as_under_way(changing=changing, undoing=undoing, checking=checking)
    return stands


def step(stands: Standing, walked: str = "", after: timedelta = timedelta()) -> Any:
    return next_step(stands, ALWAYS, BEGINS + after, walked)


def intended(name: str, release: str = "r2") -> NewEvent:
    body = {"release_id": release, "observed_release": "r1"}
    return NewEvent("site-intended", name, body)


def ended(name: str, outcome: str = "changed") -> NewEvent:
    return NewEvent("site-ended", name, {"outcome": outcome, "message": ""})


PAUSED = NewEvent("rollout-paused", body={"why": "lunch"})
HALTED = NewEvent("rollout-halted", body={"why": "too much", "undo_rings": ["canary"]})
ABORTED = NewEvent("rollout-aborted", body={"why": "asked", "undo_rings": ["canary"]})
CANARY = ring("canary", site("a"), site("b", "web2"), site("c"))
TWO = rollout(CANARY, ring("all", site("d")), sites_at_once_per_server=1)


def test_the_rings_are_entered_one_by_one_and_left() -> None:
    assert step(standing(TWO)) == EnterRing("canary")
    assert step(standing(TWO), "all") == LeaveRing()
    good = [NewEvent("ring-ended", body={"ring": "canary"})]
    assert step(standing(TWO, *good)) == EnterRing("all")
    assert step(standing(TWO, *good), "canary") == LeaveRing()
    assert step(standing(TWO, PAUSED), "canary") == LeaveRing()
    assert step(standing(TWO, PAUSED)) == Stand("paused", "lunch")


def test_a_batch_is_the_work_on_one_server() -> None:
    made = rollout(
        ring("canary", site("a"), site("b", "web2", place="delft"), site("c"), site("d"))
    )
    stands = standing(made, ended("d"))
    assert step(stands, "canary") == Work(
        (
            Batch("change", "canary", "web1", "default", ("a", "c"), 1),
            Batch("change", "canary", "web2", "delft", ("b",), 1),
        )
    )


def test_what_is_under_way_counts_against_the_caps_and_is_not_begun_again() -> None:
    first = step(standing(TWO), "canary")
    assert [batch.sites for batch in first.batches] == [("a",), ("b",)]
    stands = under_way(standing(TWO), changing=["a", "b"])
    assert step(stands, "canary") == Wait(BEGINS + UNDER_WAY, "sites are being changed")
    stands = under_way(standing(TWO, intended("a"), ended("a")), changing=["b"])
    assert step(stands, "canary").batches[0].sites == ("c",)
    stands = under_way(standing(TWO, intended("b"), ended("b")), changing=["a"])
    assert isinstance(step(stands, "canary"), Wait)


def test_a_site_whose_worker_is_gone_is_begun_again() -> None:
    stands = standing(TWO, intended("a"), intended("b"))
    assert isinstance(step(under_way(stands, changing=["a", "b"]), "canary"), Wait)
    assert step(under_way(stands, changing=["b"]), "canary").batches[0].sites == ("a",)


def test_a_ring_settles_when_nothing_of_it_is_under_way() -> None:
    one = rollout(ring("canary", site("a")))
    stands = standing(one, intended("a"), ended("a"))
    assert isinstance(step(under_way(stands, changing=["a"]), "canary"), Wait)
    assert step(under_way(stands), "canary") == Note(SettleRing("canary"))


def test_a_soaked_ring_is_looked_at_server_by_server() -> None:
    soaking = rollout(replace(CANARY, soak_seconds=600))
    events = [event for name in "abc" for event in (intended(name), ended(name))]
    events.append(NewEvent("ring-settled", body={"ring": "canary"}))
    stands = standing(soaking, *events)
    soak = Wait(BEGINS + timedelta(minutes=10), "ring canary soaks for 10 minutes")
    assert step(stands, "canary") == soak
    later = timedelta(minutes=10)
    looks = step(stands, "canary", later).batches
    assert [(b.doing, b.server, b.sites) for b in looks] == [
        ("check", "web1", ("a", "c")),
        ("check", "web2", ("b",)),
    ]
    assert isinstance(step(under_way(stands, checking="abc"), "canary", later), Wait)
    seen = {"ring": "canary", "sites": ["a", "c"], "problems": {}}
    stands = standing(soaking, *events, NewEvent("ring-checked", body=seen))
    assert isinstance(step(under_way(stands, checking="b"), "canary", later), Wait)
    assert step(under_way(stands), "canary", later).batches[0].sites == ("b",)
    gone = {"b": {"outcome": "unreachable", "message": "gone"}}
    again = NewEvent("ring-checked", body={**seen, "sites": ["b"], "problems": gone})
    stands = standing(soaking, *events, NewEvent("ring-checked", body=seen), again)
    assert step(stands, "canary", timedelta(seconds=59)) == soak
    assert step(stands, "canary", later).batches[0].sites == ("b",)
    three = standing(soaking, *events, NewEvent("ring-checked", body=seen), again, again, again)
    assert isinstance(step(three, "canary", later), Note)
    assert three.sites["b"].outcome == "unreachable"
    rest = NewEvent("ring-checked", body={**seen, "sites": ["b"]})
    stands = standing(soaking, *events, NewEvent("ring-checked", body=seen), rest)
    assert step(stands, "canary", later) == Note(EndRing("canary"))


def test_a_ring_of_which_nothing_is_good_is_not_looked_at() -> None:
    soaking = rollout(ring("canary", site("a"), soak_seconds=60, allowed_failed=1))
    stands = standing(
        soaking, ended("a", "failed"), NewEvent("ring-settled", body={"ring": "canary"})
    )
    found = step(stands, "canary", timedelta(minutes=1))
    assert found == Note(CheckRing("canary", ()))
    (noted_down,) = noted(found.decision)
    stands.learn([Event(noted_down.kind, "", noted_down.body, BEGINS, "test", 3)])
    assert step(stands, "canary", timedelta(minutes=1)) == Note(EndRing("canary"))


def test_a_ring_that_is_tried_again_is_looked_at_anew() -> None:
    soaking = rollout(ring("canary", site("a"), site("b", "web2"), soak_seconds=60))
    settled = NewEvent("ring-settled", body={"ring": "canary"})
    look = {"ring": "canary", "sites": ["a"], "problems": {}}
    gone = {"b": {"outcome": "failed", "message": "gone"}}
    events = [intended("a"), ended("a"), intended("b"), ended("b"), settled]
    events += [
        NewEvent("ring-checked", body=look),
        NewEvent("ring-checked", body={**look, "sites": ["b"], "problems": gone}),
        NewEvent("sites-retried", body={"sites": ["b"], "why": ""}),
        # One that was begun before.
        NewEvent("ring-checked", body=look),
        ended("b", "ok"),
        settled,
    ]
    looks = step(standing(soaking, *events), "canary", timedelta(minutes=1)).batches
    assert [batch.sites for batch in looks] == [("a",), ("b",)]


def test_a_batch_that_was_left_before_it_was_begun_is_begun_again_before_others() -> None:
    one = rollout(ring("canary", site("a"), site("b"), site("c")), sites_at_once=1)
    stands = under_way(standing(one), changing=["a"])
    assert step(under_way(stands), "canary").batches[0].sites == ("a",)
    stands.learn([Event("sites-retried", "", {"sites": ["a"]}, BEGINS, "test", 1)])
    assert isinstance(step(under_way(stands, changing=["a"]), "canary"), Wait)


def test_undoing_keeps_to_the_caps_and_waits_for_what_is_under_way() -> None:
    events = [event for name in "abc" for event in (intended(name), ended(name))]
    stands = standing(TWO, *events, ABORTED)
    begun = step(stands).batches
    assert [(b.doing, b.sites) for b in begun] == [("undo", ("c",)), ("undo", ("b",))]
    assert isinstance(step(under_way(stands, undoing="bc")), Wait)
    undone = [NewEvent("undo-ended", name, {"outcome": "changed"}) for name in "bc"]
    stands = standing(TWO, *events, ABORTED, *undone)
    assert step(stands).batches[0].sites == ("a",)
    undone.append(NewEvent("undo-ended", "a", {"outcome": "ok"}))
    assert step(standing(TWO, *events, ABORTED, *undone)) == Note(End("aborted"))
    assert step(standing(TWO, *events, HALTED, *undone)) == Stand("halted", "too much")


def test_a_site_that_is_still_being_changed_is_not_undone_yet() -> None:
    stands = standing(TWO, intended("a"), HALTED)
    assert isinstance(step(under_way(stands, changing="a")), Wait)
    assert step(under_way(stands)).batches[0].sites == ("a",)


CHANGE = Batch("change", "canary", "web1", "default", ("a", "c"), 2)
UNDO = Batch("undo", "", "web1", "default", ("a", "c"), 4)
CHECK = Batch("check", "canary", "web1", "default", ("a", "c"), 4)
BOTH = (intended("a"), intended("c"))


@pytest.mark.parametrize(
    ("batch", "events", "due"),
    [
        (CHANGE, (), "ac"),
        (CHANGE, BOTH, "ac"),
        # An attempt before this batch was decided is none of its own.
        (CHANGE, (ended("a", "busy"), ended("c", "busy")), "ac"),
        (CHANGE, (*BOTH, ended("a")), "c"),
        (CHANGE, (*BOTH, ended("a", "busy"), ended("c", "failed")), ""),
        (CHANGE, (*BOTH, PAUSED), ""),
        (CHANGE, (*BOTH, ABORTED), ""),
        (UNDO, (*BOTH, ended("a"), ended("c"), HALTED), "ac"),
        (
            UNDO,
            (*BOTH, ended("a"), ended("c"), HALTED, NewEvent("undo-ended", "a", {"outcome": "ok"})),
            "c",
        ),
        (UNDO, (*BOTH, ended("a"), ended("c")), ""),
        (CHECK, (*BOTH, ended("a"), ended("c")), "ac"),
        (
            CHECK,
            (
                *BOTH,
                NewEvent("ring-checked", body={"ring": "canary", "sites": ["a"], "problems": {}}),
            ),
            "c",
        ),
    ],
)
def test_a_batch_that_is_asked_for_again_does_what_is_left(
    batch: Batch, events: tuple[NewEvent, ...], due: str
) -> None:
    assert [each.site for each in still_due(standing(TWO, *events), batch)] == list(due)


@pytest.mark.parametrize(
    ("batch", "events", "was_begun", "expected"),
    [
        (CHANGE, (), False, {"a": "unreachable", "c": "unreachable"}),
        (CHANGE, (), True, {"a": "not-attempted", "c": "not-attempted"}),
        (CHANGE, (intended("a"),), True, {"a": "inconclusive", "c": "not-attempted"}),
        (CHANGE, (*BOTH, ended("a")), False, {"c": "inconclusive"}),
        (UNDO, (*BOTH, HALTED), False, {"a": "unreachable", "c": "unreachable"}),
        (
            UNDO,
            (*BOTH, HALTED, NewEvent("undo-intended", "a", {})),
            True,
            {"a": "inconclusive", "c": "not-attempted"},
        ),
        (CHECK, (), True, {"a": "inconclusive", "c": "inconclusive"}),
        (CHANGE, (PAUSED,), True, {}),
    ],
)
def test_what_a_batch_that_failed_for_good_leaves(
    batch: Batch, events: tuple[NewEvent, ...], was_begun: bool, expected: dict[str, str]
) -> None:
    stands = standing(TWO, *events)
    found = given_up(stands, batch, "why", was_begun=was_begun)
    problems = [event.body["problems"] for event in found if event.kind == "ring-checked"]
    if problems:
        assert {name: p["outcome"] for name, p in problems[0].items()} == expected
    else:
        assert {event.site: event.body["outcome"] for event in found} == expected
        assert all(event.body["message"] == "why" for event in found)
    stands.learn(Event(event.kind, event.site, event.body, BEGINS, "test", 9) for event in found)
    assert given_up(stands, batch, "why", was_begun=was_begun) == ()


# A rush: batches that end in any order, are lost, and are taken again -----------------------------

SERVERS = ("web1", "web2", "web3")
OFFICE = SlaTier("office", windows=(Window(("wednesday", "thursday"), time(10), time(12)),))
FROZEN = (FreezeDays(date(2026, 11, 25), date(2026, 11, 25), "moving", ("office",)),)


class Rush:
    """An engine in memory that carries several batches at once, and loses some."""

    def __init__(
        self, made: Rollout, chance: random.Random, outcomes: Callable[[str], str]
    ) -> None:
        self.rollout = made
        self.chance = chance
        self.outcomes = outcomes
        self.clock = FakeClock()
        self.journal = MemoryJournal(self.clock)
        self.calendar = Calendar({"office": OFFICE}, FROZEN)
        self.in_flight: list[Batch] = []
        self.live = {each.site: "r1" for each in made.sites}
        self.changes: Counter[str] = Counter()
        self.orders: list[NewEvent] = []

    def standing(self) -> Standing:
        stands = Standing(self.rollout)
        stands.learn(self.journal.events())
        return stands

    def names(self, doing: str) -> list[str]:
        return [name for batch in self.in_flight for name in batch.sites if batch.doing == doing]

    def ask(self, walked: str) -> Any:
        while True:
            stands = self.standing()
            stands.take_as_under_way(
                changing=self.names("change"),
                undoing=self.names("undo"),
                checking=self.names("check"),
            )
            found = next_step(stands, self.calendar, self.clock.now(), walked)
            if not isinstance(found, Note):
                return found
            self.journal.append(*noted(found.decision))

    def run(self) -> Stand:
        walked = ""
        for _ in range(10_000):
            found = self.ask(walked)
            match found:
                case EnterRing(name):
                    walked = name
                case Work(batches):
                    self.in_flight += batches
                    self.check_caps()
                case LeaveRing() if not self.in_flight:
                    walked = ""
                case Stand() if not self.in_flight:
                    return found
                case Wait(until) if not self.in_flight:
                    self.clock.sleep_until(until)
            if self.in_flight and self.chance.random() < 0.7:
                self.end_one()
            if self.chance.random() < 0.02:
                # The engine is lost with all it knew, and another begins.
                self.in_flight, walked = [], ""
                self.journal.append(NewEvent("walk-begun", body={"workflow": "other"}))
            if self.orders and self.chance.random() < 0.05:
                self.journal.append(self.orders.pop(0))
        raise AssertionError("it does not end")

    def check_caps(self) -> None:
        names = [name for batch in self.in_flight for name in batch.sites]
        places = {each.site: each for each in self.rollout.sites}
        limits = self.rollout.limits
        working = [n for b in self.in_flight for n in b.sites if b.doing != "check"]
        assert len(names) == len(set(names))
        assert len(working) <= limits.sites_at_once
        servers = Counter(places[name].server for name in working)
        assert not servers or max(servers.values()) <= limits.sites_at_once_per_server
        stands = self.standing()
        stands.take_as_under_way(changing=working, undoing=(), checking=())
        for each in self.rollout.rings:
            self.check_waves(each, stands, working)

    def check_waves(self, ring: RolloutRing, stands: Standing, working: Sequence[str]) -> None:
        """No site of a wave begins before all of the wave before are settled."""
        begun = [s.site for s in ring.sites if s.site in working or stands.sites[s.site].ended]
        settled = [name for name in begun if stands.sites[name].is_settled]
        waves = [0, *accumulate(ring.wave_sizes)]
        before = max(end for end in waves if end < max(1, len(begun)))
        assert len(settled) >= before or stands.state != "running"

    def end_one(self) -> None:
        batch = self.chance.choice(self.in_flight)
        stands = self.standing()
        self.clock.moment += timedelta(seconds=self.chance.randrange(30))
        for each in still_due(stands, batch):
            lost = self.chance.random()
            if batch.doing == "change":
                if lost < 0.1:
                    return
                if self.live[each.site] == "r1":
                    self.journal.append(intended(each.site))
                if lost < 0.2:
                    return
                outcome = self.outcomes(each.site)
                if outcome == "changed" and self.live[each.site] == "r1":
                    self.live[each.site] = "r2"
                    self.changes[each.site] += 1
                if lost < 0.3:
                    return
                self.journal.append(ended(each.site, outcome))
            elif batch.doing == "undo":
                self.live[each.site] = "r1"
                if lost < 0.2:
                    return
                self.journal.append(NewEvent("undo-ended", each.site, {"outcome": "changed"}))
            else:
                body = {"ring": batch.ring, "sites": [each.site], "problems": {}}
                self.journal.append(NewEvent("ring-checked", body=body))
        self.in_flight.remove(batch)


def rushed(chance: random.Random, **changes: Any) -> Rollout:
    names = iter(range(100))

    def some(count: int) -> list[RolloutSite]:
        return [
            site(
                f"s{next(names):02}",
                chance.choice(SERVERS),
                sla_tier=chance.choice(["default", "office"]),
            )
            for _ in range(count)
        ]

    return rollout(
        replace(RolloutRing("canary", tuple(some(2)), (1, 1)), soak_seconds=300, **changes),
        replace(RolloutRing("early", tuple(some(5)), (2, 3)), undo_since="canary", **changes),
        replace(RolloutRing("all", tuple(some(12)), (12,)), soak_seconds=60, **changes),
        sites_at_once=chance.randrange(1, 7),
        sites_at_once_per_server=chance.randrange(1, 4),
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_however_batches_end_no_site_is_changed_twice_and_none_forgotten(seed: int) -> None:
    chance = random.Random(seed)
    rush = Rush(rushed(chance), chance, lambda _: "changed")
    assert rush.run() == Stand("done", "")
    assert set(rush.live.values()) == {"r2"}
    assert set(rush.changes.values()) == {1}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_bad_site_halts_a_rush_and_what_was_changed_since_is_undone(seed: int) -> None:
    chance = random.Random(seed)
    made = rushed(chance)
    bad = chance.choice(made.sites).site
    rush = Rush(made, chance, lambda name: "rolled-back" if name == bad else "changed")
    stopped = rush.run()
    assert stopped.state == "halted"
    stands = rush.standing()
    assert stands.sites[bad].outcome == "rolled-back"
    position = next(n for n, each in enumerate(made.rings) if bad in {s.site for s in each.sites})
    for number, each in enumerate(made.rings):
        live = {rush.live[s.site] for s in each.sites if s.site != bad}
        if number > position:
            assert live == {"r1"}
        elif number < position:
            assert live == ({"r1"} if made.rings[position].undo_since else {"r2"})
        elif each.undo_since:
            assert live <= {"r1"}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_a_pause_or_an_abort_leaves_nothing_half_done(seed: int) -> None:
    chance = random.Random(seed)
    made = rushed(chance)
    rush = Rush(made, chance, lambda _: "changed")
    rush.orders = [PAUSED]
    if rush.run().state == "done":
        return
    assert rush.standing().state == "paused"
    changed = Counter(rush.changes)
    rush.journal.append(NewEvent("rollout-resumed", body={"why": ""}))
    rush.orders = [ABORTED]
    if rush.run().state == "done":
        assert set(rush.live.values()) == {"r2"}
        assert set(rush.changes.values()) == {1}
    else:
        assert rush.standing().is_over
        assert all(rush.live[each.site] == "r1" for each in made.rings[0].sites)
    assert all(rush.changes[name] == 1 for name in changed)


def test_a_window_that_never_comes_is_given_up_and_told() -> None:
    never = SlaTier("never", windows=(Window(("wednesday",), time(10), time(12)),))
    frozen = (FreezeDays(date(2026, 1, 1), date(2028, 12, 31), "closed", ("never",)),)
    calendar = Calendar({"never": never}, frozen)
    made = rollout(ring("all", site("a", sla_tier="never")))
    found = next_step(standing(made), calendar, datetime(2026, 11, 25, tzinfo=UTC), "all")
    assert isinstance(found, Note)
    assert noted(found.decision)[0].body["outcome"] == "not-attempted"
