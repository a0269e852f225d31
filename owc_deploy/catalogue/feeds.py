"""Vulnerabilities as others publish them: OSV, Wordfence Intelligence v3, OpenVEX statements. Pure.

Names are matched with a block's name in the catalogue and with its folder, which is the slug under
which the public feeds know a plugin. A version that cannot be read ends no range: what is looked
into for nothing costs less than what is missed. A record is read whole or not at all, and those
that cannot be read are counted: one of them hides no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, date
from typing import Any

from owc_deploy.fleet.constraints import Version, parse_version

UNKNOWN = "unknown"
# What reading a record raises when something in it is not what its form says.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
# Identifiers end up in commands that people copy.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
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


@dataclass(frozen=True, slots=True)
class Told:
    """What a feed tells, and how many of its records could not be read."""

    vulnerabilities: tuple[Vulnerability, ...] = ()
    statements: tuple[Statement, ...] = ()
    unreadable: int = 0


def together(told: Iterable[Told]) -> Told:
    """Return what several tell as one."""
    every = tuple(told)
    return Told(
        tuple(found for each in every for found in each.vulnerabilities),
        tuple(found for each in every for found in each.statements),
        sum(each.unreadable for each in every),
    )


def read_feed(document: Any, source: str) -> Told:
    """Return what one JSON document holds.

    Raises ValueError for what is none of the three forms.
    """
    if isinstance(document, list):
        return together(_of_list(item, source) for item in document)
    if isinstance(document, dict):
        if "statements" in document:
            return _vex(document)
        if "affected" in document:
            return _record(_osv, document, source)
        if any(isinstance(item, dict) and "software" in item for item in document.values()):
            return together(_record(_wordfence, item, source) for item in document.values())
    raise ValueError("it is neither OSV, nor Wordfence Intelligence v3, nor OpenVEX")


def _of_list(item: Any, source: str) -> Told:
    try:
        return Told(unreadable=1) if isinstance(item, list) else read_feed(item, source)
    except ValueError:
        return Told(unreadable=1)


def _record(
    read: Callable[[Mapping[str, Any], str], Iterable[Vulnerability]], record: Any, source: str
) -> Told:
    try:
        return Told(tuple(read(record, source)))
    except UNREADABLE:
        return Told(unreadable=1)


def _osv(document: Mapping[str, Any], source: str) -> Iterable[Vulnerability]:
    """OSV schema 1.7: https://ossf.github.io/osv-schema/."""
    names = _identifiers(document.get("id"), *_list(document.get("aliases")))
    rated = (document.get("database_specific") or {}).get("severity", UNKNOWN)
    for part in document["affected"]:
        ranges = [found for item in _list(part.get("ranges")) for found in _events(item["events"])]
        exact = [each for text in _list(part.get("versions")) if (each := _end(text)) is not None]
        yield Vulnerability(
            names=names,
            package=_text(part["package"]["name"]).rpartition("/")[2],
            affected=(*ranges, *(Affected(each, each, high_included=True) for each in exact)),
            fixed_in=tuple(
                _text(event["fixed"])
                for item in _list(part.get("ranges"))
                for event in item["events"]
                if "fixed" in event
            ),
            severity=_text(str(rated)).lower(),
            published=_day(document.get("published")),
            summary=_text(str(document.get("summary", ""))),
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
    names = _identifiers(item.get("cve"), item.get("id"))
    for part in item["software"]:
        yield Vulnerability(
            names=names,
            package="wordpress" if part.get("type") == "core" else _text(part["slug"]),
            affected=tuple(
                Affected(
                    _end(each["from_version"]),
                    _end(each["to_version"]),
                    bool(each.get("from_inclusive", True)),
                    bool(each.get("to_inclusive", True)),
                )
                for each in part["affected_versions"].values()
            ),
            fixed_in=tuple(_text(each) for each in _list(part.get("patched_versions"))),
            severity=_text(str(cvss.get("rating") or _rating(cvss.get("score")))).lower(),
            published=_day(item.get("published")),
            summary=_text(str(item.get("title") or "")),
            source=source,
        )


def _vex(document: Mapping[str, Any]) -> Told:
    """OpenVEX 0.2.0; only what says that something is not affected, or not any more."""
    items = document["statements"]
    if not isinstance(items, list):
        return Told(unreadable=1)
    statements: list[Statement] = []
    unreadable = 0
    for item in items:
        try:
            if item["status"] in _NOT_AFFECTED:
                statements.append(_statement(item, document))
        except UNREADABLE:
            unreadable += 1
    return Told((), tuple(statements), unreadable)


def _statement(item: Mapping[str, Any], document: Mapping[str, Any]) -> Statement:
    named = item["vulnerability"]
    reasons = (item.get("justification"), item.get("impact_statement"))
    return Statement(
        vulnerability=_identifier(named["name"] if isinstance(named, dict) else named),
        products=frozenset(
            _text(product["@id"] if isinstance(product, dict) else product)
            for product in _list(item["products"])
        ),
        reason=_text("; ".join(str(reason) for reason in reasons if reason) or item["status"]),
        author=_text(str(document["author"])),
        at=_text(str(item.get("timestamp") or document["timestamp"])),
    )


def _identifiers(*names: Any) -> tuple[str, ...]:
    """Return those names that are identifiers: a bad one is no reason to miss a hole."""
    found = tuple(str(n) for n in names if isinstance(n, str) and _IDENTIFIER.fullmatch(n))
    if not found:
        raise ValueError("it has no name that is an identifier")
    return found


def _identifier(name: Any) -> str:
    if not _IDENTIFIER.fullmatch(_text(name)):
        raise ValueError("it has a name that is no identifier")
    return str(name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("it has something else where a text should be")
    # Half a character (a lone surrogate) can neither be kept nor printed: this raises ValueError.
    value.encode()
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise TypeError("it has something else where a list should be")
    return value or []


def _day(published: Any) -> str:
    """Return the day, `""` where none can be read: that is no reason to miss a hole."""
    try:
        day = date.fromisoformat(_text(published)[:10]) if published else None
    except ValueError:
        return ""
    # From the last year there is no counting on.
    return day.isoformat() if day and day.year < MAXYEAR else ""


def _end(text: str) -> Version | None:
    if _text(text) in _ANY:
        return None
    try:
        return parse_version(text)
    except ValueError:
        return None


def _rating(score: Any) -> str:
    if not isinstance(score, (int, float)):
        return UNKNOWN
    return next((word for least, word in _RATINGS if score >= least), UNKNOWN)
