"""The SQLite file: how it is opened, and its failures in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.pool import NullPool

from owc_deploy.errors import StateError
from owc_deploy.store.database import BUSY_MILLISECONDS, WRITES, Database


class SqliteDatabase(Database):
    """One SQLite file, made when it is not there; WAL with synchronous=FULL."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.in_words(error) from error
        super().__init__(str(path), _engine(path))

    def insert(self, table: Table) -> Insert:
        """Return SQLite's insert."""
        return insert(table)

    def run_script(self, connection: Connection, script: str) -> None:
        """Run statements one by one; executescript() would commit what they are part of."""
        for statement in _statements(script):
            connection.exec_driver_sql(statement)

    def in_words(self, error: BaseException) -> StateError:
        """Say what a failure of SQLite or of the file means, and what to do next."""
        return _in_words(self._path, str(error))


def _engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, record: object) -> None:
        del record
        # Transactions are ours to begin: the driver would begin them late, and never IMMEDIATE.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _in_words(path: Path, reason: str) -> StateError:
    lowered = reason.lower()
    if "full" in lowered or "no space" in lowered:
        return StateError(f"no room left for {path}", context=reason, hint=f"df -h {path.parent}")
    if "not a database" in lowered or "malformed" in lowered:
        return StateError(
            f"{path} is not a history store, or is damaged",
            context=reason,
            hint=f"mv {path} {path}.damaged (a new one is made; the servers know their own state)",
        )
    if "readonly" in lowered or "read-only" in lowered or "denied" in lowered:
        return StateError(f"{path} cannot be written", context=reason, hint=f"ls -ld {path.parent}")
    if "locked" in lowered:
        return StateError(
            f"{path} has been in use by another process for {BUSY_MILLISECONDS // 1000} seconds",
            context=reason,
            hint=f"fuser -v {path}",
        )
    return StateError(f"{path} cannot be used", context=reason, hint=f"ls -l {path}")
