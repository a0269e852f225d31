"""Taking a site off the air while keeping everything, so that it can come back."""

from __future__ import annotations

from . import files
from .transaction import TOUCHED_OPTIONS, Transaction, now


class Decommission(Transaction):
    """Stop serving a site; its releases, database, uploads, user and certificate stay."""

    STEPS = ("snapshot", "mark", "switch", "services")
    FIRST_VISIBLE_STEP = "switch"

    def snapshot(self) -> None:
        """Keep the database as it is at the end."""
        self._save_snapshot(list(TOUCHED_OPTIONS))

    def mark(self) -> None:
        """Write down that this was meant."""
        self.journal.undo({"undo": "unmark"})
        document = {"at": now(), "release_id": self.previous}
        files.write_json(self.paths.decommissioned, document)

    def switch(self) -> None:
        """Take the link away."""
        self.switch_to("")

    def services(self) -> None:
        """Stop PHP-FPM and cron, and take the virtual hosts away."""
        self.converge("")
