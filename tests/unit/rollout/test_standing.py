"""How far a rollout is: what events come to when they are added up."""

from __future__ import annotations

from unit.rollout.examples import A, after, cut_off, done, ended, intended, ring, rollout

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
