"""A fleet on disk: sites on four simulated servers, in three rings, which are to be updated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from fakes.served_fleet import SlowFleet
from unit.catalogue.catalogues import block, catalogue

from owc_deploy.catalogue.document import render_catalogue
from owc_deploy.catalogue.read import read_catalogue
from owc_deploy.catalogue.relock import relock, write_lock
from owc_deploy.cli.rollout_walk import EmbeddedEngine
from owc_deploy.cli.session import Session
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet, PostgresqlState
from owc_deploy.rollout.journal import begin
from owc_deploy.rollout.models import Rollout
from owc_deploy.rollout.rings import rollout_rings
from owc_deploy.rollout.standing import Standing
from owc_deploy.store import Store, open_fleet_store, open_store

SERVERS = ("web1", "web2", "web3", "web4")
SITES = tuple(f"gemeente{number:02}" for number in range(1, 25))
PLACES = {site: SERVERS[number % len(SERVERS)] for number, site in enumerate(SITES)}
RINGS = {site: "canary" if n == 0 else "early" if n < 6 else "all" for n, site in enumerate(SITES)}
LIMITS = {
    "sites_at_once": 6,
    "sites_at_once_per_server": 2,
    "attempts": 3,
    "pause_between_attempts_seconds": 1,
}


@dataclass
class Province:
    """The fleet, its servers on which version 1.0.0 is live, and locks that say 2.0.0."""

    root: Path
    name: str
    servers: SlowFleet
    engine: Mapping[str, Any] | str = "embedded"
    state: PostgresqlState | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    sites: Sequence[str] = SITES

    def __post_init__(self) -> None:
        (self.root / "sites").mkdir(parents=True)
        (self.root / "catalogue").mkdir()
        self._write_fleet("embedded")
        hosts = {server: {"owc_place": place} for server, place in self.places.items()}
        web = {server: hosts.get(server, {}) for server in SERVERS}
        self._write(
            "servers.yml", {"web": {"hosts": web}, "database": {"hosts": dict.fromkeys(SERVERS)}}
        )
        offered = [block("news", "1.0.0", "2.0.0")]
        rendered = render_catalogue(catalogue(*offered).blocks.values())
        (self.root / "catalogue" / "catalogue.json").write_bytes(rendered)
        self.lock("1.0.0")
        fleet = self.fleet
        for name, server in self.servers.servers.items():
            server.provisioned = provision_fingerprint(fleet.servers[name])
        self._make_live(fleet)
        self.lock("2.0.0")
        self._write_fleet(self.engine)
        self.servers.activations.clear()

    @property
    def fleet(self) -> Fleet:
        return load_fleet(self.root)

    @property
    def session(self) -> Session:
        fleet = self.fleet
        return Session(fleet, read_catalogue(fleet.settings.catalogue), self.servers)

    def open_store(self) -> Store:
        return open_fleet_store(self.fleet)

    def lock(self, news: str) -> None:
        """Write manifests and locks that say this version of the block."""
        for site in self.sites:
            self._write(f"sites/{site}.yml", manifest(site, news))
        fleet = self.fleet
        for result in relock(fleet, read_catalogue(fleet.settings.catalogue), self.sites):
            assert result.lock is not None, result
            write_lock(fleet, result.lock)

    def live(self) -> dict[str, str]:
        """Return the version of the block that is live on every site."""
        return {
            name: str(site.releases[site.current]["blocks"][0]["version"])
            for server in self.servers.servers.values()
            for name, site in server.sites.items()
        }

    def begin(self, store: Store, **ring_changes: Any) -> Rollout:
        """Write a rollout of everything down."""
        moment = datetime.now(UTC)
        fleet = self.fleet
        made = Rollout(
            rollout_id=f"{moment:%Y%m%dT%H%M%S%f}Z-{self.name}",
            fleet=fleet.settings.name,
            created_at=moment.isoformat(),
            operator="anna",
            cause="locks",
            rings=tuple(replace(r, **ring_changes) for r in rollout_rings(fleet, self.sites)),
            limits=fleet.settings.rollouts,
        )
        begin(store, made)
        return made

    def _make_live(self, fleet: Fleet) -> None:
        seconds, self.servers.seconds = self.servers.seconds, 0.0
        store = open_store(self.root.with_name(f"{self.name}-before.sqlite3"))
        made = self.begin(store)
        session = Session(fleet, read_catalogue(fleet.settings.catalogue), self.servers)
        standing, _ = EmbeddedEngine(store).walk(
            session, made.rollout_id, patience=None, take_over=False
        )
        assert standing.state == "done", standing
        assert set(self.live().values()) == {"1.0.0"}
        self.servers.seconds = seconds

    def _write_fleet(self, engine: Mapping[str, Any] | str) -> None:
        document = {
            "schema_version": 1,
            "name": self.name,
            "catalogue": "catalogue",
            "engine": engine,
            "rings": [
                {"name": "canary"},
                {"name": "early", "waves": [2, 3], "undo_since": "canary"},
                {"name": "all", "failure_budget": {"unreachable": "50%"}},
            ],
            "rollouts": LIMITS,
        }
        if self.state is not None:
            state = self.state
            database = {"host": state.host, "port": state.port}
            database |= {"database": state.database, "user": state.user}
            document["state"] = {"postgresql": database}
        self._write("fleet.yml", document)

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False)
        (self.root / name).write_text(text, encoding="utf-8")


def manifest(site: str, news: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "site": site,
        "municipality": {"name": f"Gemeente {site}"},
        "environment": "production",
        "url": f"https://{site}.example",
        "servers": {"web": [PLACES[site]], "database": [PLACES[site]]},
        "ring": RINGS[site],
        "php": "8.2",
        "wordpress": "^7.1",
        "theme": {"name": "thema"},
        "tls": {"policy": "acme", "email": "beheer@example.com"},
        "blocks": {"news": news},
    }


def ended(standing: Standing) -> dict[str, str]:
    return {name: str(site.outcome) for name, site in standing.sites.items()}
