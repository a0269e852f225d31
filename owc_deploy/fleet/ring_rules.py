"""What must hold of rings, and of the sites in them, beyond their schemas.

As in `owc_deploy.fleet.rules` nothing is said of what is absent: the schema already did. Nor of
what follows from something that was taken out as broken: a ring that lost one of its labels would
choose sites that it does not mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from owc_deploy.fleet.documents import Document, Finding, closest
from owc_deploy.fleet.models import Ring
from owc_deploy.fleet.rings import rings_of
from owc_deploy.fleet.yaml_reader import PathKeys


def findings(fleet: Document) -> Iterator[Finding]:
    """Hold the rings of fleet.yml against the rules."""
    earlier: list[Mapping[str, Any]] = []
    names = [ring["name"] for ring in _written(fleet) if "name" in ring]
    for number, ring in enumerate(_written(fleet)):
        path: PathKeys = ("rings", number)
        yield from _name(fleet, path, ring, earlier)
        yield from _labels(fleet, path, ring, earlier)
        yield from _undo_since(fleet, path, ring, names)
        earlier.append(ring)


def site_findings(sites: Iterable[Document], fleet: Document) -> Iterator[Finding]:
    """Hold the sites against the rings of fleet.yml."""
    if "rings" not in fleet.data:
        return
    rings = [
        Ring(ring["name"], ring.get("labels", {})) for ring in _written(fleet) if "name" in ring
    ]
    names = [ring.name for ring in rings]
    for site in sites:
        named = site.data.get("ring", "")
        if named and named not in names:
            yield Finding(
                site.file,
                ("ring",),
                "unknown-ring",
                f"`{named}` is not a ring of fleet.yml",
                closest(named, names),
            )
        elif fleet.is_whole("rings") and site.is_whole("ring") and site.is_whole("labels"):
            yield from _membership(site, named, rings)


def _written(fleet: Document) -> list[Mapping[str, Any]]:
    return [ring or {} for ring in fleet.data.get("rings", ())]


def _name(
    fleet: Document, path: PathKeys, ring: Mapping[str, Any], earlier: list[Mapping[str, Any]]
) -> Iterator[Finding]:
    name = ring.get("name")
    if name is not None and name in [one.get("name") for one in earlier]:
        yield Finding(
            fleet.file,
            (*path, "name"),
            "duplicate-ring",
            f"the ring `{name}` is listed twice",
            "list it once",
        )


def _labels(
    fleet: Document, path: PathKeys, ring: Mapping[str, Any], earlier: list[Mapping[str, Any]]
) -> Iterator[Finding]:
    labels = ring.get("labels")
    same = [one.get("name", "") for one in earlier if labels and one.get("labels") == labels]
    if same and fleet.is_whole("rings"):
        yield Finding(
            fleet.file,
            (*path, "labels"),
            "duplicate-labels",
            f"the ring `{same[0]}` has the same labels, so every site that has them is in both",
            "other labels, or none, and the sites name their ring",
        )


def _undo_since(
    fleet: Document, path: PathKeys, ring: Mapping[str, Any], names: list[str]
) -> Iterator[Finding]:
    name, since = ring.get("name"), ring.get("undo_since")
    if name is None or since is None:
        return
    allowed = names[: names.index(name) + 1]
    if since not in names:
        yield Finding(
            fleet.file,
            (*path, "undo_since"),
            "unknown-ring",
            f"`{since}` is not a ring of fleet.yml",
            closest(since, allowed),
        )
    elif since not in allowed:
        yield Finding(
            fleet.file,
            (*path, "undo_since"),
            "later-ring",
            f"`{since}` comes after `{name}`, so nothing was changed in it yet",
            f"one of: {', '.join(allowed)}",
        )


def _membership(site: Document, named: str, rings: list[Ring]) -> Iterator[Finding]:
    labels: Mapping[str, str] = site.data.get("labels", {})
    found = rings_of(named, labels, rings)
    if not found and site.data.get("environment") == "production":
        others = ", ".join(ring.name for ring in rings[:-1])
        yield Finding(
            site.file,
            (),
            "no-ring",
            "this production site is in no ring, so no rollout would reach it",
            f"ring: {rings[-1].name}" + (f", or one of: {others}" if others else ""),
        )
    elif len(found) > 1:
        yield Finding(
            site.file,
            ("ring",) if named else ("labels",),
            "several-rings",
            f"this site is in {len(found)} rings, and may be in one: "
            + ", ".join(_why(ring, named) for ring in rings if ring.name in found),
            _ways_out(named, labels, rings),
        )


def _why(ring: Ring, named: str) -> str:
    if ring.name == named:
        return f"`{ring.name}`, which it names"
    selector = ", ".join(f"{key}: {value}" for key, value in ring.labels.items())
    return f"`{ring.name}`, whose labels it has ({selector})"


def _ways_out(named: str, labels: Mapping[str, str], rings: list[Ring]) -> str:
    """Say what of the site can be left out so that one ring remains."""
    ways = ["`ring`"] if named and len(rings_of("", labels, rings)) == 1 else []
    for key in labels:
        rest = {other: value for other, value in labels.items() if other != key}
        if len(rings_of(named, rest, rings)) == 1:
            ways.append(f"the label `{key}`")
    return f"leave out {' or '.join(ways)}" if ways else "labels that only one of them has"
