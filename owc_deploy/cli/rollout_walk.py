"""What the verbs of `rollout` share: walking one, and saying how it stopped."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import click

from owc_deploy.cli.options import Function
from owc_deploy.cli.rollout_documents import Documents
from owc_deploy.cli.rollout_view import print_report
from owc_deploy.cli.session import Session, now, progress
from owc_deploy.cli.tell import TellingJournal, notifier
from owc_deploy.cli.view import can_ask, narrate, plain
from owc_deploy.errors import DocumentsInvalidError, LeaseHeldError, UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Plan
from owc_deploy.plan.windows import HORIZON
from owc_deploy.rollout.claims import RunRecords, SiteClaims, reason_of
from owc_deploy.rollout.decide import Calendar, decide
from owc_deploy.rollout.hands import ServerHands
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.models import NewEvent, Rollout, Stand, Wait
from owc_deploy.rollout.ports import Engine, Tools
from owc_deploy.rollout.report import report, word_of
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.walk import stops_at, walk
from owc_deploy.store import Store

EXIT_HALTED = 6
EXIT_CHANGES = 10
# Nothing waits for longer.
_MOST_MINUTES = HORIZON / timedelta(minutes=1)


class SystemClock:
    """Implements `Clock`."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return now()

    def sleep_until(self, moment: datetime) -> None:
        """See `Clock.sleep_until`."""
        time.sleep(max(0.0, (moment - now()).total_seconds()))


def walk_on(
    session: Session,
    store: Store,
    rollout_id: str,
    *,
    patience: timedelta | None,
    take_over: bool,
) -> tuple[Standing, Wait | Stand]:
    """Have the fleet's engine walk a rollout from where it is; see `Engine.walk`."""
    engine = engine_of(session.fleet, store)
    return engine.walk(session, rollout_id, patience=patience, take_over=take_over)


def engine_of(fleet: Fleet, store: Store) -> Engine:
    """Return the engine that fleet.yml names.

    Raises UsageError when what it takes is not installed.
    """
    if fleet.settings.engine == "embedded":
        return EmbeddedEngine(store)
    from owc_deploy.cli.temporal import temporal_engine  # noqa: PLC0415

    return temporal_engine(fleet, store)


@dataclass(frozen=True)
class EmbeddedEngine:
    """Implements `Engine`: this process walks, under a lease on the rollout."""

    store: Store

    def walk(
        self, tools: Tools, rollout_id: str, *, patience: timedelta | None, take_over: bool
    ) -> tuple[Standing, Wait | Stand]:
        """See `Engine.walk`."""
        standing = read(self.store, rollout_id)
        is_walked_elsewhere = bool(standing.workflow) and not standing.is_over
        if is_walked_elsewhere and not take_over:
            raise LeaseHeldError(
                f"rollout {rollout_id} is walked by Temporal, workflow {standing.workflow}",
                context="the fleet.yml here says `engine: embedded`",
                hint="the same command with the fleet.yml it was started with; or with --take-over",
            )
        stopped = stops_at(decide(standing, Calendar.of(tools.fleet), now()), now(), patience)
        if stopped is not None and not standing.is_under_way and not is_walked_elsewhere:
            # Whoever comes by every quarter of an hour leaves no trace of finding nothing to do.
            return standing, stopped
        return _walk_here(tools, self.store, rollout_id, patience=patience, take_over=take_over)

    def wake(self, rollout_id: str) -> None:
        """See `Engine.wake`. Whoever walks it looks every other second."""

    def walker(self, rollout_id: str) -> str:
        """See `Engine.walker`."""
        holder = self.store.holder(f"rollout/{rollout_id}")
        return holder.owner if holder else ""


