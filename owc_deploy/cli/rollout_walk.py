"""What the verbs of `rollout` share: walking one, and saying how it stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from owc_deploy.cli.options import Function
from owc_deploy.cli.rollout_view import print_reports
from owc_deploy.cli.session import Session, now, operator, progress
from owc_deploy.cli.tell import TellingJournal, notifier
from owc_deploy.cli.view import can_ask, narrate, plain, print_json
from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Fence, Plan, SiteOutcome
from owc_deploy.rollout.decide import Calendar, decide
from owc_deploy.rollout.hands import ServerHands
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.models import NewEvent, Rollout, RolloutSite, Stand, Wait
from owc_deploy.rollout.names import site_name
from owc_deploy.rollout.report import SCHEMA_VERSION, report
from owc_deploy.rollout.standing import GOOD, Standing
from owc_deploy.rollout.walk import stops_at, walk
from owc_deploy.store import Store
from owc_deploy.store.leases import Claim
from owc_deploy.store.models import Intent

EXIT_HALTED = 6
EXIT_CHANGES = 10


class SystemClock:
    """Implements `Clock`."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return now()

    def sleep_until(self, moment: datetime) -> None:
        """See `Clock.sleep_until`."""
        time.sleep(max(0.0, (moment - now()).total_seconds()))


@dataclass(frozen=True)
class SiteClaims:
    """Implements `Claims`: sites are added to the claim on the rollout itself."""

    claim: Claim

    def take(self, sites: Iterable[str]) -> Mapping[str, str]:
        """See `Claims.take`."""
        held = self.claim.take_free(site_name(site) for site in sites)
        return {
            holder.name.removeprefix("site/"): f"{holder.owner} is at work on it: {holder.reason}"
            for holder in held
        }

    def give_back(self, sites: Iterable[str]) -> None:
        """See `Claims.give_back`."""
        self.claim.give(*(site_name(site) for site in sites))

    def fences(self) -> Mapping[str, Fence]:
        """See `Claims.fences`."""
        return self.claim.fences()


@dataclass(frozen=True)
class RunRecords:
    """Implements `Record`: every batch is a run, so that `history` tells of its sites."""

    store: Store
    standing: Standing
    claim: Claim

    def begin(self, sites: Sequence[RolloutSite], ring: str) -> int:
        """See `Record.begin`."""
        rollout = self.standing.rollout
        return self.store.history.begin_run(
            verb="rollout",
            operator=operator(),
            reason=rollout.reason or rollout.cause,
            intents=tuple(Intent(site.site, site.server, ring) for site in sites),
            fencing_token=self.claim.first_token,
            rollout_id=rollout.rollout_id,
        )

    def end(self, run_id: int, outcomes: Sequence[SiteOutcome]) -> None:
        """See `Record.end`."""
        for outcome in outcomes:
            self.store.history.record_outcome(run_id, outcome)
        good = all(outcome.outcome in GOOD for outcome in outcomes)
        self.store.history.finish_run(run_id, "changed" if good else "failed")


def walk_on(
    session: Session,
    store: Store,
    rollout_id: str,
    *,
    patience: timedelta | None,
    take_over: bool,
) -> tuple[Standing, Wait | Stand]:
    """Walk a rollout from where it is, under its lease, until it stops.

    Raises LeaseHeldError when somebody else walks it.
    """
    standing = read(store, rollout_id)
    calendar = calendar_of(session.fleet)
    stopped = stops_at(decide(standing, calendar, now()), now(), patience)
    if stopped is not None and not standing.is_under_way:
        # Whoever comes by every quarter of an hour leaves no trace of finding nothing to do.
        return standing, stopped
    with store.claim(
        f"rollout/{rollout_id}",
        reason=f"rollout {rollout_id}",
        rollout_id=rollout_id,
        take_over=take_over,
        narrate=narrate,
    ) as claim:
        standing = read(store, rollout_id)
        journal = telling_journal(session.fleet, store, standing.rollout)
        _tell_what_was_done(standing)
        body = {"owner": claim.owner, "fencing_token": claim.first_token}
        journal.append(NewEvent("walk-begun", body=body))
        with progress(f"rollout {rollout_id}") as on_progress:
            hands = ServerHands(
                fleet=session.fleet,
                catalogue=session.catalogue,
                executor=session.executor,
                journal=journal,
                claims=SiteClaims(claim),
                record=RunRecords(store, standing, claim),
                clock=now,
                tell=lambda text: narrate(plain(text)),
                on_progress=on_progress,
            )
            stopped = walk(
                standing,
                journal,
                hands,
                calendar,
                SystemClock(),
                patience=patience,
                require=claim.require,
                tell=lambda text: narrate(plain(text)),
            )
    return standing, stopped


