"""Sites that are live on a server while no manifest names them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Change, ObservedServer, SitePlan


def stranger_plans(
    fleet: Fleet,
    observed: Mapping[str, ObservedServer],
    decommission: frozenset[str],
    *,
    others: bool,
) -> list[SitePlan]:
    """Plan for the sites on the servers that no manifest names any more.

    A manifest can be lost by mistake, so nothing happens to them until they are named in
    `decommission`. The `others` are left out where sites are named.

    Raises UsageError when a name in `decommission` is not such a site, with the reason for each.
    """
    found = list(_strangers(fleet, observed))
    _check(fleet, observed, decommission, frozenset(plan.site for plan in found))
    plans = []
    for held in found:
        if held.site in decommission:
            change = Change("site", "on the air", None, "no manifest names it, and it was asked")
            plans.append(replace(held, action="decommission", changes=(change,), reason=""))
        elif others:
            plans.append(held)
    return plans


def _strangers(fleet: Fleet, observed: Mapping[str, ObservedServer]) -> Iterator[SitePlan]:
    for server in observed.values():
        for name, seen in server.sites.items():
            release_id = str(seen.get("release_id", ""))
            if name in fleet.manifests or not release_id:
                continue
            reason = (
                f"it is live on {server.server} and no manifest names it; to take it off the"
                f" air, keeping everything: owc-deploy apply --decommission {name}"
            )
            yield SitePlan(
                name, server.server, "", "held", observed_release=release_id, reason=reason
            )


def _check(
    fleet: Fleet,
    observed: Mapping[str, ObservedServer],
    decommission: frozenset[str],
    strangers: frozenset[str],
) -> None:
    wrong = sorted(decommission - strangers)
    if not wrong:
        return
    present = ", ".join(sorted(strangers)) or "none"
    raise UsageError(
        "; ".join(f"{name}: {_why_not(name, fleet, observed)}" for name in wrong),
        context=f"live without a manifest: {present}",
        hint="owc-deploy plan",
    )


def _why_not(name: str, fleet: Fleet, observed: Mapping[str, ObservedServer]) -> str:
    if name in fleet.manifests:
        source = fleet.manifests[name].source.name
        return f"it still has a manifest; move {source} and its lock away first"
    seen = [server.sites[name] for server in observed.values() if name in server.sites]
    if any(site.get("decommissioned") for site in seen):
        return "it was taken off the air already"
    away = [server for server in observed.values() if server.unreachable]
    if away:
        reasons = ", ".join(f"{server.server} ({server.unreachable})" for server in away)
        return f"it is not live on a server that can be reached; out of reach: {reasons}"
    return "it is not live on any server"
