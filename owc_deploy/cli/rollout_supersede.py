"""Taking the place of rollouts that are under way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from owc_deploy.cli.rollout_walk import walk_on
from owc_deploy.cli.session import Session
from owc_deploy.cli.view import confirm, narrate
from owc_deploy.errors import UsageError
from owc_deploy.rollout import orders
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.models import NewEvent
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.supersede import overlapping
from owc_deploy.store import Store


def superseded(
    session: Session, store: Store, sites: frozenset[str], *, yes: bool, take_over: bool
) -> tuple[Standing, ...]:
    """Return the rollouts whose place one of these sites takes; what they undo is undone first.

    Raises UsageError for one that a person paused, or that cannot be undone now, and LeaseHeldError
    when somebody else is undoing it.
    """
    unfinished = [read(store, each) for each in store.rollouts.identifiers(unfinished=True)]
    found = []
    for standing in overlapping(unfinished, sites, session.fleet):
        rollout_id = standing.rollout.rollout_id
        if standing.state == "paused":
            raise UsageError(
                f"rollout {rollout_id} was paused: {standing.why}",
                context="whoever paused it wants nothing new to begin",
                hint=f"owc-deploy rollout abort {rollout_id}, and then the same command",
            )
        left = standing
        if _is_undoing(standing):
            confirm(f"Undo rollout {rollout_id} first?", yes=yes)
            left, _ = walk_on(
                session, store, rollout_id, patience=timedelta(0), take_over=take_over
            )
        if _is_undoing(left):
            raise UsageError(
                f"rollout {rollout_id} is still undoing what it changed",
                hint=f"owc-deploy rollout resume {rollout_id}, and then the same command",
            )
        if not left.is_over:
            found.append(left)
    return tuple(found)


def _is_undoing(standing: Standing) -> bool:
    if standing.is_over:
        return False
    return standing.state == "aborted" or next(iter(standing.to_undo()), None) is not None


def endings(superseded: Iterable[Standing], why: str) -> dict[str, tuple[NewEvent, ...]]:
    """Return the last events of rollouts, by their identifiers, and say that they are aborted."""
    found = {}
    for standing in superseded:
        rollout_id = standing.rollout.rollout_id
        narrate(f"rollout {rollout_id} is aborted: {why}")
        found[rollout_id] = orders.abort(standing, why)
    return found


def abort(store: Store, superseded: Iterable[Standing], why: str) -> None:
    """Abort rollouts in whose place nothing comes."""
    for rollout_id, events in endings(superseded, why).items():
        StoreJournal(store, rollout_id).append(*events)
