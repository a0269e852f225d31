"""What going back to a release would mean, without going."""

from __future__ import annotations

import fcntl
import time
from typing import Any

from . import commands, database, layout
from .rollback import Rollback
from .transaction import StepError


class Preview(Rollback):
    """Say whether a database has to be brought back for a release, and what that would lose.

    It holds the site's lock, so that no transaction changes what is being compared; visitors and
    editors are not held up.
    """

    def __init__(self, job: "dict[str, Any]") -> None:
        super().__init__({**job, "restore_database": True})

    def run(self) -> "dict[str, Any]":
        """Return an outcome with `preview` in its details; never raise, and change nothing."""
        started = time.monotonic()
        try:
            outcome = self._preview_locked()
        except (StepError, commands.CommandError, layout.NameRefusedError, OSError) as error:
            outcome = self._outcome("failed", str(error))
        except Exception as error:
            outcome = self._outcome("failed", "%s: %s" % (type(error).__name__, error))
        outcome["seconds"] = round(time.monotonic() - started, 3)
        return outcome

    def _preview_locked(self) -> "dict[str, Any]":
        with open(self.paths.lock, "a", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return self._outcome("busy", "another transaction is changing this site")
            self.previous = self.paths.current_release()
            if self.previous != self.observed_release:
                words = (self.previous or "none", self.observed_release or "none")
                return self._outcome("failed", "live is %s, not %s any more" % words)
            if self.journal.pending() is not None:
                self.notes.append(
                    "an interrupted transaction is undone first, which may change this"
                )
            self.verify()
            if self.snapshot_of:
                self._compare()
        return self._outcome("ok", "")

    def _compare(self) -> None:
        self.check_room()
        try:
            scratch = database.load_scratch(self.paths, self.paths.snapshot(self.snapshot_of))
            self.tell(self.paths.database, scratch)
        finally:
            database.drop_scratch(self.paths)

    def _outcome(self, word: str, message: str) -> "dict[str, Any]":
        outcome = super()._outcome(word, message)
        outcome["details"]["preview"] = {
            "release_id": self.target,
            "snapshot_of": self.snapshot_of,
            "exports": self.paths.exports,
        }
        return outcome
