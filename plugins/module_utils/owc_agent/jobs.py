"""Starting transactions in units of their own and waiting for their outcomes.

Whoever waits may lose the connection or be killed: the unit goes on, and its outcome stays.
"""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

from . import commands, entry, files, install, layout

TIMEOUT_SECONDS = 3600
# One PHP process that runs out of memory fails its step, not the whole transaction; and when the
# server goes down, the transaction is told first and has time to undo itself.
UNIT_PROPERTIES = [
    "--property=KillMode=mixed",
    "--property=OOMPolicy=continue",
    "--property=After=mariadb.service nginx.service",
    "--property=TimeoutStopSec=300",
]


def new_transaction_id() -> str:
    """Return a name for a transaction, sorted by time."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return "%s-%s" % (stamp, secrets.token_hex(4))


def run_jobs(jobs: "list[dict[str, Any]]", parallel: int) -> "list[dict[str, Any]]":
    """Run the jobs of several sites, `parallel` at a time; return their outcomes in order."""
    run = install.install()
    with ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        return list(pool.map(lambda job: _run_in_unit(run, job), jobs))


def _run_in_unit(run: str, job: "dict[str, Any]") -> "dict[str, Any]":
    site = job.get("site") or job["specification"]["site"]
    try:
        paths = layout.SitePaths(site)
        job_id = layout.checked_release(job.get("transaction_id"))
        os.makedirs(paths.journal, mode=0o700, exist_ok=True)
        os.chmod(paths.root, 0o750)
        path = os.path.join(paths.journal, job_id + ".job.json")
        files.write_json(path, job, 0o600)
        unit = "owc-transaction-%s.service" % paths.site
        result = commands.run(
            ["systemd-run", "--quiet", "--wait", "--collect", "--service-type=exec"]
            + ["--unit=" + unit, *UNIT_PROPERTIES, "/usr/bin/python3", "-I", run, path],
            timeout_seconds=TIMEOUT_SECONDS,
            check=False,
        )
        outcome = files.read_json(entry.outcome_path(path))
        if outcome is not None:
            files.remove_file(entry.outcome_path(path))
            return dict(outcome)
        files.remove_file(path)
        words = commands.last_words(result)
        busy = "already" in words and unit in words
        message = "another transaction is changing this site" if busy else words
        return _without_outcome(site, "busy" if busy else "failed", message or "no outcome")
    except commands.CommandError as error:
        return _without_outcome(str(site), "inconclusive", "it may be going on: %s" % error)
    except (OSError, layout.NameRefusedError) as error:
        return _without_outcome(str(site), "failed", str(error))


def _without_outcome(site: str, word: str, message: str) -> "dict[str, Any]":
    return {
        "site": site,
        "outcome": word,
        "message": message,
        "release_id": "",
        "previous_release_id": "",
        "seconds": 0.0,
        "details": {},
    }
