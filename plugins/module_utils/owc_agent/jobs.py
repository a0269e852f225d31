"""Transactions in units of their own: started, looked at, given their verdicts.

Whoever asked may lose the connection or be killed: the unit goes on by itself, to its end or back
to where it began, and how it ended stays on disk until it is asked for.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Optional

from . import commands, files, install, layout

# One PHP process that runs out of memory fails its step, not the whole transaction; and when the
# server goes down, the transaction is told first and has time to undo itself.
UNIT_PROPERTIES = [
    "--property=KillMode=mixed",
    "--property=OOMPolicy=continue",
    "--property=After=mariadb.service nginx.service",
    "--property=TimeoutStopSec=300",
]
# `deactivating` is not gone: what was left half done is being undone just then.
_GONE = ("inactive", "failed")
_JOB = ".job.json"
_POLL_SECONDS = 0.02
_UNIT_LOOK_SECONDS = 0.5
# The unit of a transaction that has just ended is there for a moment more.
_ENDING_SECONDS = 5.0
# Longer than a controller that lost its connection goes on asking.
_OUTCOME_KEPT_SECONDS = 600.0


def start(jobs: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Start the transactions of these jobs; return the outcomes of those that cannot begin."""
    if not jobs:
        return []
    run = install.running()
    install.make_current(run)
    outcomes = [_start(run, job) for job in jobs]
    return [outcome for outcome in outcomes if outcome is not None]


def _start(run: str, job: "dict[str, Any]") -> "Optional[dict[str, Any]]":
    try:
        paths = layout.SitePaths(job["site"])
        path = paths.job(job["transaction_id"])
        if os.path.exists(path) or os.path.exists(paths.outcome(job["transaction_id"])):
            # Asked for again, because the answer was lost with the connection.
            return None
        for folder in (layout.RUN, paths.run):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        _forget(paths)
        files.write_json(path, job, 0o600)
        recover = "/usr/bin/python3 -I %s recover %s" % (run, path)
        arguments = ["systemd-run", "--quiet", "--collect", "--service-type=exec"]
        arguments += ["--unit=" + paths.transaction_unit, *UNIT_PROPERTIES]
        # However its process ended, nothing is left half done; when it ended well nothing is run.
        arguments.append(
            "--property=ExecStopPost=/bin/sh -c 'test ! -e %s || exec %s'" % (path, recover)
        )
        arguments += ["/usr/bin/python3", "-I", run, "run", path]
        deadline = time.monotonic() + _ENDING_SECONDS
        while True:
            result = commands.run(arguments, check=False)
            words = commands.last_words(result)
            if result.returncode == 0:
                return None
            busy = "already" in words and paths.transaction_unit in words
            if not busy or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        files.remove_file(path)
        message = "another transaction is changing this site" if busy else words
        return without_outcome(paths.site, "busy" if busy else "failed", message)
    except (OSError, commands.CommandError, layout.NameRefusedError) as error:
        return without_outcome(str(job["site"]), "failed", str(error))