def walk_options(function: Function) -> Function:
    """Add what every verb that walks a rollout has: `--patience` and `--detailed-exitcode`."""
    for option in (
        click.option(
            "--patience",
            type=click.FloatRange(min=0),
            metavar="MINUTES",
            callback=_patience,
            help="Stop where it would wait for longer; without a terminal 0, else for ever.",
        ),
        click.option("--detailed-exitcode", is_flag=True, help="Exit 10 when it waits."),
    ):
        function = option(function)
    return function


def _patience(
    context: click.Context, parameter: click.Parameter, minutes: float | None
) -> timedelta | None:
    del context, parameter
    if minutes is None:
        return None if can_ask() else timedelta(0)
    return timedelta(minutes=minutes)


def finish(
    fleet: Fleet,
    store: Store,
    standing: Standing,
    stopped: Wait | Stand,
    output_format: str,
    *,
    detailed: bool,
) -> int:
    """Say how a rollout stopped, and return the exit code."""
    print_reports([current_report(fleet, store, standing)], output_format)
    return exit_code(standing, stopped, detailed=detailed)


def exit_code(standing: Standing, stopped: Wait | Stand, *, detailed: bool) -> int:
    """Return the exit code of a rollout that stopped so; one that waits to undo is halted."""
    if isinstance(stopped, Wait) and standing.state == "running":
        return EXIT_CHANGES if detailed else 0
    return {"done": 0, "incomplete": 1}.get(standing.state, EXIT_HALTED)


def nothing_to_do(plan: Plan, output_format: str) -> int:
    """Say that there is nothing to roll out, and return the exit code."""
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "rollout_id": None, "state": "done"})
    elif output_format != "human":
        print_reports([], output_format)
    return 1 if plan.is_incomplete else 0


def telling_journal(fleet: Fleet, store: Store, rollout: Rollout) -> TellingJournal:
    """Return a rollout's journal, which tells the fleet's channels too."""
    journal = StoreJournal(store, rollout.rollout_id)
    return TellingJournal(journal, rollout, notifier(fleet))


def calendar_of(fleet: Fleet) -> Calendar:
    """Return when the sites of a fleet may be changed."""
    return Calendar(fleet.settings.sla_tiers, fleet.settings.freeze_days)


def _tell_what_was_done(standing: Standing) -> None:
    """Say what a rollout had done when whoever walked it was cut off."""
    left = [name for name, site in standing.sites.items() if site.is_intended]
    undoing = [name for name, site in standing.sites.items() if site.is_undo_intended]
    if not left and not undoing:
        return
    done = sum(site.outcome is not None for site in standing.sites.values())
    narrate(f"it was cut off: {done} of {len(standing.sites)} sites had an outcome")
    for name in left:
        narrate(f"  {name}: was being changed; its server is asked what became of it")
    for name in undoing:
        narrate(f"  {name}: was being undone; its server is asked what became of it")


def choose(store: Store, rollout_id: str) -> str:
    """Return the rollout that is named, or the only one that is not over.

    Raises UsageError when there is none, or more than one.
    """
    if rollout_id:
        return rollout_id
    unfinished = store.rollouts.identifiers(unfinished=True)
    if not unfinished:
        raise UsageError("no rollout is under way", hint="owc-deploy rollout list")
    if len(unfinished) > 1:
        raise UsageError(
            "more than one rollout is under way",
            context=", ".join(unfinished),
            hint=f"name one: {unfinished[0]}",
        )
    return unfinished[0]


def current_report(fleet: Fleet, store: Store, standing: Standing) -> dict[str, Any]:
    """Return how far a rollout is, and what it would do now."""
    decision = decide(standing, calendar_of(fleet), now())
    holder = store.holder(f"rollout/{standing.rollout.rollout_id}")
    return report(standing, decision, holder.owner if holder else "")
