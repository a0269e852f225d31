"""`owc-deploy worker`: carry out rollouts that Temporal walks, near the servers."""

from __future__ import annotations

import os
from pathlib import Path

import click

from owc_deploy.cli.options import fleet_option
from owc_deploy.cli.session import now
from owc_deploy.cli.tell import WorkerNotices
from owc_deploy.cli.temporal import temporal_installed
from owc_deploy.cli.view import narrate, plain
from owc_deploy.errors import UsageError
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import DEFAULT_PLACE, Fleet, TemporalCluster
from owc_deploy.rollout.checkout import Checkout
from owc_deploy.rollout.stint import Stint
from owc_deploy.store import open_fleet_store

EXIT_UNFINISHED = 1


@click.command(
    epilog="""
\b
Examples:
  owc-deploy worker
  owc-deploy worker --place amsterdam --place delft --at-once 8

Exit codes: 0 stopped when asked to, everything finished; 1 stopped before that, and another worker
goes on from what the servers say.
""",
)
@click.option(
    "--place",
    "places",
    multiple=True,
    help="Only go to servers of this place (owc_place); may be given more than once.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="On how many servers of each place at a time.",
)
@click.option(
    "--finish-within",
    "finish_minutes",
    type=click.FloatRange(min=0),
    default=15.0,
    show_default=True,
    metavar="MINUTES",
    help="How long what is under way may take once it is asked to stop.",
)
@fleet_option
def command(places: tuple[str, ...], at_once: int, finish_minutes: float, fleet_root: Path) -> int:
    """Serve rollouts of this fleet until SIGTERM or Ctrl-C; for fleets with `engine: temporal`.

    It works with its own checkout of the fleet in this folder, which somebody keeps up to date, and
    reads it again when it changes. Asked to stop it takes nothing new and finishes what is under
    way; asked once more it ends at once. Nothing is lost either way.
    """
    fleet = load_fleet(fleet_root)
    served = _places(fleet, places)
    with temporal_installed():
        from owc_deploy.rollout.temporal.worker import (  # noqa: PLC0415
            Stopping,
            WorkerSettings,
            run_worker,
        )
    stopping = Stopping()
    stint = Stint(
        store=open_fleet_store(fleet),
        checkout=Checkout(fleet_root, _tell),
        open_executor=AnsibleExecutor,
        clock=now,
        pause=stopping.pause,
        tell=_tell,
        on_events=WorkerNotices(_tell),
    )
    settings = WorkerSettings(served, at_once, finish_minutes * 60)
    if not run_worker(fleet, stint, settings, stopping, lambda: os._exit(EXIT_UNFINISHED)):
        narrate("stopped before everything was finished; another worker goes on with it")
        # Threads that are still at it would hold this process up.
        os._exit(EXIT_UNFINISHED)
    return 0


def _places(fleet: Fleet, named: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(fleet.settings.engine, TemporalCluster):
        raise UsageError(
            "rollouts of this fleet need no worker: fleet.yml says `engine: embedded`",
            hint="owc-deploy rollout start; or see docs/how-to/temporal.md",
        )
    known = {server.place for server in fleet.servers.values()} | {DEFAULT_PLACE}
    unknown = sorted(set(named) - known)
    if unknown:
        raise UsageError(
            f"no server of this fleet is in {', '.join(unknown)}",
            context=f"owc_place in servers.yml says: {', '.join(sorted(known))}",
        )
    return tuple(dict.fromkeys(named)) or tuple(sorted(known))


def _tell(text: str) -> None:
    narrate(f"{now():%Y-%m-%d %H:%M:%S}Z  {plain(text)}")
