"""Vulnerabilities as others publish them: OSV, Wordfence Intelligence v3, OpenVEX statements. Pure.

Names are matched with a block's name in the catalogue and with its folder, which is the slug under
which the public feeds know a plugin. A version that cannot be read ends no range: what is looked
into for nothing costs less than what is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from owc_deploy.fleet.constraints import Version, parse_version

UNKNOWN = "unknown"
# How severe a CVSS score is in words (FIRST, CVSS v3.1, table 14).
_RATINGS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
_ANY = frozenset({"", "*", "0"})
_NOT_AFFECTED = frozenset({"not_affected", "fixed"})


@dataclass(frozen=True, slots=True)
class Affected:
    """Versions between two ends; `None` is no end. `high_included` says whether the high end is."""

    low: Version | None = None
    high: Version | None = None
    low_included: bool = True
    high_included: bool = False

    def holds(self, version: Version) -> bool:
        """Return whether a version is in it."""
        above = (
            self.low is None or version > self.low or (self.low_included and version == self.low)
        )
        below = (
            self.high is None
            or version < self.high
            or (self.high_included and version == self.high)
        )
        return above and below


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One vulnerability of one package, as one source tells it.

    `names` are all it is known by, its own first. `package` is a block's name or folder,
    `wordpress` for WordPress itself. `published` is an ISO 8601 date or empty; `source` the file.
    """

    names: tuple[str, ...]
    package: str
    affected: tuple[Affected, ...]
    fixed_in: tuple[str, ...]
    severity: str
    published: str
    summary: str
    source: str

    def concerns(self, version: Version) -> bool:
        """Return whether a version is affected."""
        return any(affected.holds(version) for affected in self.affected)


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody who looked into it says (OpenVEX): these products are not affected, and why.

    `products` are `owc:block/NAME`, `owc:block/NAME@VERSION` or `owc:site/SITE`.
    """

    vulnerability: str
    products: frozenset[str]
    reason: str
    author: str
    at: str


def read_feed(
    document: Any, source: str
) -> tuple[tuple[Vulnerability, ...], tuple[Statement, ...]]:
    """Return what one JSON document holds.

    Raises ValueError for what is none of the three forms, KeyError for what one of them lacks.
    """
    if isinstance(document, list):
        read = [read_feed(item, source) for item in document]
        return (
            tuple(found for vulnerabilities, _ in read for found in vulnerabilities),
            tuple(found for _, statements in read for found in statements),
        )
    if isinstance(document, dict) and "statements" in document:
        return (), tuple(_statements(document))
    if isinstance(document, dict) and "affected" in document:
        return tuple(_osv(document, source)), ()
    entries = document.values() if isinstance(document, dict) else ()
    if entries and all(isinstance(item, dict) and "software" in item for item in entries):
        return tuple(found for item in entries for found in _wordfence(item, source)), ()
    raise ValueError("it is neither OSV, nor Wordfence Intelligence v3, nor OpenVEX")


def _osv(document: Mapping[str, Any], source: str) -> Iterable[Vulnerability]:
    """OSV schema 1.7: https://ossf.github.io/osv-schema/."""
    names = (document["id"], *document.get("aliases", ()))
    rated = document.get("database_specific", {}).get("severity", UNKNOWN)
    for part in document["affected"]:
        ranges = [found for item in part.get("ranges", ()) for found in _events(item["events"])]
        exact = [each for text in part.get("versions", ()) if (each := _end(text)) is not None]
        yield Vulnerability(
            names=names,
            package=str(part["package"]["name"]).rpartition("/")[2],
            affected=(*ranges, *(Affected(each, each, high_included=True) for each in exact)),
            fixed_in=tuple(
                event["fixed"]
                for item in part.get("ranges", ())
                for event in item["events"]
                if "fixed" in event
            ),
            severity=str(rated).lower(),
            published=str(document.get("published", ""))[:10],
            summary=str(document.get("summary", "")),
            source=source,
        )


def _events(events: Iterable[Mapping[str, str]]) -> Iterable[Affected]:
    """Yield a range for each `introduced`, to the `fixed` or `last_affected` that follows it."""
    low: str | None = None
    for event in events:
        if "introduced" in event:
            low = event["introduced"]
        elif low is not None and ("fixed" in event or "last_affected" in event):
            last = "last_affected" in event
            high = event["last_affected"] if last else event["fixed"]
            yield Affected(_end(low), _end(high), high_included=last)
            low = None
    if low is not None:
        yield Affected(_end(low))


def _wordfence(item: Mapping[str, Any], source: str) -> Iterable[Vulnerability]:
    cvss = item.get("cvss") or {}
    names = tuple(name for name in (item.get("cve"), item.get("id")) if name)
    for part in item["software"]:
        yield Vulnerability(
            names=names,
            package="wordpress" if part.get("type") == "core" else str(part["slug"]),
            affected=tuple(
                Affected(
                    _end(each["from_version"]),
                    _end(each["to_version"]),
                    bool(each.get("from_inclusive", True)),
                    bool(each.get("to_inclusive", True)),
                )
                for each in part["affected_versions"].values()
            ),
            fixed_in=tuple(part.get("patched_versions") or ()),
            severity=str(cvss.get("rating") or _rating(cvss.get("score"))).lower(),
            published=str(item.get("published") or "")[:10],
            summary=str(item.get("title") or ""),
            source=source,
        )


def _statements(document: Mapping[str, Any]) -> Iterable[Statement]:
    """OpenVEX 0.2.0; only what says that something is not affected, or not any more."""
    for item in document["statements"]:
        if item["status"] in _NOT_AFFECTED:
            named = item["vulnerability"]
            reasons = (item.get("justification"), item.get("impact_statement"))
            yield Statement(
                vulnerability=str(named["name"] if isinstance(named, dict) else named),
                products=frozenset(
                    str(product["@id"] if isinstance(product, dict) else product)
                    for product in item["products"]
                ),
                reason="; ".join(str(reason) for reason in reasons if reason) or item["status"],
                author=str(document["author"]),
                at=str(item.get("timestamp") or document["timestamp"]),
            )


def _end(text: str) -> Version | None:
    if text in _ANY:
        return None
    try:
        return parse_version(text)
    except ValueError:
        return None


def _rating(score: Any) -> str:
    if not isinstance(score, (int, float)):
        return UNKNOWN
    return next((word for least, word in _RATINGS if score >= least), UNKNOWN)
