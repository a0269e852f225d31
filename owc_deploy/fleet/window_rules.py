"""What must hold of the tiers and the freeze days of fleet.yml, beyond their schema.

As in `owc_deploy.fleet.rules` nothing is said of what is absent: the schema already did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from owc_deploy.fleet.documents import Document, Finding, closest
from owc_deploy.fleet.models import DEFAULT_TIER
from owc_deploy.fleet.yaml_reader import PathKeys

_DATE_KEYS = ("from_date", "until_date")


def tier_names(fleet: Document) -> tuple[str, ...]:
    """Return the tiers that may be named; `default` is there without being written."""
    return tuple(dict.fromkeys((*fleet.data.get("sla_tiers", {}), DEFAULT_TIER)))


def findings(fleet: Document) -> Iterator[Finding]:
    """Hold the tiers and the freeze days against the rules."""
    for name, tier in fleet.data.get("sla_tiers", {}).items():
        yield from _tier(fleet, ("sla_tiers", name), tier)
    for number, days in enumerate(fleet.data.get("freeze_days", ())):
        yield from _freeze_days(fleet, ("freeze_days", number), days or {})


def _tier(fleet: Document, path: PathKeys, tier: Mapping[str, Any]) -> Iterator[Finding]:
    zone = tier.get("time_zone")
    if zone is not None and not _is_time_zone(zone):
        yield Finding(
            fleet.file,
            (*path, "time_zone"),
            "unknown-time-zone",
            f"`{zone}` is not a time zone of the IANA database",
            _nearest_time_zone(zone),
        )
    for number, window in enumerate(tier.get("windows", ())):
        begins = (window or {}).get("from_time")
        if begins is not None and begins == window.get("until_time"):
            yield Finding(
                fleet.file,
                (*path, "windows", number, "until_time"),
                "empty-window",
                f"this window ends when it begins, at {begins}",
                "a later time, or one of the next day; a whole day is two windows, from 00:00 until"
                " 12:00 and from 12:00 until 00:00",
            )


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # no such file; a folder; ZoneInfoNotFoundError
        return False
    return True


def _nearest_time_zone(name: str) -> str:
    known = {zone.lower(): zone for zone in sorted(available_timezones())}
    by_city = {zone.rpartition("/")[2].lower(): zone for zone in known.values()}
    found = by_city.get(name.lower()) or known.get(closest(name.lower(), known))
    return found or "a name such as Europe/Amsterdam"


def _freeze_days(fleet: Document, path: PathKeys, days: Mapping[str, Any]) -> Iterator[Finding]:
    dates = {key: _date(days[key]) for key in _DATE_KEYS if key in days}
    for key, day in dates.items():
        if day is None:
            message = f"`{days[key]}` is no day of the calendar"
            yield Finding(fleet.file, (*path, key), "date", message, "a date such as 2026-12-31")
    first, last = (dates.get(key) for key in _DATE_KEYS)
    if first and last and last < first:
        yield Finding(
            fleet.file,
            (*path, "until_date"),
            "freeze-days-reversed",
            f"these freeze days end on {last}, before they begin on {first}",
            f"from_date: {last} and until_date: {first}, or another year",
        )
    known = tier_names(fleet)
    for number, tier in enumerate(days.get("sla_tiers", ())):
        if tier is not None and tier not in known:
            yield Finding(
                fleet.file,
                (*path, "sla_tiers", number),
                "unknown-tier",
                f"`{tier}` is not a tier in sla_tiers",
                closest(tier, known),
            )


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
