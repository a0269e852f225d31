"""`owc-deploy rollout resume --scheduled`: what a clock starts, again and again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from owc_deploy.cli.rollout_view import print_reports
from owc_deploy.cli.rollout_walk import (
    EXIT_CHANGES,
    EXIT_HALTED,
    current_report,
    exit_code,
    walk_on,
)
from owc_deploy.cli.session import Session
from owc_deploy.cli.view import narrate, print_error
from owc_deploy.errors import LeaseHeldError, OwcError
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.checkout import moved
from owc_deploy.rollout.journal import read
from owc_deploy.rollout.standing import Standing
from owc_deploy.store import Store

# Something was left that a person has to look at.
EXIT_LEFT = 1
# The exit codes: one that says more about a rollout outweighs those before.
_GRAVITY = (0, EXIT_CHANGES, LeaseHeldError.exit_code, EXIT_LEFT, EXIT_HALTED)


def walk_scheduled(
    session: Session,
    store: Store,
    output_format: str,
    *,
    patience: timedelta | None,
    take_over: bool,
    detailed: bool,
) -> int:
    """Walk on every rollout that nobody has to look at first; return the worst exit code.

    What keeps one from going on does not keep the others: that somebody else walks it, say. One
    that only a person can bring further is no success, unless a person paused it.
    """
    codes, documents = [0], []
    for rollout_id in store.rollouts.identifiers(unfinished=True):
        standing = read(store, rollout_id)
        why = left_alone(session.fleet, standing)
        if why:
            narrate(f"rollout {rollout_id} is left alone: {why}")
            codes.append(EXIT_LEFT if standing.state == "running" else 0)
        else:
            try:
                standing, stopped = walk_on(
                    session, store, rollout_id, patience=patience, take_over=take_over
                )
                codes.append(exit_code(standing, stopped, detailed=detailed))
            except OwcError as error:
                print_error(error)
                standing = read(store, rollout_id)
                codes.append(error.exit_code)
        documents.append(current_report(session.fleet, store, standing))
    print_reports(documents, output_format)
    return worst(codes)


def left_alone(fleet: Fleet, standing: Standing) -> str:
    """Return why a clock does not go on with a rollout, `""` when it does.

    One that is halted says so by its exit code each time, and goes on with what it undoes.
    """
    if standing.state == "paused":
        return f"it was paused: {standing.why}"
    differing = moved(fleet, standing)
    return f"{differing}; next: owc-deploy rollout start --supersede" if differing else ""


def worst(codes: Iterable[int]) -> int:
    """Return the exit code that tells most: what went wrong before what others are at work on."""
    return max(codes, key=lambda code: _GRAVITY.index(code) if code in _GRAVITY else len(_GRAVITY))
