"""The audit log's entries and what binds them; pure, so that an exported log needs no store.

The `sha256` of an entry is that of the canonical JSON (sorted keys, no spaces, UTF-8) of all its
other fields. `previous_sha256`, which is the `sha256` of the entry before it, is one of them; so
nobody can change, take out or put in an entry without writing every later one anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from owc_deploy.errors import StateError
from owc_deploy.plan.specification import canonical_sha256

NO_SHA256 = "0" * 64
Break = Literal[
    "missing",
    "out-of-order",
    "altered",
    "not-following",
    "truncated",
    "not-as-noted",
    "unreadable",
]


class NotAnEntryError(StateError):
    """A line of an exported log is no entry, or not written as an export writes it."""

    reference = "not-an-entry"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that happened; `at` is ISO 8601 in UTC, `actor` is user@machine.

    `rollout_id` and `site` are empty where it was part of no rollout, or of no one site.
    """

    number: int
    at: str
    kind: str
    actor: str
    rollout_id: str
    site: str
    body: Mapping[str, Any]
    previous_sha256: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a log: its number, 0 for an empty log, and its hash.

    Noted where those who can write the log cannot, it proves later that the log then was the same.
    """

    number: int = 0
    sha256: str = NO_SHA256

    def __str__(self) -> str:
        return f"{self.number}:{self.sha256}"


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """The first place where a log is not whole; `message` says why."""

    number: int
    reference: Break
    message: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What became of verifying a log: how far it is whole, and where it is not."""

    head: Head
    broken: ChainBreak | None = None


def entry_sha256(entry: AuditEntry) -> str:
    """Return the hash that an entry should carry."""
    document = as_document(entry)
    del document["sha256"]
    return canonical_sha256(document)


def as_document(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as a JSON object, in the order of its fields."""
    return {field.name: getattr(entry, field.name) for field in fields(entry)}


def verify_chain(entries: Iterable[AuditEntry], expected: Head | None = None) -> ChainReport:
    """Say whether a log is whole from its first entry on, and where it is not.

    Without `expected`, a head noted before, a log that lost its newest entries looks whole, and so
    does one that was written anew from some entry on.
    """
    head = Head()
    try:
        for entry in entries:
            broken = _break_at(entry, head, expected)
            if broken is not None:
                return ChainReport(head, broken)
            head = Head(entry.number, entry.sha256)
    except NotAnEntryError as error:
        return ChainReport(head, ChainBreak(head.number + 1, "unreadable", error.message))
    if expected is not None and head.number < expected.number:
        message = f"the log ends at entry {head.number}; entry {expected.number} was noted before"
        return ChainReport(head, ChainBreak(head.number + 1, "truncated", message))
    return ChainReport(head)


def _break_at(entry: AuditEntry, head: Head, expected: Head | None) -> ChainBreak | None:
    number, wanted = entry.number, head.number + 1
    if number > wanted:
        count = number - wanted
        what = f"entry {wanted} is" if count == 1 else f"entries {wanted} to {number - 1} are"
        return ChainBreak(wanted, "missing", f"{what} missing")
    if number < wanted:
        message = f"entry {number} comes after entry {head.number}"
        return ChainBreak(number, "out-of-order", message)
    if not _is_as_hashed(entry):
        message = f"entry {number} was altered: its content does not have its sha256"
        return ChainBreak(number, "altered", message)
    if entry.previous_sha256 != head.sha256:
        before = f"entry {head.number}" if head.number else "the beginning"
        message = f"entry {number} does not follow {before}: another one stood there"
        return ChainBreak(number, "not-following", message)
    if expected is not None and number == expected.number and entry.sha256 != expected.sha256:
        message = f"entry {number} is not the one that was noted: it was written anew"
        return ChainBreak(number, "not-as-noted", message)
    return None


def _is_as_hashed(entry: AuditEntry) -> bool:
    try:
        return entry_sha256(entry) == entry.sha256
    except (UnicodeEncodeError, RecursionError):
        # No entry was ever written with half a character, or nested this deep.
        return False
