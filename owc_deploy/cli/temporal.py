"""Rollouts on Temporal, as verbs see them; imported only for fleets that have it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from owc_deploy.cli.rollout_view import event_line
from owc_deploy.cli.session import now
from owc_deploy.cli.view import narrate, plain
from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.models import Event
from owc_deploy.rollout.ports import Engine
from owc_deploy.store import Store


@contextmanager
def temporal_installed() -> Iterator[None]:
    """Say what is missing where what is done inside needs Temporal's library."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("temporalio"):
            raise
        raise UsageError(
            "fleet.yml runs rollouts on Temporal, and its library is not there",
            context=str(error),
            hint="pip install 'owc-deploy[temporal,postgres]'",
        ) from error


def temporal_engine(fleet: Fleet, store: Store) -> Engine:
    """Return the engine on the cluster that fleet.yml names.

    Raises UsageError when Temporal's library is not there.
    """
    with temporal_installed():
        from owc_deploy.rollout.temporal.engine import TemporalEngine  # noqa: PLC0415
    return TemporalEngine(
        fleet,
        store,
        now=now,
        sleep=time.sleep,
        tell=lambda text: narrate(plain(text)),
        on_event=_tell_event,
    )


def _tell_event(event: Event) -> None:
    line = event_line(event)
    if line:
        click.echo(line, err=True)
