"""The workflows: rollouts that were begun with the first version go on with every later one.

tests/cases/temporal holds histories that the development server recorded with that version: a
rollout that was paused, one that was halted and undid what it had changed, and one of its rings.
They are never to be recorded anew: when one of these fails, running rollouts would break.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes.second_version import CarelessRing, SecondRing, SecondRollout
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from owc_deploy.rollout.models import Stand, Wait
from owc_deploy.rollout.steps import Batch, EnterRing, LeaveRing, Note, Work
from owc_deploy.rollout.temporal import workflows
from owc_deploy.rollout.temporal.payloads import (
    RING_WORKFLOW,
    ROLLOUT_WORKFLOW,
    WAKE,
    Timing,
    batch_of,
    queue_of,
    step_document,
)

CASES = Path(__file__).resolve().parents[2] / "cases" / "temporal"
NAMES = ("rollout-paused", "rollout-halted-and-undone", "ring")


def replay(name: str, *versions: type) -> None:
    text = (CASES / f"{name}.json").read_text(encoding="utf-8")
    history = WorkflowHistory.from_json("recorded", text)
    asyncio.run(Replayer(workflows=versions).replay_workflow(history))


@pytest.mark.parametrize("name", NAMES)
def test_a_rollout_of_the_first_version_goes_on(name: str) -> None:
    replay(name, workflows.RolloutWorkflow, workflows.RingWorkflow)


@pytest.mark.parametrize("name", NAMES)
def test_a_later_version_may_do_more_where_it_is_guarded(name: str) -> None:
    replay(name, SecondRollout, SecondRing)


def test_a_later_version_that_is_not_guarded_would_be_found_out() -> None:
    with pytest.raises(NondeterminismError):
        replay("ring", workflows.RolloutWorkflow, CarelessRing)


def test_what_is_recorded_carries_every_kind_of_step() -> None:
    text = "".join((CASES / f"{name}.json").read_text() for name in NAMES)
    activities = {
        event["activityTaskScheduledEventAttributes"]["activityType"]["name"]
        for name in NAMES
        for event in json.loads((CASES / f"{name}.json").read_text())["events"]
        if "activityTaskScheduledEventAttributes" in event
    }
    assert activities == {"begin", "next", "carry-out"}
    for event in ("SIGNALED", "TIMER_STARTED", "CHILD_WORKFLOW_EXECUTION_COMPLETED"):
        assert event in text, event


def test_names_are_those_of_the_first_version() -> None:
    assert (ROLLOUT_WORKFLOW, RING_WORKFLOW, WAKE) == (
        "owc-deploy-rollout",
        "owc-deploy-ring",
        "wake",
    )
    assert queue_of("province") == "owc-deploy/province"
    assert queue_of("province", "delft") == "owc-deploy/province/delft"


BATCH = Batch("change", "all", "web1", "delft", ("a", "b"), 7)
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("step", "document"),
    [
        (
            Wait(NOON, "a reason that stays in the journal"),
            {"kind": "wait", "until": NOON.isoformat()},
        ),
        (EnterRing("all"), {"kind": "enter-ring", "ring": "all"}),
        (LeaveRing(), {"kind": "leave-ring"}),
        (Stand("halted", "too much"), {"kind": "stand", "state": "halted"}),
    ],
)
def test_a_step_is_told_in_identifiers_only(step: Any, document: dict[str, Any]) -> None:
    assert step_document(step, "province", Timing()) == document


def test_work_names_its_queue_and_its_limits_and_comes_back_as_it_was() -> None:
    timing = Timing(heartbeat=1, start=2, end=3)
    told = json.loads(json.dumps(step_document(Work((BATCH,)), "province", timing)))
    (only,) = told["batches"]
    assert only["queue"] == "owc-deploy/province/delft"
    assert only["summary"] == "change a, b on web1"
    assert (only["heartbeat_seconds"], only["start_seconds"], only["end_seconds"]) == (1, 2, 3)
    assert batch_of(only["batch"]) == BATCH
    # What a newer worker adds is passed over.
    assert batch_of({**only["batch"], "newer": 1}) == BATCH
    assert {field.name for field in fields(Batch)} == set(only["batch"])


def test_what_is_to_be_written_down_is_no_step_of_a_workflow() -> None:
    with pytest.raises(TypeError):
        step_document(Note(Stand("done", "")), "province", Timing())
