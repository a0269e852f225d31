"""Resolution: what is chosen, what is kept, and that no set is missed or made up."""

import functools
import os
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.catalogue.catalogues import (
    FUNCTION,
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

from owc_deploy.catalogue.activation import activation_order
from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.models import BlockRelease, Catalogue
from owc_deploy.catalogue.resolve import resolve, warnings_of
from owc_deploy.fleet.models import BlockChoice, Hold, Lock, Manifest, Server, ThemeChoice

OWC = catalogue(
    block("cmb2", "2.10.1", "2.11.0", "2.12.0"),
    block(
        "openwoo", release("4.3.0", requires=(needs("cmb2", version="2.11.*"), function(FUNCTION)))
    ),
    block(
        "openpub-base",
        release("3.9.3", requires=(needs("cmb2"),), provides=(FUNCTION,)),
        "2.3.13",
    ),
    block(
        "pdc-base",
        release("3.18.1", requires=(needs("meta-box", "meta-box-aio"),), provides=(FUNCTION,)),
    ),
    block("pdc-leges", release("2.2.9", requires=(needs("pdc-base"), needs("cmb2")))),
    block("meta-box", "5.14.1"),
    block("meta-box-aio", "1.0", paid=True),
)


def versions(lock: Lock) -> dict[str, str]:
    return {item.name: item.version for item in lock.blocks}


def locked(asked: Manifest, offered: Catalogue = OWC, server: Server = SERVER, **more: Any) -> Lock:
    return resolve(asked, server, offered, **more)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((), {}),
        (("cmb2",), {"cmb2": "2.12.0"}),
        ((("cmb2", "^2.10 <2.12"),), {"cmb2": "2.11.0"}),
        (
            ("openwoo", "openpub-base"),
            {"cmb2": "2.11.0", "openpub-base": "3.9.3", "openwoo": "4.3.0"},
        ),
        (("pdc-base",), {"meta-box": "5.14.1", "pdc-base": "3.18.1"}),
        (("pdc-base", "meta-box-aio"), {"meta-box-aio": "1.0", "pdc-base": "3.18.1"}),
        (
            ("openwoo", "pdc-leges"),
            {
                "cmb2": "2.11.0",
                "meta-box": "5.14.1",
                "openwoo": "4.3.0",
                "pdc-base": "3.18.1",
                "pdc-leges": "2.2.9",
            },
        ),
        ((("openpub-base", "^2"),), {"openpub-base": "2.3.13"}),
    ],
)
def test_what_is_chosen(blocks: Any, expected: dict[str, str]) -> None:
    assert versions(locked(manifest(*blocks))) == expected


def test_a_lock_says_everything() -> None:
    asked = manifest("openwoo", "openpub-base")
    lock = locked(asked)
    assert (lock.site, lock.manifest_sha256, lock.php) == ("voorbeeld", asked.sha256, "8.2")
    assert (lock.wordpress.version, lock.wp_cli.version) == ("7.1.1", "2.12.0")
    assert lock.language is not None
    assert (lock.language.name, lock.theme.kind) == ("language-nl_NL", "theme")
    assert [(item.name, item.reason) for item in lock.blocks] == [
        ("cmb2", "required by openpub-base"),
        ("openpub-base", "chosen"),
        ("openwoo", "chosen"),
    ]
    assert (lock.blocks[0].folder, lock.blocks[0].main_file) == ("cmb2", "cmb2.php")


@pytest.mark.parametrize(
    ("asked", "php", "wordpress", "language"),
    [
        ({}, "8.2", "7.1.1", "7.1.1"),
        ({"php": "^8"}, "8.4", "7.1.1", "7.1.1"),
        ({"php": "8.2.*"}, "8.2", "7.1.1", "7.1.1"),
        ({"php": ">=8.2.5 <8.3"}, "8.2", "7.1.1", "7.1.1"),
        ({"wordpress": "^6"}, "8.2", "6.5", "6.5"),
        ({"locale": "en_US"}, "8.2", "7.1.1", None),
    ],
)
def test_platforms(asked: Any, php: str, wordpress: str, language: str | None) -> None:
    lock = locked(manifest("cmb2", **asked))
    found = lock.language.version if lock.language else None
    assert (lock.php, lock.wordpress.version, found) == (php, wordpress, language)


