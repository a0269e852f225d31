"""What a running transaction did, written before it does it, so that it can always be undone.

One JSON document per line in `journal/transaction.jsonl`, each on disk before the step it announces
begins. The file is renamed to the release's own name when the transaction ended; a file still
called `transaction.jsonl` belongs to a transaction that was killed.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any, Optional

from . import files, layout

OPEN_NAME = "transaction.jsonl"
# Room on the disk that is kept for undoing: a full disk is what most often has to be undone.
RESERVE_NAME = "reserve"
RESERVE_BYTES = 8 << 20


class Journal:
    """The journal of one transaction of one site."""

    def __init__(self, paths: layout.SitePaths) -> None:
        self._folder = paths.journal
        self._path = os.path.join(paths.journal, OPEN_NAME)
        self._reserve = os.path.join(paths.journal, RESERVE_NAME)

    def start(self, header: "dict[str, Any]") -> None:
        """Begin a journal; `header` names the release and the release that was live."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError:
            files.remove_file(self._reserve)
            raise
        finally:
            os.close(descriptor)
        self._append({"start": header})
        files.sync_folder(self._folder)

    def free_reserve(self) -> None:
        """Give up the room that was kept, before undoing begins to write."""
        files.remove_file(self._reserve)

    def begin(self, step: str) -> None:
        """Announce a step."""
        self._append({"begin": step})

    def undo(self, operation: "dict[str, Any]") -> None:
        """Register how to undo what is about to be done; `operation["undo"]` names it."""
        self._append({"undo": operation})

    def end(self, step: str, seconds: float) -> None:
        """Note that a step is done."""
        self._append({"end": step, "seconds": seconds})

    def finish(self, release_id: str, outcome: "dict[str, Any]") -> None:
        """Close the journal and keep it under the release's name."""
        self._append({"finish": outcome})
        os.replace(self._path, os.path.join(self._folder, release_id + ".jsonl"))
        files.remove_file(self._reserve)
        files.sync_folder(self._folder)

    def entries(self) -> "list[dict[str, Any]]":
        """Return what was written so far; a last line cut short by a crash is passed over."""
        try:
            with open(self._path, "rb") as stream:
                lines = stream.read().split(b"\n")
        except FileNotFoundError:
            return []
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries

    def pending(self) -> "Optional[dict[str, Any]]":
        """Return the header of a transaction that never finished, `None` when there is none."""
        for entry in self.entries():
            if "start" in entry:
                header: "dict[str, Any]" = entry["start"]
                return header
        return None

    def commit(self, activation: "dict[str, Any]") -> None:
        """Note that the transaction is good: from here on it is completed, never undone.

        `activation` is the line that still has to be appended to the activations, empty for none.
        """
        self._append({"commit": activation})

    def committed(self) -> "Optional[dict[str, Any]]":
        """Return what `commit` was given, `None` when the transaction did not get that far."""
        activation: "Optional[dict[str, Any]]" = None
        for entry in self.entries():
            activation = entry.get("commit", activation)
            if "abandon" in entry:
                return None
        return activation

    def abandon(self) -> None:
        """Take back a commit that was written but may not have reached the disk.

        Its transaction is being undone. Without this whoever reads the journal after a crash would
        complete what is half undone.
        """
        if self.committed() is not None:
            self._append({"abandon": "the commit could not be made sure of"})

    def undone(self, number: int) -> None:
        """Note that one operation of `undo_operations` is done."""
        self._append({"undone": number})

    def undo_operations(self) -> "list[tuple[int, dict[str, Any]]]":
        """Return the registered operations that are still to be undone, the last one first."""
        entries = self.entries()
        done = {entry["undone"] for entry in entries if "undone" in entry}
        operations = [entry["undo"] for entry in entries if "undo" in entry]
        numbered = list(enumerate(operations))
        return [(number, item) for number, item in reversed(numbered) if number not in done]

    def _append(self, entry: "dict[str, Any]") -> None:
        # The leading newline keeps this entry whole when the one before was cut short by a crash.
        line = b"\n" + json.dumps(entry, sort_keys=True).encode() + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, "no room left for the journal", self._path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
