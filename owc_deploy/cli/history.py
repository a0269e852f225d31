"""`owc-deploy history`: what was done, by whom, and how it ended."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.view import print_json
from owc_deploy.fleet.load import load_fleet
from owc_deploy.store import open_fleet_store
from owc_deploy.store.models import RecordedOutcome

SCHEMA_VERSION = 1
_GREEN = frozenset({"ok", "changed"})
_HEADINGS = ("WHEN", "WHO", "VERB", "SITE", "OUTCOME", "RELEASE", "SECONDS", "MESSAGE")


@click.command(
    epilog="""
\b
Examples:
  owc-deploy history
  owc-deploy history heusden --limit 5
  owc-deploy history --format json | jq '.outcomes[] | select(.outcome == "failed")'
"""
)
@sites_argument
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many lines at the most.",
)
@fleet_option
@format_option
def command(sites: tuple[str, ...], limit: int, fleet_root: Path, output_format: str) -> None:
    """Show how runs ended for each site, newest first.

    `running`: the run is at work now. `interrupted`: it was killed before it could say how it
    ended; `owc-deploy status` looks at the servers themselves.
    """
    store = open_fleet_store(load_fleet(fleet_root))
    outcomes = store.history.outcomes(*sites, limit=limit)
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "outcomes": [asdict(outcome) for outcome in outcomes],
            }
        )
    elif outcomes:
        _print_table([_cells(outcome) for outcome in outcomes])
    else:
        click.echo("nothing was done yet" + (f" to {', '.join(sites)}" if sites else ""))


def _cells(outcome: RecordedOutcome) -> tuple[str, ...]:
    began = datetime.fromisoformat(outcome.run.started_at).astimezone()
    reason = f" [{outcome.run.reason}]" if outcome.run.reason else ""
    return (
        f"{began:%Y-%m-%d %H:%M}",
        outcome.run.operator,
        outcome.run.verb,
        outcome.site,
        outcome.outcome,
        outcome.release_id or "-",
        f"{outcome.seconds:.1f}",
        f"{outcome.message}{reason}".replace("\n", " "),
    )


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(7)]
    for row in (_HEADINGS, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        if row is not _HEADINGS:
            cells[4] = click.style(cells[4], fg="green" if row[4] in _GREEN else "red")
        click.echo("  ".join([*cells, row[7]]).rstrip())
