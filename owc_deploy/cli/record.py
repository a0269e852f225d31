"""Writing down a run that changes servers: the leases around it, the intent before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from owc_deploy.cli.session import operator, progress
from owc_deploy.cli.view import narrate, plain
from owc_deploy.execution.ports import Executor, SiteStanding
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.rollout.apply import GOOD
from owc_deploy.rollout.names import site_name
from owc_deploy.rollout.takeover import highest_token, take_sites_over
from owc_deploy.store import Store, open_fleet_store
from owc_deploy.store.models import INTERRUPTED, RUNNING, Intent

if TYPE_CHECKING:
    from owc_deploy.store.leases import Claim

_OUTCOMES_TOLD = 20


@dataclass(frozen=True, slots=True)
class Held:
    """What a verb holds while it works; `claim` is in force."""

    store: Store
    claim: Claim
    verb: str
    reason: str
    take_over: bool


@dataclass(slots=True)
class RunRecord:
    """A run that is being recorded; `failed` marks one that went wrong outside any site."""

    note: Callable[[SiteOutcome], None]
    outcomes: list[SiteOutcome] = field(default_factory=list)
    failed: bool = False

    @property
    def word(self) -> str:
        """How the whole run ended."""
        if self.failed or any(outcome.outcome not in GOOD for outcome in self.outcomes):
            return "failed"
        return "changed" if any(o.outcome == "changed" for o in self.outcomes) else "ok"


@contextmanager
def claimed(
    fleet: Fleet, verb: str, names: Iterable[str], *, reason: str, take_over: bool
) -> Iterator[Held]:
    """Hold the leases of these names; tell what was done by whoever they are taken over from.

    Raises LeaseHeldError when somebody else is changing any of it, StateError when that cannot be
    known: nothing is changed then.
    """
    store = open_fleet_store(fleet)
    why = f"{verb}: {reason}" if reason else verb
    with store.claim(*sorted(names), reason=why, take_over=take_over, narrate=narrate) as claim:
        try:
            _tell_what_was_done(store, claim)
            yield Held(store, claim, verb, reason, take_over)
        except KeyboardInterrupt:
            narrate("Stopped. Changes under way are not confirmed, so their servers undo them.")
            narrate("  Next: owc-deploy status")
            raise


def _tell_what_was_done(store: Store, claim: Claim) -> None:
    """Tell what the history knows of runs that had the leases and never said how they ended."""
    tokens = {taken.first_token for taken in claim.taken_over}
    done = store.history.unfinished(tokens) if tokens else ()
    for item in done[:_OUTCOMES_TOLD]:
        what = f"{item.outcome} {plain(item.message)}".rstrip()
        if item.outcome in {RUNNING, INTERRUPTED}:
            what = "how it ended is not known"
        narrate(f"  its {item.run.verb} of {item.run.started_at[:19]}Z: {item.site}: {what}")
    if len(done) > _OUTCOMES_TOLD:
        narrate(f"  and {len(done) - _OUTCOMES_TOLD} more; see: owc-deploy history")


def settled(
    held: Held, executor: Executor, where: Mapping[str, str], *, interrupted: Iterable[str] = ()
) -> frozenset[str]:
    """Let what others had begun on sites come to its end; return the sites where that was so.

    `where` maps each site that is going to be changed to its server, `interrupted` are those of
    which is known that something was begun there. The others are asked about when they were taken
    over from somebody. What is live on the sites that are returned may have become another release.
    """
    taken = {item.name for item in held.claim.taken_over}
    begun = frozenset(interrupted)
    concerned = {
        site: server
        for site, server in where.items()
        if held.take_over or site in begun or site_name(site) in taken
    }
    if not concerned:
        return frozenset()
    with progress("taking sites over") as on_progress:
        fences = held.claim.fences()

        def take() -> tuple[SiteStanding, ...]:
            return take_sites_over(
                executor,
                concerned,
                fences=fences,
                insist=held.take_over,
                narrate=narrate,
                on_progress=on_progress,
            )

        standings = take()
        newer = {standing.site: standing.newer for standing in standings}
        if counted_on(held, highest_token(newer, fences)):
            fences = held.claim.fences()
            standings = take()
    return frozenset(standing.site for standing in standings if standing.transaction_id)


def counted_on(held: Held, highest: int) -> bool:
    """Go on from the highest token that servers have seen of this store; return whether it did.

    They have seen a higher one than the store has given where it was put back from an older copy,
    which is for the operator to say: `--take-over`.
    """
    if not highest or not held.take_over:
        return False
    narrate("servers remember a later state of the history store than it has; going on from there")
    held.claim.raise_tokens(highest)
    return True


@contextmanager
def recorded(held: Held, intents: Iterable[Intent], *, plan_id: str = "") -> Iterator[RunRecord]:
    """Record the run; outcomes given to `note` are kept at once.

    Raises StateError when the history cannot be written.
    """
    history = held.store.history
    run_id = history.begin_run(
        verb=held.verb,
        operator=operator(),
        plan_id=plan_id,
        reason=held.reason,
        intents=tuple(intents),
        fencing_token=held.claim.first_token,
    )

    def note(outcome: SiteOutcome) -> None:
        record.outcomes.append(outcome)
        history.record_outcome(run_id, outcome)

    record = RunRecord(note)
    yield record
    history.finish_run(run_id, record.word)