def test_a_branch_stands_for_its_newest_patch() -> None:
    offered = catalogue(block("new", release("1.0", php=">=8.2.7")))
    assert locked(manifest("new"), offered).php == "8.2"


def test_wordpress_comes_before_the_blocks() -> None:
    offered = catalogue(
        block("a", release("2.0", wordpress="^6"), release("1.0", wordpress="*")),
    )
    lock = locked(manifest("a"), offered)
    assert (lock.wordpress.version, versions(lock)) == ("7.1.1", {"a": "1.0"})


def test_wordpress_steps_back_where_nothing_else_will_do() -> None:
    offered = catalogue(block("a", release("2.0", wordpress="^6")))
    assert locked(manifest("a"), offered).wordpress.version == "6.5"
    with_dutch_for_old_only = catalogue(block("language-nl_NL", release("6.5", wordpress="6.5.*")))
    assert locked(manifest(), with_dutch_for_old_only).wordpress.version == "6.5"


def test_blocks_come_before_the_php_branch() -> None:
    offered = catalogue(block("a", release("2.0", php="<8.3"), release("1.0")))
    lock = locked(manifest("a", php="^8"), offered)
    assert (lock.php, versions(lock)) == ("8.2", {"a": "2.0"})


def test_a_conflict_is_avoided_with_an_older_release() -> None:
    offered = catalogue(
        block("zgw", release("2.0", conflicts=(conflict("prefill"),)), "1.0"),
        block("prefill", "1.9"),
    )
    assert versions(locked(manifest("zgw", "prefill"), offered)) == {"prefill": "1.9", "zgw": "1.0"}
    assert versions(locked(manifest("zgw"), offered)) == {"zgw": "2.0"}


def test_trains_move_together() -> None:
    offered = catalogue(
        block("pdc-base", release("3.15", train="cpts-5"), release("3.14")),
        block("openpub-base", release("3.7", train="cpts-5"), release("3.6")),
        block("openwoo", "4.2"),
    )
    both = locked(manifest("pdc-base", "openpub-base", "openwoo"), offered)
    assert versions(both) == {"pdc-base": "3.15", "openpub-base": "3.7", "openwoo": "4.2"}
    held = locked(manifest("pdc-base", ("openpub-base", "3.6")), offered)
    assert versions(held) == {"pdc-base": "3.14", "openpub-base": "3.6"}
    assert versions(locked(manifest("pdc-base"), offered)) == {"pdc-base": "3.15"}
    moved = locked(
        manifest("pdc-base", "openpub-base"), offered, previous=held, only=frozenset({"pdc-base"})
    )
    assert versions(moved) == {"pdc-base": "3.15", "openpub-base": "3.7"}


def test_vulnerable_releases_are_avoided_unless_nothing_else_will_do() -> None:
    offered = catalogue(
        block("zgw", "1.15.3", "1.16.0", advisories=(advisory("1.16.0"),)),
        block("form", release("1.0", requires=(needs("zgw", version="^1.16"),))),
    )
    safe = locked(manifest("zgw"), offered)
    assert versions(safe) == {"zgw": "1.15.3"}
    assert warnings_of(safe, offered) == ()
    forced = locked(manifest("form"), offered)
    assert versions(forced)["zgw"] == "1.16.0"
    ((artefact, found),) = warnings_of(forced, offered)
    assert (artefact.name, found.identifier) == ("zgw", "CVE-2026-1")


def test_withdrawn_releases_are_not_chosen() -> None:
    offered = catalogue(block("a", release("2.0", withdrawn="leaks"), "1.0"))
    lock = locked(manifest("a"), offered)
    assert versions(lock) == {"a": "1.0"}
    before = catalogue(block("a", "2.0", "1.0"))
    renewed = locked(manifest("a"), offered, previous=locked(manifest("a"), before))
    assert versions(renewed) == {"a": "1.0"}


