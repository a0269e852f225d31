"""What every change of a site has in common: one at a time, journalled, undone when a step fails.

A transaction is a list of steps. Before a step changes anything, its undo is in the journal; a step
that fails, and a transaction that was killed, are undone from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, Optional

from . import (
    commands,
    database,
    fences,
    files,
    freeze,
    journal,
    layout,
    services,
    undo,
    wordpress,
)

# Options that switching themes, activating plugins and installing languages change, beside those
# that the manifest owns. Each release keeps their values, so that going back needs no WordPress.
TOUCHED_OPTIONS = (
    "active_plugins",
    "template",
    "stylesheet",
    "current_theme",
    "sidebars_widgets",
    "rewrite_rules",
    "WPLANG",
)


class StepError(Exception):
    """A step that did not do what it should; the message is for the person who reads the plan."""


class InconclusiveError(StepError):
    """It cannot be said whether a step did what it should."""


class BusyError(Exception):
    """Another transaction holds this site."""


VERDICT_POLL_SECONDS = 0.02
# What `recover` says it did.
COMPLETED = "an interrupted transaction was completed"
UNDONE = "an interrupted transaction was undone"


class Transaction:
    """One change of one site; subclasses name their steps and have a method for each.

    A job says which `site`, the `transaction_id`, the `observed_release` that its plan saw live,
    for how many seconds (`confirmation_seconds`) the result waits to be confirmed, and whose it is
    (`fence`): a controller that was overtaken by a newer one neither begins nor ends one.
    """

    STEPS: "tuple[str, ...]" = ()
    # Until this step has ended nothing that a visitor or an editor could see has been changed.
    FIRST_VISIBLE_STEP = ""

    def __init__(self, job: "dict[str, Any]") -> None:
        self.paths = layout.SitePaths(job["site"])
        self.transaction_id = layout.checked_release(job["transaction_id"])
        self.observed_release = str(job["observed_release"])
        self.confirmation_seconds = float(job["confirmation_seconds"])
        # Missing from what changes nothing.
        self.fence: Any = job.get("fence")
        self.evidence: "dict[str, Any]" = {}
        self.previous = ""
        self.journal = journal.Journal(self.paths)
        self.problems: "list[str]" = []
        self.notes: "list[str]" = []
        self.steps: "list[dict[str, Any]]" = []

    def run(self) -> "dict[str, Any]":
        """Run every step; undo all of it when one fails. Return the outcome, never raise."""
        started = time.monotonic()
        try:
            outcome = self._run_locked()
        except (BusyError, fences.OvertakenError) as error:
            outcome = self._outcome("busy", str(error))
        except Exception as error:
            outcome = self._outcome("failed", _words(error))
        outcome["seconds"] = round(time.monotonic() - started, 3)
        return outcome

    def activation(self) -> "dict[str, Any]":
        """Return what to add to the activations when all steps went well, empty for nothing."""
        return {}

    def details(self) -> "dict[str, Any]":
        """Return what the outcome tells beside its word."""
        return {
            "steps": self.steps,
            "problems": self.problems,
            "notes": self.notes,
            **({"evidence": self.evidence} if self.evidence else {}),
        }

    def tidy(self) -> None:
        """Do what may fail without harm, once the transaction is over."""

    def confirm(self) -> None:
        """Wait for whoever asked for the change to say that it is good, seen from there.

        Without a word in time nobody is there to see what became of the site, or nobody can reach
        it any more because of this very change: it is undone.
        """
        path = self.paths.verdict(self.transaction_id)
        provisional = self._outcome("provisional", "")
        files.write_json(self.paths.provisional(self.transaction_id), provisional, 0o600)
        deadline = time.monotonic() + self.confirmation_seconds
        verdict = files.read_json(path)
        while verdict is None:
            fences.check(self.paths.fence, self.fence)
            if time.monotonic() > deadline:
                raise StepError("nobody confirmed it in %d seconds" % self.confirmation_seconds)
            time.sleep(VERDICT_POLL_SECONDS)
            verdict = files.read_json(path)
        self.evidence = verdict["evidence"]
        if verdict["verdict"] == "inconclusive":
            raise InconclusiveError(verdict["reason"])
        if verdict["verdict"] != "pass":
            raise StepError(verdict["reason"])

    def _run_locked(self) -> "dict[str, Any]":
        os.makedirs(self.paths.releases, mode=0o755, exist_ok=True)
        with site_lock(self.paths):
            self.notes += fences.take(self.paths.fence, self.paths, self.fence)
            recovered = recover(self.paths)
            self.previous = self.paths.current_release()
            if self.previous != self.observed_release:
                if recovered:
                    return self._outcome("rolled-back", "%s; run this again" % recovered)
                live, planned = self.previous or "none", self.observed_release or "none"
                return self._outcome(
                    "failed", "the plan is stale: live is %s, the plan saw %s" % (live, planned)
                )
            self.journal.start({"transaction_id": self.transaction_id, "previous": self.previous})
            return self._run_steps()

    def _run_steps(self) -> "dict[str, Any]":
        step = ""
        try:
            for step in self.STEPS:
                fences.check(self.paths.fence, self.fence)
                self.journal.begin(step)
                began = time.monotonic()
                getattr(self, step)()
                seconds = round(time.monotonic() - began, 3)
                self.journal.end(step, seconds)
                self.steps.append({"step": step, "seconds": seconds})
            # Whoever takes the site over from now on waits until it is known how this ended.
            with fences.kept(self.paths.fence, self.paths, self.fence):
                _hold_signals()
                self.journal.commit(self.activation())
        except Exception as error:
            _hold_signals()
            return self._undone(step, error)
        try:
            complete(self.paths, self.journal)
            self.tidy()
        except (commands.CommandError, OSError, shutil.Error) as error:
            self.notes.append("tidying up: %s" % error)
        return self._outcome("changed", "")

    def _undone(self, step: str, error: Exception) -> "dict[str, Any]":
        message = "%s: %s" % (step, _words(error))
        failures = undo.undo_all(self.paths, self.journal)
        if failures:
            # The journal stays open: the next transaction tries to undo the rest first.
            incomplete = "%s (undo incomplete: %s)" % (message, "; ".join(failures))
            return self._outcome("failed", incomplete)
        outcome = self._outcome(self._word_for(step, error), message)
        self.journal.finish(self.transaction_id, outcome)
        return outcome

    def _word_for(self, step: str, error: Exception) -> str:
        if isinstance(error, InconclusiveError):
            return "inconclusive"
        visible = self.STEPS.index(step) >= self.STEPS.index(self.FIRST_VISIBLE_STEP)
        return "rolled-back" if visible else "failed"

    def _outcome(self, word: str, message: str) -> "dict[str, Any]":
        return {
            "site": self.paths.site,
            "outcome": word,
            "message": message,
            "release_id": self.paths.current_release(),
            "previous_release_id": self.previous,
            "details": self.details(),
        }

    def switch_to(self, release_id: str) -> None:
        """Make a release live, or none with `""`; its units do not follow yet."""
        self.journal.undo({"undo": "units", "from": release_id, "to": self.previous})
        self.journal.undo({"undo": "switch", "release_id": self.previous})
        undo.switch(self.paths, release_id)

    def converge(self, release_id: str) -> None:
        """Make PHP-FPM, cron and nginx match the release that was made live."""
        operation = {"undo": "nginx", "release_id": self.previous}
        services.converge(
            self.paths, self.previous, release_id, lambda: self.journal.undo(operation)
        )

    def _save_snapshot(self, options: "list[str]") -> bool:
        """Dump the database and note the options; return whether there was anything to dump."""
        if not has_tables(self.paths):
            return False
        self.journal.undo({"undo": "remove-snapshot", "release_id": self.transaction_id})
        database.dump(self.paths.database, self.paths.snapshot(self.transaction_id))
        values = database.read_options(self.paths.database, options)
        self.journal.undo({"undo": "options", "values": values})
        return True


@contextlib.contextmanager
def site_lock(paths: layout.SitePaths, wait_seconds: float = 0.0) -> "Iterator[None]":
    """Hold a site; raises BusyError when somebody else does, for longer than `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    with open(paths.lock, "w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError("another transaction is changing this site") from None
                time.sleep(0.1)
        yield


def _hold_signals() -> None:
    """Let a server that goes down wait until what is being completed or undone is so."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if threading.current_thread() is threading.main_thread():
        # Another thread, which does not block it, takes the signal; then Python handles it in this.
        signal.signal(signal.SIGTERM, lambda *_: None)


def complete(paths: layout.SitePaths, written: journal.Journal) -> None:
    """Finish a committed transaction: record what it made live, close its journal."""
    activation = written.committed() or {}
    pending = written.pending() or {}
    # Before anything is written, for which a full disk may have no room.
    freeze.thaw(paths)
    written.free_reserve()
    if activation and activation not in activations(paths)[-1:]:
        record_activation(paths, activation)
    if activation:
        files.remove_file(paths.decommissioned)
    written.finish(pending["transaction_id"], {"outcome": "changed"})


def recover(paths: layout.SitePaths) -> str:
    """Complete or undo a transaction that was killed; return what was done, `""` for nothing.

    Whoever calls this holds the site's lock, so the transaction is not merely running.

    Undoing may take away what was written since, when the machine ran on for a while, so a copy of
    the database is kept first. Raises StepError when it cannot be undone: the site must not be
    changed further.
    """
    written = journal.Journal(paths)
    pending = written.pending()
    if pending is None:
        return ""
    if written.committed() is not None:
        complete(paths, written)
        return COMPLETED
    operations = [operation["undo"] for _number, operation in written.undo_operations()]
    # A frozen site has not been written to by anybody, however long ago it was.
    frozen = os.path.exists(paths.frozen)
    if not frozen and any(n in undo.DESTRUCTIVE for n in operations) and has_tables(paths):
        copy = os.path.join(paths.snapshots, "interrupted-%d.sql.gz" % int(time.time()))
        database.dump(paths.database, copy)
    failures = undo.undo_all(paths, written)
    if failures:
        raise StepError("an earlier transaction cannot be undone: %s" % "; ".join(failures))
    written.finish(
        pending["transaction_id"], {"outcome": "rolled-back", "message": "was interrupted"}
    )
    return UNDONE


def has_tables(paths: layout.SitePaths) -> bool:
    """Return whether the site's database holds a WordPress."""
    return bool(
        database.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema='%s'"
            " AND table_name='%s' AND table_type='BASE TABLE'"
            % (paths.database, database.OPTIONS_TABLE)
        )
    )


def options(paths: layout.SitePaths, names: "list[str]") -> "dict[str, Any]":
    """Return WordPress options, decoded; an empty dictionary when there is no WordPress yet."""
    if not has_tables(paths):
        return {}
    decoded: "dict[str, Any]" = database.decode_options(
        database.read_options(paths.database, names)
    )
    return decoded


def active_plugins(option: Any) -> "list[str]":
    """Return the plugin files of a decoded `active_plugins` option, in their order."""
    if isinstance(option, dict):
        option = list(option.values())
    return [str(plugin) for plugin in option] if isinstance(option, list) else []


def specification_of(paths: layout.SitePaths, release_id: str) -> "Optional[dict[str, Any]]":
    """Return what a release was built from, `None` when that cannot be told."""
    if not release_id:
        return None
    document = files.read_json(os.path.join(paths.release(release_id), "release.json"))
    specification = document.get("specification") if isinstance(document, dict) else None
    return specification if isinstance(specification, dict) else None


def record_activation(paths: layout.SitePaths, entry: "dict[str, Any]") -> None:
    """Append to the list of releases that were made live."""
    # The leading newline keeps this line whole when the one before was cut short.
    line = "\n" + json.dumps(entry, sort_keys=True) + "\n"
    with open(paths.activations, "a", encoding="utf-8") as stream:
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def activations(paths: layout.SitePaths) -> "list[dict[str, Any]]":
    """Return the activations of a site, oldest first; a line cut short is passed over."""
    found = []
    try:
        with open(paths.activations, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
    except FileNotFoundError:
        pass
    return [entry for entry in found if isinstance(entry, dict)]


def crossed_change(entries: "list[dict[str, Any]]", target: str) -> str:
    """Return the snapshot to restore when going back to `target`, `""` when code alone will do.

    `entries` are the activations, oldest first. The snapshot is the one taken before the first
    change of data after the target was last made live. A target that was never live has none.
    """
    snapshot_of = ""
    for entry in reversed(entries):
        if entry["release_id"] == target:
            return snapshot_of
        if entry.get("database_changed"):
            snapshot_of = entry.get("snapshot_of") or entry["release_id"]
    raise StepError("release %s was never live here" % target)


def now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _words(error: Exception) -> str:
    expected = (StepError, commands.CommandError, wordpress.WordPressError, layout.NameRefusedError)
    if isinstance(error, (*expected, fences.OvertakenError, freeze.StillWritingError, OSError)):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "%s: %s (%s line %s)" % (type(error).__name__, error, last.name, last.lineno)
