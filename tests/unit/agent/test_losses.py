from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from owc_agent import commands, database, losses, tables


def snapshot(path: Path, text: bytes, begun: float | None = None) -> str:
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=begun) as packed:
        packed.write(text)
    return str(path)


def test_a_snapshot_is_as_old_as_its_beginning(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "a.sql.gz", b"x", 1_790_000_000)
    assert losses.snapshot_seconds(path) == 1_790_000_000
    undated = snapshot(tmp_path / "b.sql.gz", b"x", 0)
    os.utime(undated, (1_700_000_000, 1_700_000_000))
    assert losses.snapshot_seconds(undated) == 1_700_000_000


def test_a_whole_snapshot_has_a_size(tmp_path: Path) -> None:
    text = b"x" * 3_000_000 + b"\n-- Dump completed\n"
    assert losses.tested_size(snapshot(tmp_path / "a", text)) == len(text)


@pytest.mark.parametrize(("harm", "words"), [("cut", "end"), ("flip", "CRC"), ("gone", "gone")])
def test_a_damaged_snapshot_is_refused(tmp_path: Path, harm: str, words: str) -> None:
    path = tmp_path / "a"
    snapshot(path, os.urandom(100_000) + b"\n-- Dump completed\n")
    content = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(content[:-20])
    elif harm == "flip":
        content[len(content) - 6] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(commands.CommandError, match=words):
        losses.tested_size(str(path))


def test_a_dump_without_its_last_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(commands.CommandError, match="ends early"):
        losses.tested_size(snapshot(tmp_path / "a", b"CREATE TABLE x"))


def test_titles_are_short_and_obeyed_by_no_terminal() -> None:
    assert losses.shown("Braderie é") == "Braderie é"
    assert (
        losses.shown("\x1b[31mrood\n")
        == "\N{REPLACEMENT CHARACTER}[31mrood\N{REPLACEMENT CHARACTER}"
    )
    assert len(losses.shown("x" * 500)) == losses.TITLE_LENGTH


def test_uploads_since_are_found_and_links_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    (folder / "2026" / "11").mkdir(parents=True)
    (folder / "2026" / "11" / "foto.jpg").write_bytes(b"abc")
    (folder / "raar\udcff.txt").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "geheim.txt").write_text("x")
    (folder / "weg").symlink_to(tmp_path / "elsewhere")
    (folder / "link.txt").symlink_to(tmp_path / "elsewhere" / "geheim.txt")
    found = list(losses.uploads_since(str(folder), time.time() - 60, 10))
    assert [(item.path, item.size_bytes) for item in found] == [
        ("raar\N{REPLACEMENT CHARACTER}.txt", 0),
        ("2026/11/foto.jpg", 3),
    ]
    assert not list(losses.uploads_since(str(folder), time.time() + 60, 10))
    assert not list(losses.uploads_since(str(tmp_path / "none"), 0, 10))


def test_too_many_uploads_are_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(losses.UploadsError):
        list(losses.uploads_since(str(tmp_path), 0, -1))


def options_pair() -> tables.Pair:
    name = tables.Column("option_name", "varchar", "utf8mb4_unicode_ci")
    table = tables.Table(database.OPTIONS_TABLE, (name,), {"option_name": ("option_name",)})
    return tables.Pair(
        database.OPTIONS_TABLE, "owc_x", "owcrestore_x", table, table, ("option_name",)
    )


def test_options_that_nobody_set_do_not_count() -> None:
    words = losses.condition(options_pair(), "l", ["blogname", "active_plugins"])
    assert "'blogname','active_plugins')" in words
    assert "'cron'" in words
    assert "LEFT(l.option_name, 11) <> '_transient_'" in words
    assert losses.condition(options_pair()._replace(name="wp_terms"), "l", []) == "TRUE"


def test_an_answer_stays_short() -> None:
    found = {
        "posts": {"page": {**losses.count(), "new": 1}, "event": losses.count()},
        "tables": {f"wp_{n:03}": {**losses.count(), "changed": 1} for n in range(250)},
        "not_compared": [{}] * 250,
    }
    losses._bound(found)
    assert list(found["posts"]) == ["page"]
    assert len(found["tables"]) == losses.NAMED + 1
    assert found["tables"]["others"]["changed"] == 150
    assert len(found["not_compared"]) == losses.NAMED
