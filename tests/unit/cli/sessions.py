"""A session on simulated servers, for the tests of verbs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fakes.fleet import FleetSimulator
from unit.plan.examples import catalogue, fleet, lock, manifest

from owc_deploy.cli.session import Session
from owc_deploy.fleet.models import Fleet, Server, SiteServers


def two_servers(root: Path, *, news: str = "1.0.0", moved: bool = False) -> Fleet:
    """Altena on web1, heusden on web2; `moved`: heusden on web1."""
    place = "web1" if moved else "web2"
    made = fleet(
        manifest("altena"),
        manifest("heusden", servers=SiteServers((place,), (place,))),
        locks=(lock("altena", news), lock("heusden")),
    )
    servers = {name: Server(name, ("web", "database"), ("8.2",)) for name in ("web1", "web2")}
    settings = replace(made.settings, state=root / "history.sqlite3")
    return replace(made, root=root, settings=settings, servers=servers)


def session(fleet: Fleet, executor: FleetSimulator) -> Session:
    return Session(fleet, catalogue(), executor)


def probes(executor: FleetSimulator) -> list[tuple[str, ...]]:
    return [servers for method, servers in executor.calls if method == "probe"]
