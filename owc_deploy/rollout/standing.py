"""How far a rollout is: its events, added up. No I/O.

One `Standing` is kept and told every event in turn, so that a rollout costs what its events cost,
however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from owc_deploy.plan.models import OutcomeWord
from owc_deploy.rollout.models import Event, Rollout, RolloutRing, RolloutSite, RolloutState

GOOD = frozenset({"ok", "changed"})
# A server that was not reached, or a site somebody else is at work on, may be tried again.
PASSING = frozenset({"unreachable", "busy"})
# What an outcome counts as in a ring's budget.
Failing = Literal["failed", "inconclusive", "unreachable"]
_FAILING: dict[str, Failing] = {
    "failed": "failed",
    "rolled-back": "failed",
    "inconclusive": "inconclusive",
    "unreachable": "unreachable",
    "busy": "unreachable",
    "not-attempted": "unreachable",
}
# Outcomes that only a server which was reached can give.
_REACHED = frozenset({"ok", "changed", "failed", "rolled-back", "inconclusive"})


@dataclass(slots=True)
class SiteStanding:
    """What became of one site so far.

    `outcome` is `None` until it had its turn. `is_intended`: somebody is about to change it, or was
    when they were cut off. `release_ids` are those that this rollout meant to make live,
    `before` the release that was live when it first came by. `attempts` counts those that ended in
    `PASSING`. `ended` and `undo_ended` are the numbers of the events its last turns ended with.
    """

    outcome: OutcomeWord | None = None
    message: str = ""
    is_intended: bool = False
    is_accepted: bool = False
    attempts: int = 0
    tried_at: datetime | None = None
    release_ids: tuple[str, ...] = ()
    before: str = ""
    is_undo_intended: bool = False
    undo: OutcomeWord | None = None
    undo_message: str = ""
    undo_attempts: int = 0
    undo_tried_at: datetime | None = None
    is_being_checked: bool = False
    ended: int = 0
    undo_ended: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether it had its turn, or has it now."""
        return self.outcome is not None or self.is_intended or bool(self.release_ids)

    @property
    def is_under_way(self) -> bool:
        """Whether somebody changes it or brings it back now, as far as is known."""
        return self.is_intended or self.is_undo_intended

    @property
    def may_have_changed(self) -> bool:
        """Whether the rollout changed it, or nobody knows that it did not."""
        return bool(self.release_ids) and self.outcome not in {"ok", "failed", "rolled-back"}


@dataclass(frozen=True, slots=True)
class Missed:
    """A site that was not reached when its ring was looked at: how often, and when last."""

    times: int
    at: datetime
    number: int


@dataclass(slots=True)
class RingStanding:
    """How far one ring is.

    `checked` are the sites that were looked at after its soak, `missed` those still to be reached.
    """

    settled_at: datetime | None = None
    checked: set[str] = field(default_factory=set)
    missed: dict[str, Missed] = field(default_factory=dict)
    has_ended: bool = False