def _walk_here(
    tools: Tools,
    store: Store,
    rollout_id: str,
    *,
    patience: timedelta | None,
    take_over: bool,
) -> tuple[Standing, Wait | Stand]:
    with store.claim(
        f"rollout/{rollout_id}",
        reason=reason_of(rollout_id),
        rollout_id=rollout_id,
        take_over=take_over,
        narrate=narrate,
    ) as claim:
        standing = read(store, rollout_id)
        journal = telling_journal(tools.fleet, store, standing.rollout)
        _tell_what_was_done(standing)
        body = {"owner": claim.owner, "fencing_token": claim.first_token}
        journal.append(NewEvent("walk-begun", body=body))
        with progress(f"rollout {rollout_id}") as on_progress:
            hands = ServerHands(
                fleet=tools.fleet,
                catalogue=tools.catalogue,
                executor=tools.executor,
                journal=journal,
                claims=SiteClaims(claim),
                record=RunRecords(store, standing.rollout, claim),
                clock=now,
                tell=lambda text: narrate(plain(text)),
                on_progress=on_progress,
            )
            documents = Documents(tools, standing, hands)
            try:
                stopped = walk(
                    standing,
                    journal,
                    hands,
                    Calendar.of(tools.fleet),
                    SystemClock(),
                    patience=patience,
                    require=claim.require,
                    read_again=documents.read_again,
                    tell=lambda text: narrate(plain(text)),
                )
            except KeyboardInterrupt:
                narrate(f"interrupted; next: owc-deploy rollout resume {rollout_id}")
                raise
            except DocumentsInvalidError:
                narrate(f"mend this, and then: owc-deploy rollout resume {rollout_id}")
                raise
    return standing, stopped


def walk_options(function: Function) -> Function:
    """Add what every verb that walks a rollout has: `--patience` and `--detailed-exitcode`."""
    for option in (
        click.option(
            "--patience",
            type=click.FloatRange(min=0, max=_MOST_MINUTES),
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
    if math.isnan(minutes):
        raise click.BadParameter("it is no number")
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
    print_report(current_report(fleet, store, standing), output_format)
    return exit_code(standing, stopped, detailed=detailed)


def exit_code(standing: Standing, stopped: Wait | Stand, *, detailed: bool) -> int:
    """Return the exit code of a rollout that stopped so.

    One that was halted and waits to undo something is halted all the same.
    """
    if standing.state == "running" and isinstance(stopped, Wait):
        return EXIT_CHANGES if detailed else 0
    return {"done": 0, "incomplete": 1}.get(standing.state, EXIT_HALTED)


def nothing_to_do(rollout: Rollout, plan: Plan, output_format: str) -> int:
    """Say that there is nothing to roll out, and return the exit code."""
    if output_format != "human":
        # It has no sites, and is not written down.
        standing = Standing(replace(rollout, rollout_id=""), state="done", is_over=True)
        print_report(report(standing, Stand("done", ""), ""), output_format)
    return 1 if plan.is_incomplete else 0


def telling_journal(fleet: Fleet, store: Store, rollout: Rollout) -> TellingJournal:
    """Return a rollout's journal, which tells the fleet's channels too."""
    journal = StoreJournal(store, rollout.rollout_id)
    return TellingJournal(journal, rollout, notifier(fleet))


def _tell_what_was_done(standing: Standing) -> None:
    """Say what whoever walked a rollout before had done, and what they were in the middle of."""
    counts = Counter(word_of(site) for site in standing.sites.values())
    if counts.keys() != {"pending"}:
        narrate("so far: " + ", ".join(f"{n} {word}" for word, n in sorted(counts.items())))
    for name, site in standing.sites.items():
        if site.is_under_way:
            doing = "changed" if site.is_intended else "undone"
            narrate(f"  {name} was being {doing}; its server is asked what became of it")


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
    decision = decide(standing, Calendar.of(fleet), now())
    engine = engine_of(fleet, store)
    # One that was aborted is walked until what was under way has ended.
    is_at_rest = standing.is_over and not standing.is_under_way
    walker = "" if is_at_rest else engine.walker(standing.rollout.rollout_id)
    return report(standing, decision, walker)
