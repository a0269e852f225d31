"""What a rollout does next. Pure: the same standing, calendar and moment give the same decision.

Nothing here waits, asks a server or writes anything down; `owc_deploy.rollout.walk` and the
Temporal workflow do what is decided here, one decision after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate

from owc_deploy.fleet.models import FreezeDays, RolloutLimits, SlaTier
from owc_deploy.plan.windows import HORIZON, Opening, next_window
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
from owc_deploy.rollout.standing import GOOD, PASSING, Failing, Standing

# How long to wait for what is under way. An engine that does several things at once looks again
# when one of them ends; this is for when that is missed.
UNDER_WAY = timedelta(minutes=10)


class Calendar:
    """When the sites of each tier may be changed; asks `next_window` once for each opening."""

    def __init__(self, tiers: Mapping[str, SlaTier], freeze_days: Iterable[FreezeDays]) -> None:
        self._tiers = tiers
        self._freeze_days = tuple(freeze_days)
        self._found: dict[str, tuple[datetime, Opening | None]] = {}

    def opening(self, tier: str, moment: datetime) -> Opening | None:
        """Return the opening of a tier that `moment` is in, or the first after it."""
        if tier in self._found:
            asked, known = self._found[tier]
            if asked == moment or (known and asked <= moment and not known.is_over(moment)):
                return known
        rules = self._tiers.get(tier) or SlaTier(tier)
        found = next_window(rules, self._freeze_days, moment)
        self._found[tier] = (moment, found)
        return found


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
    good = all(site.outcome in GOOD for site in standing.sites.values())
    return End("done" if good else "incomplete")


def _ring(ring: RolloutRing, standing: Standing, calendar: Calendar, moment: datetime) -> Decision:
    exceeded = _exceeded(ring, standing)
    if exceeded:
        return Halt(exceeded, _undo_rings(standing.rollout, ring))
    given_up = _out_of_reach(ring, standing)
    if given_up:
        why = f"{given_up[0].server} was not reached in {standing.rollout.limits.attempts} attempts"
        return GiveUp(given_up, "unreachable", why)
    ready: list[RolloutSite] = []
    never: list[RolloutSite] = []
    waits: list[Wait] = []
    room = _room_in_wave(ring, standing)
    for site in _in_turn(ring, standing, room):
        wait = _wait_for(site, standing, calendar, moment)
        if wait is None:
            ready.append(site)
        elif wait.until > moment + HORIZON:
            never.append(site)
        else:
            waits.append(wait)
    batch = _batch(ready, standing, room)
    if batch:
        return Start(ring.name, batch)
    if never:
        return GiveUp(tuple(never), "not-attempted", "it has no window in the next 400 days")
    if any(standing.sites[site.site].is_intended for site in ring.sites):
        waits.append(Wait(moment + UNDER_WAY, "sites are being changed"))
    if waits:
        return min(waits, key=lambda wait: wait.until)
    return _settled(ring, standing, moment)


def _exceeded(ring: RolloutRing, standing: Standing) -> str:
    """Say which part of a ring's budget was exceeded and by which sites, `""` when none was."""
    failing = standing.failing(ring)
    allowances: dict[Failing, int] = {
        "failed": ring.allowed_failed,
        "inconclusive": ring.allowed_inconclusive,
        "unreachable": ring.allowed_unreachable,
    }
    for kind, allowed in allowances.items():
        sites = failing[kind]
        if len(sites) > allowed:
            named = ", ".join(sites[:5]) + (f" and {len(sites) - 5} more" if sites[5:] else "")
            return f"ring {ring.name}: {kind} {len(sites)}, allowed {allowed}: {named}"
    return ""


def _undo_rings(rollout: Rollout, ring: RolloutRing) -> tuple[str, ...]:
    names = [each.name for each in rollout.rings]
    if ring.undo_since is None:
        return ()
    # A ring that has no sites in this rollout is left out of it: begin with the next that has.
    begins = names.index(ring.undo_since) if ring.undo_since in names else 0
    return tuple(names[begins : names.index(ring.name) + 1])


def _out_of_reach(ring: RolloutRing, standing: Standing) -> tuple[RolloutSite, ...]:
    """Return the sites still to come on a server that was tried often enough in this ring."""
    lost = {
        site.server
        for site in ring.sites
        if site.server in standing.unreachable_servers
        and standing.sites[site.site].outcome == "unreachable"
        and standing.is_settled(site.site)
    }
    for server in sorted(lost):
        left = tuple(
            site
            for site in ring.sites
            if site.server == server
            and not standing.is_settled(site.site)
            and not standing.sites[site.site].is_intended
        )
        if left:
            return left
    return ()


def _room_in_wave(ring: RolloutRing, standing: Standing) -> int:
    """Return how many sites of a ring may begin before those that have begun are settled."""
    begun = [site for site in ring.sites if _has_begun(standing, site)]
    settled = all(standing.is_settled(site.site) for site in begun)
    ends = accumulate(ring.wave_sizes)
    # A wave whose sites are all settled is followed by the next.
    reached = len(begun) + 1 if settled else len(begun)
    wave_end = next((end for end in ends if end >= reached), len(ring.sites))
    return wave_end - len(begun)


