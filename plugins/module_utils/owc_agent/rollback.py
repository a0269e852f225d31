"""Going back to an earlier release of a site, without asking WordPress.

The release that is left may be the broken one, so everything needed was kept when the target was
made live: its files, its units and the values of its options. Where it needs the database of then,
what is lost by that is told of and exported first.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, Optional

from . import (
    commands,
    database,
    exports,
    freeze,
    gate,
    held,
    layout,
    losses,
    mitigations,
    services,
    targets,
)
from .owned import owned_options, refresh_state
from .release import FREE_BYTES, PATIENCE_SECONDS
from .transaction import (
    TOUCHED_OPTIONS,
    InconclusiveError,
    StepError,
    Transaction,
    activations,
    crossed_change,
    now,
    specification_of,
)

WHAT_IT_IS = (
    "rows, uploads and jobs of a municipal site since the snapshot that its database was taken back"
    " to by owc-deploy rollback; new and changed: the row as it was when it was left behind;"
    " deleted: the key of a row that came back"
)


class Rollback(Transaction):
    """Make an earlier release live again; `restore_database` allows undoing changes of data."""

    STEPS = (
        "verify",
        "preflight",
        "freeze",
        "snapshot",
        "export",
        "restore",
        "hold",
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
        self.snapshot_bytes = 0
        self.losses: "Optional[dict[str, Any]]" = None
        self.exported = ""
        self.held: "list[dict[str, Any]]" = []
        self.seen: "Optional[held.Seen]" = None

    def verify(self) -> None:
        """See that the target is whole, and whether going back to it means going back in data."""
        try:
            self.specification, self.state = targets.read_target(self.paths, self.target)
            self.snapshot_of = crossed_change(activations(self.paths), self.target)
            if self.snapshot_of:
                self.snapshot_bytes = self._tested_snapshot(self.snapshot_of)
        except (StepError, commands.CommandError) as error:
            raise StepError("%s; %s" % (error, self._possible_words())) from None
        if self.snapshot_of and not self.restore_allowed:
            since = losses.iso(losses.snapshot_seconds(self.paths.snapshot(self.snapshot_of)))
            raise StepError(
                "since release %s the database was changed in a way that the old code may not"
                " understand; going back brings back the database of %s and loses what was written"
                " since, which a preview tells" % (self.target, since)
            )

    def _tested_snapshot(self, snapshot_of: str) -> int:
        return losses.tested_size(self.paths.snapshot(snapshot_of))

    def _possible_words(self) -> str:
        """Say which releases can be made live again; only asked when the one wanted cannot."""
        entries = activations(self.paths)
        live = self.paths.current_release()
        possible: "list[str]" = []
        for release_id in dict.fromkeys(entry["release_id"] for entry in reversed(entries)):
            if release_id in (live, self.target):
                continue
            try:
                targets.read_target(self.paths, layout.checked_release(release_id))
                snapshot_of = crossed_change(entries, release_id)
                if snapshot_of:
                    self._tested_snapshot(snapshot_of)
            except (StepError, commands.CommandError, ValueError, KeyError):
                continue
            possible.append(release_id)
        return "possible: " + ", ".join(possible) if possible else "no other release is possible"

    def preflight(self) -> None:
        """Check the target's configuration files, and room, before anything is touched."""
        services.test_staged_php_fpm(self.paths, self.target)
        services.test_staged_nginx(self.paths, self.target)
        self.check_room()

    def check_room(self) -> None:
        """See that there is room for a dump, for an export and for the database of then."""
        present = database.size_bytes(self.paths.database)
        wanted = [(self.paths.root, present)]
        if self.snapshot_of:
            # Rows in hexadecimal are twice as long, but an export is compressed; tables with their
            # indexes, and the undo that may have to load one more, about twice a dump.
            wanted += [(self.paths.root, present)]
            wanted += [(database.DATA_FOLDER, 2 * max(present, self.snapshot_bytes))]
        needed: "dict[int, int]" = {}
        for folder, size in wanted:
            device = os.stat(folder).st_dev
            needed[device] = needed.get(device, FREE_BYTES) + size
            room = os.statvfs(folder)
            free = room.f_bavail * room.f_frsize
            if free < needed[device]:
                words = (folder, free >> 20, needed[device] >> 20)
                raise StepError("%s has %d MB free, %d MB are needed" % words)

    def freeze(self) -> None:
        """Refuse writes, if the database is to go back: what is told as lost is then all of it."""
        if self.snapshot_of:
            self.journal.undo({"undo": "thaw"})
            freeze.freeze(self.paths, "rollback to %s" % self.target)

    def snapshot(self) -> None:
        """Keep the database as it is now."""
        self._save_snapshot(owned_options(self.specification))
        refresh_state(self.paths, self.previous)

    def export(self) -> None:
        """Load the database of then beside the present one, and export what it lacks."""
        if not self.snapshot_of:
            return
        self.journal.undo({"undo": "drop-scratch"})
        scratch = database.load_scratch(self.paths, self.paths.snapshot(self.snapshot_of))
        self.tell(self.paths.database, scratch)
        self._write_export(self.paths.database, scratch)

    def restore(self) -> None:
        """Let the database of then take the place of the present one, its old jobs held already."""
        if not self.snapshot_of:
            return
        scratch, _aside = database.restore_databases(self.paths)
        # Before anything can run them: cron and visitors find the restored database at once.
        self.held, self.seen = held.hold(self.paths.database, scratch)
        self.journal.undo({"undo": "restore-database", "snapshot_of": self.transaction_id})
        database.exchange(self.paths)

    def hold(self) -> None:
        """Hold what ran at the last moment; what is left is written to by nobody any more."""
        if not self.snapshot_of:
            return
        _scratch, aside = database.restore_databases(self.paths)
        late, _seen = held.hold(aside, self.paths.database, self.seen)
        self.held += late

    def tidy(self) -> None:
        """Export once more, now from what was left, so that the last moment's rows are there too.

        That takes as long as the first time, so it waits until the target serves.
        """
        if not self.snapshot_of:
            return
        _scratch, aside = database.restore_databases(self.paths)
        try:
            self._write_export(aside, self.paths.database)
        except ValueError as error:
            self.notes.append("the export lacks the last moment: %s" % error)
        finally:
            database.drop_scratch(self.paths)

    def tell(self, left_database: str, kept_database: str) -> None:
        """Find out what is lost by leaving one database for the other."""
        since = losses.snapshot_seconds(self.paths.snapshot(self.snapshot_of))
        self.losses = losses.tell(
            left_database, kept_database, self.paths.uploads, since, self._owned()
        )
        self.losses["snapshot_of"] = self.snapshot_of

    def _write_export(self, left_database: str, kept_database: str) -> None:
        path = exports.export_path(self.paths, self.transaction_id)
        since = losses.snapshot_seconds(self.paths.snapshot(self.snapshot_of))
        header = {
            "schema_version": 1,
            "what": WHAT_IT_IS,
            "site": self.paths.site,
            "transaction_id": self.transaction_id,
            "from_release": self.previous,
            "to_release": self.target,
            "snapshot_of": self.snapshot_of,
            "snapshot_at": losses.iso(since),
            "at": now(),
        }
        lines = exports.lost_lines(
            left_database, kept_database, self.paths.uploads, since, self._owned()
        )
        exports.write(
            path, header, itertools.chain(lines, ({"held_job": job} for job in self.held))
        )
        self.exported = path

    def _owned(self) -> "list[str]":
        """Return the options that the release that is left, or the target, sets by itself."""
        names = list(TOUCHED_OPTIONS)
        for specification in (self.specification, specification_of(self.paths, self.previous)):
            options = (specification or {}).get("options", {})
            # Of a mapping the manifest may own some keys only; the others are the editors'.
            names += [name for name in options if not isinstance(options[name], dict)]
        return [layout.checked_option(name) for name in dict.fromkeys(names)]

    def _outcome(self, word: str, message: str) -> "dict[str, Any]":
        outcome = super()._outcome(word, message)
        told = self.held[: held.TOLD] if word == "changed" else []
        outcome["details"].update(
            restore_needed=bool(self.snapshot_of),
            losses=self.losses,
            export=self.exported,
            held_jobs=told,
        )
        return outcome

    def options(self) -> None:
        """Give the options the values they had when the target was made live."""
        database.write_options(self.paths.database, self.state["options"])

    def switch(self) -> None:
        """Make the target live."""
        self.switch_to(self.target)

    def services(self) -> None:
        """Make PHP-FPM, cron and nginx match the target."""
        self.converge(self.target)

    def gate(self) -> None:
        """Ask the site as a visitor would."""
        pages, closed = mitigations.open_pages(self.paths, self.specification["gate"]["pages"])
        self.notes += closed
        verdict = gate.ask_pages(
            self.specification["domains"][0], pages, PATIENCE_SECONDS, {"missing": {}}
        )
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