def test_what_is_there_anyhow_is_taken_before_something_is_added() -> None:
    offered = catalogue(
        block("a", release("1.0", requires=(needs("x", "y"),))),
        block("b", release("1.0", requires=(needs("y"),))),
        block("f", release("1.0", requires=(function("g"),))),
        block("p", release("1.0", provides=("g",))),
        block("y", release("1.0", provides=("g",))),
        block("x", "1.0"),
    )
    assert set(versions(locked(manifest("a", "b", "f"), offered))) == {"a", "b", "f", "y"}
    assert set(versions(locked(manifest("a"), offered))) == {"a", "x"}


def test_what_an_abandoned_release_needed_is_left_out() -> None:
    offered = catalogue(
        block("a", release("2.0", requires=(needs("extra"), needs("lib", version="^2"))), "1.0"),
        block("b", release("1.0", requires=(needs("lib", version="^1"),))),
        block("lib", "1.0", "2.0"),
        block("extra", "1.0"),
    )
    assert set(versions(locked(manifest("a", "b"), offered))) == {"a", "b", "lib"}


def test_a_parent_theme_is_added() -> None:
    offered = catalogue(
        block("kind", release("1.0", requires=(needs("ouder"),)), kind="theme"),
        block("ouder", "2.0", kind="theme"),
    )
    lock = locked(manifest(theme=ThemeChoice("kind")), offered)
    assert lock.theme.name == "kind"
    assert [(item.name, item.kind, item.reason) for item in lock.blocks] == [
        ("ouder", "theme", "required by kind")
    ]


LINES = catalogue(
    block("a", release("1.0"), release("2.0", requires=(needs("lib", version="^2"),))),
    block("b", "1.0", "2.0"),
    block("lib", "1.0", "2.0", "2.1"),
)
OLD = locked(manifest(("a", "1.0"), ("b", "1.0"), ("lib", "1.0")), LINES)


@pytest.mark.parametrize(
    ("asked", "only", "expected"),
    [
        (manifest("a", "b", "lib"), (), {"a": "1.0", "b": "1.0", "lib": "1.0"}),
        (manifest("a", "b", "lib"), ("b",), {"a": "1.0", "b": "2.0", "lib": "1.0"}),
        (manifest("a", "b", "lib"), ("a",), {"a": "2.0", "b": "1.0", "lib": "2.1"}),
        (manifest("a", ("b", "^2"), "lib"), (), {"a": "1.0", "b": "2.0", "lib": "1.0"}),
        (manifest(("a", "^2"), "b", "lib"), (), {"a": "2.0", "b": "1.0", "lib": "2.1"}),
        (manifest("a", "b"), (), {"a": "1.0", "b": "1.0"}),
        (manifest("a", "b", ("lib", "1.0")), ("a",), {"a": "1.0", "b": "1.0", "lib": "1.0"}),
        (manifest("a", "b", "lib"), ("a", "b", "lib"), {"a": "2.0", "b": "2.0", "lib": "2.1"}),
    ],
)
def test_what_is_locked_stays(asked: Manifest, only: tuple[str, ...], expected: Any) -> None:
    lock = locked(asked, LINES, previous=OLD, only=frozenset(only))
    assert versions(lock) == expected


def test_wordpress_and_php_stay_too() -> None:
    old = locked(manifest("cmb2", wordpress="6.5", php="8.2"))
    kept = locked(manifest("cmb2", php="^8"), previous=old)
    assert (kept.php, kept.wordpress.version) == ("8.2", "6.5")
    renewed = locked(manifest("cmb2", php="^8"), previous=old, only=frozenset({"wordpress", "php"}))
    assert (renewed.php, renewed.wordpress.version) == ("8.4", "7.1.1")
    assert renewed.language is not None
    assert renewed.language.version == "7.1.1"


