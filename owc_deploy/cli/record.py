"""Writing down a run that changes servers: the lease around it, the intent before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from owc_deploy.cli.session import operator
from owc_deploy.cli.view import narrate
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.rollout.apply import GOOD
from owc_deploy.store import open_fleet_store
from owc_deploy.store.models import Intent


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
def recorded_run(
    fleet: Fleet,
    verb: str,
    intents: Iterable[Intent],
    *,
    plan_id: str = "",
    reason: str = "",
    take_over: bool = False,
    lease_name: str = "fleet",
) -> Iterator[RunRecord]:
    """Hold the lease and record the run; outcomes given to `note` are kept at once.

    Raises LeaseHeldError when somebody else is changing the fleet, StateError when the history
    cannot be written: nothing is changed then.
    """
    store = open_fleet_store(fleet)
    with store.lease(
        lease_name, reason=reason or verb, take_over=take_over, narrate=narrate
    ) as lease:
        run_id = store.history.begin_run(
            verb=verb,
            operator=operator(),
            plan_id=plan_id,
            reason=reason,
            intents=tuple(intents),
            fencing_token=lease.fencing_token,
        )

        def note(outcome: SiteOutcome) -> None:
            record.outcomes.append(outcome)
            store.history.record_outcome(run_id, outcome)

        record = RunRecord(note)
        try:
            yield record
        except KeyboardInterrupt:
            narrate("Stopped. Changes under way are not confirmed, so their servers undo them.")
            narrate("  Next: owc-deploy status")
            raise
        store.history.finish_run(run_id, record.word)
