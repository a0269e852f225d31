"""Verifying a log: every way in which one can be other than it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from owc_deploy.store.chain import (
    NO_SHA256,
    AuditEntry,
    ChainBreak,
    Head,
    entry_sha256,
    verify_chain,
)


def chain(count: int, *, kind: str = "outcome") -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(1, count + 1):
        entry = AuditEntry(
            number=number,
            at="2026-11-23T18:00:00.000000+00:00",
            kind=kind,
            actor="anna@controller",
            rollout_id="",
            site="heusden",
            body={"outcome": "changed", "message": "één", "seconds": 1.25},
            previous_sha256=entries[-1].sha256 if entries else NO_SHA256,
            sha256="",
        )
        entries.append(replace(entry, sha256=entry_sha256(entry)))
    return entries


def resealed(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Give every entry the hash of its content, and leave previous_sha256 as it is."""
    return [replace(entry, sha256=entry_sha256(entry)) for entry in entries]


def broken(entries: Sequence[AuditEntry], expected: Head | None = None) -> tuple[int, str] | None:
    found: ChainBreak | None = verify_chain(entries, expected).broken
    return (found.number, found.reference) if found else None


def test_the_hash_is_one_anybody_can_compute() -> None:
    (entry,) = chain(1)
    document = asdict(entry)
    del document["sha256"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode("utf-8")).hexdigest() == entry.sha256


def test_a_whole_chain_has_a_head() -> None:
    entries = chain(3)
    report = verify_chain(entries)
    assert report.broken is None
    assert str(report.head) == f"3:{entries[-1].sha256}"


def test_an_empty_log_is_whole() -> None:
    assert verify_chain([]).head == Head(0, NO_SHA256)


@pytest.mark.parametrize(
    "change",
    [
        {"at": "2026-11-24T18:00:00.000000+00:00"},
        {"kind": "run-ended"},
        {"actor": "bo@elsewhere"},
        {"rollout_id": "other"},
        {"site": "breda"},
        {"body": {"outcome": "failed"}},
        {"body": {"outcome": "\ud800"}},
        {"previous_sha256": "1" * 64},
        {"sha256": "1" * 64},
    ],
)
def test_a_changed_field_is_found(change: dict[str, object]) -> None:
    entries = chain(3)
    entries[1] = replace(entries[1], **change)  # type: ignore[arg-type]
    report = verify_chain(entries)
    assert report.broken is not None
    assert (report.broken.number, report.broken.reference) == (2, "altered")
    assert report.head.number == 1


def test_nesting_without_end_is_an_alteration() -> None:
    body: dict[str, object] = {}
    for _ in range(100_000):
        body = {"x": body}
    entries = [replace(chain(1)[0], body=body)]
    assert broken(entries) == (1, "altered")


def test_an_entry_changed_and_hashed_again_no_longer_fits_the_next() -> None:
    entries = chain(3)
    entries[1:2] = resealed([replace(entries[1], actor="bo@elsewhere")])
    assert broken(entries) == (3, "not-following")


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ([2, 3, 4], (1, "missing")),
        ([1, 3, 4], (2, "missing")),
        ([1, 4], (2, "missing")),
        ([1, 3, 2, 4], (2, "missing")),
        ([1, 1, 2], (1, "out-of-order")),
        ([1, 2, 1], (1, "out-of-order")),
    ],
)
def test_what_is_missing_twice_or_moved_is_found(order: list[int], found: tuple[int, str]) -> None:
    entries = chain(4)
    assert broken([entries[number - 1] for number in order]) == found


def test_missing_entries_renumbered_do_not_fit() -> None:
    first, _, third = chain(3)
    assert broken([first, *resealed([replace(third, number=2)])]) == (2, "not-following")


def test_a_log_that_lost_its_newest_entries_is_found_with_a_head_noted_before_only() -> None:
    entries = chain(4)
    noted = verify_chain(entries).head
    assert broken(entries[:2]) is None
    assert broken(entries[:2], noted) == (3, "truncated")
    assert broken([], noted) == (1, "truncated")


def test_a_log_written_anew_is_found_with_a_head_noted_before_only() -> None:
    noted = verify_chain(chain(2)).head
    other = chain(4, kind="other")
    assert broken(other) is None
    assert broken(other, noted) == (2, "not-as-noted")


def test_a_log_that_grew_since_its_head_was_noted_is_whole() -> None:
    entries = chain(4)
    assert broken(entries, Head(2, entries[1].sha256)) is None
    assert broken(entries, Head()) is None
