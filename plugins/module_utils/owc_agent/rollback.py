"""Going back to an earlier release of a site, without asking WordPress.

The release that is left may be the broken one, so everything needed was kept when the target was
made live: its files, its units and the values of its options.
"""

from __future__ import annotations

import os
from typing import Any

from . import database, files, gate, layout, services, undo
from .release import PATIENCE_SECONDS, owned_options, refresh_state
from .transaction import InconclusiveError, StepError, Transaction, activations, now


class Rollback(Transaction):
    """Make an earlier release live again; `restore_database` allows undoing changes of data."""

    STEPS = (
        "verify",
        "preflight",
        "snapshot",
        "restore",
        "options",
        "switch",
        "services",
        "gate",
        "confirm",
    )
    FIRST_VISIBLE_STEP = "restore"

    def __init__(self, job: "dict[str, Any]") -> None:
        super().__init__(job)
        self.target = layout.checked_release(job["release_id"])
        self.restore_allowed = bool(job["restore_database"])
        self.specification: "dict[str, Any]" = {}
        self.state: "dict[str, Any]" = {}
        self.snapshot_of = ""

    def verify(self) -> None:
        """See that the target is whole, and whether going back to it means going back in data."""
        release = self.paths.release(self.target)
        document = files.read_json(os.path.join(release, "release.json"))
        state = files.read_json(os.path.join(release, "state.json"))
        if document is None or state is None or not os.path.isdir(self.paths.public(self.target)):
            raise StepError("release %s is not complete on this server" % self.target)
        self.specification, self.state = document["specification"], state
        self.snapshot_of = crossed_change(activations(self.paths), self.target)
        if not self.snapshot_of:
            return
        if not self.restore_allowed:
            raise StepError(
                "since release %s the database was changed in a way that the old code may not"
                " understand; going back means losing what was written since %s"
                % (self.target, self.snapshot_of)
            )
        if not os.path.exists(self.paths.snapshot(self.snapshot_of)):
            raise StepError("the database snapshot before %s is gone" % self.snapshot_of)

    def preflight(self) -> None:
        """Check the target's configuration files before anything is touched."""
        services.test_staged_php_fpm(self.paths, self.target)
        services.test_staged_nginx(self.paths, self.target)

    def snapshot(self) -> None:
        """Keep the database as it is now."""
        self._save_snapshot(owned_options(self.specification))
        refresh_state(self.paths, self.previous)

    def restore(self) -> None:
        """Bring back the database from before the first change that is in the way."""
        if self.snapshot_of:
            self.journal.undo({"undo": "restore-database", "snapshot_of": self.transaction_id})
            database.restore(self.paths, self.paths.snapshot(self.snapshot_of))

    def options(self) -> None:
        """Give the options the values they had when the target was made live."""
        database.write_options(self.paths.database, self.state["options"])

    def switch(self) -> None:
        """Make the target live."""
        self.journal.undo({"undo": "services", "from": self.target, "to": self.previous})
        self.journal.undo({"undo": "switch", "release_id": self.previous})
        undo.switch(self.paths, self.target)

    def services(self) -> None:
        """Make PHP-FPM, cron and nginx match the target."""
        services.converge(self.paths, self.previous, self.target)

    def gate(self) -> None:
        """Ask the site as a visitor would."""
        pages = self.specification["gate"]["pages"]
        domain = self.specification["domains"][0]
        verdict = gate.ask_pages(domain, pages, PATIENCE_SECONDS, {})
        self.problems = list(verdict.problems)
        if verdict.word == "inconclusive":
            raise InconclusiveError("; ".join(self.problems))
        if self.problems:
            raise StepError("; ".join(self.problems))

    def activation(self) -> "dict[str, Any]":
        """Return the line that says that the target was made live."""
        return {
            "release_id": self.target,
            "previous_release_id": self.previous,
            "outcome": "changed",
            "rollback": True,
            "database_changed": bool(self.snapshot_of),
            "snapshot_of": self.transaction_id,
            "at": now(),
        }


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
