"""What the leases are called that somebody needs for what they are going to change. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Plan
from owc_deploy.rollout.apply import CHANGING

LOCKS_DOCUMENT = "document/locks"
MITIGATIONS_DOCUMENT = "document/mitigations.yml"


def site_name(site: str) -> str:
    """Return the name for changing a site."""
    return f"site/{site}"


def mitigation_name(site: str) -> str:
    """Return the name for closing something on a site, which goes on beside other changes of it."""
    return f"mitigations/{site}"


def server_names(fleet: Fleet, servers: Iterable[str]) -> frozenset[str]:
    """Return the names for preparing servers: all their sites are affected too."""
    prepared = frozenset(servers)
    sites = (
        manifest.site
        for manifest in fleet.manifests.values()
        if not prepared.isdisjoint((*manifest.servers.web, *manifest.servers.database))
    )
    return frozenset({*(f"server/{server}" for server in prepared), *map(site_name, sites)})


def plan_names(fleet: Fleet, plan: Plan) -> frozenset[str]:
    """Return the names for applying a plan: its sites that change, its servers to be prepared."""
    prepared = (server.server for server in plan.servers if server.action == "provision")
    changing = (site_name(site.site) for site in plan.sites if site.action in CHANGING)
    return server_names(fleet, prepared) | frozenset(changing)
