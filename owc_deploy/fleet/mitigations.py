"""mitigations.yml: what is closed on sites until a vulnerability is fixed; there may be none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from owc_deploy.errors import Problem
from owc_deploy.fleet import documents, schema_check
from owc_deploy.fleet.documents import Document, Finding
from owc_deploy.fleet.models import Mitigation

FILE = Path("mitigations.yml")
# Closing these would close the editor itself, and the index by which programs find all others.
NEEDED_ROUTES = frozenset({"/", "/wp", "/wp/v2", "/wp-block-editor", "/wp-block-editor/v1"})
_ADDRESSES = ("index.php/", "wp-json/", "?rest_route=")
_HOOKS = ("wp_ajax_", "admin_post_")
_HEADER = """\
# yaml-language-server: $schema=.owc-deploy/schemas/mitigations.schema.json
#
# What is closed on sites until a vulnerability is fixed. `owc-deploy mitigate` writes this file and
# closes at once what is added; commit it, so that new sites and servers get it too.
"""


def read_mitigations(root: Path) -> tuple[Document | None, tuple[Problem, ...]]:
    """Read the document; `None` without problems when there is none."""
    if not (root / FILE).exists():
        return (None, ())
    raw = documents.read_bytes(root, FILE)
    if isinstance(raw, Problem):
        return (None, (raw,))
    return documents.parse_document(FILE, raw, "mitigations")


def findings(document: Document | None, sites: Collection[str]) -> Iterator[Finding]:
    """Find what does not hold between the entries, and between them and the sites."""
    seen: set[str] = set()
    entries = document.data.get("mitigations", ()) if document is not None else ()
    for number, entry in enumerate(entries):
        place = ("mitigations", number)
        identifier = (entry or {}).get("identifier", "")
        if identifier in seen:
            yield Finding(
                FILE,
                (*place, "identifier"),
                "duplicate-identifier",
                f"two mitigations are called `{identifier}`",
                "another name for one of them",
            )
        seen.add(identifier)
        if entry and not any(entry.get(key) for key in ("route", "block", "ajax_actions")):
            yield Finding(
                FILE, place, "closes-nothing", "it closes nothing", "a route, block or ajax_actions"
            )
        for key, words in wrong_names((entry or {}).get("route", ""), actions_of(entry)):
            yield Finding(FILE, (*place, key), "closes-nothing", words, "see mitigate add --help")
        for index, site in enumerate((entry or {}).get("sites", ())):
            if site not in sites:
                yield Finding(
                    FILE,
                    (*place, "sites", index),
                    "unknown-site",
                    f"there is no site `{site}` in this fleet",
                    f"one of: {', '.join(sorted(sites))}",
                )


def actions_of(entry: Any) -> tuple[str, ...]:
    """Return the actions that an entry names, as far as it can be read."""
    named = (entry or {}).get("ajax_actions", ())
    return tuple(str(action) for action in named) if isinstance(named, (list, tuple)) else ()


def wrong_names(route: str, actions: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the key and the words for what would close nothing, or far too much."""
    plain = str(route).strip("/").lower()
    if route and f"/{plain}" in NEEDED_ROUTES:
        yield "route", f"`{route}` carries wp-admin itself; close a route below it"
    for part in _ADDRESSES:
        if plain.startswith(part):
            yield "route", f"`{route}` is an address; a route begins after `{part}`"
    if any(segment.isdigit() for segment in plain.split("/")):
        yield (
            "route",
            f"`{route}` has a number, which can be written in other ways; close the route above it",
        )
    for action in actions:
        if action.startswith(_HOOKS):
            yield "ajax_actions", f"`{action}` is a hook; an action has no wp_ajax_ before it"


def build_mitigations(document: Document | None) -> tuple[Mitigation, ...]:
    """Make the mitigations from a document that keeps to the schema."""
    if document is None:
        return ()
    return tuple(
        Mitigation(
            **{
                **entry,
                "ajax_actions": tuple(entry.get("ajax_actions", ())),
                "sites": tuple(entry.get("sites", ())),
            }
        )
        for entry in document.data["mitigations"]
    )


def problems_of(mitigation: Mitigation) -> tuple[str, ...]:
    """Return why a mitigation cannot be written, in words; it would make the fleet unreadable."""
    return tuple(
        f"{documents.path_text(violation.path[2:])}: {documents.printable(violation.message)}"
        for violation in schema_check.violations("mitigations", _document([mitigation]))
    )


def _document(mitigations: Iterable[Mitigation]) -> dict[str, Any]:
    entries = [
        {key: list(value) if isinstance(value, tuple) else value for key, value in each if value}
        for each in (asdict(mitigation).items() for mitigation in mitigations)
    ]
    return {"schema_version": 1, "mitigations": entries}


def write_mitigations(root: Path, mitigations: Iterable[Mitigation]) -> None:
    """Write the document anew, whole or not at all."""
    body = yaml.safe_dump(_document(mitigations), sort_keys=False, allow_unicode=True, width=100)
    partial = root / f".{FILE}.partial"
    partial.write_text(_HEADER + body, encoding="utf-8")
    partial.replace(root / FILE)