def test_equal_questions_have_one_answer() -> None:
    one = locked(manifest("openwoo", "openpub-base", site="een", sha256="a" * 64))
    other = locked(manifest("openpub-base", "openwoo", site="twee", sha256="b" * 64))
    assert (one.site, other.site) == ("een", "twee")
    assert one.manifest_sha256 != other.manifest_sha256
    assert one.blocks == other.blocks


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ({}, ()),
        ({"b": set(), "a": set()}, ("a", "b")),
        ({"a": {"b"}, "b": {"c"}, "c": set()}, ("c", "b", "a")),
        ({"a": {"z"}, "m": set(), "z": set()}, ("m", "z", "a")),
        ({"a": {"b"}, "b": {"a"}, "c": set()}, ("c", "a", "b")),
        ({"a": {"a", "gone"}}, ("a",)),
        ({"a": {"x"}, "x": {"y"}, "y": {"x"}}, ("x", "y", "a")),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": {"d", "c"}}, ("a", "b", "c", "d")),
    ],
)
def test_activation_order(wanted: Any, order: tuple[str, ...]) -> None:
    assert activation_order(wanted) == order


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdefg"), max_size=3)))
def test_nothing_is_activated_before_what_it_needs(wanted: dict[str, set[str]]) -> None:
    order = activation_order(wanted)
    assert sorted(order) == sorted(wanted)

    def behind(name: str) -> set[str]:
        found: set[str] = set()
        queue = [name]
        while queue:
            new = (wanted[queue.pop()] & set(wanted)) - found
            found |= new
            queue += new
        return found

    for name in wanted:
        for need in behind(name):
            assert name in behind(need) or order.index(need) < order.index(name)


def test_what_needs_another_is_activated_after_it() -> None:
    order = [item.name for item in locked(manifest("openwoo", "pdc-leges")).blocks]
    for before, after in (
        ("cmb2", "openwoo"),
        ("meta-box", "pdc-base"),
        ("pdc-base", "openwoo"),
        ("pdc-base", "pdc-leges"),
    ):
        assert order.index(before) < order.index(after)


def test_a_lock_carries_the_folder_of_the_release() -> None:
    renamed = release("6.13", folder="gravity-pdf", main_file="main.php")
    offered = catalogue(block("gravity-pdf-extended", "6.12", renamed))
    places = []
    for version in ("6.12", "6.13"):
        (item,) = locked(manifest(("gravity-pdf-extended", version)), offered).blocks
        places.append(f"{item.folder}/{item.main_file}")
    assert places == ["gravity-pdf-extended/gravity-pdf-extended.php", "gravity-pdf/main.php"]


# Trains -----------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d")
CONSTRAINTS = ("*", "1", "2", ">=2", "^1")
constraints = st.sampled_from(CONSTRAINTS)
requirements = st.one_of(
    st.builds(lambda n, v: needs(n, version=v), st.sampled_from(NAMES), constraints),
    st.builds(
        lambda names, v: needs(*names, version=v),
        st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True),
        constraints,
    ),
)


def _is_apart(name: str, item: BlockRelease) -> bool:
    """A catalogue holds no release that needs, or cannot stand beside, its own block."""
    needed = {other for wanted in item.requires for other in wanted.any_of}
    return name not in needed | {other.block for other in item.conflicts}


choices = st.lists(
    st.tuples(st.sampled_from(NAMES), constraints), min_size=1, max_size=3, unique_by=lambda c: c[0]
)


def _mixed_trains(offered: Catalogue, lock: Lock) -> list[tuple[str, str]]:
    """Return the trains that a lock is on with one block, and not with another that could be."""
    chosen = {
        item.name: next(r for r in offered.blocks[item.name].releases if r.version == item.version)
        for item in (lock.theme, *lock.blocks)
    }
    return [
        (train, name)
        for train in {item.train for item in chosen.values() if item.train}
        for name, item in chosen.items()
        if item.train != train and any(r.train == train for r in offered.blocks[name].releases)
    ]


on_two_trains = st.builds(
    lambda version, train, requires: release(version, train=train, requires=requires),
    st.sampled_from(["1", "2", "3"]),
    st.sampled_from([None, "t", "u"]),
    st.lists(requirements, max_size=1).map(tuple),
)
# The same blocks before anyone put them on a train.
BARE = catalogue(*(block(name, "1", "2", "3") for name in NAMES))


@settings(max_examples=80, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            name: st.lists(
                on_two_trains.filter(functools.partial(_is_apart, name)),
                min_size=1,
                max_size=3,
                unique_by=lambda r: r.version,
            )
            for name in NAMES
        }
    ),
    choices,
    st.sampled_from(NAMES),
)
def test_no_lock_mixes_a_train(content: Any, chosen: Any, updated: str) -> None:
    offered = catalogue(*(block(name, *listed) for name, listed in content.items()))
    asked = manifest(*chosen)
    try:
        lock = locked(asked, offered)
    except ResolutionError:
        return
    assert _mixed_trains(offered, lock) == []
    for previous in (lock, locked(manifest(*NAMES), BARE)):
        for only in (frozenset[str](), frozenset({updated})):
            again = locked(asked, offered, previous=previous, only=only)
            assert _mixed_trains(offered, again) == []


