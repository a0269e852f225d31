"""The agent's command line, for the units that start it.

`run JOB` carries one transaction: its job is a JSON file, its outcome is written beside it, so
whoever started the unit may be gone. `recover JOB` completes or undoes what that transaction left
when its process was killed; `recover-all` does so for every site, after a reboot say.
"""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import files, layout, transaction
from .decommission import Decommission
from .preview import Preview
from .release import Release
from .rollback import Rollback

TRANSACTIONS = {
    "release": Release,
    "rollback": Rollback,
    "preview": Preview,
    "decommission": Decommission,
}
_LOCK_SECONDS = 60.0
_RECOVER_AT_ONCE = 8


def run_job(job: "dict[str, Any]") -> "dict[str, Any]":
    """Run one job to its end and return the outcome."""
    return TRANSACTIONS[job["action"]](job).run()


def recover_job(job: "dict[str, Any]") -> "dict[str, Any]":
    """Complete or undo what a killed transaction left and return the outcome."""
    paths = layout.SitePaths(job["site"])
    word, message = "failed", "its process was killed before it began"
    try:
        with transaction.site_lock(paths, _LOCK_SECONDS):
            done = transaction.recover(paths)
    except Exception as error:
        message = "its process was killed: %s" % error
    else:
        if done:
            word = "changed" if done == transaction.COMPLETED else "rolled-back"
            message = "its process was killed: %s" % done
    live = paths.current_release()
    return {
        "site": paths.site,
        "outcome": word,
        "message": message,
        "release_id": live,
        "previous_release_id": job["observed_release"] if word == "changed" else live,
        "seconds": 0.0,
        "details": {},
    }


def recover_all() -> "list[str]":
    """Complete or undo what killed transactions left; return what was done, site by site.

    Side by side: one that cannot be undone is tried for a minute and a half, in which the others
    are served again.
    """
    sites = layout.site_names()
    with ThreadPoolExecutor(max_workers=_RECOVER_AT_ONCE) as pool:
        words = pool.map(_recover_site, sites)
        return ["%s: %s" % (site, said) for site, said in zip(sites, words) if said]


def _recover_site(site: str) -> str:
    paths = layout.SitePaths(site)
    try:
        with transaction.site_lock(paths):
            return transaction.recover(paths)
    except transaction.BusyError:
        # A running transaction holds its site, and needs no help.
        return ""
    except Exception as error:
        return str(error)


def _stop(number: int, frame: object) -> None:
    del number, frame
    raise transaction.StepError("the server is stopping")


def main() -> None:
    """Do what the command line says; a SIGTERM fails the step at hand, which is undone."""
    action = sys.argv[1]
    if action == "recover-all":
        for line in recover_all():
            sys.stdout.write(line + "\n")
        return
    path = sys.argv[2]
    job = files.read_json(path)
    if action == "recover":
        outcome = recover_job(job)
    else:
        signal.signal(signal.SIGTERM, _stop)
        outcome = run_job(job)
    paths = layout.SitePaths(job["site"])
    files.write_json(paths.outcome(job["transaction_id"]), outcome, 0o600)
    for over in (paths.provisional, paths.verdict, paths.job):
        files.remove_file(over(job["transaction_id"]))
    # A step that failed may have left a look at the site going on, which nobody waits for now.
    sys.stdout.flush()
    os._exit(0)
