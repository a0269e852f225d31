"""What a mitigation closes on a site, as its server is told, and what it leaves open. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from owc_deploy.catalogue.models import Block, Catalogue
from owc_deploy.fleet.mitigations import NEEDED_ROUTES
from owc_deploy.fleet.models import Mitigation

_PATTERN = re.compile(r"[^A-Za-z0-9._~/-]")
_PLACES = {"plugin": "plugins", "theme": "themes"}


def rules(
    mitigations: Iterable[Mitigation], catalogue: Catalogue, site: str
) -> tuple[dict[str, Any], ...]:
    """Return what is to be closed on a site, as `owc_agent.mitigations` reads it.

    A block is closed whether the site has it or not: what is live may be ahead of its lock, or
    behind it, and a site that gets the block later must not open what is closed elsewhere.
    """
    return tuple(
        _rule(mitigation, catalogue.blocks.get(mitigation.block))
        for mitigation in mitigations
        if mitigation.concerns(site)
    )


def is_declared(route: str, catalogue: Catalogue) -> bool:
    """Return whether any block declares a route, one below it, or one above it."""
    asked = _normal(route) + "/"
    declared = [each + "/" for block in catalogue.blocks.values() for each in _routes(block)]
    return any(each.startswith(asked) or asked.startswith(each) for each in declared)


def unknown_blocks(mitigations: Iterable[Mitigation], catalogue: Catalogue) -> tuple[str, ...]:
    """Return warnings about mitigations of blocks that the catalogue lacks: they close nothing."""
    return tuple(
        f"mitigation {each.identifier} closes nothing of `{each.block}`, not in the catalogue"
        for each in mitigations
        if each.block and each.block not in catalogue.blocks
    )


def missing(wanted: Iterable[Mapping[str, Any]], seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Return warnings about what a live site lacks of it, or has beside it."""
    if not seen.get("release_id") or "mitigations" not in seen:
        return ()
    present = {rule["identifier"]: rule for rule in seen["mitigations"]}
    desired = {rule["identifier"]: rule for rule in wanted}
    lacking = [name for name, rule in desired.items() if present.get(name) != rule]
    beside = [name for name in present if name not in desired]
    return tuple(
        f"{words}: {', '.join(sorted(names))}; next: owc-deploy mitigate apply"
        for words, names in (
            ("mitigations that are not in force", lacking),
            ("mitigations that mitigations.yml does not have are in force", beside),
        )
        if names
    )


def left_open(mitigation: Mitigation, catalogue: Catalogue) -> tuple[str, ...]:
    """Return what a mitigation does not close, in words for whoever relies on it."""
    block = catalogue.blocks.get(mitigation.block)
    words = []
    if block is not None:
        if not _routes(block):
            words.append(
                f"the REST routes of {block.name}, which the catalogue does not name: add --route"
            )
        words.append(f"what {block.name} does on pages of the site and in wp-admin (shortcodes)")
        if not mitigation.ajax_actions:
            words.append("its admin-ajax actions: name them with --ajax-action")
    else:
        words.append("anything but what is named: pages, and other routes of the same block")
    words.append("scheduled tasks and WP-CLI, which nobody reaches from outside")
    return tuple(words)


def _rule(mitigation: Mitigation, block: Block | None) -> dict[str, Any]:
    routes = [_normal(mitigation.route)] if mitigation.route else []
    folders: list[str] = []
    if block is not None:
        routes += _routes(block)
        place = _PLACES.get(block.kind)
        folders = [f"{place}/{folder}" for folder in sorted(block.folders) if place and folder]
        if block.kind == "mu-plugin":
            # What such a block has lies in the common folder itself.
            folders = ["mu-plugins"]
    return {
        "identifier": mitigation.identifier,
        "routes": sorted(set(routes)),
        "folders": folders,
        "ajax_actions": sorted(mitigation.ajax_actions),
    }


def _routes(block: Block) -> list[str]:
    """Return what any release of a block declares in REST, without what lies below another."""
    gates = [release.gate for release in block.releases]
    declared = {
        _normal(name) for gate in gates for name in (*gate.rest_namespaces, *gate.rest_routes)
    } - NEEDED_ROUTES
    return sorted(
        route
        for route in declared
        if not any(route.startswith(f"{other}/") for other in declared if other != route)
    )


def _normal(route: str) -> str:
    """Return a route in small letters up to its first pattern: `/owc/x/v1` of `.../(?P<id>`."""
    plain = _PATTERN.split(route, maxsplit=1)[0]
    if plain != route:
        plain = plain.rpartition("/")[0]
    return "/" + plain.strip("/").lower()
