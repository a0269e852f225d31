"""What workflows and activities tell each other, as JSON: identifiers, times, numbers. Pure.

Keys are only ever added, and unknown ones are passed over: while workers are being upgraded an old
one and a new one work on the same rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from owc_deploy.rollout.models import Stand, Wait
from owc_deploy.rollout.steps import Batch, EnterRing, LeaveRing, Step, Work

ROLLOUT_WORKFLOW = "owc-deploy-rollout"
RING_WORKFLOW = "owc-deploy-ring"
WAKE = "wake"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take on Temporal, in seconds.

    A worker whose batch is silent for `heartbeat` is taken for dead. A batch that no worker of its
    place takes within `start` counts as a server that was not reached; one that is not over within
    `end`, retries included, is given up. `unfit`: for how long workers that cannot do a batch, as
    their checkout is another one, are asked again.
    """

    heartbeat: float = 60.0
    start: float = 900.0
    end: float = 7200.0
    unfit: float = 900.0


def queue_of(fleet: str, place: str = "") -> str:
    """Return the task queue of a fleet's workers, or of those of one place."""
    return f"owc-deploy/{fleet}/{place}" if place else f"owc-deploy/{fleet}"


def step_document(step: Step, fleet: str, timing: Timing) -> dict[str, Any]:
    """Return what a workflow is to do next."""
    match step:
        case Work(batches):
            return {
                "kind": "work",
                "batches": [
                    {
                        "batch": asdict(batch),
                        "queue": queue_of(fleet, batch.place),
                        "summary": f"{batch.doing} {', '.join(batch.sites)} on {batch.server}",
                        "heartbeat_seconds": timing.heartbeat,
                        "start_seconds": timing.start,
                        "end_seconds": timing.end,
                    }
                    for batch in batches
                ],
            }
        case Wait(until):
            return {"kind": "wait", "until": until.isoformat()}
        case EnterRing(ring):
            return {"kind": "enter-ring", "ring": ring}
        case LeaveRing():
            return {"kind": "leave-ring"}
        case Stand(state):
            return {"kind": "stand", "state": state}
    raise TypeError(f"{step} is not for a workflow")


def batch_of(document: Mapping[str, Any]) -> Batch:
    """Return the batch in a document of `step_document`."""
    known = {field.name for field in fields(Batch)}
    values = {name: value for name, value in document.items() if name in known}
    return Batch(**{**values, "sites": tuple(values["sites"])})
