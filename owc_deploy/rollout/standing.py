"""How far a rollout is: its events, added up. No I/O.

One `Standing` is kept and told every event in turn, so that a rollout costs what its events cost,
however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
# Outcomes after which what was observed before is live.
_UNDONE = frozenset({"failed", "rolled-back"})
# Outcomes that only a server which was reached can give.
_REACHED = frozenset({"ok", "changed", "failed", "rolled-back", "inconclusive"})


@dataclass(slots=True)
class SiteStanding:
    """What became of one site so far.

    `has_begun`: it had its turn, or has it now; `outcome` is how that ended. `is_intended`:
    somebody is about to change it, or was when they were cut off. `release_ids` are those that this
    rollout meant to make live, `observed` what was live when it last meant to, and `before` the
    last of those that were not its own. `may_have_changed`: a release of the rollout is live, or
    nobody knows that none is. `attempts` counts those that ended in `PASSING`.
    """

    has_begun: bool = False
    outcome: OutcomeWord | None = None
    message: str = ""
    is_intended: bool = False
    is_accepted: bool = False
    attempts: int = 0
    tried_at: datetime | None = None
    release_ids: tuple[str, ...] = ()
    observed: str = ""
    before: str = ""
    may_have_changed: bool = False
    is_undo_intended: bool = False
    undo: OutcomeWord | None = None
    undo_message: str = ""
    undo_attempts: int = 0
    undo_tried_at: datetime | None = None

    @property
    def is_good(self) -> bool:
        """Whether it is as the rollout wants it, as far as is known."""
        return self.outcome in GOOD and self.undo is None

    @property
    def is_unknown(self) -> bool:
        """Whether somebody meant to change it and nobody saw how that ended."""
        return bool(self.release_ids) and self.outcome in {None, "inconclusive", "unreachable"}


@dataclass(slots=True)
class RingStanding:
    """How far one ring is.

    `checks` counts how often it was looked at after its soak; `missed` are the sites that could not
    be reached the last time.
    """

    settled_at: datetime | None = None
    checks: int = 0
    checked_at: datetime | None = None
    missed: tuple[RolloutSite, ...] = ()
    has_ended: bool = False


@dataclass
class Standing:
    """Everything that is known of a rollout under way.

    What a person tells it and what it does by itself can cross: whatever comes first, a halt is not
    forgotten for a pause, and an end or an abort is final.
    """

    rollout: Rollout
    sites: dict[str, SiteStanding] = field(default_factory=dict)
    rings: dict[str, RingStanding] = field(default_factory=dict)
    unreachable_servers: dict[str, datetime] = field(default_factory=dict)
    state: RolloutState = "running"
    why: str = ""
    is_over: bool = False
    undo_rings: tuple[str, ...] = ()
    number: int = 0

    def __post_init__(self) -> None:
        self._places = {site.site: site for site in self.rollout.sites}
        self.sites = {name: SiteStanding() for name in self._places}
        self.rings = {ring.name: RingStanding() for ring in self.rollout.rings}

    @property
    def is_under_way(self) -> bool:
        """Whether somebody is changing a site, or was when they were cut off."""
        return any(site.is_intended or site.is_undo_intended for site in self.sites.values())

    def learn(self, events: Iterable[Event]) -> None:
        """Take in what happened, in order."""
        for event in events:
            handle = getattr(self, f"_{event.kind.replace('-', '_')}", None)
            if handle is not None:
                handle(event)
            self.number = max(self.number, event.number)

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
        del event
        # Whoever was at it is gone: what became of its intents is seen on the servers.
        for standing in self.sites.values():
            standing.is_intended = standing.is_undo_intended = False

    def _site_intended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.has_begun = standing.is_intended = standing.may_have_changed = True
        standing.observed = event.body["observed_release"]
        if standing.observed not in standing.release_ids:
            standing.before = standing.observed
        standing.release_ids = (*standing.release_ids, event.body["release_id"])

    def _site_ended(self, event: Event) -> None:
        standing = self.sites[event.site]
        standing.has_begun, standing.is_intended = True, False
        standing.outcome = event.body["outcome"]
        standing.message = event.body.get("message", "")
        standing.tried_at = event.at
        if standing.outcome == "ok":
            standing.may_have_changed = False
        elif standing.outcome in _UNDONE:
            standing.may_have_changed = standing.observed in standing.release_ids
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
        since = event.body.get(
            "since"
        )  # of a soak that began in a rollout that this one supersedes
        ring = self.rings[event.body["ring"]]
        ring.settled_at = datetime.fromisoformat(since) if since else event.at

    def _ring_checked(self, event: Event) -> None:
        ring = self.rings[event.body["ring"]]
        ring.checks += 1
        ring.checked_at = event.at
        ring.missed = ()
        for site, problem in event.body["problems"].items():
            if problem["outcome"] in PASSING and ring.checks < self.rollout.limits.attempts:
                ring.missed = (*ring.missed, self._places[site])
                continue
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
        if standing.undo in GOOD:
            standing.may_have_changed = False
        elif standing.undo in PASSING:
            standing.undo_attempts += 1

    def _rollout_paused(self, event: Event) -> None:
        if self.state == "running":
            self._stop("paused", event)

    def _rollout_halted(self, event: Event) -> None:
        if self.state != "aborted":
            self._stop("halted", event)
            self.undo_rings = tuple(event.body["undo_rings"])

    def _rollout_aborted(self, event: Event) -> None:
        if not self.is_over:
            self._stop("aborted", event)
            self.undo_rings = (*self.undo_rings, *event.body["undo_rings"])
            # A person asks for it now: what could not be undone before is tried once more.
            for site in self.sites.values() if event.body["undo_rings"] else ():
                if site.undo not in GOOD:
                    site.undo, site.undo_attempts, site.undo_tried_at = None, 0, None

    def _stop(self, state: RolloutState, event: Event) -> None:
        self.state, self.why = state, event.body["why"]

    def _rollout_resumed(self, event: Event) -> None:
        del event
        if self.state in {"paused", "halted"}:
            self.state, self.why, self.undo_rings = "running", "", ()

    def _failures_accepted(self, event: Event) -> None:
        for site in event.body["sites"]:
            self.sites[site].is_accepted = True

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
            )
            self.unreachable_servers.pop(self._places[site].server, None)
        for ring in self.rollout.rings:
            if any(site.site in retried for site in ring.sites):
                self.rings[ring.name] = RingStanding()

    def _rollout_ended(self, event: Event) -> None:
        self.is_over = True
        if self.state != "aborted":
            self.state, self.why = event.body["word"], ""
