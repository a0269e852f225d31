"""Taking the place of rollouts that are under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from owc_deploy.cli.rollout_walk import engine_of
from owc_deploy.cli.tell import notifier, tell_events
from owc_deploy.cli.view import narrate
from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout import orders
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.models import NewEvent, Rollout
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.supersede import left_behind, overlapping, ring_ahead
from owc_deploy.store import Store


def in_the_way(fleet: Fleet, store: Store, sites: frozenset[str]) -> tuple[Standing, ...]:
    """Return the rollouts whose place one of these sites takes.

    Raises UsageError for one that a person paused, or that still brings sites back.
    """
    found = _overlapping(fleet, store, sites)
    for standing in found:
        orders.supersede(standing, "")
    return found


def undoing(fleet: Fleet, store: Store, sites: frozenset[str]) -> tuple[str, ...]:
    """Return the rollouts with these sites that are to bring something back first."""
    found = _overlapping(fleet, store, sites)
    return tuple(each.rollout.rollout_id for each in found if orders.is_undoing(each))


def abort_idle(fleet: Fleet, store: Store, idle: Iterable[Standing]) -> None:
    """Abort rollouts in whose place nothing comes.

    Raises UsageError, before any is aborted, when one brings sites back or was paused meanwhile.
    """
    why = "nothing of it is to be done any more"
    current = [read(store, each.rollout.rollout_id) for each in idle]
    left = [each for each in current if not each.is_over]
    ending = {each.rollout.rollout_id: orders.supersede(each, why) for each in left}
    for rollout_id, events in ending.items():
        StoreJournal(store, rollout_id).append(*events)
    tell_aborted(fleet, store, left, ending, why)


def tell_aborted(
    fleet: Fleet,
    store: Store,
    superseded: Iterable[Standing],
    ending: Mapping[str, Sequence[NewEvent]],
    why: str,
) -> None:
    """Let everybody know of rollouts that were aborted, also whoever walks them."""
    for standing in superseded:
        rollout_id = standing.rollout.rollout_id
        tell_events(notifier(fleet), standing.rollout, ending[rollout_id])
        engine_of(fleet, store).wake(rollout_id)
        narrate(f"rollout {rollout_id} is aborted: {why}")


def refuse_ahead_of_soak(
    fleet: Fleet, store: Store, rollout: Rollout, superseded: Iterable[Standing]
) -> None:
    """Raise UsageError where a ring soaks in another rollout, and this begins with later rings.

    They bring the same manifests and locks, so that soak is what the later rings wait for.
    """
    ended = {each.rollout.rollout_id for each in superseded}
    for identifier in store.rollouts.identifiers(unfinished=True):
        if identifier not in ended:
            ring = ring_ahead(fleet, rollout, read(store, identifier))
            if ring:
                raise UsageError(
                    f"ring {ring} soaks in rollout {identifier}, and this begins with a later ring",
                    hint="owc-deploy rollout start --supersede, in which its soak goes on;"
                    " or wait; or --emergency",
                )


def tell_left_behind(superseded: Iterable[Standing], sites: frozenset[str]) -> None:
    """Say which sites nobody rolls out to any more once `sites` take the place of rollouts."""
    for standing in superseded:
        left = left_behind(standing, sites)
        if left:
            named = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if left[5:] else "")
            narrate(
                f"rollout {standing.rollout.rollout_id} would end without {named};"
                " afterwards: owc-deploy rollout start"
            )


def _overlapping(fleet: Fleet, store: Store, sites: frozenset[str]) -> tuple[Standing, ...]:
    unfinished = (read(store, each) for each in store.rollouts.identifiers(unfinished=True))
    return overlapping(unfinished, sites, fleet)
