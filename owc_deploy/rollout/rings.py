"""From sites to the rings of a rollout: their order, their waves, what may go wrong. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from owc_deploy.fleet.models import Fleet, Ring, Share
from owc_deploy.plan.specification import canonical_sha256
from owc_deploy.rollout.models import RolloutRing, RolloutSite


def rollout_rings(fleet: Fleet, sites: Iterable[str]) -> tuple[RolloutRing, ...]:
    """Return the rings of fleet.yml that hold any of these sites, as a rollout walks them.

    Sites in no ring (which only test and acceptance sites can be) are left out.
    """
    wanted = frozenset(sites)
    rings = [_ring(fleet, ring, wanted) for ring in fleet.settings.rings]
    names = [ring.name for ring in rings]
    present = [ring.name for ring in rings if ring.sites]
    return tuple(
        replace(ring, undo_since=_first_since(ring.undo_since, names, present))
        for ring in rings
        if ring.sites
    )


def _first_since(undo_since: str | None, names: list[str], present: list[str]) -> str | None:
    """Return the first ring from `undo_since` on that has sites in this rollout."""
    if undo_since is None:
        return None
    return next(name for name in names[names.index(undo_since) :] if name in present)


def _ring(fleet: Fleet, ring: Ring, wanted: frozenset[str]) -> RolloutRing:
    sites = tuple(
        _in_turns(
            _site(fleet, name)
            for name, manifest in sorted(fleet.manifests.items())
            if name in wanted and manifest.ring == ring.name
        )
    )
    budget = ring.failure_budget
    return RolloutRing(
        name=ring.name,
        sites=sites,
        wave_sizes=tuple(wave_sizes(ring.waves, len(sites))),
        soak_seconds=ring.soak_minutes * 60,
        allowed_failed=budget.failed.rounded_down(len(sites)),
        allowed_inconclusive=budget.inconclusive.rounded_down(len(sites)),
        allowed_unreachable=budget.unreachable.rounded_down(len(sites)),
        undo_since=ring.undo_since,
    )


def _site(fleet: Fleet, name: str) -> RolloutSite:
    manifest = fleet.manifests[name]
    server = fleet.servers[manifest.servers.web[0]]
    return RolloutSite(
        site=name,
        server=server.name,
        documents_sha256=documents_sha256(fleet, name),
        sla_tier=fleet.settings.tier_of(manifest).name,
        supplier=server.supplier,
        place=server.place,
    )


def _in_turns(sites: Iterable[RolloutSite]) -> Iterator[RolloutSite]:
    """Yield one site of each server, then another of each: a wave meets many servers early."""
    here: dict[str, int] = defaultdict(int)
    ranked = []
    for site in sites:
        ranked.append((here[site.server], site.site, site))
        here[site.server] += 1
    yield from (site for _, _, site in sorted(ranked, key=lambda item: item[:2]))


def wave_sizes(waves: Iterable[Share], sites: int) -> Iterator[int]:
    """Yield the sizes of the waves of a ring with so many sites; the last one named repeats."""
    left = sites
    size = sites
    named = iter(waves)
    while left > 0:
        share = next(named, None)
        size = min(left, share.rounded_up(sites) if share else size)
        yield size
        left -= size


def is_as_started(fleet: Fleet, site: RolloutSite) -> bool:
    """Return whether a site's manifest and lock are those that its rollout was started with."""
    known = site.site in fleet.manifests
    return known and documents_sha256(fleet, site.site) == site.documents_sha256


def documents_sha256(fleet: Fleet, site: str) -> str:
    """Return the hash of what a site's release follows from: its manifest and its lock."""
    return canonical_sha256(
        {"manifest": fleet.manifests[site].sha256, "lock": fleet.locks.get(site)}
    )