THREE = catalogue(
    block("pdc-base", "3.14", release("3.15", train="cpts-5"), release("3.16", train="cpts-5")),
    block("openpub-base", "3.6", release("3.7", train="cpts-5")),
    block("pdc-locations", "2.3.1", release("2.3.2", train="cpts-5")),
)


@pytest.mark.parametrize("updated", ["pdc-base", "openpub-base", "pdc-locations"])
def test_an_update_moves_the_whole_train(updated: str) -> None:
    old = locked(
        manifest(("pdc-base", "3.14"), ("openpub-base", "3.6"), ("pdc-locations", "2.3.1")), THREE
    )
    asked = manifest("pdc-base", "openpub-base", "pdc-locations")
    moved = locked(asked, THREE, previous=old, only=frozenset({updated}))
    assert versions(moved) == {
        "pdc-base": "3.16",
        "openpub-base": "3.7",
        "pdc-locations": "2.3.2",
    }
    held = manifest("pdc-base", ("openpub-base", "3.6"), "pdc-locations")
    stays = locked(held, THREE, previous=old, only=frozenset({updated}))
    assert versions(stays) == versions(old)


# Channels, holds and pins -------------------------------------------------------------------------

BETAS = catalogue(
    block("base", "3.8", release("3.9.0", channel="beta")),
    block("needs-new", release("1.0", requires=(needs("base", version="^3.9"),)), "0.9"),
)


def choices_of(*blocks: BlockChoice, **details: Any) -> Manifest:
    return manifest(**details, blocks=blocks)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (choices_of(BlockChoice("base")), {"base": "3.8"}),
        (choices_of(BlockChoice("base", channel="beta")), {"base": "3.9.0"}),
        (choices_of(BlockChoice("base"), channel="beta"), {"base": "3.9.0"}),
        (choices_of(BlockChoice("base", channel="stable"), channel="beta"), {"base": "3.8"}),
        (choices_of(BlockChoice("needs-new")), {"needs-new": "0.9"}),
        (choices_of(BlockChoice("needs-new", channel="beta")), {"needs-new": "0.9"}),
        (
            choices_of(BlockChoice("needs-new"), channel="beta"),
            {"needs-new": "1.0", "base": "3.9.0"},
        ),
    ],
)
def test_a_beta_is_only_taken_where_it_is_asked_for(asked: Manifest, expected: Any) -> None:
    assert versions(locked(asked, BETAS)) == expected


def test_a_beta_that_is_locked_stays() -> None:
    old = locked(choices_of(BlockChoice("base", channel="beta")), BETAS)
    for more in ({}, {"only": frozenset({"base"})}, {"upgrade": True}):
        assert versions(locked(manifest("base"), BETAS, previous=old, **more)) == {"base": "3.9.0"}
    stable = catalogue(block("base", "3.8", release("3.9.0", channel="beta"), "3.9.1"))
    moved = locked(manifest("base"), stable, previous=old, only=frozenset({"base"}))
    assert versions(moved) == {"base": "3.9.1"}


HELD = Hold("the auditor looks at it", "2026-12-31")
NOW = catalogue(
    block("base", "3.8", "3.9", advisories=(advisory("3.8"),)),
    block("add-on", "1.0", release("2.0", requires=(needs("base", version="^3.9"),))),
)
BEFORE = locked(manifest(("base", "3.8"), ("add-on", "1.0")), NOW)


@pytest.mark.parametrize(
    "more", [{}, {"only": frozenset({"base"})}, {"only": frozenset({"add-on"})}, {"upgrade": True}]
)
def test_what_is_held_stays(more: Any) -> None:
    asked = choices_of(BlockChoice("base", hold=HELD), BlockChoice("add-on"))
    lock = locked(asked, NOW, previous=BEFORE, today=date(2026, 12, 31), **more)
    assert versions(lock) == {"base": "3.8", "add-on": "1.0"}


