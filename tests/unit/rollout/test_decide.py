"""What a rollout does next: tables of what happened so far, and the decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest
from fakes.walking import BEGINS
from unit.rollout.examples import (
    IN_LATE,
    LIMITS,
    MINUTE,
    A,
    B,
    C,
    D,
    E,
    F,
    Story,
    accepted,
    checked,
    cut_off,
    decided,
    done,
    ended,
    given_up,
    intended,
    often,
    on,
    ring,
    ring_ended,
    rollout,
    settled,
    site,
    started,
    three_rings,
    undone,
)

from owc_deploy.plan.models import OutcomeWord
from owc_deploy.rollout.decide import UNDER_WAY
from owc_deploy.rollout.models import (
    CheckRing,
    Decision,
    Emergency,
    End,
    EndRing,
    GiveUp,
    Halt,
    NewEvent,
    Rollout,
    SettleRing,
    Stand,
    Start,
    Undo,
    Wait,
)

ONE = rollout(ring("canary", A), ring("all", B, C, D))
IN_WAVES = rollout(ring("all", A, B, C, D, E, F, wave_sizes=(1, 2, 3), allowed_unreachable=6))
GOES_ON: list[tuple[str, Rollout, Story, Decision]] = [
    ("first the canary", ONE, [], Start("canary", (A,))),
    ("then it is settled", ONE, done(A), SettleRing("canary")),
    ("without a soak it ends", ONE, [*done(A), settled("canary")], EndRing("canary")),
    (
        "then the next ring, all of it at once",
        ONE,
        [*done(A), settled("canary"), ring_ended("canary")],
        Start("all", (B, C, D)),
    ),
    (
        "a site that needed nothing is as good as one that was changed",
        ONE,
        [*ended("ok", A), settled("canary"), ring_ended("canary"), *done(B, C, D), settled("all")],
        EndRing("all"),
    ),
    ("first wave", IN_WAVES, [], Start("all", (A,))),
    ("second wave", IN_WAVES, done(A), Start("all", (B, C))),
    ("third wave", IN_WAVES, done(A, B, C), Start("all", (D, E, F))),
    ("what is left of a wave", IN_WAVES, done(A, B), Start("all", (C,))),
    (
        "a wave with failures within the budget is followed by the next",
        replace(IN_WAVES, rings=(replace(IN_WAVES.rings[0], allowed_failed=1),)),
        done(A, outcome="failed"),
        Start("all", (B, C)),
    ),
    (
        "a site of the wave that was cut off goes again, and no other begins",
        IN_WAVES,
        [*done(A), *intended(B, C), *ended("changed", B), cut_off()],
        Start("all", (C,)),
    ),
    (
        "what was cut off goes first, and alone",
        IN_WAVES,
        [*done(A), *intended(B), cut_off()],
        Start("all", (B,)),
    ),
    (
        "then the rest of the wave",
        IN_WAVES,
        [*done(A), *intended(B), cut_off(), *ended("changed", B)],
        Start("all", (C,)),
    ),
    (
        "while somebody else works for it there is nothing to do",
        IN_WAVES,
        intended(A),
        Wait(BEGINS + UNDER_WAY, "sites are being changed"),
    ),
    (
        "a wave's sites begin beside those that somebody else has under way",
        IN_WAVES,
        [*done(A), *intended(B)],
        Start("all", (C,)),
    ),
]


@pytest.mark.parametrize(
    ("made", "story", "expected"), [case[1:] for case in GOES_ON], ids=[case[0] for case in GOES_ON]
)
def test_it_goes_on(made: Rollout, story: Story, expected: Decision) -> None:
    assert decided(made, story) == expected


PER_SUPPLIER = replace(LIMITS, sites_at_once_per_supplier=1)
MANY = [site(name) for name in "abcdef"]
TWO_SUPPLIERS = [
    *on("s1", "a", supplier="north"),
    *on("s2", "b", supplier="north"),
    *on("s3", "c", supplier="south"),
    *on("s4", "d"),
    *on("s5", "e"),
]
CAPS: list[tuple[str, Rollout, Story, list[str]]] = [
    ("at once", rollout(ring("all", *MANY)), [], ["a", "b", "c", "d"]),
    (
        "at once, beside what is under way",
        rollout(ring("all", *MANY)),
        intended(*MANY[:3]),
        ["d"],
    ),
    (
        "per server",
        rollout(ring("all", *on("web1", "a", "b", "c"), D)),
        [],
        ["a", "b", "d"],
    ),
    (
        "per server, beside what is under way",
        rollout(ring("all", *on("web1", "a", "b", "c"), D)),
        intended(site("a", "web1")),
        ["b", "d"],
    ),
    (
        "per supplier; servers without one are not counted",
        rollout(ring("all", *TWO_SUPPLIERS), limits=PER_SUPPLIER),
        [],
        ["a", "c", "d", "e"],
    ),
    (
        "per supplier, beside what is under way",
        rollout(ring("all", *TWO_SUPPLIERS), limits=PER_SUPPLIER),
        intended(TWO_SUPPLIERS[0]),
        ["c", "d", "e"],
    ),
    (
        "what is tried again comes before what is new",
        rollout(ring("all", *MANY, allowed_unreachable=6)),
        [*done(A, C), *ended("busy", B), MINUTE],
        ["b", "d", "e", "f"],
    ),
]


@pytest.mark.parametrize(
    ("made", "story", "expected"), [case[1:] for case in CAPS], ids=[case[0] for case in CAPS]
)
def test_no_more_than_so_many_at_once(made: Rollout, story: Story, expected: list[str]) -> None:
    assert started(decided(made, story)) == expected


W1, W2, W3 = on("web1", "w1", "w2", "w3")
FLAKY = rollout(ring("all", W1, W2, W3, allowed_unreachable=3))
ROOMY = rollout(ring("all", A, B, allowed_unreachable=2))
TWICE: list[NewEvent | timedelta] = [*ended("unreachable", W1, W2), MINUTE]
AGAIN: list[tuple[str, Rollout, Story, Decision]] = [
    (
        "busy waits for its pause",
        ROOMY,
        [*done(A), *ended("busy", B)],
        Wait(BEGINS + MINUTE, "b is tried again: scripted"),
    ),
    ("busy is tried again after it", ROOMY, [*ended("busy", B), MINUTE], Start("all", (B, A))),
    (
        "unreachable is tried again after it",
        ROOMY,
        [*done(A), *ended("unreachable", B), MINUTE],
        Start("all", (B,)),
    ),
    (
        "the other sites of the server wait as well",
        FLAKY,
        ended("unreachable", W1, W2),
        Wait(BEGINS + MINUTE, "w1 is tried again: scripted"),
    ),
    ("and those tried before go first", FLAKY, TWICE, Start("all", (W1, W2))),
    (
        "after the last attempt the sites of the server are given up",
        FLAKY,
        3 * TWICE,
        GiveUp((W3,), "unreachable", "web1 was not reached in 3 attempts"),
    ),
    (
        "then the ring is settled",
        FLAKY,
        [*3 * TWICE, *given_up("unreachable", W3)],
        SettleRing("all"),
    ),
    (
        "a server that came back is not given up",
        FLAKY,
        [*2 * TWICE, *ended("unreachable", W1), *done(W2)],
        Start("all", (W3,)),
    ),
    (
        "in the next ring it is tried anew",
        rollout(ring("one", W1, allowed_unreachable=1), ring("two", W2)),
        [*3 * [*ended("unreachable", W1), MINUTE], settled("one"), ring_ended("one")],
        Start("two", (W2,)),
    ),
    (
        "a site that stays busy keeps nobody else of its server waiting",
        FLAKY,
        ended("busy", W1),
        Start("all", (W2, W3)),
    ),
]


@pytest.mark.parametrize(
    ("made", "story", "expected"), [case[1:] for case in AGAIN], ids=[case[0] for case in AGAIN]
)
def test_what_was_in_the_way_is_tried_again(
    made: Rollout, story: Story, expected: Decision
) -> None:
    assert decided(made, story) == expected


# The word that an outcome is counted under, for each that is counted.
COUNTED: dict[OutcomeWord, str] = {
    "failed": "failed",
    "rolled-back": "failed",
    "inconclusive": "inconclusive",
    "unreachable": "unreachable",
    "busy": "unreachable",
    "not-attempted": "unreachable",
}


@pytest.mark.parametrize("outcome", COUNTED)
def test_a_budget_is_exceeded_by_one_more_than_is_allowed(outcome: OutcomeWord) -> None:
    kind = COUNTED[outcome]
    halt = decided(three_rings(), [*IN_LATE, *often(outcome, D)])
    assert halt == Halt(f"ring late: {kind} 1, allowed 0: d")
    allowed = {f"allowed_{kind}": 1}
    assert decided(three_rings(**allowed), [*IN_LATE, *often(outcome, D)]) == Start("late", (E,))
    halt = decided(three_rings(**allowed), [*IN_LATE, *often(outcome, D, E)])
    assert halt == Halt(f"ring late: {kind} 2, allowed 1: d, e")


def test_the_other_outcomes_are_not_counted() -> None:
    assert COUNTED.keys() | {"ok", "changed"} == set(get_args(OutcomeWord))
    assert decided(three_rings(), [*IN_LATE, *ended("ok", D), *done(E)]) == SettleRing("late")


def test_failed_and_rolled_back_share_a_budget() -> None:
    story = [*IN_LATE, *ended("failed", D), *ended("rolled-back", E)]
    assert decided(three_rings(allowed_failed=1), story) == Halt(
        "ring late: failed 2, allowed 1: d, e"
    )


def test_each_kind_has_a_budget_of_its_own() -> None:
    story = [*IN_LATE, *ended("failed", D), *ended("inconclusive", E)]
    made = three_rings(allowed_failed=1, allowed_inconclusive=1)
    assert decided(made, story) == SettleRing("late")


def test_what_is_still_to_be_tried_again_is_not_counted_yet() -> None:
    story = [*IN_LATE, *2 * ended("unreachable", D), *done(E)]
    assert isinstance(decided(three_rings(), story), Wait)


def test_many_failing_sites_are_not_all_named() -> None:
    sites = [site(f"s{number}") for number in range(7)]
    assert decided(rollout(ring("all", *sites)), ended("failed", *sites)) == Halt(
        "ring all: failed 7, allowed 0: s0, s1, s2, s3, s4 and 2 more"
    )


@pytest.mark.parametrize(
    ("undo_since", "expected"),
    [
        (None, ()),
        ("late", ("late",)),
        ("early", ("early", "late")),
        ("canary", ("canary", "early", "late")),
    ],
)
def test_a_halt_undoes_from_the_ring_that_is_named(
    undo_since: str | None, expected: tuple[str, ...]
) -> None:
    halt = decided(three_rings(undo_since), [*IN_LATE, *done(D), *done(E, outcome="failed")])
    assert halt == Halt("ring late: failed 1, allowed 0: e", expected)


SOAKING = rollout(ring("canary", A, B, soak_seconds=1800, allowed_failed=1), ring("all", C))
SOAKED = [*done(A), *ended("failed", B), 5 * MINUTE, settled("canary"), 30 * MINUTE]
SOAKS: list[tuple[str, Story, Decision]] = [
    (
        "it waits from when the ring was settled",
        SOAKED[:-1],
        Wait(BEGINS + 35 * MINUTE, "ring canary soaks for 30 minutes"),
    ),
    ("then looks at the sites that were well", SOAKED, CheckRing("canary", (A,))),
    ("still well", [*SOAKED, checked("canary")], EndRing("canary")),
    (
        "not reached: it is looked at again",
        [*SOAKED, checked("canary", a="unreachable")],
        Wait(BEGINS + 36 * MINUTE, "web-a is looked at again, it was not reached"),
    ),
    (
        "after a pause",
        [*SOAKED, checked("canary", a="unreachable"), MINUTE],
        CheckRing("canary", (A,)),
    ),
    (
        "then reached and well",
        [*SOAKED, checked("canary", a="unreachable"), MINUTE, checked("canary")],
        EndRing("canary"),
    ),
    (
        "never reached: that counts",
        [*SOAKED, *3 * [checked("canary", a="unreachable"), MINUTE]],
        Halt("ring canary: unreachable 1, allowed 0: a"),
    ),
    (
        "not any more: it goes back",
        [*SOAKED, checked("canary", a="failed")],
        Undo((A,)),
    ),
    (
        "not any more, and it was brought back: that counts",
        [*SOAKED, checked("canary", a="failed"), *undone(A)],
        Halt("ring canary: failed 2, allowed 1: a, b"),
    ),
]


@pytest.mark.parametrize(
    ("story", "expected"), [case[1:] for case in SOAKS], ids=[case[0] for case in SOAKS]
)
def test_a_ring_soaks_and_is_looked_at(story: Story, expected: Decision) -> None:
    assert decided(SOAKING, story) == expected


def test_an_emergency_passes_over_the_soak() -> None:
    made = replace(SOAKING, emergency=Emergency("being exploited", "Bo"))
    assert decided(made, SOAKED[:-1]) == EndRing("canary")


def ended_with(*outcomes: Sequence[NewEvent]) -> Decision:
    story = [event for events in outcomes for event in events]
    return decided(rollout(ring("all", A, B)), [*story, settled("all"), ring_ended("all")])


def test_the_last_word() -> None:
    assert ended_with(done(A), ended("ok", B)) == End("done")
    for outcome in COUNTED:
        assert ended_with(done(A), done(B, outcome=outcome), [accepted(B)]) == End("incomplete")


@pytest.mark.parametrize("word", ["done", "incomplete"])
def test_what_is_over_stays_over(word: str) -> None:
    story = [*IN_LATE, NewEvent("rollout-ended", body={"word": word})]
    assert decided(three_rings(), story) == Stand(word, "")  # type: ignore[arg-type]
