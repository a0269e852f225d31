"""How far a rollout is: what events come to when they are added up."""

from __future__ import annotations

import pytest
from unit.rollout.examples import (
    A,
    B,
    Story,
    aborted,
    accepted,
    after,
    cut_off,
    done,
    ended,
    halted,
    intended,
    resumed,
    retried,
    ring,
    rollout,
    undone,
)

from owc_deploy.rollout.report import word_of

MADE = rollout(ring("all", A))


def test_the_way_back_is_to_what_was_live_before_the_first_release_of_the_rollout() -> None:
    story = [*intended(A, observed="old", release="one"), cut_off()]
    standing, _ = after(MADE, [*story, *intended(A, observed="one", release="two")])
    assert standing.sites["a"].before == "old"
    assert standing.sites["a"].release_ids == ("one", "two")


def test_the_way_back_is_to_what_others_made_live_meanwhile() -> None:
    story = [*intended(A, observed="old", release="one"), *ended("busy", A)]
    standing, _ = after(MADE, [*story, *intended(A, observed="theirs", release="two")])
    assert standing.sites["a"].before == "theirs"


def test_what_was_seen_to_be_live_already_was_changed_by_somebody_else() -> None:
    standing, _ = after(MADE, [*intended(A), cut_off(), *ended("ok", A)])
    assert not standing.sites["a"].may_have_changed
    standing, _ = after(MADE, done(A))
    assert standing.sites["a"].may_have_changed


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ([], False),
        ([*ended("unreachable", A)], False),
        ([*intended(A), cut_off()], True),
        (done(A), False),
        (done(A, outcome="rolled-back"), False),
        (done(A, outcome="unreachable"), True),
        (done(A, outcome="inconclusive"), True),
        ([*intended(A), cut_off(), *ended("busy", A)], True),
        ([*done(A, outcome="busy"), *intended(A), cut_off()], True),
        ([*done(A), halted("all"), *undone(A)[:1], cut_off()], True),
        ([*done(A), halted("all"), *undone(A)], False),
        ([*done(A, outcome="inconclusive"), halted(), retried(A)], True),
        ([*done(A, outcome="failed"), halted(), retried(A)], False),
    ],
)
def test_whether_something_may_still_go_on_at_its_server(story: Story, expected: bool) -> None:
    assert after(MADE, story)[0].sites["a"].is_unknown is expected


# A was changed and its answer lost; B failed; both were undone, B's failure accepted, and A tried
# again, as it had attempts left.
CHANGED_AFTER_ITS_UNDO = [
    *[*intended(A), *ended("unreachable", A), *done(B, outcome="failed")],
    *[halted("all"), *undone(A), accepted(B), resumed()],
    *[*intended(A, release="newer"), *ended("changed", A, release_id="newer")],
]
BOTH = rollout(ring("all", A, B))


def test_a_site_that_is_changed_after_its_undo_is_changed() -> None:
    standing, _ = after(BOTH, CHANGED_AFTER_ITS_UNDO)
    assert word_of(standing.sites["a"]) == "changed"
    assert standing.sites["a"].is_good


def test_a_site_that_is_changed_after_its_undo_can_be_undone_again() -> None:
    standing, _ = after(BOTH, [*CHANGED_AFTER_ITS_UNDO, aborted("all")])
    assert list(standing.to_undo()) == [A]
