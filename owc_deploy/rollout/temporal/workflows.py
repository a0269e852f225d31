"""The workflows: a rollout, which walks its rings, and a ring. They decide nothing.

Temporal runs this code again from the start whenever it moves a workflow, and expects the same
commands in the same order. So it must not change for a rollout under way: whatever may change is in
`next`, an activity. Where this has to change all the same, guard it with `workflow.patched`;
tests/unit/rollout replays histories that were recorded with the first version.

Only `temporalio` and the standard library are imported, as the sandbox loads this anew each time.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutType,
)
from temporalio.exceptions import TimeoutError as TimedOutError

_DECIDES = timedelta(minutes=2)
# Clocks of workers and of Temporal differ: a wait that is over here may not be there.
_SHORTEST_WAIT = timedelta(seconds=1)
_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)


class Walk:
    """Takes one step after the other, several batches at once."""

    def __init__(self) -> None:
        self._woken = False
        self._ended = False
        self._in_flight: dict[asyncio.Task[None], dict[str, Any]] = {}

    async def _walk(self, order: dict[str, Any], ring: str) -> dict[str, Any]:
        """Walk until the next step is none of work or waiting, and return it."""
        while True:
            if workflow.info().is_continue_as_new_suggested():
                await self._drained()
                workflow.continue_as_new(order)
            self._woken = self._ended = False
            step = await self._next(order, ring)
            if step["kind"] == "work":
                for document in step["batches"]:
                    task = asyncio.create_task(self._carry_out(order, document))
                    self._in_flight[task] = document["batch"]
            elif step["kind"] == "wait":
                until = datetime.fromisoformat(step["until"])
                await self._quiet(max(until - workflow.now(), _SHORTEST_WAIT))
            elif self._in_flight:
                await self._quiet(None)
            elif not self._woken:
                return step

    async def _next(self, order: dict[str, Any], ring: str) -> dict[str, Any]:
        names: dict[str, list[str]] = {"change": [], "undo": [], "check": []}
        for batch in self._in_flight.values():
            names[batch["doing"]] += batch["sites"]
        question = {
            **order,
            "ring": ring,
            "changing": names["change"],
            "undoing": names["undo"],
            "checking": names["check"],
        }
        step: dict[str, Any] = await workflow.execute_activity(
            "next", question, start_to_close_timeout=_DECIDES, retry_policy=_AGAIN
        )
        return step

    async def _carry_out(self, order: dict[str, Any], document: dict[str, Any]) -> None:
        work = {**order, "batch": document["batch"]}
        try:
            await workflow.execute_activity(
                "carry-out",
                work,
                task_queue=document["queue"],
                summary=document["summary"],
                heartbeat_timeout=timedelta(seconds=document["heartbeat_seconds"]),
                schedule_to_start_timeout=timedelta(seconds=document["start_seconds"]),
                schedule_to_close_timeout=timedelta(seconds=document["end_seconds"]),
                retry_policy=_AGAIN,
            )
        except ActivityError as error:
            why, was_begun = _why(error)
            await workflow.execute_activity(
                "give-up",
                {**work, "why": why, "was_begun": was_begun},
                start_to_close_timeout=_DECIDES,
                retry_policy=_AGAIN,
            )
        finally:
            del self._in_flight[_this_task()]
            self._ended = True

    async def _quiet(self, longest: timedelta | None) -> None:
        """Wait until somebody wakes us, a batch ends, or so long."""
        try:
            await workflow.wait_condition(lambda: self._woken or self._ended, timeout=longest)
        except TimeoutError:
            return

    async def _drained(self) -> None:
        await workflow.wait_condition(lambda: not self._in_flight)


@workflow.defn(name="owc-deploy-rollout")
class RolloutWorkflow(Walk):
    """Walks the rings of a rollout, one child workflow for each, and what is undone afterwards.

    It ends when nothing is left to do until a person says so; then it is started again.
    """

    @workflow.run
    async def run(self, order: dict[str, Any]) -> str:
        """Walk the rollout `order["rollout_id"]`; return the state it stopped in."""
        if "workflow" not in order:
            order = {**order, "workflow": workflow.info().run_id}
            await workflow.execute_activity(
                "begin", order, start_to_close_timeout=_DECIDES, retry_policy=_AGAIN
            )
        while True:
            step = await self._walk(order, "")
            if step["kind"] != "enter-ring":
                return str(step["state"])
            await self._ring(order, step["ring"])

    @workflow.signal(name="wake")
    def wake(self) -> None:
        """Look at the journal: a person ordered something."""
        self._woken = True

    async def _ring(self, order: dict[str, Any], ring: str) -> None:
        child = await workflow.start_child_workflow(
            RingWorkflow.run,
            {**order, "ring": ring},
            id=f"{order['rollout_id']}/{ring}",
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
        while not child.done():
            self._woken = False
            await workflow.wait_condition(lambda: self._woken or child.done())
            if not child.done():
                try:
                    await child.signal("wake")
                except ApplicationError:
                    # It has just ended, and what is ordered is looked at below.
                    break
        await child


@workflow.defn(name="owc-deploy-ring")
class RingWorkflow(Walk):
    """Walks one ring of a rollout, until it has ended or is to be left for another reason."""

    @workflow.run
    async def run(self, order: dict[str, Any]) -> None:
        """Walk the ring `order["ring"]`."""
        await self._walk(order, order["ring"])

    @workflow.signal(name="wake")
    def wake(self) -> None:
        """Look at the journal: a person ordered something."""
        self._woken = True


def _why(error: ActivityError) -> tuple[str, bool]:
    """Return in words why a batch failed for good, and whether any worker had taken it."""
    cause = error.cause
    if isinstance(cause, TimedOutError):
        if cause.type == TimeoutType.SCHEDULE_TO_START:
            return "no worker of its place took it in time; next: owc-deploy worker", False
        last = cause.cause or cause
        return f"it was not over in time: {_words(last)}", True
    return _words(cause), True


def _words(error: BaseException | None) -> str:
    return error.message if isinstance(error, FailureError) else str(error)


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("outside of a task")
    return task
