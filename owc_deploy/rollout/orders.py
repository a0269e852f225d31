"""What a person may tell a rollout, and when: pause, resume, abort, retry. Pure.

Each returns the events to write down, or raises UsageError saying what to type instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from owc_deploy.errors import UsageError
from owc_deploy.rollout.models import NewEvent
from owc_deploy.rollout.standing import GOOD, Standing


def pause(standing: Standing, why: str) -> tuple[NewEvent, ...]:
    """Stop after what is under way."""
    if standing.state != "running":
        raise _not_now(standing, "paused")
    return (NewEvent("rollout-paused", body={"why": why or "a person asked for it"}),)


def resume(standing: Standing, why: str, *, accept_failures: bool = False) -> tuple[NewEvent, ...]:
    """Go on; `accept_failures` leaves the sites that went wrong so far out of the budgets.

    What was halted or aborted while it undid what it changed goes on undoing, and nothing else.
    """
    if standing.is_over:
        raise _not_now(standing, "resumed")
    events: list[NewEvent] = []
    if is_undoing(standing):
        if accept_failures:
            raise _undoing(standing)
        return ()
    if accept_failures:
        sites = sorted(failed_sites(standing))
        events.append(NewEvent("failures-accepted", body={"sites": sites, "why": why}))
    elif standing.state == "halted":
        rollout_id = standing.rollout.rollout_id
        raise UsageError(
            f"rollout {rollout_id} was halted: {standing.why}",
            hint=f"owc-deploy rollout retry {rollout_id}; or owc-deploy rollout resume {rollout_id}"
            f" --accept-failures; or owc-deploy rollout abort {rollout_id}",
        )
    if standing.state != "running":
        events.append(NewEvent("rollout-resumed", body={"why": why}))
    return tuple(events)


def abort(standing: Standing, why: str, *, undo_since: str = "") -> tuple[NewEvent, ...]:
    """Stop for good; with `undo_since` what was changed since that ring is brought back."""
    if standing.state == "aborted" or standing.is_over:
        raise _not_now(standing, "aborted")
    rollout_id = standing.rollout.rollout_id
    names = [ring.name for ring in standing.rollout.rings]
    if undo_since and undo_since not in names:
        raise UsageError(
            f"the rollout has no ring {undo_since}",
            context=f"it has: {', '.join(names)}",
            hint=f"owc-deploy rollout abort {rollout_id} --undo-since {names[0]}",
        )
    rings = names[names.index(undo_since) :] if undo_since else []
    body = {"why": why or "a person asked for it", "undo_rings": rings}
    aborted = NewEvent("rollout-aborted", body=body)
    if rings or is_undoing(standing):
        return (aborted,)
    return (aborted, NewEvent("rollout-ended", body={"word": "aborted"}))


def supersede(standing: Standing, why: str) -> tuple[NewEvent, ...]:
    """Stop for good because another rollout takes its place.

    Not while it brings sites back, nor when a person paused it: they want nothing new to begin.
    """
    if is_undoing(standing):
        raise _undoing(standing)
    if standing.state == "paused":
        rollout_id = standing.rollout.rollout_id
        raise UsageError(
            f"rollout {rollout_id} was paused: {standing.why}",
            context="whoever paused it wants nothing new to begin",
            hint=f"owc-deploy rollout abort {rollout_id}, and then the same command",
        )
    return abort(standing, why)


def retry(standing: Standing, sites: Iterable[str], why: str) -> tuple[NewEvent, ...]:
    """Try sites again that did not end well, all of them when none is named, and go on."""
    if standing.state == "aborted" or standing.is_over:
        raise UsageError(
            f"rollout {standing.rollout.rollout_id} is over ({standing.state})",
            hint="owc-deploy rollout start, which changes only what is not as its lock says",
        )
    if is_undoing(standing):
        raise _undoing(standing)
    possible = failed_sites(standing) | {
        name for name, site in standing.sites.items() if site.undo is not None
    }
    named = frozenset(sites)
    strange = sorted(named - possible)
    if strange:
        raise UsageError(
            f"{', '.join(strange)}: nothing to try again",
            context=f"to be tried again: {', '.join(sorted(possible)) or 'none'}",
            hint=f"owc-deploy rollout status {standing.rollout.rollout_id}",
        )
    again = sorted(named or possible)
    if not again:
        raise UsageError(
            "there is nothing to try again",
            hint=f"owc-deploy rollout status {standing.rollout.rollout_id}",
        )
    retried = NewEvent("sites-retried", body={"sites": again, "why": why})
    if standing.state == "running":
        return (retried,)
    return (retried, NewEvent("rollout-resumed", body={"why": why}))


def failed_sites(standing: Standing) -> set[str]:
    """Return the sites that had their turn and did not end well."""
    return {
        name
        for name, site in standing.sites.items()
        if site.is_settled and site.outcome not in GOOD
    }


def is_undoing(standing: Standing) -> bool:
    """Return whether a rollout has something to bring back, or to write down that it did.

    That is what an abort waits for.
    """
    if standing.is_over:
        return False
    return standing.state == "aborted" or next(standing.to_undo(), None) is not None


def _undoing(standing: Standing) -> UsageError:
    return UsageError(
        f"rollout {standing.rollout.rollout_id} is still undoing what it changed",
        hint=f"owc-deploy rollout resume {standing.rollout.rollout_id}",
    )


def _not_now(standing: Standing, word: str) -> UsageError:
    rollout_id = standing.rollout.rollout_id
    if standing.state == "aborted" and not standing.is_over:
        return _undoing(standing)
    return UsageError(
        f"rollout {rollout_id} is {standing.state} and cannot be {word}",
        hint=f"owc-deploy rollout status {rollout_id}",
    )
