"""What a worker does of a rollout that an engine elsewhere walks: the next step, and batches.

Everything here may be cut off at any moment and be asked again, of another worker: each call first
reads the journal, and does what is not done yet. Leases keep two workers from one site, also where
the first only seems to be gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from owc_deploy.execution.ports import Executor
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.checkout import Checkout, require_documents
from owc_deploy.rollout.claims import RunRecords, SiteClaims, reason_of
from owc_deploy.rollout.decide import Calendar
from owc_deploy.rollout.hands import ServerHands
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.models import Event, NewEvent, Rollout, RolloutSite, Stand
from owc_deploy.rollout.ports import Tell
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.steps import Batch, LeaveRing, Note, Step, given_up, next_step, still_due
from owc_deploy.rollout.walk import noted, words_of
from owc_deploy.store import Store
from owc_deploy.store.leases import Claim

# How often it is looked whether an earlier worker gave a site back.
_POLL_SECONDS = 2.0

# Told of every event of a rollout, once it is written down.
OnEvents = Callable[[Fleet, Rollout, Sequence[NewEvent]], None]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The sites that an engine has batches for now, by what is done to them."""

    changing: Sequence[str] = ()
    undoing: Sequence[str] = ()
    checking: Sequence[str] = ()


@dataclass
class Stint:
    """One worker's share in rollouts; every method may be called from many threads.

    `open_executor` makes a door to the servers for one batch. `pause` waits for so many seconds,
    and raises when the worker has to stop.
    """

    store: Store
    checkout: Checkout
    open_executor: Callable[[Fleet], Executor]
    clock: Callable[[], datetime]
    pause: Callable[[float], None]
    tell: Tell = lambda _: None
    on_events: OnEvents = lambda _fleet, _rollout, _events: None
    _standings: dict[str, Standing] = field(default_factory=dict)
    _deciding: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, rollout_id: str, workflow: str, *, take_over: bool) -> None:
        """Write down that `workflow` walks the rollout from now on, and no other.

        Raises LeaseHeldError when a controller walks it by itself, unless `take_over`.
        """
        name = f"rollout/{rollout_id}"
        with self.store.claim(
            name,
            reason=reason_of(rollout_id),
            rollout_id=rollout_id,
            take_over=take_over,
            narrate=self.tell,
        ) as claim:
            if read(self.store, rollout_id).workflow == workflow:
                return
            body = {
                "owner": f"workflow {workflow}",
                "fencing_token": claim.first_token,
                "workflow": workflow,
            }
            StoreJournal(self.store, rollout_id).append(NewEvent("walk-begun", body=body))

    def advance(self, rollout_id: str, workflow: str, ring: str, under_way: UnderWay) -> Step:
        """Write down every decision that nobody has to carry out, and return the first other one.

        Whoever walks `ring` asks, or the rings as a whole for `""`. What was decided is written
        down only while nothing else has happened since.
        """
        fleet = self.checkout.fleet()
        written: list[tuple[Rollout, Sequence[NewEvent]]] = []
        try:
            with self._deciding:
                return self._decided(fleet, rollout_id, workflow, ring, under_way, written)
        finally:
            # Channels take their time, in which other workflows have something to ask.
            for rollout, events in written:
                self.on_events(fleet, rollout, events)

    def _decided(
        self,
        fleet: Fleet,
        rollout_id: str,
        workflow: str,
        ring: str,
        under_way: UnderWay,
        written: list[tuple[Rollout, Sequence[NewEvent]]],
    ) -> Step:
        """See `advance`; what was written down is added to `written`."""
        calendar = Calendar.of(fleet)
        journal = StoreJournal(self.store, rollout_id)
        # Kept for the next time, unless this fails half-way.
        standing = self._standings.pop(rollout_id, None) or read(self.store, rollout_id)
        while True:
            standing.learn(journal.events(after=standing.number))
            if standing.workflow != workflow:
                return LeaveRing() if ring else Stand(standing.state, "others walk it now")
            standing.take_as_under_way(
                changing=frozenset(under_way.changing),
                undoing=frozenset(under_way.undoing),
                checking=frozenset(under_way.checking),
            )
            step = next_step(standing, calendar, self.clock(), ring)
            if not isinstance(step, Note):
                break
            events = noted(step.decision)
            if journal.append_after(standing.number, *events):
                written.append((standing.rollout, events))
                self.tell(words_of(step.decision))
        if not standing.is_over:
            self._standings[rollout_id] = standing
        return step

    def carry_out(
        self, rollout_id: str, workflow: str, batch: Batch, *, is_last: bool = False
    ) -> None:
        """Do what is left of a batch, and write down how it ended for each site.

        Raises CheckoutDiffersError when this worker has other documents than the rollout. When it
        `is_last`, as nobody is asked after it, it does what it can with those it has: sites whose
        documents are others are looked at and never changed.
        """
        standing = read(self.store, rollout_id)
        due = still_due(standing, batch)
        if standing.workflow != workflow or not due:
            return
        fleet = self.checkout.fleet()
        if not is_last:
            require_documents(fleet, batch.server, due, exactly=batch.doing == "change")
        catalogue = self.checkout.catalogue(fleet)
        self.tell(f"{batch.doing} {', '.join(batch.sites)} on {batch.server}")
        with (
            closing(self.open_executor(fleet)) as executor,
            self.store.claim(
                reason=reason_of(rollout_id), rollout_id=rollout_id, narrate=self.tell
            ) as claim,
        ):
            claims = SiteClaims(claim)
            if batch.doing != "check":
                self._take(claims, rollout_id, batch)
            # Taking them may have been waited for.
            standing.learn(StoreJournal(self.store, rollout_id).events(after=standing.number))
            due = still_due(standing, batch)
            if batch.doing == "change":
                # Hours may have gone by since it was decided that they are in their window.
                due = self._in_window(fleet, standing, due)
            if standing.workflow != workflow or not due:
                return
            hands = ServerHands(
                fleet=fleet,
                catalogue=catalogue,
                executor=executor,
                journal=_HeldJournal(self, fleet, standing.rollout, claim),
                claims=claims,
                record=RunRecords(self.store, standing.rollout, claim),
                clock=self.clock,
                tell=self.tell,
            )
            match batch.doing:
                case "change":
                    hands.change(standing, batch.ring, due)
                case "undo":
                    hands.undo(standing, due)
                case "check":
                    hands.check(standing, batch.ring, due)

    def give_up(self, rollout_id: str, batch: Batch, why: str, *, was_begun: bool) -> None:
        """Write down how a batch ended whose work failed for good; see `given_up`."""
        fleet = self.checkout.fleet()
        journal = StoreJournal(self.store, rollout_id)
        while True:
            standing = read(self.store, rollout_id)
            events = given_up(standing, batch, why, was_begun=was_begun)
            if not events:
                return
            if journal.append_after(standing.number, *events):
                self.tell(f"{batch.doing} {', '.join(batch.sites)} was given up: {why}")
                self.on_events(fleet, standing.rollout, events)
                return

    def _in_window(
        self, fleet: Fleet, standing: Standing, sites: Sequence[RolloutSite]
    ) -> tuple[RolloutSite, ...]:
        """Return the sites that may be changed now; of the others it is decided anew."""
        calendar, moment = Calendar.of(fleet), self.clock()
        passes_over = standing.rollout.emergency is not None
        return tuple(s for s in sites if passes_over or calendar.is_open(s.sla_tier, moment))

    def _take(self, claims: SiteClaims, rollout_id: str, batch: Batch) -> None:
        """Take the sites; wait where a worker that had this batch before has them still.

        Whoever else has one keeps it: it is busy.
        """
        while claims.held_for(batch.sites, reason_of(rollout_id)):
            self.pause(_POLL_SECONDS)


@dataclass(frozen=True)
class _HeldJournal:
    """Implements `Journal`: who lost a site to somebody else writes nothing more about it."""

    stint: Stint
    fleet: Fleet
    rollout: Rollout
    claim: Claim

    def append(self, *events: NewEvent) -> None:
        """See `Journal.append`. Raises LeaseHeldError."""
        self.claim.require()
        StoreJournal(self.stint.store, self.rollout.rollout_id).append(*events)
        self.stint.on_events(self.fleet, self.rollout, events)

    def events(self, *, after: int = 0) -> Sequence[Event]:
        """See `Journal.events`."""
        return StoreJournal(self.stint.store, self.rollout.rollout_id).events(after=after)
