"""The activities: what a `Stint` does, as Temporal asks it of a worker.

Each runs in a thread of its own. A batch sends heartbeats for as long as its thread works; when
Temporal takes it for dead all the same, the thread goes on, and whoever has the batch next waits
for it at the site's lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor as Threads
from datetime import UTC, datetime
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from owc_deploy.errors import LeaseHeldError, OwcError, StateError
from owc_deploy.rollout.apply import in_words
from owc_deploy.rollout.stint import Stint, UnderWay
from owc_deploy.rollout.temporal.payloads import Timing, batch_of, step_document

LOGGER = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class WorkerStopsError(OwcError):
    """The worker was asked to stop before it began; another is to do it."""

    reference = "worker-stops"


# What passes, or has nothing to do with which worker it is.
_PASSING = (StateError, LeaseHeldError, WorkerStopsError)


class Activities:
    """A worker's activities; `deciding` and `working` are the threads they run in."""

    def __init__(
        self, stint: Stint, fleet: str, timing: Timing, *, deciding: Threads, working: Threads
    ) -> None:
        self._stint = stint
        self._fleet = fleet
        self._timing = timing
        self._deciding = deciding
        self._working = working
        self._under_way: set[object] = set()

    @property
    def is_at_work(self) -> bool:
        """Whether a batch is under way here, also one that Temporal gave to another meanwhile."""
        return bool(self._under_way)

    @activity.defn(name="begin")
    async def begin(self, order: dict[str, Any]) -> None:
        """Write down that this workflow walks the rollout."""
        await self._decided(
            lambda: self._stint.begin(
                order["rollout_id"], order["workflow"], take_over=bool(order.get("take_over"))
            )
        )

    @activity.defn(name="next")
    async def next(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the next step (`step_document`)."""
        under_way = UnderWay(question["changing"], question["undoing"], question["checking"])
        step = await self._decided(
            lambda: self._stint.advance(
                question["rollout_id"], question["workflow"], question["ring"], under_way
            )
        )
        return step_document(step, self._fleet, self._timing)

    @activity.defn(name="carry-out")
    async def carry_out(self, work: dict[str, Any]) -> None:
        """Do a batch."""
        batch = batch_of(work["batch"])
        waited = datetime.now(UTC) - activity.info().scheduled_time
        # Others of this place are asked for a while, and this one again.
        is_last = waited.total_seconds() > self._timing.unfit

        def carried_out() -> None:
            rollout_id, workflow = work["rollout_id"], work["workflow"]
            _told(
                lambda: self._stint.carry_out(rollout_id, workflow, batch, is_last=is_last),
                is_last=is_last,
            )

        thread = asyncio.get_running_loop().run_in_executor(self._working, carried_out)
        self._under_way.add(thread)
        thread.add_done_callback(self._under_way.discard)
        while True:
            activity.heartbeat()
            done, _ = await asyncio.wait({thread}, timeout=self._timing.heartbeat / 4)
            if done:
                return thread.result()

    @activity.defn(name="give-up")
    async def give_up(self, work: dict[str, Any]) -> None:
        """Write down how a batch ended whose work failed for good."""
        batch = batch_of(work["batch"])
        await self._decided(
            lambda: self._stint.give_up(
                work["rollout_id"], batch, work["why"], was_begun=work["was_begun"]
            )
        )

    async def _decided(self, work: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._deciding, lambda: _told(work, is_last=False))


def _told(work: Callable[[], Answer], *, is_last: bool) -> Answer:
    """Do something and tell Temporal in our own words why it failed.

    `is_last`: what this worker cannot do is not to be asked of any again.
    """
    try:
        return work()
    except OwcError as error:
        LOGGER.warning("%s", in_words(error))
        words = f"{in_words(error)}; next: {error.hint}" if error.hint else in_words(error)
        gives_up = is_last and not isinstance(error, _PASSING)
        raise ApplicationError(
            words,
            type=error.reference,
            non_retryable=gives_up,
            category=ApplicationErrorCategory.BENIGN,
        ) from None
    except Exception as error:
        # Its text may hold anything, and stays here.
        LOGGER.exception("a bug in this worker")
        words = f"a bug in a worker, whose log has the details: {type(error).__name__}"
        raise ApplicationError(words, type="bug") from None
