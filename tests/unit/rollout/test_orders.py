"""What a person may tell a rollout, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.rollout.examples import (
    IN_LATE,
    D,
    E,
    Story,
    aborted,
    after,
    done,
    ended,
    halted,
    intended,
    often,
    paused,
    ring_ended,
    three_rings,
    undone,
)

from owc_deploy.errors import UsageError
from owc_deploy.rollout import orders
from owc_deploy.rollout.models import NewEvent
from owc_deploy.rollout.standing import Standing

OVER = [*IN_LATE, *done(D, E), ring_ended("late"), NewEvent("rollout-ended", body={"word": "done"})]
FAILED = [*IN_LATE, *done(D), *done(E, outcome="failed")]
UNDOING = [*FAILED, halted("late")]
UNDONE = [*UNDOING, *undone(D)]
ABORTING = [*FAILED, aborted("early", "late")]
ABORTED = [aborted(), NewEvent("rollout-ended", body={"word": "aborted"})]


def stands(story: Story) -> Standing:
    return after(three_rings("late"), story)[0]


Order = Callable[[Standing], tuple[NewEvent, ...]]


def pause(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.pause(standing, "")


def resume(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.resume(standing, "")


def accept(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.resume(standing, "known", accept_failures=True)


def abort(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.abort(standing, "")


def abort_and_undo(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.abort(standing, "withdrawn", undo_since="early")


def supersede(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.supersede(standing, "superseded by r2")


def retry(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.retry(standing, (), "")


def retry_e(standing: Standing) -> tuple[NewEvent, ...]:
    return orders.retry(standing, ("e",), "")


SAYS: list[tuple[str, Order, Story, list[tuple[str, dict[str, Any]]]]] = [
    ("pause", pause, IN_LATE, [("rollout-paused", {"why": "a person asked for it"})]),
    ("resume what runs", resume, [*IN_LATE, *intended(D)], []),
    ("resume what was paused", resume, [paused()], [("rollout-resumed", {"why": ""})]),
    ("resume what was cut off while it undid", resume, UNDOING, []),
    ("resume what was cut off while it undid for an abort", resume, ABORTING, []),
    (
        "accept what failed",
        accept,
        UNDONE,
        [
            ("failures-accepted", {"sites": ["e"], "why": "known"}),
            ("rollout-resumed", {"why": "known"}),
        ],
    ),
    (
        "accept while it runs",
        accept,
        FAILED,
        [("failures-accepted", {"sites": ["e"], "why": "known"})],
    ),
    (
        "abort",
        abort,
        IN_LATE,
        [
            ("rollout-aborted", {"why": "a person asked for it", "undo_rings": []}),
            ("rollout-ended", {"word": "aborted"}),
        ],
    ),
    (
        "abort what has undone already",
        abort,
        UNDONE,
        [
            ("rollout-aborted", {"why": "a person asked for it", "undo_rings": []}),
            ("rollout-ended", {"word": "aborted"}),
        ],
    ),
    (
        "abort what still undoes: it goes on with that",
        abort,
        UNDOING,
        [("rollout-aborted", {"why": "a person asked for it", "undo_rings": []})],
    ),
    (
        "abort and undo",
        abort_and_undo,
        FAILED,
        [("rollout-aborted", {"why": "withdrawn", "undo_rings": ["early", "late"]})],
    ),
    (
        "retry what failed and what was undone",
        retry,
        UNDONE,
        [("sites-retried", {"sites": ["d", "e"], "why": ""}), ("rollout-resumed", {"why": ""})],
    ),
    (
        "retry what could not be undone",
        retry,
        [*UNDOING, *undone(D, outcome="failed")],
        [("sites-retried", {"sites": ["d", "e"], "why": ""}), ("rollout-resumed", {"why": ""})],
    ),
    ("retry while it runs", retry_e, FAILED, [("sites-retried", {"sites": ["e"], "why": ""})]),
    (
        "retry what was given up",
        retry_e,
        [*IN_LATE, *often("unreachable", E), halted()],
        [("sites-retried", {"sites": ["e"], "why": ""}), ("rollout-resumed", {"why": ""})],
    ),
]


@pytest.mark.parametrize(
    ("order", "story", "expected"), [case[1:] for case in SAYS], ids=[case[0] for case in SAYS]
)
def test_what_is_written_down(
    order: Order, story: Story, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    assert [(event.kind, event.body) for event in order(stands(story))] == expected


REFUSED: list[tuple[str, Order, Story, str, str]] = [
    ("supersede what a person paused", supersede, [paused()], "was paused", "rollout abort r1"),
    ("pause twice", pause, [paused()], "is paused and cannot be paused", "rollout status r1"),
    ("pause what is over", pause, OVER, "is done and cannot be paused", "rollout status r1"),
    ("resume what is over", resume, OVER, "is done and cannot be resumed", "rollout status r1"),
    (
        "resume what was aborted",
        resume,
        ABORTED,
        "is aborted and cannot be resumed",
        "rollout status r1",
    ),
    (
        "resume what was halted",
        resume,
        [*FAILED, halted()],
        "rollout r1 was halted: too much",
        "rollout retry r1",
    ),
    ("abort twice", abort, ABORTED, "cannot be aborted", "rollout status r1"),
    ("abort what undoes for an abort", abort, ABORTING, "still undoing", "rollout resume r1"),
    ("pause what undoes for an abort", pause, ABORTING, "still undoing", "rollout resume r1"),
    ("accept what undoes for an abort", accept, ABORTING, "still undoing", "rollout resume r1"),
    ("supersede what still undoes", supersede, UNDOING, "still undoing", "rollout resume r1"),
    ("supersede what undoes for an abort", supersede, ABORTING, "undoing", "rollout resume r1"),
    ("abort what is over", abort, OVER, "is done and cannot be aborted", "rollout status r1"),
    ("retry what is over", retry, OVER, "rollout r1 is over", "rollout start"),
    ("retry what still undoes", retry, UNDOING, "still undoing", "rollout resume r1"),
    ("accept while it undoes", accept, UNDOING, "still undoing", "rollout resume r1"),
    ("retry when all is well", retry, IN_LATE, "nothing to try again", "rollout status r1"),
    (
        "retry a site that is well",
        retry_e,
        [*IN_LATE, *ended("ok", E)],
        "e: nothing to",
        "rollout status",
    ),
]


@pytest.mark.parametrize(
    ("order", "story", "message", "hint"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_is_refused(order: Order, story: Story, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        order(stands(story))
    assert message in refused.value.message
    assert hint in (refused.value.hint or "")


def test_a_ring_that_it_does_not_have_cannot_be_undone() -> None:
    with pytest.raises(UsageError, match="no ring everyone") as refused:
        orders.abort(stands(IN_LATE), "", undo_since="everyone")
    assert refused.value.context == "it has: canary, early, late"
    assert refused.value.hint == "owc-deploy rollout abort r1 --undo-since canary"
