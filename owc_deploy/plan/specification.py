"""What one site should be, as the one document sent to its server (docs/architecture.md)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

from owc_deploy.catalogue.models import Catalogue, Gate, GatePage
from owc_deploy.fleet.models import Lock, LockedArtefact, Manifest, Page, SiteGate
from owc_deploy.plan.render import render_files

SCHEMA_VERSION = 1
FALLBACK_LOGIN = "owc-deploy"


def specification(manifest: Manifest, lock: Lock, catalogue: Catalogue) -> dict[str, Any]:
    """Return the specification of a site; pure, and equal for equal arguments."""
    return {
        "schema_version": SCHEMA_VERSION,
        "site": manifest.site,
        "url": manifest.url.rstrip("/"),
        "domains": [manifest.domain, *manifest.aliases],
        "environment": manifest.environment,
        "locale": manifest.locale,
        "title": manifest.title or manifest.municipality.name,
        "php": lock.php,
        "wordpress": _artefact(lock.wordpress),
        "wp_cli": _artefact(lock.wp_cli),
        "language": _artefact(lock.language) if lock.language else None,
        "theme": _block(lock.theme),
        "blocks": [_block(block) for block in lock.blocks],
        "options": _options(manifest),
        "administrators": _administrators(manifest),
        "files": render_files(manifest),
        "tls": {"policy": manifest.tls.policy, "email": manifest.tls.email},
        "gate": _gate(manifest, lock, catalogue),
        "releases_kept": manifest.releases_kept,
    }


def canonical_json(document: Any) -> str:
    """Return the one way to write a document as JSON: sorted keys, no spaces.

    A dataclass in it is the mapping of its fields.
    """
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_fields
    )


def _fields(value: Any) -> dict[str, Any]:
    # `asdict` would copy everything in it first, which takes longer than writing it.
    if not is_dataclass(value):
        raise TypeError(f"{type(value).__name__} has no place in a document")
    return {field.name: getattr(value, field.name) for field in fields(value)}


def canonical_sha256(document: Any) -> str:
    """Return the SHA-256 of a document's canonical JSON in UTF-8."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def _artefact(artefact: LockedArtefact) -> dict[str, Any]:
    return {"version": artefact.version, "sha256": artefact.sha256}


def _block(artefact: LockedArtefact) -> dict[str, Any]:
    return {
        "name": artefact.name,
        "kind": artefact.kind,
        "folder": artefact.folder,
        "main_file": artefact.main_file,
        "version": artefact.version,
        "header_version": artefact.header_version,
        "sha256": artefact.sha256,
    }


def _options(manifest: Manifest) -> dict[str, Any]:
    options: dict[str, Any] = {
        "blogname": manifest.title or manifest.municipality.name,
        "timezone_string": "Europe/Amsterdam",
        "users_can_register": 0,
    }
    options.update(manifest.settings)
    for block in manifest.blocks:
        options.update(block.settings)
    return options


def _administrators(manifest: Manifest) -> list[dict[str, str]]:
    if not manifest.administrators:
        # WordPress cannot be installed without one; nobody knows this one's password.
        return [{"login": FALLBACK_LOGIN, "email": f"webmaster@{manifest.domain}"}]
    return [{"login": person.login, "email": person.email} for person in manifest.administrators]


def _gate(manifest: Manifest, lock: Lock, catalogue: Catalogue) -> dict[str, Any]:
    releases = [catalogue.release_of(item.name, item.sha256) for item in (lock.theme, *lock.blocks)]
    gates = [release.gate for release in releases if release is not None]
    declared: tuple[Page | GatePage, ...] = (
        *manifest.pages,
        *(page for gate in gates for page in gate.pages),
    )
    pages = [{"path": page.path, "status": page.status, "text": page.text} for page in declared]
    if not any(page["path"] == "/" for page in pages):
        pages.insert(0, {"path": "/", "status": 200, "text": None})
    every: tuple[SiteGate | Gate, ...] = (manifest.gate, *gates)
    return {
        "pages": pages,
        "rest_namespaces": sorted({name for gate in every for name in gate.rest_namespaces}),
        "rest_routes": sorted({route for gate in every for route in gate.rest_routes}),
        "cron_hooks": sorted({hook for gate in every for hook in gate.cron_hooks}),
    }
