"""What a restore of the database overwrites, kept as a file of rows that a person can read.

One JSON document per line, compressed: first what the file is, then a line for every row that was
added, changed or deleted since, for every upload since, and for every job that was held.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from . import commands, database, files, layout, losses, tables

ROWS_SECONDS = 1800
# A table whose rows cannot be told apart is exported whole, unless it is a log.
WHOLE_ROWS = 100_000
TOO_LARGE = "!"


def write(path: str, header: "dict[str, Any]", lines: "Iterable[dict[str, Any]]") -> int:
    """Write an export (0600) and return the number of its lines after the first.

    Nothing stands under its name until all of it is on disk; what was there is replaced.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    partial = path + ".partial"
    written = 0
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) as packed:
                packed.write(_line(header))
                for line in lines:
                    packed.write(_line(line))
                    written += 1
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, path)
    except BaseException:
        files.remove_file(partial)
        raise
    files.sync_folder(folder)
    return written


def _line(document: "dict[str, Any]") -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def lost_lines(
    left_database: str, kept_database: str, uploads: str, since: float, owned: "list[str]"
) -> "Iterator[dict[str, Any]]":
    """Give a line for every row and upload that is lost by leaving one database for the other.

    What cannot be exported has a line that says so: it is in the snapshot that is kept as well.
    """
    for pair in losses.pairs(left_database, kept_database):
        yield from _guarded(pair.name, _table_lines(pair, owned))
    try:
        for upload in losses.uploads_since(uploads, since, losses.BUDGET_SECONDS):
            yield {
                "upload": upload.path,
                "bytes": upload.size_bytes,
                "at": losses.iso(upload.at_seconds),
            }
    except losses.UploadsError as error:
        yield {"upload": "", "not_exported": str(error)}


def _guarded(table: str, lines: "Iterator[dict[str, Any]]") -> "Iterator[dict[str, Any]]":
    try:
        yield from lines
    except commands.CommandError as error:
        yield {"table": table, "not_exported": str(error)}


def _table_lines(pair: tables.Pair, owned: "list[str]") -> "Iterator[dict[str, Any]]":
    if not pair.can_be_compared:
        yield from _whole_table(pair)
        return
    if pair.left is not None:
        columns = pair.left.columns
        sql = "SELECT IF(%s, 'new', 'changed'), %s FROM %s WHERE %s AND %s" % (
            pair.is_new,
            cells(columns, "l"),
            pair.both,
            pair.is_lost,
            losses.condition(pair, "l", owned),
        )
        for row in _rows(sql):
            yield {"table": pair.name, "what": row[0], "row": _values(columns, row[1:])}
    if pair.kept is None:
        return
    if not pair.key:
        yield {"table": pair.name, "what": "deleted", "row": None}
        return
    key = tuple(column for column in pair.kept.columns if column.name in pair.key)
    sql = "SELECT %s FROM %s WHERE %s AND %s" % (
        cells(key, "k"),
        pair.returning,
        pair.is_deleted,
        losses.condition(pair, "k", owned),
    )
    for row in _rows(sql):
        yield {"table": pair.name, "what": "deleted", "row": _values(key, row)}


def _whole_table(pair: tables.Pair) -> "Iterator[dict[str, Any]]":
    left, kept = pair.left, pair.kept
    if left is None or kept is None:
        return
    queries = [
        losses.session() + database.immediate(tables.fingerprint(name, table))
        for name, table in ((pair.left_database, left), (pair.kept_database, kept))
    ]
    now, then = (database.execute(sql, timeout_seconds=ROWS_SECONDS)[0] for sql in queries)
    if now == then:
        return
    if int(now[0]) > WHOLE_ROWS:
        yield {
            "table": pair.name,
            "not_exported": "its %s rows cannot be told apart; all are in the snapshot" % now[0],
        }
        return
    sql = "SELECT %s FROM %s" % (
        cells(left.columns, "l"),
        tables.qualified(pair.left_database, pair.name) + " AS l",
    )
    for row in _rows(sql):
        yield {"table": pair.name, "what": "present", "row": _values(left.columns, row)}


def _rows(sql: str) -> "Iterator[list[str]]":
    limits = "SET SESSION lock_wait_timeout=%d, max_statement_time=%d;" % (
        losses.LOCK_SECONDS,
        ROWS_SECONDS,
    )
    return database.stream_rows(limits + database.immediate(sql), ROWS_SECONDS + 60)


def cells(columns: "tuple[tables.Column, ...]", row: str) -> str:
    """Return the expressions that give the values of a row in hexadecimal."""
    # A value whose hexadecimal is longer than a packet may be would come out as NULL.
    return ", ".join(
        "COALESCE(HEX(%s), IF(%s.%s IS NULL, NULL, '%s'))"
        % (tables.comparable(column, row), row, tables.quoted(column.name), TOO_LARGE)
        for column in columns
    )


def _values(columns: "tuple[tables.Column, ...]", row: "list[str]") -> "dict[str, Any]":
    return {column.name: value(column, cell) for column, cell in zip(columns, row)}


def value(column: tables.Column, cell: str) -> Any:
    """Return the value of a cell that `cells` asked for, as JSON can hold it; pure."""
    if cell == "NULL":
        return None
    if cell == TOO_LARGE:
        return {"not_exported": "too large; it is in the snapshot"}
    raw = bytes.fromhex(cell)
    if column.kind in tables.WHOLE_KINDS:
        return int(raw)
    if column.kind not in tables.BINARY_KINDS and column.kind not in tables.SHAPE_KINDS:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return {"hex": cell.lower()}


def export_path(paths: layout.SitePaths, transaction_id: str) -> str:
    """Return where the export of a transaction is."""
    return os.path.join(paths.exports, layout.checked_release(transaction_id) + ".jsonl.gz")
