"""A fleet of any size in memory: ten sites to a server, four rings, a block to be updated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakes.fleet import FleetSimulator, SimulatedSite

from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.fleet.models import (
    Fleet,
    FleetSettings,
    Lock,
    LockedArtefact,
    Manifest,
    Municipality,
    Ring,
    RolloutLimits,
    Server,
    Share,
    SiteServers,
    ThemeChoice,
    Tls,
)
from owc_deploy.plan.specification import specification
from owc_deploy.rollout.models import Rollout
from owc_deploy.rollout.rings import rollout_rings

SITES_PER_SERVER = 10
# Which share of the sites is in each ring, in hundredths.
RINGS = {"canary": 1, "early": 9, "most": 30, "all": 60}
BLOCKS = 20
LIVE = "20261101T000000Z-00000000"


class QuickSite(SimulatedSite):
    """A site whose observation costs next to nothing: what is live on it is never changed."""

    def observed(self) -> dict[str, Any]:
        seen = self.__dict__.setdefault("seen", {})
        if self.current not in seen:
            seen.clear()
            seen[self.current] = super().observed()
        return {**seen[self.current], "drift": self.drift}


def large_fleet(sites: int, *, blocks: int = BLOCKS) -> Fleet:
    """Return a fleet whose locks say version 2.0.0 of the block `news`."""
    names = [f"site-{number:05}" for number in range(sites)]
    servers = [f"web{number:03}" for number in range(-(-sites // SITES_PER_SERVER))]
    ends = [(name, sum(list(RINGS.values())[: at + 1])) for at, name in enumerate(RINGS)]
    manifests = {
        name: _manifest(
            name,
            servers[number % len(servers)],
            next(ring for ring, end in ends if number * 100 < end * sites),
        )
        for number, name in enumerate(names)
    }
    limits = RolloutLimits(sites_at_once=16, pause_between_attempts_seconds=60)
    waves = (Share(5, is_percentage=True), Share(25, is_percentage=True))
    rings = tuple(Ring(name, waves=waves, soak_minutes=60, undo_since=name) for name in RINGS)
    state = Path("history.sqlite3")
    return Fleet(
        root=Path(),
        settings=FleetSettings("large", Path("catalogue"), state, rings, rollouts=limits),
        servers={
            name: Server(name, ("web", "database"), ("8.2",), supplier=f"supplier-{number % 6}")
            for number, name in enumerate(servers)
        },
        manifests=manifests,
        locks={name: _lock(name, "2.0.0", blocks) for name in names},
    )


def large_catalogue() -> Catalogue:
    versions = ("2.0.0", "1.0.0")
    releases = tuple(BlockRelease(each, each, _sha256(each), 1) for each in versions)
    news = Block("news", "plugin", "News", "news", "news.php", releases)
    return Catalogue({"news": news}, _sha256("catalogue"))


def live_servers(fleet: Fleet, servers: FleetSimulator, *, blocks: int = BLOCKS) -> FleetSimulator:
    """Make version 1.0.0 of everything live on simulated servers, and return them."""
    for name, server in fleet.servers.items():
        servers.servers[name].provisioned = provision_fingerprint(server)
    for name, manifest in fleet.manifests.items():
        live = specification(manifest, _lock(name, "1.0.0", blocks), large_catalogue())
        site = QuickSite(current=LIVE, releases={LIVE: live})
        site.observed()
        servers.servers[manifest.servers.web[0]].sites[name] = site
    return servers


def large_rollout(fleet: Fleet) -> Rollout:
    moment = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
    return Rollout(
        rollout_id="large",
        fleet=fleet.settings.name,
        created_at=moment.isoformat(),
        operator="anna",
        cause="news 2.0.0",
        rings=rollout_rings(fleet, fleet.manifests),
        limits=fleet.settings.rollouts,
    )


def _manifest(name: str, server: str, ring: str) -> Manifest:
    return Manifest(
        site=name,
        municipality=Municipality(f"Gemeente {name}"),
        environment="production",
        url=f"https://www.{name}.example",
        servers=SiteServers((server,), (server,)),
        ring=ring,
        php="8.2",
        wordpress="~7.1",
        theme=ThemeChoice("theme"),
        tls=Tls("acme", email=f"beheer@{name}.example"),
        source=Path(f"sites/{name}.yml"),
        sha256=_sha256(name),
    )


def _lock(name: str, news: str, blocks: int) -> Lock:
    more = (
        _artefact(f"block-{number}", "plugin", "1.0.0", folder=f"block-{number}")
        for number in range(blocks - 1)
    )
    return Lock(
        site=name,
        manifest_sha256=_sha256(name),
        php="8.2",
        wordpress=_artefact("wordpress", "core", "7.1.1"),
        wp_cli=_artefact("wp-cli", "tool", "2.12.0"),
        language=_artefact("language-nl_NL", "language", "7.1.1"),
        theme=_artefact("theme", "theme", "1.0.0", folder="theme"),
        blocks=(replace(_artefact("news", "plugin", news), folder="news"), *more),
    )


def _artefact(name: str, kind: str, version: str, *, folder: str = "") -> LockedArtefact:
    sha256 = _sha256(version if name == "news" else name + version)
    return LockedArtefact(name, kind, version, version, sha256, folder, f"{name}.php")


def _sha256(text: str) -> str:
    return text.encode().hex().rjust(64, "0")[-64:]