def _in_turn(ring: RolloutRing, standing: Standing, room: int) -> Iterator[RolloutSite]:
    """Yield the sites of the wave under way that may still be changed, in order."""
    for site in ring.sites:
        state = standing.sites[site.site]
        is_open = not state.is_under_way and not standing.is_settled(site.site)
        if is_open and (_has_begun(standing, site) or room > 0):
            yield site


def _has_begun(standing: Standing, site: RolloutSite) -> bool:
    """Whether a site had its turn, or is about to have it."""
    state = standing.sites[site.site]
    return state.has_begun or state.is_under_way


def _wait_for(
    site: RolloutSite, standing: Standing, calendar: Calendar, moment: datetime
) -> Wait | None:
    """Return until when a site has to wait, `None` when it may be changed now."""
    state = standing.sites[site.site]
    tried_at = state.tried_at if state.outcome in PASSING else None
    lost_at = standing.unreachable_servers.get(site.server)
    for since, why in (
        (tried_at, f"{site.site} is tried again: {state.message}"),
        (lost_at, f"{site.server} is tried again, it was not reached"),
    ):
        if since is not None and standing.retry_at(since) > moment:
            return Wait(standing.retry_at(since), why)
    if standing.rollout.emergency is not None:
        return None
    opening = calendar.opening(site.sla_tier, moment)
    if opening is None:
        return Wait(moment + 2 * HORIZON, f"{site.site} has no window")
    if opening.begins <= moment:
        return None
    return Wait(opening.begins, f"{site.site} is outside its window: {opening.why[0]}")


def _batch(ready: Sequence[RolloutSite], standing: Standing, room: int) -> tuple[RolloutSite, ...]:
    """Return as many sites, from the first, as may be changed beside those under way.

    At most `room` of them are new in this wave.
    """
    places = standing.rollout.sites
    under_way = [site for site in places if standing.sites[site.site].is_under_way]
    begun = [site for site in ready if _has_begun(standing, site)]
    fresh = [site for site in ready if not _has_begun(standing, site)]
    return tuple(_fitting([*begun, *fresh[:room]], standing.rollout.limits, under_way))


def _fitting(
    ready: Iterable[RolloutSite], limits: RolloutLimits, under_way: Iterable[RolloutSite]
) -> Iterator[RolloutSite]:
    total = 0
    servers: Counter[str] = Counter()
    suppliers: Counter[str] = Counter()
    for site in under_way:
        total += 1
        servers[site.server] += 1
        suppliers[site.supplier] += 1
    per_supplier = limits.sites_at_once_per_supplier
    for site in ready:
        if total >= limits.sites_at_once:
            return
        if servers[site.server] >= limits.sites_at_once_per_server:
            continue
        if site.supplier and per_supplier is not None and suppliers[site.supplier] >= per_supplier:
            continue
        total += 1
        servers[site.server] += 1
        suppliers[site.supplier] += 1
        yield site


def _settled(ring: RolloutRing, standing: Standing, moment: datetime) -> Decision:
    state = standing.rings[ring.name]
    if state.settled_at is None:
        return SettleRing(ring.name)
    if ring.soak_seconds and standing.rollout.emergency is None:
        ends = state.settled_at + timedelta(seconds=ring.soak_seconds)
        if moment < ends:
            return Wait(ends, f"ring {ring.name} soaks for {ring.soak_seconds // 60} minutes")
        return _checked(ring, standing, moment)
    return EndRing(ring.name)


def _checked(ring: RolloutRing, standing: Standing, moment: datetime) -> Decision:
    """Look at every good site of a ring that was soaked, at those not reached again."""
    state = standing.rings[ring.name]
    due: list[RolloutSite] = []
    waits: list[Wait] = []
    for site in ring.sites:
        is_good = standing.sites[site.site].outcome in GOOD
        missed = state.missed.get(site.site)
        if site.site in state.checked or not is_good:
            continue
        if standing.sites[site.site].is_being_checked:
            waits.append(Wait(moment + UNDER_WAY, f"ring {ring.name} is looked at after its soak"))
        elif missed and standing.retry_at(missed.at) > moment:
            why = f"{site.server} is looked at again, it was not reached"
            waits.append(Wait(standing.retry_at(missed.at), why))
        else:
            due.append(site)
    if due:
        return CheckRing(ring.name, tuple(due))
    if waits:
        return min(waits, key=lambda wait: wait.until)
    return EndRing(ring.name)


def _undo(standing: Standing, moment: datetime) -> Decision:
    """Bring back what is to be brought back; it waits for no window."""
    due: list[RolloutSite] = []
    waits: list[Wait] = []
    places = standing.rollout.sites
    under_way = [site for site in places if standing.sites[site.site].is_under_way]
    for site in standing.to_undo():
        if standing.sites[site.site].is_under_way:
            continue
        tried_at = standing.sites[site.site].undo_tried_at
        if tried_at is None or standing.retry_at(tried_at) <= moment:
            due.append(site)
        else:
            why = "what could not be undone is tried again"
            waits.append(Wait(standing.retry_at(tried_at), why))
    batch = tuple(_fitting(due, standing.rollout.limits, under_way))
    if batch:
        return Undo(batch)
    if under_way:
        waits.append(Wait(moment + UNDER_WAY, "what is under way ends first"))
    if waits:
        return min(waits, key=lambda wait: wait.until)
    if standing.state == "aborted":
        return End("aborted")
    return Stand(standing.state, standing.why)
