"""`owc-deploy rollout pause`, `resume`, `abort` and `retry`: what a person tells a rollout."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import click

from owc_deploy.cli.options import change_options, ci_format_option, fleet_option
from owc_deploy.cli.rollout_scheduled import walk_scheduled
from owc_deploy.cli.rollout_view import print_report
from owc_deploy.cli.rollout_walk import (
    choose,
    current_report,
    engine_of,
    finish,
    telling_journal,
    walk_on,
    walk_options,
)
from owc_deploy.cli.session import open_session
from owc_deploy.cli.view import confirm, narrate
from owc_deploy.errors import LeaseHeldError, UsageError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout import orders
from owc_deploy.rollout.journal import read
from owc_deploy.rollout.models import NewEvent
from owc_deploy.rollout.standing import Standing
from owc_deploy.store import Store, open_fleet_store

_rollout_argument = click.argument("rollout_id", default="", metavar="[ROLLOUT]")
_reason_option = click.option("--reason", default="", help="Why, for the audit log.")


@click.command(
    "pause",
    epilog="""
\b
Examples:
  owc-deploy rollout pause
  owc-deploy rollout pause 20261127T001500Z-1a2b3c4d --reason "the help desk is called"
""",
)
@_rollout_argument
@_reason_option
@fleet_option
@ci_format_option
def pause_command(rollout_id: str, reason: str, fleet_root: Path, output_format: str) -> int:
    """Let what is under way end, and begin nothing more until `resume`."""
    fleet = load_fleet(fleet_root)
    store = open_fleet_store(fleet)
    chosen = choose(store, rollout_id)
    standing = read(store, chosen)
    _order(fleet, store, standing, orders.pause(standing, reason))
    engine_of(fleet, store).wake(chosen)
    print_report(current_report(fleet, store, read(store, chosen)), output_format)
    return 0


@click.command(
    "resume",
    epilog="""
\b
Examples:
  owc-deploy rollout resume
  owc-deploy rollout resume --scheduled --yes
  owc-deploy rollout resume 20261127T001500Z-1a2b3c4d --accept-failures --reason "two known sites"

Exit codes: as those of `rollout start`; with --scheduled 0 also for one that somebody paused,
and 1 for one whose documents have changed.
""",
)
@_rollout_argument
@click.option(
    "--scheduled",
    is_flag=True,
    help="Walk on every rollout that waits or was cut off; leave those alone that a person is to"
    " look at, and those whose documents have changed.",
)
@click.option(
    "--accept-failures",
    is_flag=True,
    help="Leave the sites that went wrong so far as they are, and out of the budgets.",
)
@walk_options
@fleet_option
@ci_format_option
@change_options
def resume_command(
    rollout_id: str,
    scheduled: bool,
    accept_failures: bool,
    patience: timedelta | None,
    detailed_exitcode: bool,
    fleet_root: Path,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Go on with a rollout that was paused, that waits, or whose controller was cut off.

    The servers are asked what became of sites that were being changed: none is changed twice.
    """
    session = open_session(fleet_root)
    store = open_fleet_store(session.fleet)
    with closing(session.executor):
        if scheduled:
            if rollout_id or accept_failures:
                raise UsageError(
                    "--scheduled is about every rollout and decides nothing",
                    hint="owc-deploy rollout resume --scheduled",
                )
            confirm("Go on with what is under way?", yes=yes)
            return walk_scheduled(
                session,
                store,
                output_format,
                patience=patience,
                take_over=take_over,
                detailed=detailed_exitcode,
            )
        chosen = choose(store, rollout_id)
        standing = read(store, chosen)
        events = orders.resume(standing, reason, accept_failures=accept_failures)
        confirm(f"Go on with rollout {chosen}?", yes=yes)
        _order(session.fleet, store, standing, events)
        standing, stopped = walk_on(session, store, chosen, patience=patience, take_over=take_over)
    return finish(
        session.fleet, store, standing, stopped, output_format, detailed=detailed_exitcode
    )


@click.command(
    "abort",
    epilog="""
\b
Examples:
  owc-deploy rollout abort --reason "the block is withdrawn"
  owc-deploy rollout abort --undo-since canary --yes
""",
)
@_rollout_argument
@click.option(
    "--undo-since",
    default="",
    metavar="RING",
    help="Bring everything back that was changed in this ring and those after it.",
)
@fleet_option
@ci_format_option
@change_options
def abort_command(
    rollout_id: str,
    undo_since: str,
    fleet_root: Path,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Stop a rollout for good. What it changed stays, unless --undo-since is given.

    Exit codes: 0 aborted, and what was to be undone is, or somebody else who walks the rollout
    does it; 1 something could not be undone.
    """
    session = open_session(fleet_root)
    store = open_fleet_store(session.fleet)
    with closing(session.executor):
        chosen = choose(store, rollout_id)
        standing = read(store, chosen)
        events = orders.abort(standing, reason, undo_since=undo_since)
        undone = f" and undo everything since ring {undo_since}" if undo_since else ""
        confirm(f"Abort rollout {chosen}{undone}?", yes=yes)
        _order(session.fleet, store, standing, events)
        standing = read(store, chosen)
        if standing.is_over:
            engine_of(session.fleet, store).wake(chosen)
        else:
            try:
                standing, _ = walk_on(session, store, chosen, patience=None, take_over=take_over)
            except LeaseHeldError:
                # It is written down, and whoever walks the rollout reads it.
                narrate(f"next: owc-deploy rollout watch {chosen}")
                standing = read(store, chosen)
    document = current_report(session.fleet, store, standing)
    print_report(document, output_format)
    return 1 if any(word.startswith("undo-") for word in document["counts"]) else 0


@click.command(
    "retry",
    epilog="""
\b
Examples:
  owc-deploy rollout retry
  owc-deploy rollout retry 20261127T001500Z-1a2b3c4d --site heusden

Exit codes: as those of `rollout start`.
""",
)
@_rollout_argument
@click.option("--site", "sites", multiple=True, help="Only this site; may be given more than once.")
@walk_options
@fleet_option
@ci_format_option
@change_options
def retry_command(
    rollout_id: str,
    sites: tuple[str, ...],
    patience: timedelta | None,
    detailed_exitcode: bool,
    fleet_root: Path,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Try the sites again that did not end well or were undone, and go on.

    Their rings are walked again, soak included.
    """
    session = open_session(fleet_root)
    store = open_fleet_store(session.fleet)
    with closing(session.executor):
        chosen = choose(store, rollout_id)
        standing = read(store, chosen)
        events = orders.retry(standing, sites, reason)
        confirm(f"Try again in rollout {chosen}?", yes=yes)
        _order(session.fleet, store, standing, events)
        standing, stopped = walk_on(session, store, chosen, patience=patience, take_over=take_over)
    return finish(
        session.fleet, store, standing, stopped, output_format, detailed=detailed_exitcode
    )


def _order(fleet: Fleet, store: Store, standing: Standing, events: tuple[NewEvent, ...]) -> None:
    if not events:
        return
    telling_journal(fleet, store, standing.rollout).append(*events)
    holder = store.holder(f"rollout/{standing.rollout.rollout_id}")
    if holder is not None:
        narrate(f"written down; {holder.owner} walks this rollout and does it")
