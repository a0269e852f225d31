"""`owc-deploy rollout status`, `watch` and `list`: how far rollouts are. Changes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import click

from owc_deploy.cli.options import ci_format_option, fleet_option, format_option
from owc_deploy.cli.rollout_view import event_line, print_report
from owc_deploy.cli.rollout_walk import EXIT_HALTED, choose, current_report
from owc_deploy.cli.view import print_json, print_table
from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.report import SCHEMA_VERSION
from owc_deploy.store import open_fleet_store

_POLL_SECONDS = 1.0
_AT_REST = frozenset(
    {"done", "incomplete", "aborted", "halted", "paused", "waiting", "interrupted"}
)
_rollout_argument = click.argument("rollout_id", default="", metavar="[ROLLOUT]")


@click.command(
    "status",
    epilog="""
\b
Examples:
  owc-deploy rollout status
  owc-deploy rollout status 20261127T001500Z-1a2b3c4d --format json | jq .state

Exit codes: 0 it goes on, waits or is done; 1 it is incomplete; 6 halted, paused or aborted.
""",
)
@_rollout_argument
@fleet_option
@ci_format_option
def status_command(rollout_id: str, fleet_root: Path, output_format: str) -> int:
    """Show how far a rollout is: the one under way, or the one named."""
    fleet = load_fleet(fleet_root)
    store = open_fleet_store(fleet)
    newest = store.rollouts.identifiers(limit=1)
    unfinished = store.rollouts.identifiers(unfinished=True)
    chosen = rollout_id or (newest[0] if newest and not unfinished else choose(store, ""))
    standing = read(store, chosen)
    print_report(current_report(fleet, store, standing), output_format)
    return _exit_code(standing.state)


@click.command(
    "watch",
    epilog="""
\b
Examples:
  owc-deploy rollout watch
""",
)
@_rollout_argument
@fleet_option
def watch_command(rollout_id: str, fleet_root: Path) -> int:
    """Show everything that happens in a rollout from its start, until nobody walks it any more.

    It only reads: watching from any machine that has the history, and stopping, disturb nothing.
    Exit codes: as those of `rollout status`.
    """
    fleet = load_fleet(fleet_root)
    store = open_fleet_store(fleet)
    chosen = choose(store, rollout_id)
    journal = StoreJournal(store, chosen)
    standing = read(store, chosen)
    seen = 0
    while True:
        for event in journal.events(after=seen):
            seen = event.number
            line = event_line(event)
            if line:
                click.echo(line)
        standing = read(store, chosen)
        document = current_report(fleet, store, standing)
        if document["state"] in _AT_REST and standing.number == seen:
            print_report(document, "human")
            return _exit_code(standing.state)
        time.sleep(_POLL_SECONDS)


@click.command(
    "list",
    epilog="""
\b
Examples:
  owc-deploy rollout list
  owc-deploy rollout list --format json | jq '.rollouts[0]'
""",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many at the most.",
)
@fleet_option
@format_option
def list_command(limit: int, fleet_root: Path, output_format: str) -> None:
    """List rollouts, the newest first."""
    fleet = load_fleet(fleet_root)
    store = open_fleet_store(fleet)
    documents = [
        current_report(fleet, store, read(store, each))
        for each in store.rollouts.identifiers(limit=limit)
    ]
    if output_format == "json":
        rows = [{k: v for k, v in document.items() if k != "rings"} for document in documents]
        print_json({"schema_version": SCHEMA_VERSION, "rollouts": rows})
    elif documents:
        print_table(
            ("ROLLOUT", "STATE", "SITES", "CAUSE", "BY"),
            [
                (
                    str(document["rollout_id"]),
                    str(document["state"]),
                    ", ".join(f"{n} {word}" for word, n in sorted(document["counts"].items())),
                    str(document["cause"]),
                    str(document["operator"]),
                )
                for document in documents
            ],
        )
    else:
        click.echo("there was no rollout yet")


def _exit_code(state: str) -> int:
    if state == "incomplete":
        return 1
    return EXIT_HALTED if state in {"halted", "paused", "aborted"} else 0
