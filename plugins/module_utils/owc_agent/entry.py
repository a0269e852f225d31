"""The agent's command line, for the unit that carries one transaction: one job in, one outcome out.

A job is a JSON file; its outcome is written beside it, so whoever started the unit may be gone.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from . import files
from .decommission import Decommission
from .preview import Preview
from .release import Release
from .rollback import Rollback
from .transaction import StepError

TRANSACTIONS = {
    "release": Release,
    "rollback": Rollback,
    "preview": Preview,
    "decommission": Decommission,
}


def outcome_path(job_path: str) -> str:
    """Return where the outcome of a job is written."""
    return job_path[: -len(".json")] + ".outcome.json"


def run_job(job: "dict[str, Any]") -> "dict[str, Any]":
    """Run one job to its end and return the outcome."""
    return TRANSACTIONS[job["action"]](job).run()


def _stop(number: int, frame: object) -> None:
    del number, frame
    raise StepError("the server is stopping")


def main() -> None:
    """Run the job named on the command line; a SIGTERM fails the step at hand, which is undone."""
    signal.signal(signal.SIGTERM, _stop)
    path = sys.argv[1]
    job = files.read_json(path)
    files.write_json(outcome_path(path), run_job(job), 0o600)
    os.unlink(path)
