"""A worker: one process that serves the workflows of a fleet, and the batches of some places."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from owc_deploy.errors import EngineError
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.stint import Stint
from owc_deploy.rollout.temporal.activities import Activities, WorkerStopsError
from owc_deploy.rollout.temporal.client import connect
from owc_deploy.rollout.temporal.payloads import Timing, queue_of
from owc_deploy.rollout.temporal.workflows import RingWorkflow, RolloutWorkflow

_DECIDING_THREADS = 4


class Stopping:
    """Whether this worker was asked to stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Ask it to stop."""
        self._asked.set()

    def pause(self, seconds: float) -> None:
        """Wait for so long.

        Raises WorkerStopsError when it is asked to stop meanwhile.
        """
        if self._asked.wait(seconds):
            raise WorkerStopsError("this worker stops; another takes its batch")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """`places`: of which places it takes batches, `at_once` of each, `finish_seconds`: how long."""

    places: Sequence[str]
    at_once: int = 4
    finish_seconds: float = 900.0
    timing: Timing = field(default_factory=Timing)


def run_worker(
    fleet: Fleet,
    stint: Stint,
    settings: WorkerSettings,
    stopping: Stopping,
    insist: Callable[[], None],
) -> bool:
    """Serve until SIGTERM or SIGINT, then take nothing new and finish what is under way.

    Returns whether everything was finished in time; the rest is for another worker, which looks at
    the servers first. `insist` is called on a second signal. Raises EngineError.
    """
    return asyncio.run(_serve(fleet, stint, settings, stopping, insist))


async def _serve(
    fleet: Fleet,
    stint: Stint,
    settings: WorkerSettings,
    stopping: Stopping,
    insist: Callable[[], None],
) -> bool:
    client = await connect(fleet)
    activities = Activities(
        stint,
        fleet.settings.name,
        settings.timing,
        deciding=ThreadPoolExecutor(_DECIDING_THREADS, "decision"),
        working=ThreadPoolExecutor(settings.at_once * len(settings.places), "batch"),
    )
    workers = _workers(client, fleet.settings.name, activities, settings)
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            insist()
        asked.set()
        stopping.ask()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    serving = asyncio.ensure_future(_all(worker.run() for worker in workers))
    asking = asyncio.ensure_future(_all([asked.wait()]))
    stint.tell(f"serves {', '.join(worker.task_queue for worker in workers)}")
    try:
        await asyncio.wait([serving, asking], return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            stint.tell("stops: takes nothing new, and finishes what is under way")
            await _all(worker.shutdown() for worker in workers)
        await serving
    except RuntimeError as error:
        raise EngineError(
            "Temporal does not let this worker go on", context=str(error), hint="its own log"
        ) from error
    return not activities.is_at_work


async def _all(work: Iterable[Awaitable[object]]) -> None:
    await asyncio.gather(*work)


def _workers(
    client: Client, fleet: str, activities: Activities, settings: WorkerSettings
) -> list[Worker]:
    graceful = timedelta(seconds=settings.finish_seconds)
    deciding = Worker(
        client,
        task_queue=queue_of(fleet),
        workflows=[RolloutWorkflow, RingWorkflow],
        activities=[activities.begin, activities.next, activities.give_up],
        graceful_shutdown_timeout=graceful,
    )
    return [
        deciding,
        *(
            Worker(
                client,
                task_queue=queue_of(fleet, place),
                activities=[activities.carry_out],
                max_concurrent_activities=settings.at_once,
                graceful_shutdown_timeout=graceful,
            )
            for place in settings.places
        ),
    ]
