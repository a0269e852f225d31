"""Small catalogues and manifests for tests, written as short as they can be read."""

import hashlib
from pathlib import Path
from typing import Any

from owc_deploy.catalogue.models import (
    Advisory,
    Block,
    BlockRelease,
    Catalogue,
    Conflict,
    Requirement,
)
from owc_deploy.fleet.constraints import parse_version
from owc_deploy.fleet.models import (
    BlockChoice,
    Manifest,
    Municipality,
    Server,
    SiteServers,
    ThemeChoice,
    Tls,
)

KINDS = {"wordpress": "core", "wp-cli": "tool", "thema": "theme"}


def needs(*any_of: str, version: str = "*") -> Requirement:
    return Requirement(any_of=any_of, version=version)


def function(name: str) -> Requirement:
    return Requirement(function=name)


def release(version: str, **details: Any) -> BlockRelease:
    """A release whose artefact's hash is that of its version."""
    return BlockRelease(
        version=version,
        header_version=version,
        sha256=hashlib.sha256(version.encode()).hexdigest(),
        size_bytes=1,
        **details,
    )


def block(name: str, *releases: BlockRelease | str, **details: Any) -> Block:
    listed = [release(item) if isinstance(item, str) else item for item in releases]
    kind = "language" if name.startswith("language-") else KINDS.get(name, "plugin")
    return Block(
        name=name,
        title=name,
        folder=name,
        main_file=f"{name}.php",
        releases=tuple(sorted(listed, key=lambda r: parse_version(r.version), reverse=True)),
        **{"kind": kind, **details},
    )


def catalogue(*blocks: Block) -> Catalogue:
    """A catalogue with WordPress, WP-CLI, Dutch and a theme, and these blocks beside or instead."""
    listed = {
        item.name: item
        for item in (
            block("wordpress", release("7.1.1", php=">=7.4"), release("6.5", php=">=7.0")),
            block("wp-cli", "2.12.0", "2.11.0"),
            block(
                "language-nl_NL",
                release("7.1.1", wordpress="7.1.*"),
                release("6.5", wordpress="6.5.*"),
            ),
            block("thema", "1.0.0"),
            *blocks,
        )
    }
    return Catalogue(blocks=listed, sha256="0" * 64)


def manifest(*blocks: str | tuple[str, str], **details: Any) -> Manifest:
    """A manifest with these blocks: a name, or a name and a constraint."""
    choices = tuple(BlockChoice(*((item,) if isinstance(item, str) else item)) for item in blocks)
    return Manifest(
        **{
            "site": "voorbeeld",
            "municipality": Municipality("Voorbeeld"),
            "environment": "production",
            "url": "https://www.voorbeeld.example",
            "servers": SiteServers(("web1",), ("web1",)),
            "ring": "alles",
            "php": "8.2",
            "wordpress": "*",
            "theme": ThemeChoice("thema"),
            "tls": Tls("internal"),
            "source": Path("sites/voorbeeld.yml"),
            "sha256": "1" * 64,
            "blocks": choices,
            **details,
        }
    )


SERVER = Server("web1", ("web", "database"), ("8.2", "8.4"))
FUNCTION = "register_extended_post_type"


def advisory(affected: str, identifier: str = "CVE-2026-1") -> Advisory:
    return Advisory(identifier, affected, "high", "leaks credentials")


def conflict(name: str, version: str = "*", reason: str = "") -> Conflict:
    return Conflict(name, version, reason)