def _forget(paths: layout.SitePaths) -> None:
    """Remove outcomes of before; they were kept in case their answer was lost with a connection.

    Of a moment ago none: another operator may be about to ask how it ended.
    """
    for entry in os.scandir(paths.run):
        if entry.name.endswith(".outcome.json"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > _OUTCOME_KEPT_SECONDS:
                    files.remove_file(entry.path)


def under_way(sites: "list[str]") -> "dict[str, dict[str, Any]]":
    """Return for each site the `transaction_id` of what is under way there, `""` for nothing.

    Beside it stands whether that is `provisional`, waiting to be confirmed.
    """
    # Imported here: it takes as long as most answers about transactions, which never need it.
    from . import services

    every = {site: layout.SitePaths(site) for site in sites}
    states = services.unit_states([paths.transaction_unit for paths in every.values()])
    found = {}
    for site, paths in every.items():
        name = transaction_of(paths, states)
        provisional = bool(name) and os.path.exists(paths.provisional(name))
        found[site] = {"transaction_id": name, "provisional": provisional}
    return found


def transaction_of(paths: layout.SitePaths, states: "dict[str, str]") -> str:
    """Return the transaction whose unit is there, by these states of units; `""` for none."""
    if states.get(paths.transaction_unit, "inactive") in _GONE:
        return ""
    try:
        names = os.listdir(paths.run)
    except FileNotFoundError:
        return ""
    ids = [name[: -len(_JOB)] for name in names if name.endswith(_JOB)]
    return max((name for name in ids if layout.is_release(name)), default="")


def give_verdicts(verdicts: "list[dict[str, Any]]") -> None:
    """Tell waiting transactions what was seen of them from outside.

    Each has `site`, `transaction_id`, `verdict` (`pass`, `fail`, `inconclusive`), `reason` and
    `evidence`.
    """
    for item in verdicts:
        paths = layout.SitePaths(item["site"])
        if os.path.exists(paths.provisional(item["transaction_id"])):
            document = {name: item[name] for name in ("verdict", "reason", "evidence")}
            files.write_json(paths.verdict(item["transaction_id"]), document, 0o600)


def wait(
    flights: "list[dict[str, str]]", settled: "list[dict[str, str]]", wait_seconds: float
) -> "tuple[list[dict[str, Any]], list[dict[str, Any]]]":
    """Return the outcomes of transactions that ended, and of those that wait to be confirmed.

    Returns once all of `settled`, which have their verdict, have ended and any of `flights` ended
    or waits; or after `wait_seconds`, with what there is.
    """
    deadline = time.monotonic() + wait_seconds
    next_look = time.monotonic() + _UNIT_LOOK_SECONDS
    finished: "dict[str, dict[str, Any]]" = {}
    while True:
        look = time.monotonic() >= next_look
        if look:
            next_look = time.monotonic() + _UNIT_LOOK_SECONDS
        for flight in (*settled, *flights):
            if flight["site"] not in finished:
                outcome = _ended(flight, look_at_unit=look)
                if outcome is not None:
                    finished[flight["site"]] = outcome
        waiting = [
            document
            for document in (_waiting(flight) for flight in flights)
            if document is not None and document["site"] not in finished
        ]
        all_settled = all(flight["site"] in finished for flight in settled)
        moved = waiting or any(flight["site"] in finished for flight in flights) or not flights
        if (all_settled and moved) or time.monotonic() > deadline:
            return list(finished.values()), waiting
        time.sleep(_POLL_SECONDS)


def _waiting(flight: "dict[str, str]") -> "Optional[dict[str, Any]]":
    paths = layout.SitePaths(flight["site"])
    found: "Optional[dict[str, Any]]" = files.read_json(paths.provisional(flight["transaction_id"]))
    return found


def _ended(flight: "dict[str, str]", *, look_at_unit: bool) -> "Optional[dict[str, Any]]":
    paths = layout.SitePaths(flight["site"])
    path = paths.outcome(flight["transaction_id"])
    outcome: "Optional[dict[str, Any]]" = files.read_json(path)
    if outcome is None and look_at_unit and _is_gone(paths):
        outcome = files.read_json(path) or without_outcome(
            paths.site, "inconclusive", "its transaction ended without a word; see: owc-deploy logs"
        )
    return outcome


def _is_gone(paths: layout.SitePaths) -> bool:
    asked = ["systemctl", "show", "--property=ActiveState", "--value", paths.transaction_unit]
    state = commands.run(asked)
    return state.stdout.decode().strip() in _GONE


def without_outcome(site: str, word: str, message: str) -> "dict[str, Any]":
    """Return an outcome for a transaction that could not say one itself."""
    return {
        "site": site,
        "outcome": word,
        "message": message,
        "release_id": "",
        "previous_release_id": "",
        "seconds": 0.0,
        "details": {},
    }
