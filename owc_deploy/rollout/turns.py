"""Whose turn it is in a ring: windows, waves, further attempts, how many at once. Pure.

A decision costs what the sites cost that it is about. Those that cannot begin now are passed over
by tier and by supplier, not one by one: otherwise a rollout would cost the square of its sites.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Self

from owc_deploy.fleet.models import Fleet, FreezeDays, RolloutLimits, SlaTier
from owc_deploy.plan.windows import Opening, next_window
from owc_deploy.rollout.models import RolloutSite, Wait
from owc_deploy.rollout.standing import PASSING, RingStanding, Standing


class Calendar:
    """When the sites of each tier may be changed; asks `next_window` once for each opening."""

    def __init__(self, tiers: Mapping[str, SlaTier], freeze_days: Iterable[FreezeDays]) -> None:
        self._tiers = tiers
        self._freeze_days = tuple(freeze_days)
        self._found: dict[str, tuple[datetime, Opening | None]] = {}

    @classmethod
    def of(cls, fleet: Fleet) -> Self:
        """Return when the sites of a fleet may be changed."""
        return cls(fleet.settings.sla_tiers, fleet.settings.freeze_days)

    def is_open(self, tier: str, moment: datetime) -> bool:
        """Return whether the sites of a tier may be changed at that moment."""
        opening = self.opening(tier, moment)
        return opening is not None and opening.begins <= moment

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


class Slots:
    """How many sites may be changed at once, and which of these are taken."""

    def __init__(self, limits: RolloutLimits, under_way: Iterable[RolloutSite] = ()) -> None:
        self._limits = limits
        self._total = 0
        self._servers: Counter[str] = Counter()
        self._suppliers: Counter[str] = Counter()
        for site in under_way:
            self._count(site)

    @property
    def are_taken(self) -> bool:
        """Whether no site at all may be added."""
        return self._total >= self._limits.sites_at_once

    def are_taken_by(self, supplier: str) -> bool:
        """Return whether no site of a supplier may be added."""
        most = self._limits.sites_at_once_per_supplier
        return bool(supplier) and most is not None and self._suppliers[supplier] >= most

    def take(self, site: RolloutSite) -> bool:
        """Add a site, if it may be; return whether it was."""
        if (
            self.are_taken
            or self.are_taken_by(site.supplier)
            or self._servers[site.server] >= self._limits.sites_at_once_per_server
        ):
            return False
        self._count(site)
        return True

    def _count(self, site: RolloutSite) -> None:
        self._total += 1
        self._servers[site.server] += 1
        self._suppliers[site.supplier] += 1


def in_order(
    lanes: Iterable[Iterable[RolloutSite]], order: Callable[[RolloutSite], int], slots: Slots
) -> Iterator[RolloutSite]:
    """Yield the sites of lanes, of one supplier each, in order, as long as there are slots."""
    heads = []
    for lane in lanes:
        sites = iter(lane)
        heads += [(order(first), first, sites) for first in islice(sites, 1)]
    heapq.heapify(heads)
    while heads and not slots.are_taken:
        _, site, sites = heapq.heappop(heads)
        if slots.are_taken_by(site.supplier):
            continue
        yield site
        for following in islice(sites, 1):
            heapq.heappush(heads, (order(following), following, sites))


class Turns:
    """Which sites of a ring may begin at `moment`, beside those under way.

    `wait` says afterwards until when the first of the others has to wait.
    """

    def __init__(self, standing: Standing, calendar: Calendar, moment: datetime) -> None:
        self.wait: Wait | None = None
        self._never: list[Collection[RolloutSite]] = []
        self._standing = standing
        self._calendar = calendar
        self._moment = moment
        self._slots = Slots(standing.rollout.limits, standing.under_way.values())

    @property
    def never(self) -> tuple[RolloutSite, ...]:
        """The sites that have nothing to wait for, as they have no window any more."""
        return tuple(site for sites in self._never for site in sites)

    def wait_until(self, moment: datetime, why: str) -> None:
        """Wait until `moment`, unless something else comes first."""
        if self.wait is None or moment < self.wait.until:
            self.wait = Wait(moment, why)

    def batch(self, ring: str) -> tuple[RolloutSite, ...]:
        """Return the sites of a ring that begin now.

        What was cut off comes first, and alone: how it ended may exceed a budget. Then those tried
        again, then new ones, of which no more than are left in the wave under way.
        """
        state = self._standing.rings[ring]
        cut_off = self._again(state, was_cut_off=True)
        if cut_off:
            return cut_off
        again = self._again(state, was_cut_off=False)
        fresh = (
            site for site in self._fresh(state) if self._is_due(site) and self._slots.take(site)
        )
        return (*again, *islice(fresh, _room_in_wave(state)))

    def _again(self, state: RingStanding, *, was_cut_off: bool) -> tuple[RolloutSite, ...]:
        """Return the sites that have begun and may be looked at again, if there are slots."""
        return tuple(
            site
            for site in state.unsettled.values()
            if self._standing.sites[site.site].was_cut_off == was_cut_off
            and not self._standing.sites[site.site].is_intended
            and self._is_due(site)
            and self._is_open(site, (site,))
            and self._slots.take(site)
        )

    def _fresh(self, state: RingStanding) -> Iterator[RolloutSite]:
        """Yield the sites that have not begun and are in their window, in order."""
        lanes = (sites.values() for sites in state.fresh.values() if sites)
        opened = [lane for lane in lanes if self._is_open(next(iter(lane)), lane)]
        return in_order(opened, self._standing.order, self._slots)

    def _is_due(self, site: RolloutSite) -> bool:
        """Return whether neither the site nor its server was tried in vain a moment ago."""
        state = self._standing.sites[site.site]
        tried_at = state.tried_at if state.outcome in PASSING else None
        lost_at = self._standing.unreachable_servers.get(site.server)
        for since, why in (
            (tried_at, f"{site.site} is tried again: {state.message}"),
            (lost_at, f"{site.server} is tried again, it was not reached"),
        ):
            if since is not None and self._standing.retry_at(since) > self._moment:
                self.wait_until(self._standing.retry_at(since), why)
                return False
        return True

    def _is_open(self, site: RolloutSite, alike: Collection[RolloutSite]) -> bool:
        """Return whether a site, and so those of its tier that are `alike`, is in its window."""
        if self._standing.rollout.emergency is not None:
            return True
        opening = self._calendar.opening(site.sla_tier, self._moment)
        if opening is None:
            self._never.append(alike)
            return False
        if opening.begins <= self._moment:
            return True
        why = f"{site.site} is outside its window: {'; '.join(opening.why)}"
        self.wait_until(opening.begins.astimezone(UTC), why)
        return False


def _room_in_wave(state: RingStanding) -> int:
    """Return how many sites of a ring may begin before those that have begun are settled."""
    total = state.wave_ends[-1]
    begun = total - sum(len(sites) for sites in state.fresh.values())
    # A wave whose sites are all settled is followed by the next.
    reached = begun if state.unsettled else min(begun + 1, total)
    return state.wave_ends[bisect_left(state.wave_ends, reached)] - begun
