"""The resolver against every set there is: random small catalogues, and all that can be asked."""

import functools
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.catalogue.catalogues import (
    SERVER,
    advisory,
    block,
    catalogue,
    conflict,
    function,
    manifest,
    needs,
    release,
)
from unit.catalogue.oracle import Oracle

from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.explain import CHOOSE_PROVIDER
from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.fleet.models import BlockChoice, Hold, Lock, Manifest

NAMES = ("a", "b", "c", "d")
VERSIONS = ("1", "2", "3")
names = st.sampled_from(NAMES)
constraints = st.sampled_from(("*", "*", "1", "2", ">=2", "^1", "<3"))
requirements = st.one_of(
    st.builds(lambda name, version: needs(name, version=version), names, constraints),
    st.builds(
        lambda some, version: needs(*some, version=version),
        st.lists(names, min_size=2, max_size=3, unique=True),
        constraints,
    ),
    st.builds(function, st.sampled_from(("f", "g"))),
)
releases = st.builds(
    release,
    st.sampled_from(VERSIONS),
    requires=st.lists(requirements, max_size=2).map(tuple),
    provides=st.sampled_from(((), (), ("f",), ("g",), ("f", "g"))),
    conflicts=st.lists(st.builds(conflict, names, constraints), max_size=1).map(tuple),
    train=st.sampled_from((None, None, None, "t", "u")),
    wordpress=st.sampled_from(("*", "*", "^6", "^7")),
    php=st.sampled_from(("*", "*", "<8.3", ">=8.3")),
    updates_from=st.sampled_from(("*", "*", ">=2", "1")),
    channel=st.sampled_from(("stable", "stable", "stable", "beta")),
    withdrawn=st.sampled_from((None, None, None, None, "bad")),
)


def _is_apart(name: str, item: BlockRelease) -> bool:
    """A catalogue holds no release that needs, or cannot stand beside, its own block."""
    needed = {other for wanted in item.requires for other in wanted.any_of}
    return name not in needed | {other.block for other in item.conflicts}


def _blocks(name: str) -> st.SearchStrategy[Block]:
    listed = st.lists(
        releases.filter(functools.partial(_is_apart, name)),
        min_size=1,
        max_size=3,
        unique_by=lambda item: item.version,
    )
    return st.builds(
        lambda some, environments, affected: block(
            name,
            *some,
            environments=environments,
            advisories=tuple(advisory(version) for version in affected),
        ),
        listed,
        st.sampled_from((("production",),) * 5 + (("test",),)),
        st.lists(st.sampled_from(VERSIONS), max_size=1),
    )


catalogues = st.tuples(*map(_blocks, NAMES)).map(lambda some: catalogue(*some))
choices = st.lists(
    st.builds(
        BlockChoice,
        names,
        constraints,
        channel=st.sampled_from((None, None, "stable", "beta")),
        hold=st.sampled_from((None, None, None, Hold("tested"))),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda choice: choice.name,
)
manifests = st.builds(
    lambda chosen, **details: manifest(**details, blocks=tuple(chosen)),
    choices,
    dependencies=st.sampled_from(("add", "add", "refuse")),
    channel=st.sampled_from(("stable", "stable", "beta")),
    php=st.sampled_from(("8.2", "^8")),
    wordpress=st.sampled_from(("*", "^6")),
)


def _locked(lock: Lock) -> dict[str, str]:
    found = {item.name: item.version for item in lock.blocks}
    return found | {"php": lock.php, "wordpress": lock.wordpress.version}


def _compared(
    offered: Catalogue, asked: Manifest, previous: Lock | None, only: frozenset[str]
) -> Lock | None:
    oracle = Oracle(
        offered,
        asked,
        NAMES,
        SERVER.php_versions,
        _locked(previous) if previous else {},
        only if previous else frozenset(),
    )
    best = oracle.best()
    if best is not None and not oracle.unclear(best):
        lock = resolve(asked, SERVER, offered, previous=previous, only=only)
        assert _locked(lock) == best.versions
        return lock
    with pytest.raises(ResolutionError) as caught:
        resolve(asked, SERVER, offered, previous=previous, only=only)
    refusals = caught.value.refusals
    assert refusals
    assert all(refusal.message for refusal in refusals)
    assert best is None or CHOOSE_PROVIDER in {refusal.reference for refusal in refusals}
    return None


@settings(max_examples=100, deadline=None)
@given(catalogues, manifests)
def test_the_answer_is_the_best_of_every_set(offered: Catalogue, asked: Manifest) -> None:
    lock = _compared(offered, asked, None, frozenset())
    if lock is not None:
        assert resolve(asked, SERVER, offered, previous=lock) == lock


@settings(max_examples=100, deadline=None)
@given(catalogues, catalogues, manifests, manifests, st.data())
def test_an_update_changes_no_more_than_it_must(
    before: Catalogue, now: Catalogue, earlier: Manifest, asked: Manifest, data: Any
) -> None:
    try:
        previous = resolve(earlier, SERVER, before)
    except ResolutionError:
        return
    named = [choice.name for choice in asked.blocks]
    only = data.draw(st.sets(st.sampled_from([*named, "wordpress", "php"]), max_size=2))
    _compared(now, asked, previous, frozenset(only))


calm_releases = st.builds(
    release,
    st.sampled_from(("1", "2", "3", "4")),
    requires=st.lists(
        st.builds(lambda name, version: needs(name, version=version), names, constraints),
        max_size=1,
    ).map(tuple),
    conflicts=st.lists(st.builds(conflict, names, constraints), max_size=1).map(tuple),
    train=st.sampled_from((None, None, None, "t")),
)


@settings(max_examples=120, deadline=None)
@given(st.data(), st.sets(names, min_size=2, max_size=4))
def test_an_update_that_drags_others_along_changes_the_fewest(data: Any, chosen: set[str]) -> None:
    listed = {
        name: data.draw(
            st.lists(
                calm_releases.filter(functools.partial(_is_apart, name)),
                min_size=2,
                max_size=4,
                unique_by=lambda item: item.version,
            )
        )
        for name in NAMES
    }
    bare = [block(name, *(item.version for item in some)) for name, some in listed.items()]
    pins = [
        (name, data.draw(st.sampled_from([item.version for item in listed[name]])))
        for name in sorted(chosen)
    ]
    previous = resolve(manifest(*pins), SERVER, catalogue(*bare))
    offered = catalogue(*(block(name, *some) for name, some in listed.items()))
    only = data.draw(st.sets(st.sampled_from(sorted(chosen)), max_size=1))
    _compared(offered, manifest(*sorted(chosen)), previous, frozenset(only))


@settings(max_examples=60, deadline=None)
@given(catalogues, manifests, st.randoms(use_true_random=False))
def test_the_order_of_what_is_asked_does_not_matter(
    offered: Catalogue, asked: Manifest, chance: random.Random
) -> None:
    def outcome(one: Manifest, other: Catalogue) -> object:
        try:
            return resolve(one, SERVER, other)
        except ResolutionError as error:
            return error.refusals

    listed, chosen = list(offered.blocks.items()), list(asked.blocks)
    chance.shuffle(listed)
    chance.shuffle(chosen)
    shuffled = Catalogue(dict(listed), offered.sha256)
    assert outcome(replace(asked, blocks=tuple(chosen)), shuffled) == outcome(asked, offered)
