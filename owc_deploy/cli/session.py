"""What a verb works with: the fleet, its catalogue, the door to its servers, its history."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.status import Status

from owc_deploy.catalogue.at_hand import catalogue_at_hand
from owc_deploy.catalogue.models import Catalogue
from owc_deploy.cli.view import narrate
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.ports import Executor, Progress, ProgressCallback
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet
from owc_deploy.store.actor import this_actor


@dataclass(frozen=True, slots=True)
class Session:
    """One fleet, opened for one verb."""

    fleet: Fleet
    catalogue: Catalogue
    executor: Executor


def open_session(fleet_root: Path, *, last_verified_will_do: bool = False) -> Session:
    """Read the fleet's documents and its catalogue; see `catalogue_of`.

    Raises DocumentsInvalidError or CatalogueError.
    """
    fleet = load_fleet(fleet_root)
    catalogue = catalogue_of(fleet, last_verified_will_do=last_verified_will_do)
    return Session(fleet, catalogue, AnsibleExecutor(fleet))


def read_again(session: Session) -> Session:
    """Return a session with the fleet's documents as they are now, and the same catalogue.

    Raises DocumentsInvalidError.
    """
    fleet = load_fleet(session.fleet.root)
    return Session(fleet, session.catalogue, AnsibleExecutor(fleet))


def catalogue_of(fleet: Fleet, *, last_verified_will_do: bool = False) -> Catalogue:
    """Return the fleet's catalogue, telling what is to be told of it.

    For verbs that change nothing `last_verified_will_do` where a signed one cannot be verified now.

    Raises CatalogueError when there is none that may be believed.
    """
    found = catalogue_at_hand(fleet.settings, last_verified_will_do=last_verified_will_do)
    for note in found.notes:
        narrate(note)
    return found.catalogue


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)


def operator() -> str:
    """Return who is at work, for the history; see `this_actor`."""
    return this_actor()


@contextmanager
def progress(what: str) -> Iterator[ProgressCallback]:
    """Show on stderr what servers are doing: one moving line on a terminal, else a line each."""
    if not sys.stderr.isatty():
        click.echo(f"{what} ...", err=True)
        yield _line
        return
    console = Console(stderr=True)
    with console.status(what) as status:
        yield lambda event: _move(status, what, event)


def _line(event: Progress) -> None:
    if event.state in {"changed", "failed", "unreachable"}:
        click.echo(f"  {event.server}: {event.task}: {event.state}", err=True)


def _move(status: Status, what: str, event: Progress) -> None:
    status.update(f"{what}: {event.server}: {event.task}")
