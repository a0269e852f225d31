"""How far a rollout is, as one document."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.walking import BEGINS
from unit.rollout.examples import (
    ALWAYS,
    IN_LATE,
    A,
    D,
    E,
    Story,
    aborted,
    after,
    cut_off,
    done,
    ended,
    halted,
    intended,
    paused,
    ring,
    ring_ended,
    rollout,
    settled,
    three_rings,
    undone,
)

from owc_deploy.rollout.decide import decide
from owc_deploy.rollout.models import NewEvent, Rollout
from owc_deploy.rollout.report import report


def reported(made: Rollout, story: Story, walked_by: str = "") -> dict[str, Any]:
    standing, moment = after(made, story)
    return report(standing, decide(standing, ALWAYS, moment), walked_by)


SOAKS = rollout(ring("all", A, soak_seconds=600))
OVER = NewEvent("rollout-ended", body={"word": "done"})
STATES: list[tuple[str, Rollout, Story, str, str]] = [
    ("somebody walks it", SOAKS, [], "anna", "running"),
    ("nobody does, and there is something to do", SOAKS, [], "", "interrupted"),
    ("nobody has to", SOAKS, [*done(A), settled("all")], "", "waiting"),
    ("nobody does, and a site was being changed", SOAKS, intended(A), "", "interrupted"),
    ("somebody does, and a site is being changed", SOAKS, intended(A), "anna", "running"),
    ("paused", SOAKS, [paused()], "", "paused"),
    ("halted", SOAKS, [*done(A, outcome="failed"), halted()], "", "halted"),
    ("halted, and cut off while it undid", SOAKS, [*done(A), halted("all")], "", "interrupted"),
    ("halted, and undoing", SOAKS, [*done(A), halted("all")], "anna", "halted"),
    ("aborted, to be undone", SOAKS, [*done(A), aborted("all")], "", "interrupted"),
    ("done", SOAKS, [*done(A), ring_ended("all"), OVER], "", "done"),
]


@pytest.mark.parametrize(
    ("made", "story", "walked_by", "expected"),
    [case[1:] for case in STATES],
    ids=[case[0] for case in STATES],
)
def test_its_state(made: Rollout, story: Story, walked_by: str, expected: str) -> None:
    assert reported(made, story, walked_by)["state"] == expected


def test_until_when_it_waits_and_why() -> None:
    document = reported(SOAKS, [*done(A), settled("all")])
    assert document["waits_until"] == "2026-11-25T09:10:00+00:00"
    assert document["why"] == "ring all soaks for 10 minutes"
    assert document["rings"][0]["settled_at"] == BEGINS.isoformat(timespec="seconds")


WORDS: list[tuple[str, Story, str]] = [
    ("it did not have its turn", [], "pending"),
    ("somebody is at it", intended(D), "under-way"),
    ("it was cut off, and nobody looked yet", [*intended(D), cut_off()], "inconclusive"),
    ("it is done", done(D), "changed"),
    ("it is busy", ended("busy", D), "busy"),
    ("it is being undone", [*done(D), halted("late"), *undone(D)[:1]], "under-way"),
    ("it was undone", [*done(D), halted("late"), *undone(D)], "undone"),
    (
        "it could not be",
        [*done(D), halted("late"), *undone(D, outcome="failed")],
        "undo-failed",
    ),
]


@pytest.mark.parametrize(
    ("story", "expected"), [case[1:] for case in WORDS], ids=[case[0] for case in WORDS]
)
def test_one_word_for_a_site(story: Story, expected: str) -> None:
    document = reported(three_rings(), [*IN_LATE, *story])
    assert document["rings"][2]["sites"][0]["outcome"] == expected
    assert document["counts"][expected] >= 1


def test_the_release_that_is_live_is_the_one_that_was_seen() -> None:
    story = [
        *[*IN_LATE, *intended(D, release="one"), *ended("unreachable", D)],
        *[*intended(D, release="two"), *ended("busy", D)],
        *ended("changed", D, release_id="one"),
    ]
    sites = reported(three_rings(), story)["rings"][2]["sites"]
    assert (sites[0]["release_id"], sites[0]["previous_release_id"]) == ("one", "old")
    assert (sites[1]["site"], sites[1]["release_id"]) == (E.site, "")


def test_what_counts_against_the_budget() -> None:
    document = reported(three_rings(allowed_failed=1), [*IN_LATE, *done(D, outcome="failed")])
    late = document["rings"][2]
    assert late["failing"] == {"failed": 1, "inconclusive": 0, "unreachable": 0}
    assert late["allowed"] == {"failed": 1, "inconclusive": 0, "unreachable": 0}
