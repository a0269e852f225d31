"""Looking at the servers: one probe for each server that carries a site in question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from owc_deploy.errors import UsageError
from owc_deploy.execution.ports import Executor, ProgressCallback
from owc_deploy.fleet.models import Fleet, Server
from owc_deploy.plan.models import ObservedServer


def check_sites(fleet: Fleet, sites: Iterable[str], *, known: Iterable[str] = ()) -> frozenset[str]:
    """Return the named sites as a set; `known` are names beside those with a manifest.

    Raises UsageError when one does not exist.
    """
    named = frozenset(sites)
    unknown = sorted(named - set(fleet.manifests) - set(known))
    if unknown:
        present = ", ".join(sorted(fleet.manifests)) or "none"
        raise UsageError(
            f"there is no site {', '.join(unknown)} in this fleet",
            context=f"the fleet in {fleet.root} has: {present}",
            hint="owc-deploy status",
        )
    return named


def servers_for(fleet: Fleet, sites: frozenset[str]) -> tuple[Server, ...]:
    """Return the servers that carry these sites, or all web servers for no sites in particular."""
    if sites:
        names = {fleet.manifests[site].servers.web[0] for site in sites}
    else:
        names = {server.name for server in fleet.servers.values() if "web" in server.groups}
    return tuple(fleet.servers[name] for name in sorted(names))


def observe(
    executor: Executor,
    servers: tuple[Server, ...],
    *,
    hold: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Mapping[str, ObservedServer]:
    """Probe the servers side by side and return what was seen, keyed by server name.

    With `hold` the way to them stays open, for whoever means to change them next.
    """
    if not servers:
        return {}
    seen = executor.probe(servers, hold=hold, on_progress=on_progress)
    return {server.server: server for server in seen}
