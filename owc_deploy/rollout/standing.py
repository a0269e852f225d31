"""How far a rollout is: its events, added up. No I/O.

One `Standing` is kept and told every event in turn, so that a rollout costs what its events cost,
however many there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate

from owc_deploy.rollout.models import Event, Rollout, RolloutRing, RolloutSite, RolloutState
from owc_deploy.rollout.progress import (
    GOOD,
    PASSING,
    Failing,
    RingStanding,
    SiteStanding,
    keep,
)

__all__ = ["GOOD", "PASSING", "Failing", "RingStanding", "SiteStanding", "Standing"]

# An undo that nobody saw the end of is looked at again: it is done, or can be done once more.
_UNDO_AGAIN = PASSING | {"inconclusive"}
# Outcomes that say how a change ended.
_SEEN = frozenset({"ok", "changed", "failed", "rolled-back"})
# Outcomes after which what was observed before is live.
_UNDONE = frozenset({"failed", "rolled-back"})
# Outcomes that only a server which was reached can give.
_REACHED = frozenset({"ok", "changed", "failed", "rolled-back", "inconclusive"})


@dataclass
class Standing:
    """Everything that is known of a rollout under way.

    What a person tells it and what it does by itself can cross: whatever comes first, a halt is not
    forgotten for a pause, and an end or an abort is final.

    `under_way` are the sites that somebody is about to change or to bring back, in any ring;
    `being_checked` those that are looked at after their soak. `workflow` is which one walks the
    rollout, where an engine elsewhere does.
    """

    rollout: Rollout
    sites: dict[str, SiteStanding] = field(default_factory=dict)
    rings: dict[str, RingStanding] = field(default_factory=dict)
    under_way: dict[str, RolloutSite] = field(default_factory=dict)
    unreachable_servers: dict[str, datetime] = field(default_factory=dict)
    state: RolloutState = "running"
    why: str = ""
    is_over: bool = False
    undo_rings: tuple[str, ...] = ()
    number: int = 0
    workflow: str = ""
    being_checked: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._places = {site.site: site for site in self.rollout.sites}
        self._order = {name: number for number, name in enumerate(self._places)}
        self._ring_of = {site.site: ring.name for ring in self.rollout.rings for site in ring.sites}
        self._sites_in = {ring.name: ring.sites for ring in self.rollout.rings}
        self._on_server: dict[tuple[str, str], list[RolloutSite]] = defaultdict(list)
        for ring in self.rollout.rings:
            for site in ring.sites:
                self._on_server[ring.name, site.server].append(site)
        # By supplier, those changed last first.
        self._to_undo: dict[str, dict[str, RolloutSite]] = {}
        self.sites = {name: SiteStanding() for name in self._places}
        for ring in self.rollout.rings:
            self._begin(ring)

    @property
    def is_under_way(self) -> bool:
        """Whether somebody is changing a site, or was when they were cut off."""
        return bool(self.under_way)

    def learn(self, events: Iterable[Event]) -> None:
        """Take in what happened, in order."""
        for event in events:
            handle = getattr(self, f"_{event.kind.replace('-', '_')}", None)
            if handle is not None:
                handle(event)
            self.number = max(self.number, event.number)

    def take_as_under_way(
        self, *, changing: Collection[str], undoing: Collection[str], checking: Collection[str]
    ) -> None:
        """Believe an engine which does several things at once on what is under way now.

        Of everything else that somebody intended and never ended, nobody is at it any more. A site
        that had its turn and was left before anything was intended has it again before new ones.
        """
        self.being_checked, before = frozenset(checking), self.being_checked
        for name in self.being_checked ^ before:
            self._sort_in(name)
        for name in {*self.under_way, *changing, *undoing}:
            standing = self.sites[name]
            standing.is_intended = name in changing
            standing.is_undo_intended = name in undoing
            standing.has_begun |= standing.is_intended
            self._sort_in(name)

    def order(self, site: RolloutSite) -> int:
        """Return which site of the rollout this is, counted from 0."""
        return self._order[site.site]

    def retry_at(self, tried_at: datetime) -> datetime:
        """Return when something that was in the way is tried again."""
        pause = self.rollout.limits.pause_between_attempts_seconds
        return tried_at + timedelta(seconds=pause)

    def left_on(self, ring: str, server: str) -> tuple[RolloutSite, ...]:
        """Return the sites of a ring on a server that are not settled, nor under way."""
        return tuple(
            site
            for site in self._on_server[ring, server]
            if not self.sites[site.site].is_settled and not self.sites[site.site].is_intended
        )

    def failing(self, ring: RolloutRing) -> dict[Failing, list[str]]:
        """Return the settled sites of a ring that count against its budget, by what they are."""
        return {kind: list(sites) for kind, sites in self.rings[ring.name].failing.items()}

    def to_undo(self) -> Iterator[RolloutSite]:
        """Yield the sites that are still to be brought back."""
        return (site for lane in self.undo_lanes for site in lane)

    @property
    def undo_lanes(self) -> Iterable[Iterable[RolloutSite]]:
        """The sites that are still to be brought back, by supplier, those changed last first."""
        return (sites.values() for sites in self._to_undo.values())

    def _begin(self, ring: RolloutRing) -> None:
        """Let a ring begin, with its sites as they stand."""
        self.rings[ring.name] = RingStanding(tuple(accumulate(ring.wave_sizes)))
        for site in ring.sites:
            self._sort_in(site.site)

    def _sort_in(self, name: str) -> None:
        """Put a site where it belongs; called after whatever happened to it."""
        site, state = self._places[name], self.sites[name]
        ring = self.rings[self._ring_of[name]]
        ring.sort_in(site, state)
        is_unchecked = state.is_good and not state.is_checked and name not in self.being_checked
        keep(ring.unchecked, site, wanted=is_unchecked)
        keep(self.under_way, site, wanted=state.is_under_way)
        lane = self._to_undo.setdefault(site.supplier, {})
        keep(lane, site, wanted=self._is_to_undo(name))

    def _is_to_undo(self, name: str) -> bool:
        state = self.sites[name]
        tries_again = (
            state.undo in _UNDO_AGAIN and state.undo_attempts < self.rollout.limits.attempts
        )
        is_wanted = self._ring_of[name] in self.undo_rings
        return (
            (is_wanted or (state.is_broken and not state.is_accepted))
            and state.may_have_changed
            and state.before != ""
            and (state.undo is None or tries_again)
        )

    def _undo_since(self, rings: tuple[str, ...]) -> None:
        """Bring back, from now on, what may be changed in these rings, the last first."""
        self.undo_rings = rings
        self._to_undo = {}
        for name in reversed(self.sites):
            self._sort_in(name)

    def _walk_begun(self, event: Event) -> None:
        self.workflow = event.body.get("workflow", "")
        # Whoever was at it is gone: what became of its intents is seen on the servers.
        for name in tuple(self.under_way):
            self.sites[name].was_cut_off |= self.sites[name].is_intended
            self.sites[name].is_intended = self.sites[name].is_undo_intended = False
            self._sort_in(name)

    def _site_kept(self, event: Event) -> None:
        """Take a site over, with its way back, from a rollout whose place this one takes."""
        standing = self.sites[event.site]
        standing.has_begun = standing.is_settled = True
        standing.outcome, standing.message = event.body["outcome"], event.body["message"]
        standing.release_ids = tuple(event.body["release_ids"])
        standing.live = event.body["release_id"]
        standing.before = standing.observed = event.body["previous_release_id"]
        standing.may_have_changed = standing.outcome == "changed"
        self._sort_in(event.site)

    def _site_intended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.has_begun = standing.is_intended = True
        standing.may_have_changed = standing.is_unknown = True
        standing.is_settled = standing.was_cut_off = standing.is_broken = False
        # Whatever was undone before is another change.
        standing.undo, standing.undo_message = None, ""
        standing.undo_attempts, standing.undo_tried_at = 0, None
        standing.observed = event.body["observed_release"]
        if standing.observed not in standing.release_ids:
            standing.before = standing.observed
        standing.release_ids = (*standing.release_ids, event.body["release_id"])
        self._sort_in(event.site)

    def _site_ended(self, event: Event) -> None:
        standing, site = self.sites[event.site], self._places[event.site]
        standing.has_begun = True
        standing.is_intended = standing.was_cut_off = False
        standing.outcome = event.body["outcome"]
        standing.message = event.body.get("message", "")
        standing.live = event.body.get("release_id", "")
        standing.tried_at = event.at
        standing.ended = event.number
        standing.is_unknown &= standing.outcome not in _SEEN
        if standing.outcome == "ok":
            standing.may_have_changed = False
        elif standing.outcome in _UNDONE:
            standing.may_have_changed = standing.observed in standing.release_ids
        given_up = bool(event.body.get("given_up"))
        standing.attempts += standing.outcome in PASSING and not given_up
        standing.is_settled = (
            given_up
            or standing.outcome not in PASSING
            or standing.attempts >= self.rollout.limits.attempts
        )
        self._sort_in(event.site)
        self._note_server(site.server, self._ring_of[event.site], standing, event.at)

    def _note_server(self, server: str, ring: str, site: SiteStanding, at: datetime) -> None:
        """Keep what a site's outcome says of its server."""
        lost = self.rings[ring].lost_servers
        if site.outcome == "unreachable":
            self.unreachable_servers[server] = at
            if site.attempts >= self.rollout.limits.attempts:
                lost.add(server)
            if all(self.sites[other.site].is_settled for other in self._on_server[ring, server]):
                lost.discard(server)
        elif site.outcome in _REACHED:
            self.unreachable_servers.pop(server, None)
            lost.discard(server)

    def _ring_settled(self, event: Event) -> None:
        ring = self.rings[event.body["ring"]]
        # A soak may have begun in a rollout whose place this one takes.
        since = event.body.get("since")
        ring.settled_at = datetime.fromisoformat(since) if since else event.at
        ring.checked_at = None
        for site in self._sites_in[event.body["ring"]]:
            standing = self.sites[site.site]
            if standing.checks:
                # It soaks anew.
                standing.checks, standing.checked_at, standing.is_checked = 0, None, False
                self._sort_in(site.site)

    def _ring_checked(self, event: Event) -> None:
        ring = self.rings[event.body["ring"]]
        ring.checked_at = event.at
        problems = event.body["problems"]
        # Without a list of them all were looked at that were to be.
        for site in tuple(event.body.get("sites", ring.unchecked)):
            standing, problem = self.sites[site], problems.get(site)
            standing.checks += 1
            standing.checked_at, standing.check_ended = event.at, event.number
            standing.is_checked = (
                problem is None
                or problem["outcome"] not in PASSING
                or standing.checks >= self.rollout.limits.attempts
            )
            if problem is not None and standing.is_checked:
                standing.outcome, standing.message = problem["outcome"], problem["message"]
                standing.is_broken = problem["outcome"] == "failed"
            self._sort_in(site)

    def _ring_ended(self, event: Event) -> None:
        self.rings[event.body["ring"]].has_ended = True

    def _undo_intended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.is_undo_intended = standing.is_unknown = True
        self._sort_in(event.site)

    def _undo_ended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.is_undo_intended = False
        standing.undo = event.body["outcome"]
        standing.undo_message = event.body.get("message", "")
        standing.undo_tried_at = event.at
        standing.undo_ended = event.number
        standing.is_unknown &= standing.undo not in _SEEN
        if standing.undo in GOOD:
            standing.may_have_changed = False
        elif standing.undo in _UNDO_AGAIN:
            standing.undo_attempts += 1
        self._sort_in(event.site)

    def _rollout_paused(self, event: Event) -> None:
        if self.state == "running":
            self._stop("paused", event)

    def _rollout_halted(self, event: Event) -> None:
        if self.state != "aborted":
            self._stop("halted", event)
            self._undo_since(tuple(event.body["undo_rings"]))

    def _rollout_aborted(self, event: Event) -> None:
        if not self.is_over:
            self._stop("aborted", event)
            # A person asks for it now: what could not be undone before is tried once more.
            for site in self.sites.values() if event.body["undo_rings"] else ():
                if site.undo not in GOOD:
                    site.undo, site.undo_attempts, site.undo_tried_at = None, 0, None
            self._undo_since((*self.undo_rings, *event.body["undo_rings"]))

    def _stop(self, state: RolloutState, event: Event) -> None:
        self.state, self.why = state, event.body["why"]

    def _rollout_resumed(self, event: Event) -> None:
        del event
        if self.state in {"paused", "halted"}:
            self.state, self.why = "running", ""
            self._undo_since(())

    def _failures_accepted(self, event: Event) -> None:
        for site in event.body["sites"]:
            self.sites[site].is_accepted = True
            self._sort_in(site)

    def _sites_retried(self, event: Event) -> None:
        retried = frozenset(event.body["sites"])
        for site in retried:
            earlier = self.sites[site]
            # What the rollout made of it so far is what tells the way back.
            self.sites[site] = SiteStanding(
                release_ids=earlier.release_ids,
                observed=earlier.observed,
                before=earlier.before,
                may_have_changed=earlier.may_have_changed,
                is_unknown=earlier.is_unknown,
                ended=earlier.ended,
                undo_ended=earlier.undo_ended,
                check_ended=earlier.check_ended,
            )
            self.unreachable_servers.pop(self._places[site].server, None)
        for ring in self.rollout.rings:
            if any(site.site in retried for site in ring.sites):
                self._begin(ring)

    def _rollout_ended(self, event: Event) -> None:
        self.is_over = True
        if self.state != "aborted":
            self.state, self.why = event.body["word"], ""
