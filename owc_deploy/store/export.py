"""The audit log as a file: one entry a line, for who has no access to the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, BinaryIO

from owc_deploy.plan.specification import canonical_json
from owc_deploy.store.chain import AuditEntry, Head, NotAnEntryError, as_document

# Far more than any entry has; a file that somebody handed over must not fill the memory.
_LONGEST_LINE_BYTES = 64 << 20
_FIELDS = {field.name: str for field in fields(AuditEntry)} | {"number": int, "body": dict}


def write_entries(entries: Iterable[AuditEntry], file: BinaryIO) -> Head:
    """Write each entry as a line of canonical JSON; return the number and hash of the last."""
    head = Head()
    for entry in entries:
        file.write(canonical_json(as_document(entry)).encode() + b"\n")
        head = Head(entry.number, entry.sha256)
    return head


def read_entries(file: BinaryIO) -> Iterator[AuditEntry]:
    """Yield the entries of a file that `write_entries` wrote; NotAnEntryError where it did not."""
    number = 0
    while line := file.readline(_LONGEST_LINE_BYTES):
        number += 1
        entry = _read(line.removesuffix(b"\n"))
        if entry is None:
            raise NotAnEntryError(
                f"line {number} is not as an export writes it: one entry, in canonical JSON"
            )
        yield entry


def _read(line: bytes) -> AuditEntry | None:
    try:
        text = line.decode()
        document: Any = json.loads(text)
        # Written in any other way, another reader might see something else in it: a key twice, say.
        if canonical_json(document) != text:
            return None
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or {k: type(v) for k, v in document.items()} != _FIELDS:
        return None
    return AuditEntry(**document)
