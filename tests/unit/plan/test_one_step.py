"""Which live versions may become the locked ones in one release, and what is said when not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.catalogue.catalogues import SERVER, block, catalogue, manifest, release
from unit.plan.examples import NOW, fleet

from owc_deploy.catalogue.models import Migration
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import Lock
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.models import ObservedServer, SitePlan
from owc_deploy.plan.one_step import hindrance, way_up
from owc_deploy.plan.specification import canonical_sha256, specification


def migrating(version: str, begins: str, ends: str, *, reversible: bool = False) -> Any:
    migration = Migration(begins, ends, (("x", "migrate"),), reversible=reversible)
    return release(version, updates_from=begins, migrations=(migration,))


OFFERED = catalogue(
    block(
        "openwoo",
        "2.4.0",
        release("3.0.0", updates_from="^2"),
        release("3.9.1", updates_from=">=2 <4"),
        release("3.9.2", updates_from="^3"),
        release("3.9.3", updates_from=">=2 <4", withdrawn="loses attachments"),
        release("4.3.0", updates_from=">=3 <5"),
    ),
    block(
        "register",
        "1.0.0",
        migrating("2.0.0", "<2", ">=2"),
        "2.1.0",
        migrating("3.0.0", "^2", ">=3"),
        migrating("3.1.0", ">=3", ">=3.1", reversible=True),
    ),
    block("island", "1.0.0", release("3.0.0", updates_from="^2")),
    block(
        "wordpress",
        release("6.5", php=">=7.0", database_version=57155),
        release("7.1.0", database_version=60717),
        release("7.1.1", database_version=60717),
        "7.0",
    ),
    block("language-nl_NL", "1.0"),
    block("thema", "1.0.0", "1.1.0", release("2.0.0", updates_from=">=1.1"), kind="theme"),
)


def locked(core: str = "7.1.1", theme: str = "1.0.0", **versions: str) -> Lock:
    asked = manifest(*versions.items(), wordpress=core, theme=replace(THEMA, version=theme))
    return replace(resolve(asked, SERVER, OFFERED), manifest_sha256=asked.sha256)


THEMA = manifest().theme


def seen(lock: Lock, database_version: int = 60717) -> dict[str, Any]:
    wanted = specification(manifest(), lock, OFFERED)
    return {
        "release_id": "20261101T000000Z-aaaaaaaa",
        "specification": wanted,
        "specification_sha256": canonical_sha256(wanted),
        "database_version": database_version,
    }


def said(before: Lock, after: Lock) -> str:
    return hindrance(manifest(), after, OFFERED, seen(before))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"openwoo": "2.4.0"}, {"openwoo": "3.9.1"}),
        ({"openwoo": "3.0.0"}, {"openwoo": "4.3.0"}),
        ({"openwoo": "4.3.0"}, {"openwoo": "4.3.0"}),
        ({}, {"openwoo": "4.3.0", "register": "3.1.0"}),
        ({"openwoo": "2.4.0"}, {}),
        ({"openwoo": "4.3.0"}, {"openwoo": "3.0.0"}),
        ({"register": "2.1.0"}, {"register": "2.0.0"}),
        ({"register": "3.1.0"}, {"register": "3.0.0"}),
        ({"core": "7.1.1"}, {"core": "7.1.0"}),
        ({"core": "6.5"}, {"core": "7.1.1"}),
        ({"theme": "1.1.0"}, {"theme": "2.0.0"}),
    ],
)
def test_what_is_one_step(before: dict[str, str], after: dict[str, str]) -> None:
    assert said(locked(**before), locked(**after)) == ""


GO_BACK = "to go back: owc-deploy rollback voorbeeld"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            {"openwoo": "2.4.0"},
            {"openwoo": "4.3.0"},
            (
                "openwoo 4.3.0 cannot be installed over 2.4.0 in one step: it updates from >=3 <5,"
                " so it goes by 3.9.1; first: set openwoo to 3.9.1 in voorbeeld.yml, then"
                " owc-deploy update openwoo --site voorbeeld && owc-deploy apply voorbeeld"
            ),
        ),
        (
            {"register": "1.0.0"},
            {"register": "3.1.0"},
            (
                "register 3.1.0 cannot be installed over 1.0.0 in one step: it updates from >=3, so"
                " it goes by 2.1.0, then 3.0.0; first: set register to 2.1.0 in voorbeeld.yml, then"
                " owc-deploy update register --site voorbeeld && owc-deploy apply voorbeeld"
            ),
        ),
        (
            {"island": "1.0.0"},
            {"island": "3.0.0"},
            (
                "island 3.0.0 cannot be installed over 1.0.0 in one step: it updates from ^2, and"
                " the catalogue holds no release to go by; first add one that updates from 1.0.0:"
                " owc-deploy catalogue add SOURCE --name island"
            ),
        ),
        (
            {"theme": "1.0.0"},
            {"theme": "2.0.0"},
            (
                "thema 2.0.0 cannot be installed over 1.0.0 in one step: it updates from >=1.1, so"
                " it goes by 1.1.0; first: set thema to 1.1.0 in voorbeeld.yml, then"
                " owc-deploy update thema --site voorbeeld && owc-deploy apply voorbeeld"
            ),
        ),
        (
            {"register": "2.0.0"},
            {"register": "1.0.0"},
            (
                "register 1.0.0 cannot take the place of 2.0.0: it cannot read the data since the"
                f" migration of 2.0.0; {GO_BACK}"
            ),
        ),
        (
            {"register": "3.1.0"},
            {"register": "2.1.0"},
            (
                "register 2.1.0 cannot take the place of 3.1.0: it cannot read the data since the"
                f" migration of 3.0.0; {GO_BACK}"
            ),
        ),
        (
            {"core": "7.1.1"},
            {"core": "6.5"},
            (
                "WordPress 6.5 cannot take the place of 7.1.1: the database is at 60717, and it"
                f" works with 57155; {GO_BACK}"
            ),
        ),
        (
            {"core": "7.1.1"},
            {"core": "7.0"},
            (
                "WordPress 7.0 is older than the live 7.1.1, and the catalogue does not say which"
                f" database it works with; {GO_BACK}"
            ),
        ),
    ],
)
def test_what_is_not(before: dict[str, str], after: dict[str, str], words: str) -> None:
    assert said(locked(**before), locked(**after)) == words


def test_every_reason_is_said_and_the_way_back_once() -> None:
    words = said(
        locked(register="2.0.0", openwoo="2.4.0"),
        locked(core="6.5", register="1.0.0", openwoo="4.3.0"),
    )
    assert "openwoo 4.3.0 cannot" in words
    assert "register 1.0.0 cannot" in words
    assert "WordPress 6.5 cannot" in words
    assert words.count(GO_BACK) == 1


def planned(before: Lock, after: Lock) -> SitePlan:
    observed = {"web1": ObservedServer("web1", provisioned="f", sites={"voorbeeld": seen(before)})}
    asked = fleet(manifest(), locks=(after,))
    return make_plan(asked, OFFERED, observed, {"web1": "f"}, Wishes(), {}, NOW).sites[0]


def test_such_a_site_is_not_attempted_and_stays_what_it_is() -> None:
    site = planned(locked(openwoo="2.4.0"), locked(openwoo="4.3.0"))
    assert (site.action, site.specification, site.changes) == ("not-attempted", None, ())
    assert site.observed_release == "20261101T000000Z-aaaaaaaa"
    assert "first: set openwoo to 3.9.1" in site.reason
    assert not site.new_certificate
    assert planned(locked(openwoo="2.4.0"), locked(openwoo="3.9.1")).action == "update"


def test_what_is_live_but_cannot_be_read_hinders_nothing() -> None:
    assert hindrance(manifest(), locked(openwoo="4.3.0"), OFFERED, {"specification": None}) == ""


VERSIONS = ("1.0", "1.5", "2.0", "2.5", "3.0", "4.0-RC1", "4.0", "5.0")
constraints = st.sampled_from(("*", "^1", "^2", "^3", "^4", "<2", ">=2 <4", "2.5", "<5"))


@given(st.fixed_dictionaries(dict.fromkeys(VERSIONS, constraints)))
def test_a_way_is_one_that_can_be_gone_and_is_found_when_there_is_one(
    updates_from: dict[str, str],
) -> None:
    listed = block("x", *(release(v, updates_from=c) for v, c in updates_from.items()))
    target = listed.releases[0]

    def follows(later: str, earlier: str) -> bool:
        old, new = parse_version(earlier), parse_version(later)
        return old < new and parse_constraint(updates_from[later]).allows(old)

    reachable = {"1.0"}
    for version in sorted(VERSIONS, key=parse_version):
        if any(follows(version, earlier) for earlier in reachable):
            reachable.add(version)
    way = way_up(listed, "1.0", target)
    if follows(target.version, "1.0") or target.version not in reachable:
        assert way == ()
        return
    assert way
    steps = ("1.0", *way, target.version)
    assert all(follows(later, earlier) for earlier, later in itertools.pairwise(steps))
