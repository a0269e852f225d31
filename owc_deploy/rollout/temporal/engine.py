"""Rollouts from the side of the command line: started on Temporal, woken, followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from owc_deploy.errors import EngineError, LeaseHeldError, SecretError, StateError
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.decide import Calendar, decide
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.models import Decision, Event, Rollout, Stand, Wait
from owc_deploy.rollout.ports import Tell, Tools
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.temporal.client import cluster_of, connect
from owc_deploy.rollout.temporal.payloads import ROLLOUT_WORKFLOW, WAKE, queue_of
from owc_deploy.store import Store

POLL_SECONDS = 1.0
# How many looks at the journal come between two questions whether it is walked still.
_LOOKS = 15


@dataclass(frozen=True)
class TemporalEngine:
    """Implements `Engine`: a workflow walks, on whatever workers there are; this only follows."""

    fleet: Fleet
    store: Store
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    tell: Tell
    on_event: Callable[[Event], None]

    def walk(
        self, tools: Tools, rollout_id: str, *, patience: timedelta | None, take_over: bool
    ) -> tuple[Standing, Wait | Stand]:
        """See `Engine.walk`. The rollout goes on whether or not somebody follows it here."""
        standing = read(self.store, rollout_id)
        holder = self.store.holder(f"rollout/{rollout_id}")
        if holder is not None and not standing.workflow and not take_over:
            raise LeaseHeldError(
                f"{holder.owner} walks rollout {rollout_id} by itself since {holder.since[:19]}Z",
                hint="let it end; or the same command with --take-over",
                held=(holder,),
            )
        decision = decide(standing, Calendar.of(self.fleet), self.now())
        if isinstance(decision, Stand) and not standing.is_under_way:
            # Whoever comes by every quarter of an hour leaves no trace of finding nothing to do.
            return standing, decision
        # The servers are the workers' from here on.
        tools.executor.close()
        seen = standing.number
        asyncio.run(self._start(standing.rollout, take_over=take_over))
        self.tell(f"Temporal walks rollout {rollout_id}; here it is only followed")
        try:
            return self._follow(standing, seen, patience)
        except (KeyboardInterrupt, StateError):
            self.tell(f"rollout {rollout_id} goes on; next: owc-deploy rollout watch {rollout_id}")
            raise

    def wake(self, rollout_id: str) -> None:
        """See `Engine.wake`. Where it cannot be woken it looks by itself before it begins more."""
        try:
            asyncio.run(self._signal(rollout_id))
        except (EngineError, SecretError) as error:
            self.tell(
                f"written down; Temporal was not told ({error.message}), and sees it before it"
                " begins anything more"
            )

    def walker(self, rollout_id: str) -> str:
        """See `Engine.walker`."""
        holder = self.store.holder(f"rollout/{rollout_id}")
        if holder is not None:
            return holder.owner
        try:
            walks = asyncio.run(self._is_running(rollout_id))
        except (EngineError, SecretError) as error:
            return f"Temporal, as far as is known ({error.message})"
        return f"Temporal, workflow {rollout_id}" if walks else ""

    async def _start(self, rollout: Rollout, *, take_over: bool) -> None:
        client = await connect(self.fleet)
        fleet = self.fleet.settings.name
        try:
            await client.start_workflow(
                ROLLOUT_WORKFLOW,
                {"rollout_id": rollout.rollout_id, "take_over": take_over},
                id=rollout.rollout_id,
                task_queue=queue_of(fleet),
                # One that is walked already is only told to look at its journal.
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal=WAKE,
            )
        except RPCError as error:
            raise self._refused(error) from error
        for place in ("", *sorted({site.place for site in rollout.sites})):
            if not await self._is_served(client, queue_of(fleet, place)):
                option = f" --place {place}" if place else ""
                self.tell(f"no worker was seen yet; next: owc-deploy worker{option}")

    async def _is_served(self, client: Client, queue: str) -> bool:
        """Whether a worker asked this queue for work in the last minutes."""
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        )
        try:
            found = await client.workflow_service.describe_task_queue(request)
        except RPCError as error:
            raise self._refused(error) from error
        return bool(found.pollers)

    async def _signal(self, rollout_id: str) -> None:
        client = await connect(self.fleet)
        try:
            await client.get_workflow_handle(rollout_id).signal(WAKE)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise self._refused(error) from error

    async def _is_running(self, rollout_id: str) -> bool:
        client = await connect(self.fleet)
        try:
            found = await client.get_workflow_handle(rollout_id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise self._refused(error) from error
        return found.status == WorkflowExecutionStatus.RUNNING

    def _refused(self, error: RPCError) -> EngineError:
        address = cluster_of(self.fleet).address
        return EngineError(
            f"Temporal at {address} refused",
            context=f"{error.status.name}: {error.message}",
            hint=f"temporal operator namespace list --address {address}",
        )

    def _follow(
        self, standing: Standing, seen: int, patience: timedelta | None
    ) -> tuple[Standing, Wait | Stand]:
        """Tell what happens until it stands still."""
        rollout_id = standing.rollout.rollout_id
        journal = StoreJournal(self.store, rollout_id)
        calendar = Calendar.of(self.fleet)
        look = 0
        while True:
            look += 1
            events = journal.events(after=seen)
            standing.learn(events)
            for event in events:
                self.on_event(event)
                seen = event.number
            moment = self.now()
            stopped = _stopped(standing, decide(standing, calendar, moment), moment, patience)
            if stopped is not None:
                return standing, stopped
            is_alone = look % _LOOKS == 0 and not self.walker(rollout_id)
            if is_alone and not journal.events(after=seen):
                return standing, Stand(standing.state, "nobody walks it any more")
            self.sleep(POLL_SECONDS)


def _stopped(
    standing: Standing, decision: Decision, moment: datetime, patience: timedelta | None
) -> Wait | Stand | None:
    """Return what a rollout stopped at, `None` when there is something to wait for here."""
    if standing.is_under_way:
        return None
    if isinstance(decision, Stand):
        return decision
    if isinstance(decision, Wait) and patience is not None and decision.until > moment + patience:
        return decision
    return None
