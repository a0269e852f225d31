"""What a rollout does next. Pure: the same standing, calendar and moment give the same decision.

Nothing here waits, asks a server or writes anything down; `owc_deploy.rollout.walk` and the
Temporal workflow do what is decided here, one decision after the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from owc_deploy.rollout.models import (
    CheckRing,
    Decision,
    End,
    EndRing,
    GiveUp,
    Halt,
    Rollout,
    RolloutRing,
    RolloutSite,
    SettleRing,
    Stand,
    Start,
    Undo,
    Wait,
)
from owc_deploy.rollout.standing import Failing, Standing
from owc_deploy.rollout.turns import Calendar, Slots, Turns, in_order

__all__ = ["Calendar", "decide"]

# How long to wait for work that somebody is doing for the same rollout. An engine that does several
# things at once looks again when one of them ends; this is for when that is missed.
UNDER_WAY = timedelta(minutes=10)


def decide(standing: Standing, calendar: Calendar, moment: datetime) -> Decision:
    """Return the one thing to do next in a rollout that stands so at `moment` (aware)."""
    if standing.is_over:
        return Stand(standing.state, standing.why)
    if standing.state in {"halted", "aborted"}:
        return _undo(standing, moment)
    if standing.state == "paused":
        return Stand("paused", standing.why)
    for ring in standing.rollout.rings:
        if not standing.rings[ring.name].has_ended:
            return _ring(ring, standing, calendar, moment)
    good = all(site.is_good for site in standing.sites.values())
    return End("done" if good else "incomplete")


def _ring(ring: RolloutRing, standing: Standing, calendar: Calendar, moment: datetime) -> Decision:
    # What is broken after its soak goes back by itself, as what fails at once does on its server.
    undo = _bring_back(standing, moment)
    if undo is not None:
        return undo
    exceeded = _exceeded(ring, standing)
    if exceeded:
        return Halt(exceeded, _undo_rings(standing.rollout, ring))
    for server in sorted(standing.rings[ring.name].lost_servers):
        left = standing.left_on(ring.name, server)
        if left:
            why = f"{server} was not reached in {standing.rollout.limits.attempts} attempts"
            return GiveUp(left, "unreachable", why)
    turns = Turns(standing, calendar, moment)
    batch = turns.batch(ring.name)
    if batch:
        return Start(ring.name, batch)
    if turns.never:
        return GiveUp(turns.never, "not-attempted", "it has no window in the next 400 days")
    if standing.under_way:
        turns.wait_until(moment + UNDER_WAY, "sites are being changed")
    return turns.wait or _settled(ring, standing, moment)


def _exceeded(ring: RolloutRing, standing: Standing) -> str:
    """Say which part of a ring's budget was exceeded and by which sites, `""` when none was."""
    failing = standing.rings[ring.name].failing
    allowances: dict[Failing, int] = {
        "failed": ring.allowed_failed,
        "inconclusive": ring.allowed_inconclusive,
        "unreachable": ring.allowed_unreachable,
    }
    for kind, allowed in allowances.items():
        if len(failing[kind]) > allowed:
            sites = sorted(failing[kind])
            named = ", ".join(sites[:5]) + (f" and {len(sites) - 5} more" if sites[5:] else "")
            return f"ring {ring.name}: {kind} {len(sites)}, allowed {allowed}: {named}"
    return ""


def _undo_rings(rollout: Rollout, ring: RolloutRing) -> tuple[str, ...]:
    if ring.undo_since is None:
        return ()
    names = [each.name for each in rollout.rings]
    return tuple(names[names.index(ring.undo_since) : names.index(ring.name) + 1])


def _settled(ring: RolloutRing, standing: Standing, moment: datetime) -> Decision:
    state = standing.rings[ring.name]
    if state.settled_at is None:
        return SettleRing(ring.name)
    if ring.soak_seconds and standing.rollout.emergency is None:
        ends = state.settled_at + timedelta(seconds=ring.soak_seconds)
        if moment < ends:
            return Wait(ends, f"ring {ring.name} soaks for {ring.soak_seconds // 60} minutes")
        return _soaked(ring, standing, moment)
    return EndRing(ring.name)


def _soaked(ring: RolloutRing, standing: Standing, moment: datetime) -> Decision:
    """Look at every good site of a ring, and again at those that were not reached."""
    state = standing.rings[ring.name]
    due: list[RolloutSite] = []
    waits: list[Wait] = []
    for site in state.unchecked.values():
        missed_at = standing.sites[site.site].checked_at
        if missed_at is not None and standing.retry_at(missed_at) > moment:
            why = f"{site.server} is looked at again, it was not reached"
            waits.append(Wait(standing.retry_at(missed_at), why))
        else:
            due.append(site)
    if due:
        return CheckRing(ring.name, tuple(sorted(due, key=standing.order)))
    if standing.being_checked:
        waits.append(Wait(moment + UNDER_WAY, f"ring {ring.name} is looked at after its soak"))
    if waits:
        return min(waits, key=lambda wait: wait.until)
    # Also where none is good it is written down that it was looked at.
    return EndRing(ring.name) if state.checked_at is not None else CheckRing(ring.name, ())


def _undo(standing: Standing, moment: datetime) -> Decision:
    undo = _bring_back(standing, moment)
    if undo is not None:
        return undo
    if standing.state == "aborted":
        return End("aborted")
    return Stand(standing.state, standing.why)


def _bring_back(standing: Standing, moment: datetime) -> Undo | Wait | None:
    """Bring back what is to be brought back, `None` for nothing; it waits for no window."""
    if standing.state == "running" and next(standing.to_undo(), None) is None:
        return None
    slots = Slots(standing.rollout.limits, standing.under_way.values())
    batch: list[RolloutSite] = []
    waits: list[Wait] = []
    for site in in_order(standing.undo_lanes, lambda site: -standing.order(site), slots):
        if site.site in standing.under_way:
            continue
        tried_at = standing.sites[site.site].undo_tried_at
        if tried_at is not None and standing.retry_at(tried_at) > moment:
            why = "what could not be undone is tried again"
            waits.append(Wait(standing.retry_at(tried_at), why))
        elif slots.take(site):
            batch.append(site)
    if batch:
        return Undo(tuple(batch))
    if standing.under_way:
        waits.append(Wait(moment + UNDER_WAY, "sites are being changed"))
    return min(waits, key=lambda wait: wait.until) if waits else None
