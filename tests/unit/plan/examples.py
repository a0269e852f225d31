"""A small fleet in memory, for the tests of plans and of applying them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue, Gate, Migration
from owc_deploy.fleet.models import (
    Administrator,
    Fleet,
    FleetSettings,
    Lock,
    LockedArtefact,
    Manifest,
    Municipality,
    Ring,
    Server,
    SiteServers,
    ThemeChoice,
    Tls,
)
from owc_deploy.plan.models import ObservedServer
from owc_deploy.plan.specification import canonical_sha256, specification

NOW = datetime(2026, 11, 23, 18, 22, tzinfo=UTC)
LIVE = "20261101T000000Z-aaaaaaaa"


def sha256(number: int) -> str:
    return f"{number:064x}"


def artefact(name: str, kind: str, version: str, number: int, **more: Any) -> LockedArtefact:
    return LockedArtefact(name, kind, version, version, sha256(number), **more)


def manifest(site: str = "heusden", **changes: Any) -> Manifest:
    made = Manifest(
        site=site,
        municipality=Municipality("Gemeente Heusden"),
        environment="production",
        url=f"https://www.{site}.example",
        servers=SiteServers(("web1",), ("web1",)),
        ring="all",
        php="8.2",
        wordpress="~7.1",
        theme=ThemeChoice("theme"),
        tls=Tls("acme", email="beheer@heusden.example"),
        source=Path(f"sites/{site}.yml"),
        sha256=sha256(1),
        administrators=(Administrator("beheer", "beheer@heusden.example"),),
    )
    return replace(made, **changes)


def lock(site: str = "heusden", news: str = "1.0.0", **changes: Any) -> Lock:
    number = {"1.0.0": 20, "2.0.0": 21}[news]
    made = Lock(
        site=site,
        manifest_sha256=sha256(1),
        php="8.2",
        wordpress=artefact("wordpress", "core", "7.1.1", 10),
        wp_cli=artefact("wp-cli", "tool", "2.12.0", 11),
        language=artefact("language-nl_NL", "language", "7.1.1", 12),
        theme=artefact("theme", "theme", "1.0.0", 13, folder="theme"),
        blocks=(artefact("news", "plugin", news, number, folder="news", main_file="news.php"),),
    )
    return replace(made, **changes)


def catalogue() -> Catalogue:
    migration = Migration("^1.0", "^2.0", (("news", "migrate"),))
    releases = (
        BlockRelease("2.0.0", "2.0.0", sha256(21), 1, migrations=(migration,)),
        BlockRelease("1.0.0", "1.0.0", sha256(20), 1, gate=Gate(("news/v1",), ("news_fetch",))),
    )
    block = Block("news", "plugin", "News", "news", "news.php", releases)
    return Catalogue({"news": block}, sha256(2))


def fleet(*manifests: Manifest, locks: tuple[Lock, ...] = ()) -> Fleet:
    settings = FleetSettings("test", Path("c"), Path("s"), (Ring("canary"), Ring("all")))
    return Fleet(
        root=Path(),
        settings=settings,
        servers={"web1": Server("web1", ("web", "database"), ("8.2",))},
        manifests={item.site: item for item in manifests},
        locks={item.site: item for item in locks},
    )


def live_site(manifest: Manifest, lock: Lock, **changes: Any) -> dict[str, Any]:
    """Return what a probe says of a site that is exactly as these say."""
    wanted = specification(manifest, lock, catalogue())
    return {
        "release_id": LIVE,
        "specification": wanted,
        "specification_sha256": canonical_sha256(wanted),
        "drift": [],
        "certificate": "",
        **changes,
    }


def server(sites: dict[str, Any] | None = None, **changes: Any) -> ObservedServer:
    made = ObservedServer("web1", provisioned="f", sites=sites or {})
    return replace(made, **changes)
