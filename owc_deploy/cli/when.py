"""`owc-deploy when`: the next time at which a site may be changed, and why then."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.session import now
from owc_deploy.cli.view import plain, print_json
from owc_deploy.errors import UsageError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import FleetSettings, SlaTier
from owc_deploy.plan.windows import HORIZON, WEEKDAYS, Opening, is_open, next_window
from owc_deploy.rollout.observe import check_sites

SCHEMA_VERSION = 1
# Beyond these no time zone's rules are known, and arithmetic may leave the calendar.
_YEARS = range(2000, 2100)


@click.command(
    epilog="""
\b
Examples:
  owc-deploy when
  owc-deploy when heusden
  owc-deploy when heusden --at 2026-12-24T20:00
  owc-deploy when --format json | jq -r '.sites[] | [.site, .begins_utc] | @tsv'

Exit codes: 0 each site has a next time, 1 one has none within 400 days.
"""
)
@sites_argument
@fleet_option
@format_option
@click.option(
    "--at",
    metavar="MOMENT",
    help="Reckon from this moment, not from now: as 2026-12-24T20:00 on the site's own clock, or"
    " with an offset, as 2026-12-24T19:00Z.",
)
def command(sites: tuple[str, ...], fleet_root: Path, output_format: str, at: str | None) -> int:
    """Tell for each site when it may be changed next, in its own time and in UTC, and why.

    Follows from sla_tiers and freeze_days in fleet.yml and from sla_tier in the manifest; no server
    is asked. Rollouts keep to it; `apply` is your own hand, and changes a site when you say so.
    """
    fleet = load_fleet(fleet_root)
    named = check_sites(fleet, sites)
    moment = now() if at is None else _moment(at)
    rows = []
    answers: dict[str, dict[str, Any]] = {}
    for site in sorted(named or fleet.manifests):
        tier = fleet.settings.tier_of(fleet.manifests[site])
        if tier.name not in answers:
            answers[tier.name] = _answer(tier, fleet.settings, moment)
        rows.append({"site": site, **answers[tier.name]})
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "sites": rows})
    else:
        for row in rows:
            _print_row(row, "now" if at is None else "at that moment")
    return 0 if all(row["begins"] for row in rows) else 1


def _moment(text: str) -> datetime:
    """Read a moment; without an offset it is naive, and means each site's own clock.

    Raises UsageError.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.year not in _YEARS:
        raise UsageError(
            f"`{text}` is not a moment between 2000 and 2099",
            hint="owc-deploy when --at 2026-12-24T20:00",
        )
    return moment


def _answer(tier: SlaTier, settings: FleetSettings, moment: datetime) -> dict[str, Any]:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(tier.time_zone))
    opening = next_window(tier, settings.freeze_days, moment)
    return {
        "sla_tier": tier.name,
        "time_zone": tier.time_zone,
        "at": moment.isoformat(timespec="seconds"),
        "is_open": is_open(tier, settings.freeze_days, moment),
        **_times(opening),
        "why": list(opening.why)
        if opening
        else [f"nothing but freeze days for {HORIZON.days} days: see freeze_days in fleet.yml"],
    }


def _times(opening: Opening | None) -> dict[str, str | None]:
    times = {"begins": opening and opening.begins, "ends": opening and opening.ends}
    return {
        name: time.isoformat(timespec="seconds") if time else None
        for key, local in times.items()
        for name, time in ((key, local), (f"{key}_utc", local and local.astimezone(UTC)))
    }


def _print_row(row: dict[str, Any], at_once: str) -> None:
    click.echo(f"{row['site']:24} {_words(row, at_once)}")
    for reason in row["why"]:
        click.echo(f"    {plain(reason)}")


def _words(row: dict[str, Any], at_once: str) -> str:
    if row["begins"] is None:
        return click.style("at no time", fg="red")
    begins = _clock(row["begins"], row["begins_utc"])
    words = click.style(at_once, fg="green") if row["is_open"] else begins
    ends = f"until {_clock(row['ends'], row['ends_utc'])}" if row["ends"] else "without an end"
    return f"{words}, {ends} ({row['time_zone']})"


def _clock(local: str, utc: str) -> str:
    here, there = datetime.fromisoformat(local), datetime.fromisoformat(utc)
    day = WEEKDAYS[here.weekday()]
    return f"{day} {here:%Y-%m-%d %H:%M} = {there:%Y-%m-%d %H:%M}Z"
