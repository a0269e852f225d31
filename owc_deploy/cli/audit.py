"""`owc-deploy audit`: which sites have a known vulnerability, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from owc_deploy.catalogue.feeds import Statement, Vulnerability, read_feed
from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.session import catalogue_of
from owc_deploy.cli.view import print_json, print_table
from owc_deploy.errors import UsageError
from owc_deploy.evidence.audit import Finding, findings
from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.observe import check_sites

SCHEMA_VERSION = 1
FOLDER = "advisories"
MAXIMUM_BYTES = 200 << 20


@click.command(
    epilog="""
\b
Examples:
  owc-deploy audit
  owc-deploy audit heusden --format json
  owc-deploy audit --feed wordfence.json

Exit codes: 0 nothing is known, or all of it was dismissed, 1 a site is affected, 2 a feed cannot
be read.
"""
)
@sites_argument
@fleet_option
@format_option
@click.option(
    "--feed",
    "feeds",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="One more file of vulnerabilities, beside those in advisories/; may be repeated.",
)
def command(
    sites: tuple[str, ...], fleet_root: Path, output_format: str, feeds: tuple[Path, ...]
) -> int:
    """Compare what the locks name with known vulnerabilities, without asking a server.

    They come from the catalogue, and from the JSON files in the fleet's folder advisories/: OSV,
    Wordfence Intelligence v3, and OpenVEX statements that dismiss one, with author and reason. A
    version is affected when any source says so. High and critical ones have a week (BIO2 8.08).
    """
    fleet = load_fleet(fleet_root)
    named = check_sites(fleet, sites)
    locks = {site: lock for site, lock in fleet.locks.items() if not named or site in named}
    catalogue = catalogue_of(fleet, last_verified_will_do=True)
    vulnerabilities, statements = _read((*sorted((fleet_root / FOLDER).glob("*.json")), *feeds))
    found = findings(locks, catalogue, vulnerabilities, statements)
    today = datetime.now(UTC).date()
    if output_format == "json":
        rows = [{**asdict(item), "overdue": item.is_overdue(today)} for item in found]
        print_json({"schema_version": SCHEMA_VERSION, "sites": len(locks), "findings": rows})
    else:
        _print(found, len(locks), today)
    return 1 if any(not item.dismissed for item in found) else 0


def _read(files: Iterable[Path]) -> tuple[list[Vulnerability], list[Statement]]:
    vulnerabilities: list[Vulnerability] = []
    statements: list[Statement] = []
    for file in files:
        try:
            told = read_feed(_json(file), file.name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            words = f"{error}" if isinstance(error, (OSError, ValueError)) else f"it lacks {error}"
            raise UsageError(
                f"{file} cannot be read as advisories: {words}",
                hint="OSV, Wordfence Intelligence v3 or OpenVEX, as JSON",
            ) from error
        vulnerabilities += told[0]
        statements += told[1]
    return vulnerabilities, statements


def _json(file: Path) -> Any:
    if file.stat().st_size > MAXIMUM_BYTES:
        raise ValueError(f"it is larger than {MAXIMUM_BYTES >> 20} MB")
    return json.loads(file.read_bytes())


def _print(found: Sequence[Finding], sites: int, today: date) -> None:
    open_findings = [item for item in found if not item.dismissed]
    if found:
        print_table(
            ("Site", "What", "Vulnerability", "Severity", "Fixed in", "Deal with by", "Says who"),
            [
                (
                    item.site,
                    f"{item.name} {item.version}",
                    item.vulnerability,
                    item.severity,
                    ", ".join(item.fixed_in) or "not known",
                    _until(item, today),
                    ", ".join(item.sources),
                )
                for item in found
            ],
        )
    for item in found:
        if item.dismissed:
            click.echo(f"{item.site}: {item.vulnerability} dismissed by {item.dismissed}")
    affected = len({item.site for item in open_findings})
    click.echo(f"{affected} of {sites} sites are affected, {len(open_findings)} findings")
    for name in sorted({item.name for item in open_findings if item.fixed_in}):
        click.echo(f"  next: owc-deploy update {name}")


def _until(item: Finding, today: date) -> str:
    if item.dismissed:
        return "dismissed"
    return f"{item.deal_with_by} (past)" if item.is_overdue(today) else item.deal_with_by or "-"
