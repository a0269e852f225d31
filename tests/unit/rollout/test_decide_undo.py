"""Undoing, and what a person told a rollout: tables of what happened so far, and the decision."""

from __future__ import annotations

import pytest
from fakes.walking import BEGINS
from unit.rollout.examples import (
    IN_LATE,
    MINUTE,
    A,
    B,
    C,
    D,
    E,
    F,
    Story,
    aborted,
    accepted,
    checked,
    cut_off,
    decided,
    done,
    ended,
    given_up,
    halted,
    intended,
    often,
    on,
    paused,
    resumed,
    retried,
    ring,
    ring_ended,
    rollout,
    settled,
    three_rings,
    undone,
)

from owc_deploy.rollout.decide import UNDER_WAY
from owc_deploy.rollout.models import (
    CheckRing,
    Decision,
    End,
    NewEvent,
    Rollout,
    SettleRing,
    Stand,
    Start,
    Undo,
    Wait,
)

HALTED = [*IN_LATE, *done(D), *done(E, outcome="failed"), halted("early", "late")]
UNDOING: list[tuple[str, Story, Decision]] = [
    ("what was changed, the last first", HALTED, Undo((D, C, B))),
    ("what is left of it", [*HALTED, *undone(D)], Undo((C, B))),
    (
        "a site that was as before already is done with",
        [*HALTED, *undone(D, outcome="ok")],
        Undo((C, B)),
    ),
    ("nothing any more", [*HALTED, *undone(B, C, D)], Stand("halted", "too much")),
    (
        "out of reach: others do not wait for it",
        [*HALTED, *undone(D, outcome="unreachable")],
        Undo((C, B)),
    ),
    (
        "out of reach: it is tried again after its pause",
        [*HALTED, *undone(B, C), *undone(D, outcome="busy")],
        Wait(BEGINS + MINUTE, "what could not be undone is tried again"),
    ),
    (
        "and then goes again",
        [*HALTED, *undone(B, C), *undone(D, outcome="busy"), MINUTE],
        Undo((D,)),
    ),
    (
        "three times, no more",
        [*HALTED, *undone(B, C), *3 * undone(D, outcome="unreachable"), MINUTE],
        Stand("halted", "too much"),
    ),
    (
        "nobody knows: it is looked at again",
        [*HALTED, *undone(B, C), *undone(D, outcome="inconclusive"), MINUTE],
        Undo((D,)),
    ),
    (
        "what was refused is not tried again",
        [*HALTED, *undone(B, C), *undone(D, outcome="failed"), MINUTE],
        Stand("halted", "too much"),
    ),
    (
        "a site of which nobody knows is looked at",
        [*IN_LATE, *done(D), *done(E, outcome="inconclusive"), halted("late")],
        Undo((E, D)),
    ),
    (
        "so is one that was well until it was looked at after its soak",
        [*IN_LATE, *done(D, E), settled("late"), checked("late", e="failed"), halted("late")],
        Undo((E, D)),
    ),
    (
        "so is one whose second release failed on top of the first, its answer having been lost",
        [
            *[*IN_LATE, *intended(D, release="one"), cut_off()],
            *intended(D, observed="one", release="two"),
            *[*ended("failed", D), *done(E), halted("late")],
        ],
        Undo((E, D)),
    ),
    (
        "but none that its own server had brought back",
        [*IN_LATE, *intended(D), cut_off(), *done(D, outcome="rolled-back"), halted("late")],
        Stand("halted", "too much"),
    ),
    (
        "a site that somebody else changes now is left to them",
        [*IN_LATE, *done(D), *intended(E), halted("late")],
        Undo((D,)),
    ),
    (
        "and waited for: it may have to be undone",
        [*IN_LATE, *done(D), *intended(E), halted("late"), *undone(D)],
        Wait(BEGINS + UNDER_WAY, "sites are being changed"),
    ),
    (
        "so is one that somebody else undoes",
        [*HALTED, *undone(B, C), *undone(D)[:1]],
        Wait(BEGINS + UNDER_WAY, "sites are being changed"),
    ),
    (
        "unless they were cut off",
        [*HALTED, *undone(B, C), *undone(D)[:1], cut_off()],
        Undo((D,)),
    ),
    (
        "an abort is over when nobody changes anything any more",
        [*IN_LATE, *intended(E), aborted("late")],
        Wait(BEGINS + UNDER_WAY, "sites are being changed"),
    ),
    (
        "a site that never was begun is left alone",
        [*IN_LATE, *done(D), *often("unreachable", E), halted("late")],
        Undo((D,)),
    ),
    (
        "so is one that the rollout did not change",
        [*IN_LATE, *ended("ok", D), *done(E), halted("late")],
        Undo((E,)),
    ),
    (
        "and one that was made by the rollout: there is nothing to go back to",
        [*IN_LATE, *intended(D, observed=""), *ended("changed", D), *done(E), halted("late")],
        Undo((E,)),
    ),
]


@pytest.mark.parametrize(
    ("story", "expected"), [case[1:] for case in UNDOING], ids=[case[0] for case in UNDOING]
)
def test_undoing(story: Story, expected: Decision) -> None:
    assert decided(three_rings("early"), story) == expected


