"""Rollouts in the store: a site is in one at a time, also while one takes the place of another."""

from __future__ import annotations

from unit.store.places import Place

from owc_deploy.store import Store
from owc_deploy.store.audit import NewEntry


def kinds(store: Store, rollout_id: str) -> list[str]:
    return [entry.kind for entry in store.rollouts.entries(rollout_id)]


def ended(rollout_id: str) -> NewEntry:
    return NewEntry("rollout-ended", {"word": "aborted"}, rollout_id=rollout_id)


def test_a_rollout_takes_the_place_of_others_at_once_or_not_at_all(place: Place) -> None:
    store = place.open()
    for rollout_id, sites in (("one", ["altena"]), ("two", ["bergen"])):
        started = NewEntry("rollout-started", {}, rollout_id=rollout_id)
        assert store.rollouts.add(rollout_id, {}, sites, started) == {}
    third = NewEntry("rollout-started", {}, rollout_id="three")
    ending = {"one": [ended("one")]}

    both = ["altena", "bergen"]
    assert store.rollouts.add("three", {}, both, third, ending=ending) == {"bergen": "two"}
    assert store.rollouts.identifiers(unfinished=True) == ("two", "one")
    assert kinds(store, "one") == ["rollout-started"]

    assert store.rollouts.add("three", {}, ["altena"], third, ending=ending) == {}
    assert store.rollouts.identifiers(unfinished=True) == ("three", "two")
    assert kinds(store, "one") == ["rollout-started", "rollout-ended"]


def test_a_rollout_that_came_to_its_end_meanwhile_keeps_it(place: Place) -> None:
    store = place.open()
    for rollout_id in ("one", "two"):
        started = NewEntry("rollout-started", {}, rollout_id=rollout_id)
        ending = {"one": [ended("one")]} if rollout_id == "two" else {}
        assert store.rollouts.add(rollout_id, {}, ["altena"], started, ending=ending) == {}
        if rollout_id == "one":
            store.rollouts.append("one", ended="done")
    assert store.rollouts.identifiers(unfinished=True) == ("two",)
    assert kinds(store, "one") == ["rollout-started"]
