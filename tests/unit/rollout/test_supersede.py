"""What a rollout takes over from those whose place it takes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.walking import BEGINS
from unit.plan.examples import fleet, manifest
from unit.rollout.examples import (
    ALWAYS,
    IN_LATE,
    MINUTE,
    A,
    B,
    C,
    D,
    Story,
    after,
    cut_off,
    done,
    ended,
    intended,
    paused,
    ring,
    ring_ended,
    rollout,
    settled,
    three_rings,
)

from owc_deploy.rollout.decide import decide
from owc_deploy.rollout.models import CheckRing, Event, RolloutRing, Wait
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.supersede import overlapping, soaking, soaks_kept

CANARY = ring("canary", A, B, soak_seconds=3600)
EARLIER = rollout(CANARY, ring("all", C))


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ([], ""),
        (intended(A), ""),
        (done(A), "a"),
        ([*done(A), *done(B, outcome="rolled-back")], "a"),
        ([*done(A), *ended("ok", B)], "ab"),
        ([*done(A, B), settled("canary")], "ab"),
        ([*done(A, B), settled("canary"), paused()], "ab"),
        ([*done(A, B), settled("canary"), cut_off()], "ab"),
        ([*done(A, B), settled("canary"), ring_ended("canary"), *done(C)], ""),
    ],
)
def test_what_soaks(story: Story, expected: str) -> None:
    """A ring without a soak has none to lose."""
    standing, _ = after(EARLIER, story)
    assert sorted(soaking([standing])) == list(expected)


@pytest.mark.parametrize(
    ("story", "ring_now", "kept", "soaks_since"),
    [
        # Nothing is done to its sites: its soak goes on, also when one has left it.
        ([*done(A, B), MINUTE, settled("canary")], CANARY, "ab", BEGINS + MINUTE),
        ([*done(A, B), MINUTE, settled("canary")], ring("canary", A), "a", BEGINS + MINUTE),
        # Something is done to one of them, or another has come.
        ([*done(A, B), MINUTE, settled("canary")], CANARY, "a", None),
        ([*done(A, B), MINUTE, settled("canary")], ring("canary", A, B, C), "ab", None),
        # It did not soak yet.
        (done(A), ring("canary", A), "a", None),
    ],
)
def test_a_soak_goes_on_where_nothing_is_done_to_a_ring(
    story: Story, ring_now: RolloutRing, kept: str, soaks_since: object
) -> None:
    earlier, moment = after(EARLIER, story)
    found = {site: standing for site, standing in soaking([earlier]).items() if site in kept}
    made = rollout(RolloutRing(**{**_fields(ring_now), "soak_seconds": 3600}), ring("all", D))
    standing = Standing(made)
    standing.learn(
        Event(each.kind, each.site, each.body, moment + MINUTE, "test", number)
        for number, each in enumerate(soaks_kept(made, found), start=1)
    )
    assert standing.rings["canary"].settled_at == soaks_since
    if soaks_since:
        ends = BEGINS + MINUTE + timedelta(hours=1)
        decision = decide(standing, ALWAYS, moment + MINUTE)
        assert isinstance(decision, Wait)
        assert decision.until == ends
        assert decide(standing, ALWAYS, ends) == CheckRing("canary", ring_now.sites)


def test_the_longest_wait_counts_for_a_ring_of_two_rollouts() -> None:
    one, _ = after(rollout(ring("canary", A, soak_seconds=60)), [*done(A), settled("canary")])
    two, later = after(
        rollout(ring("canary", B, soak_seconds=60)), [MINUTE, *done(B), settled("canary")]
    )
    events = soaks_kept(rollout(CANARY), soaking([one, two]))
    assert events[-1].body["since"] == later.isoformat()


@pytest.mark.parametrize(
    ("sites", "known", "expected"),
    [("a", "abcde", True), ("x", "abcdex", False), ("x", "x", True), ("xe", "xe", True)],
)
def test_whose_place_is_taken(sites: str, known: str, expected: bool) -> None:
    """Also that of a rollout of which the fleet has nothing left."""
    standing, _ = after(three_rings(), IN_LATE)
    present = fleet(*(manifest(site, ring="all") for site in known))
    assert bool(overlapping([standing], frozenset(sites), present)) is expected


def _fields(made: RolloutRing) -> dict[str, object]:
    return {name: getattr(made, name) for name in made.__dataclass_fields__}
