"""From the rings of a fleet to those of a rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.plan.examples import fleet, lock, manifest, sha256

from owc_deploy.fleet.models import FailureBudget, Fleet, Ring, Server, Share, SiteServers
from owc_deploy.rollout.rings import documents_sha256, rollout_rings, wave_sizes


def percent(number: int) -> Share:
    return Share(number, is_percentage=True)


@pytest.mark.parametrize(
    ("waves", "sites", "expected"),
    [
        ((), 5, [5]),
        ((), 0, []),
        ((Share(1),), 3, [1, 1, 1]),
        ((Share(1), Share(2)), 6, [1, 2, 2, 1]),
        ((Share(10),), 4, [4]),
        ((Share(1), percent(50)), 10, [1, 5, 4]),
        ((percent(10), percent(30)), 10, [1, 3, 3, 3]),
        ((percent(1),), 3, [1, 1, 1]),
        ((percent(34),), 3, [2, 1]),
        ((percent(100),), 7, [7]),
    ],
)
def test_waves(waves: tuple[Share, ...], sites: int, expected: list[int]) -> None:
    assert list(wave_sizes(waves, sites)) == expected


SHARES = st.builds(Share, st.integers(1, 100), st.booleans())


@given(st.lists(SHARES, max_size=4), st.integers(0, 300))
def test_waves_are_all_the_sites(waves: list[Share], sites: int) -> None:
    sizes = list(wave_sizes(waves, sites))
    assert sum(sizes) == sites
    assert all(size > 0 for size in sizes)


def ringed(*rings: Ring, **of_sites: tuple[str, str]) -> Fleet:
    """A fleet; `of_sites` are each site's ring and server."""
    made = fleet(
        *(
            manifest(name, ring=ring, servers=SiteServers((server,), (server,)))
            for name, (ring, server) in of_sites.items()
        ),
        locks=tuple(lock(name) for name in of_sites),
    )
    names = {server for _, server in of_sites.values()}
    servers = {name: Server(name, ("web",), ("8.2",), supplier=f"of-{name}") for name in names}
    return replace(made, servers=servers, settings=replace(made.settings, rings=rings))


def test_sites_are_in_their_ring_one_of_each_server_after_the_other() -> None:
    made = ringed(
        Ring("canary"),
        Ring("all"),
        **dict.fromkeys("abc", ("all", "web1")),
        **dict.fromkeys("de", ("all", "web2")),
        f=("canary", "web1"),
        g=("", "web1"),
    )
    canary, everyone = rollout_rings(made, "abcdefg")
    assert [site.site for site in canary.sites] == ["f"]
    assert [site.site for site in everyone.sites] == ["a", "d", "b", "e", "c"]
    first = everyone.sites[0]
    assert (first.server, first.supplier, first.sla_tier) == ("web1", "of-web1", "default")


def test_only_the_sites_that_are_wanted_and_only_rings_with_some() -> None:
    made = ringed(Ring("canary"), Ring("all"), a=("canary", "web1"), b=("all", "web1"))
    (everyone,) = rollout_rings(made, ["b"])
    assert (everyone.name, [site.site for site in everyone.sites]) == ("all", ["b"])


def test_budgets_and_soak_are_of_the_sites_in_this_rollout() -> None:
    budget = FailureBudget(percent(10), Share(2), percent(25))
    made = ringed(
        Ring("all", waves=(Share(1), percent(50)), soak_minutes=30, failure_budget=budget),
        **{f"s{number}": ("all", "web1") for number in range(19)},
    )
    (everyone,) = rollout_rings(made, made.manifests)
    assert everyone.wave_sizes == (1, 10, 8)
    assert everyone.soak_seconds == 1800
    assert (everyone.allowed_failed, everyone.allowed_inconclusive) == (1, 2)
    assert everyone.allowed_unreachable == 4


@pytest.mark.parametrize(
    ("undo_since", "expected"),
    [(None, None), ("canary", "canary"), ("early", "late"), ("late", "late")],
    ids=["nothing", "a ring with sites", "one without, the next that has", "itself"],
)
def test_undoing_begins_with_a_ring_of_this_rollout(
    undo_since: str | None, expected: str | None
) -> None:
    rings = (Ring("canary"), Ring("early"), Ring("late", undo_since=undo_since))
    made = ringed(*rings, a=("canary", "web1"), b=("early", "web1"), c=("late", "web1"))
    canary, late = rollout_rings(made, ["a", "c"])
    assert late.undo_since == expected
    assert canary.undo_since is None


def test_the_hash_of_its_documents_changes_with_manifest_and_lock() -> None:
    made = fleet(manifest("a"), locks=(lock("a"),))
    hashes = {
        documents_sha256(made, "a"),
        documents_sha256(fleet(manifest("a", sha256=sha256(9)), locks=(lock("a"),)), "a"),
        documents_sha256(fleet(manifest("a"), locks=(lock("a", "2.0.0"),)), "a"),
        documents_sha256(fleet(manifest("a")), "a"),
    }
    assert len(hashes) == 4