def test_a_hold_that_ran_out_no_longer_holds() -> None:
    asked = choices_of(BlockChoice("base", hold=HELD), BlockChoice("add-on"))
    lock = locked(asked, NOW, previous=BEFORE, only=frozenset({"base"}), today=date(2027, 1, 1))
    assert versions(lock) == {"base": "3.9", "add-on": "1.0"}


def test_a_hold_keeps_what_was_withdrawn() -> None:
    gone = catalogue(
        block("base", release("3.8", withdrawn="leaks"), "3.9"), block("add-on", "1.0")
    )
    held = choices_of(BlockChoice("base", hold=HELD), BlockChoice("add-on"))
    assert versions(locked(held, gone, previous=BEFORE))["base"] == "3.8"
    assert versions(locked(manifest("base", "add-on"), gone, previous=BEFORE))["base"] == "3.9"


@pytest.mark.parametrize("pin", ["3.8", "=3.8", "==v3.8.0"])
def test_a_pin_is_exact(pin: str) -> None:
    assert versions(locked(manifest(("base", pin)), NOW)) == {"base": "3.8"}


def test_an_update_goes_by_the_release_in_between() -> None:
    offered = catalogue(
        block(
            "a", "2.0", "3.0", release("3.1", updates_from=">=2"), release("4.0", updates_from="^3")
        )
    )
    old = locked(manifest(("a", "2.0")), offered)
    first = locked(manifest("a"), offered, previous=old, only=frozenset({"a"}))
    assert versions(first) == {"a": "3.1"}
    second = locked(manifest("a"), offered, previous=first, upgrade=True)
    assert versions(second) == {"a": "4.0"}
    # What the manifest insists on is locked all the same; the plan says how to get there.
    at_once = locked(manifest(("a", "^4")), offered, previous=old)
    assert versions(at_once) == {"a": "4.0"}


def test_an_update_drags_along_no_more_than_it_must() -> None:
    offered = catalogue(
        block("a", "1.0", release("2.0", requires=(needs("lib", version="^2"),))),
        block("b", "1.0", "2.0"),
        block("lib", "1.0", release("2.0", conflicts=(conflict("c", "1.0"),))),
        block("c", "1.0", "2.0"),
    )
    old = locked(manifest(*((name, "1.0") for name in ("a", "b", "lib", "c"))), offered)
    asked = manifest("a", "b", "lib", "c")
    moved = locked(asked, offered, previous=old, only=frozenset({"a"}))
    assert versions(moved) == {"a": "2.0", "b": "1.0", "lib": "2.0", "c": "2.0"}


_ASK_MANY = """
import random
from unit.catalogue.catalogues import SERVER, block, catalogue, conflict, manifest, needs, release
from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.resolve import resolve

chance = random.Random(4)
names = "abcdefgh"
for _ in range(40):
    offered = catalogue(*(
        block(name, *(
            release(
                version,
                requires=tuple(
                    needs(*chance.sample(names.replace(name, ""), chance.randint(1, 3)))
                    for _ in range(chance.randint(0, 2))
                ),
                conflicts=tuple(
                    conflict(other, version) for other in chance.sample(names, 1) if other != name
                ),
            )
            for version in ("1", "2", "3")
        ))
        for name in names
    ))
    try:
        print(resolve(manifest(*chance.sample(names, 3)), SERVER, offered))
    except ResolutionError as error:
        print(error.message)
"""


def test_the_answer_is_the_same_on_every_machine() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", _ASK_MANY],
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(said) == 1
    assert len(said.pop()) > 1000


def test_a_provider_that_is_listed_later_changes_nothing_for_who_has_one() -> None:
    blocks = (
        block("openwoo", release("4.3.0", requires=(function(FUNCTION),))),
        block("openpub-base", release("3.9.3", provides=(FUNCTION,))),
    )
    before = resolve(manifest("openwoo"), SERVER, catalogue(*blocks))
    more = catalogue(*blocks, block("another", release("1.0", provides=(FUNCTION,))))
    assert resolve(manifest("openwoo"), SERVER, more, previous=before) == before
    with pytest.raises(ResolutionError, match="another or openpub-base provides"):
        resolve(manifest("openwoo"), SERVER, more)
