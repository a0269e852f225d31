from __future__ import annotations

import gzip
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from owc_agent import commands, exports, tables


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("bigint", b"18446744073709551615".hex(), 18446744073709551615),
        ("int", b"-7".hex(), -7),
        ("varchar", "é\n".encode().hex(), "é\n"),
        ("varchar", "", ""),
        ("varchar", "NULL", None),
        ("varchar", b"NULL".hex(), "NULL"),
        ("datetime", b"2026-11-23 10:00:00".hex(), "2026-11-23 10:00:00"),
        ("decimal", b"1.10".hex(), "1.10"),
        ("longblob", "00FF", {"hex": "00ff"}),
        ("point", "0101", {"hex": "0101"}),
        ("uuid", "FF", {"hex": "ff"}),
        ("longtext", "!", {"not_exported": "too large; it is in the snapshot"}),
    ],
)
def test_a_value_as_json_has_it(kind: str, cell: str, value: Any) -> None:
    assert exports.value(tables.Column("c", kind, ""), cell) == value


def test_an_export_is_written_whole_for_root_alone(tmp_path: Path) -> None:
    path = tmp_path / "exports" / "x.jsonl.gz"
    assert exports.write(str(path), {"what": "é"}, iter([{"a": 1}, {"b": None}])) == 2
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert lines == [{"what": "é"}, {"a": 1}, {"b": None}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_export_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    exports.write(str(path), {"what": "first"}, [])

    def broken() -> Iterator[dict[str, Any]]:
        yield {"a": 1}
        raise commands.CommandError("gone away")

    with pytest.raises(commands.CommandError):
        exports.write(str(path), {"what": "second"}, broken())
    assert b"first" in gzip.decompress(path.read_bytes())
    assert [item.name for item in tmp_path.iterdir()] == ["x.jsonl.gz"]


def test_a_table_that_cannot_be_read_costs_only_itself() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"table": "t", "row": {}}
        raise commands.CommandError("locked")

    assert list(exports._guarded("t", broken())) == [
        {"table": "t", "row": {}},
        {"table": "t", "not_exported": "locked"},
    ]
