"""The audit log as a file: what is read is what was written, and nothing else is taken for it."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from owc_deploy.store import open_store
from owc_deploy.store.audit import NewEntry
from owc_deploy.store.chain import AuditEntry, ChainBreak, verify_chain
from owc_deploy.store.export import read_entries, write_entries


@pytest.fixture
def entries(tmp_path: Path) -> tuple[AuditEntry, ...]:
    body = {"message": 'één "sha256":"' + "0" * 64 + '",\n\u2028', "seconds": 0.1, "sha256": "x"}
    return open_store(tmp_path / "history.sqlite3").audit.append(
        NewEntry("outcome", body, site="heusden"),
        NewEntry("a", {"x": None}, rollout_id='","sha256":"'),
        NewEntry("b", {}),
    )


@pytest.fixture
def text(entries: tuple[AuditEntry, ...]) -> bytes:
    file = io.BytesIO()
    assert str(write_entries(entries, file)) == f"3:{entries[-1].sha256}"
    return file.getvalue()


def broken(text: bytes) -> ChainBreak | None:
    return verify_chain(read_entries(io.BytesIO(text))).broken


def test_what_is_written_is_read_again(entries: tuple[AuditEntry, ...], text: bytes) -> None:
    assert tuple(read_entries(io.BytesIO(text))) == entries
    assert tuple(read_entries(io.BytesIO(text.rstrip(b"\n")))) == entries
    assert tuple(read_entries(io.BytesIO(b""))) == ()


def test_a_line_can_be_verified_without_this_tool(text: bytes) -> None:
    """As docs/how-to/audit-log.md does it with sed and sha256sum."""
    before = "0" * 64
    for line in text.decode().rstrip("\n").split("\n"):
        rest = re.sub(r'(.*)"sha256":"([0-9a-f]{64})",("site":)', r"\1\3", line)
        before_of_this = re.findall(r'"previous_sha256":"([0-9a-f]{64})"', line)[-1]
        assert before_of_this == before
        before = hashlib.sha256(rest.encode()).hexdigest()
        assert f'"sha256":"{before}","site":' in line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"actor"', b'"actors"'),
        (b'"number":2', b'"number":2.0'),
        (b'"number":2', b'"number":true'),
        (b'"number":2', b'"number":"2"'),
        (b'"number":2', b'"number":' + b"2" * 5000),
        (b'"body":{"x":null}', b'"body":[]'),
        (b'"body":{"x":null}', b'"body":{"x":null,"x":null}'),
        (b'"body":{"x":null}', b'"body":{"x": null}'),
        (b'"body":{"x":null}', b'"body":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000),
        (b'"kind":"a"', b'"kind":"\\u0061"'),
        (b'"kind":"a"', b'"kind":"\\ud800"'),
        (b'"kind":"a"', b'"kind":"\xff"'),
        (b'"kind":"a"', b'"kind":null'),
        (b'"kind":"a"', b'"kind":"a","more":1'),
    ],
)
def test_a_line_that_reads_in_two_ways_or_none_is_refused(
    text: bytes, old: bytes, new: bytes
) -> None:
    first, second, third = text.split(b"\n")[:3]
    assert old in second
    changed = second.replace(old, new)
    found = broken(b"\n".join([first, changed, third]))
    assert found is not None
    assert (found.number, found.reference) == (2, "unreadable")
    assert found.message.startswith("line 2 ")


@pytest.mark.parametrize("text_of", [b"\n", b"7\n", b"null\n", b"[]\n", b"{}\n", b"\x00"])
def test_what_is_no_export_is_refused(text_of: bytes) -> None:
    found = broken(text_of)
    assert found is not None
    assert (found.number, found.reference) == (1, "unreadable")


def test_other_line_ends_are_refused(text: bytes) -> None:
    found = broken(text.replace(b"\n", b"\r\n"))
    assert found is not None
    assert found.reference == "unreadable"


def test_an_alteration_in_the_file_is_found(
    entries: tuple[AuditEntry, ...],
) -> None:
    file = io.BytesIO()
    write_entries((entries[0], replace(entries[1], actor="bo"), entries[2]), file)
    found = broken(file.getvalue())
    assert found is not None
    assert (found.number, found.reference) == (2, "altered")