@dataclass
class Standing:
    """Everything that is known of a rollout under way."""

    rollout: Rollout
    sites: dict[str, SiteStanding] = field(default_factory=dict)
    rings: dict[str, RingStanding] = field(default_factory=dict)
    unreachable_servers: dict[str, datetime] = field(default_factory=dict)
    state: RolloutState = "running"
    why: str = ""
    is_over: bool = False
    undo_rings: tuple[str, ...] = ()
    number: int = 0
    # Which workflow walks it, where an engine elsewhere does.
    workflow: str = ""

    def __post_init__(self) -> None:
        self._places = {site.site: site for site in self.rollout.sites}
        self.sites = {name: SiteStanding() for name in self._places}
        self.rings = {ring.name: RingStanding() for ring in self.rollout.rings}

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

        Of everything else that somebody intended and never ended, nobody is at it any more.
        """
        for name, site in self.sites.items():
            site.is_intended = name in changing
            site.is_undo_intended = name in undoing
            site.is_being_checked = name in checking

    def is_settled(self, site: str) -> bool:
        """Return whether a site had its turn and is not going to be tried again by itself."""
        standing = self.sites[site]
        if standing.outcome is None or standing.is_intended:
            return False
        if standing.outcome in PASSING:
            return standing.attempts >= self.rollout.limits.attempts
        return True

    def retry_at(self, tried_at: datetime) -> datetime:
        """Return when something that was in the way is tried again."""
        pause = self.rollout.limits.pause_between_attempts_seconds
        return tried_at + timedelta(seconds=pause)

    def failing(self, ring: RolloutRing) -> dict[Failing, list[str]]:
        """Return the settled sites of a ring that count against its budget, by what they are."""
        found: dict[Failing, list[str]] = {"failed": [], "inconclusive": [], "unreachable": []}
        for site in ring.sites:
            standing = self.sites[site.site]
            counts = standing.outcome in _FAILING and not standing.is_accepted
            if standing.outcome is not None and counts and self.is_settled(site.site):
                found[_FAILING[standing.outcome]].append(site.site)
        return found

    def to_undo(self) -> Iterator[RolloutSite]:
        """Yield the sites that are still to be brought back, those changed last first."""
        for ring in reversed(self.rollout.rings):
            if ring.name in self.undo_rings:
                for site in reversed(ring.sites):
                    standing = self.sites[site.site]
                    tries = standing.undo_attempts < self.rollout.limits.attempts
                    again = standing.undo is None or (standing.undo in PASSING and tries)
                    if standing.may_have_changed and standing.before and again:
                        yield site

    def _walk_begun(self, event: Event) -> None:
        self.workflow = event.body.get("workflow", "")
        # Whoever was at it is gone: what became of its intents is seen on the servers.
        for standing in self.sites.values():
            standing.is_intended = standing.is_undo_intended = False

    def _site_intended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.is_intended = True
        standing.before = standing.before or event.body["observed_release"]
        standing.release_ids = (*standing.release_ids, event.body["release_id"])

    def _site_ended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.is_intended = False
        standing.outcome = event.body["outcome"]
        standing.message = event.body.get("message", "")
        standing.tried_at = event.at
        standing.ended = event.number
        if event.body.get("given_up"):
            standing.attempts = self.rollout.limits.attempts
        elif standing.outcome in PASSING:
            standing.attempts += 1
        server = self._places[event.site].server
        if standing.outcome == "unreachable":
            self.unreachable_servers[server] = event.at
        elif standing.outcome in _REACHED:
            self.unreachable_servers.pop(server, None)

    def _ring_settled(self, event: Event) -> None:
        self.rings[event.body["ring"]].settled_at = event.at

    def _ring_checked(self, event: Event) -> None:
        ring = self.rings[event.body["ring"]]
        for site in event.body["sites"]:
            problem = event.body["problems"].get(site)
            missed = ring.missed.pop(site, None)
            times = missed.times + 1 if missed else 1
            if problem and problem["outcome"] in PASSING and times < self.rollout.limits.attempts:
                ring.missed[site] = Missed(times, event.at, event.number)
                continue
            ring.checked.add(site)
            if problem:
                standing = self.sites[site]
                standing.outcome, standing.message = problem["outcome"], problem["message"]
                standing.attempts = self.rollout.limits.attempts

    def _ring_ended(self, event: Event) -> None:
        self.rings[event.body["ring"]].has_ended = True

    def _undo_intended(self, event: Event) -> None:
        self.sites[event.site].is_undo_intended = True

    def _undo_ended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.is_undo_intended = False
        standing.undo = event.body["outcome"]
        standing.undo_message = event.body.get("message", "")
        standing.undo_tried_at = event.at
        standing.undo_ended = event.number
        if standing.undo in PASSING:
            standing.undo_attempts += 1

    def _rollout_paused(self, event: Event) -> None:
        self._stop("paused", event)

    def _rollout_halted(self, event: Event) -> None:
        self._stop("halted", event)
        self.undo_rings = tuple(event.body["undo_rings"])

    def _rollout_aborted(self, event: Event) -> None:
        self._stop("aborted", event)
        self.undo_rings = (*self.undo_rings, *event.body["undo_rings"])

    def _stop(self, state: RolloutState, event: Event) -> None:
        self.state, self.why = state, event.body["why"]

    def _rollout_resumed(self, event: Event) -> None:
        del event
        self.state, self.why = "running", ""

    def _failures_accepted(self, event: Event) -> None:
        for site in event.body["sites"]:
            self.sites[site].is_accepted = True

    def _sites_retried(self, event: Event) -> None:
        retried = frozenset(event.body["sites"])
        for site in retried:
            self.sites[site] = SiteStanding()
        for ring in self.rollout.rings:
            if any(site.site in retried for site in ring.sites):
                self.rings[ring.name] = RingStanding()
        self.undo_rings = ()

    def _rollout_ended(self, event: Event) -> None:
        self.is_over = True
        if self.state != "aborted":
            self.state, self.why = event.body["word"], ""
