"""What a rollout takes over from those whose place it takes: no ring loses its soak. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.models import NewEvent, Rollout
from owc_deploy.rollout.standing import Standing


def overlapping(
    standings: Iterable[Standing], sites: frozenset[str], fleet: Fleet
) -> tuple[Standing, ...]:
    """Return the rollouts that have any of these sites, or none that the fleet still has."""
    known = fleet.manifests.keys()
    return tuple(
        standing
        for standing in standings
        if sites & standing.sites.keys() or not known & standing.sites.keys()
    )


def left_behind(superseded: Standing, sites: frozenset[str]) -> tuple[str, ...]:
    """Return the sites that a rollout has still to bring to something, and that `sites` lacks."""
    return tuple(
        name for name, site in superseded.sites.items() if name not in sites and not site.is_good
    )


def soaking(superseded: Iterable[Standing]) -> Mapping[str, Standing]:
    """Return the sites that were brought to what they should be in a ring that soaks, or is to."""
    return {
        site.site: standing
        for standing in superseded
        for ring in standing.rollout.rings
        if ring.soak_seconds and not standing.rings[ring.name].has_ended
        for site in ring.sites
        if standing.sites[site.site].is_good
    }


def ring_ahead(fleet: Fleet, rollout: Rollout, other: Standing) -> str:
    """Return the ring that soaks in `other` and is before all of this rollout, `""` for none."""
    order = [ring.name for ring in fleet.settings.rings]
    first = min(order.index(ring.name) for ring in rollout.rings)
    soaks = soaking([other])
    rings = {
        ring.name for ring in other.rollout.rings if any(site.site in soaks for site in ring.sites)
    }
    return next((name for name in order[:first] if name in rings), "")


def soaks_kept(rollout: Rollout, kept: Mapping[str, Standing]) -> tuple[NewEvent, ...]:
    """Return the events with which a rollout begins: what it takes over, with the way back.

    `kept` are its sites to which it has nothing to do, and the rollouts that changed them. The soak
    of a ring goes on where all of it is kept; one that has other sites as well soaks anew.
    """
    events: list[NewEvent] = []
    for ring in rollout.rings:
        events += [_kept(kept[site.site], site.site) for site in ring.sites if site.site in kept]
        begun = [_settled_at(kept, site.site) for site in ring.sites]
        if all(begun):
            body = {"ring": ring.name, "since": max(begun)}
            events.append(NewEvent("ring-settled", body=body))
    return tuple(events)


def _kept(earlier: Standing, site: str) -> NewEvent:
    state = earlier.sites[site]
    return NewEvent(
        "site-kept",
        site,
        {
            "outcome": state.outcome,
            "message": f"rollout {earlier.rollout.rollout_id} changed it",
            "release_id": state.live,
            "release_ids": list(state.release_ids),
            "previous_release_id": state.before,
        },
    )


def _settled_at(kept: Mapping[str, Standing], site: str) -> str:
    """Return since when the ring of a site soaks, `""` when it does not."""
    standing = kept.get(site)
    if standing is None:
        return ""
    ring = next(r for r in standing.rollout.rings if any(s.site == site for s in r.sites))
    settled_at = standing.rings[ring.name].settled_at
    return settled_at.isoformat() if settled_at else ""