def test_undoing_keeps_to_the_caps() -> None:
    sites = [*on("web1", "a", "b", "c"), D, E, F]
    made = rollout(ring("all", *sites))
    undo = decided(made, [*done(*sites), halted("all")])
    assert undo == Undo((F, E, D, sites[2]))


UNDONE = [*IN_LATE, *done(D), *done(E, outcome="failed"), halted("late"), *undone(D)]
ORDERS: list[tuple[str, Story, Decision]] = [
    ("paused", [*IN_LATE, paused()], Stand("paused", "lunch")),
    ("resumed", [*IN_LATE, paused(), resumed()], Start("late", (D, E))),
    ("aborted", [*IN_LATE, aborted()], End("aborted")),
    (
        "aborted, and everything since a ring undone",
        [*IN_LATE, aborted("early", "late")],
        Undo((C, B)),
    ),
    (
        "aborted and undone",
        [*IN_LATE, aborted("early", "late"), *undone(B, C)],
        End("aborted"),
    ),
    (
        "over",
        [*IN_LATE, aborted(), NewEvent("rollout-ended", body={"word": "aborted"})],
        Stand("aborted", "withdrawn"),
    ),
    (
        "a failed site retried",
        [*IN_LATE, *done(D, outcome="failed"), halted(), retried(D), resumed()],
        Start("late", (D, E)),
    ),
    (
        "a failed site accepted",
        [*IN_LATE, *done(D, outcome="failed"), halted(), accepted(D), resumed()],
        Start("late", (E,)),
    ),
    (
        "a site retried in an earlier ring: that ring comes first",
        [*IN_LATE, *done(D), retried(A)],
        Start("canary", (A,)),
    ),
    (
        "paused while it halted: it undoes",
        [*HALTED, paused()],
        Undo((D, C, B)),
    ),
    (
        "halted while it was paused: it undoes",
        [*HALTED[:-1], paused(), HALTED[-1]],
        Undo((D, C, B)),
    ),
    (
        "halted while it was aborted: it stays aborted",
        [*HALTED[:-1], aborted("late"), HALTED[-1]],
        Undo((D,)),
    ),
    (
        "sites retried while it halted: it undoes",
        [*HALTED, retried(E)],
        Undo((D, C, B)),
    ),
    (
        "resumed while it was aborted: it stays aborted",
        [*IN_LATE, paused(), aborted(), resumed()],
        End("aborted"),
    ),
    (
        "aborted when it was done: it stays done",
        [*IN_LATE, NewEvent("rollout-ended", body={"word": "done"}), aborted("late")],
        Stand("done", ""),
    ),
    (
        "aborted after it went on: what it undid before does not count any more",
        [*UNDONE, retried(D, E), resumed(), *done(D), aborted()],
        End("aborted"),
    ),
    (
        "aborted, to be undone: what could not be is tried once more",
        [*HALTED, *3 * undone(D, outcome="unreachable"), *undone(B, C), aborted("late")],
        Undo((D,)),
    ),
    (
        "what was undone stays so, and is not looked at after the soak",
        [*UNDONE, accepted(E), resumed(), settled("late"), 30 * MINUTE],
        CheckRing("late", ()),
    ),
    (
        "and is not as it was to be at the end, whatever became of the others",
        [*UNDONE, retried(E), resumed(), *done(E), ring_ended("late")],
        End("incomplete"),
    ),
    (
        "and is settled again",
        [*IN_LATE, *done(D), retried(A), *ended("ok", A)],
        SettleRing("canary"),
    ),
]


@pytest.mark.parametrize(
    ("story", "expected"), [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS]
)
def test_what_a_person_told_it(story: Story, expected: Decision) -> None:
    made = three_rings("early", soak_seconds=1800)
    assert decided(made, story) == expected


W1, W2 = on("web1", "w1", "w2")
LOST = rollout(ring("all", W1, W2, allowed_unreachable=1))
WAVES = rollout(ring("all", A, B, C, wave_sizes=(1, 2)))
RETRIES: list[tuple[str, Rollout, Story, Decision]] = [
    (
        "one of a server that was given up: it is looked at once more",
        LOST,
        [*often("unreachable", W1), *given_up("unreachable", W2), halted(), retried(W2), resumed()],
        Start("all", (W2,)),
    ),
    (
        "all of a ring, which had been undone: its waves begin anew",
        WAVES,
        [
            *[*done(A, B), *done(C, outcome="failed"), halted("all"), *undone(B, A)],
            *[retried(A, B, C), resumed()],
        ],
        Start("all", (A,)),
    ),
    (
        "one that was changed, which nobody had seen: it can still be undone",
        WAVES,
        [
            *[*done(A, outcome="inconclusive"), halted(), retried(A), resumed()],
            *[*ended("changed", A), *done(B, outcome="failed"), halted("all")],
        ],
        Undo((A,)),
    ),
    (
        "one that had been undone and now fails: there is nothing to undo",
        WAVES,
        [
            *[*done(A), *done(B, outcome="failed"), halted("all"), *undone(A), retried(A)],
            *[resumed(), *done(A, outcome="failed"), halted("all")],
        ],
        Stand("halted", "too much"),
    ),
]


@pytest.mark.parametrize(
    ("made", "story", "expected"), [case[1:] for case in RETRIES], ids=[case[0] for case in RETRIES]
)
def test_trying_sites_again(made: Rollout, story: Story, expected: Decision) -> None:
    assert decided(made, story) == expected
