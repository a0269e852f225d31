"""The SQLite file: opening it, its schema, and its failures in words."""

from __future__ import annotations

import contextlib
import importlib.resources
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from owc_deploy.errors import StateError

_BUSY_MILLISECONDS = 10_000
_MIGRATION_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Database:
    """One SQLite file, brought to the schema this version of the tool knows.

    Every commit survives a power cut (WAL with synchronous=FULL): intent must be on disk before a
    server is touched. Raises StateError wherever the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = _engine(path)
            self._migrate()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the store."""
        with self._explained(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection that nobody writes beside; commits at the end."""
        with (
            self._explained(),
            self._engine.connect().execution_options(owc_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def _migrate(self) -> None:
        known = _migrations()
        newest = known[-1][0]
        if self._version() == newest:
            return
        with self.writing() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"
            )
            version = _version(connection)
            if version > newest:
                raise StateError(
                    f"{self.path} was written by a newer owc-deploy"
                    f" (schema {version}; this version knows {newest})",
                    hint="pip install --upgrade owc-deploy",
                )
            for number, script in known:
                if number > version:
                    for statement in _statements(script):
                        connection.exec_driver_sql(statement)
                    connection.exec_driver_sql(
                        "INSERT INTO schema_version (version) VALUES (?)", (number,)
                    )

    def _version(self) -> int:
        with self._engine.connect() as connection:
            exists = connection.exec_driver_sql(
                "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'"
            ).first()
            return _version(connection) if exists else 0

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _in_words(self.path, str(error.orig)) from error
        except OSError as error:
            raise _in_words(self.path, error.strerror or str(error)) from error


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, record: object) -> None:
        del record
        # Transactions are ours to begin: the driver would begin them late, and never IMMEDIATE.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("owc_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _migrations() -> list[tuple[int, str]]:
    folder = importlib.resources.files("owc_deploy.store") / "migrations"
    return sorted(
        (int(match[1]), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := _MIGRATION_NAME.fullmatch(entry.name))
    )


def _statements(script: str) -> Iterator[str]:
    """Split a migration; executescript() would commit the transaction it must be part of."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _version(connection: Connection) -> int:
    found = connection.exec_driver_sql("SELECT max(version) FROM schema_version").scalar()
    return int(found or 0)


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
            f"{path} has been in use by another process for {_BUSY_MILLISECONDS // 1000} seconds",
            context=reason,
            hint=f"fuser -v {path}",
        )
    return StateError(f"{path} cannot be used", context=reason, hint=f"ls -l {path}")
