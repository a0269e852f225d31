"""What every database has in common: transactions, the schema, and failures in words."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, Table, func, insert, select
from sqlalchemy.exc import DBAPIError

from owc_deploy.errors import StateError
from owc_deploy.store.schema import Kind, migrations
from owc_deploy.store.tables import schema_version

if TYPE_CHECKING:
    # Either takes time to import, and one of them is used.
    from sqlalchemy.dialects import postgresql, sqlite

BUSY_MILLISECONDS = 10_000
# An option of a connection: whether its transaction writes.
WRITES = "owc_write"


class Database(abc.ABC):
    """A database, brought to the schema this version of the tool knows.

    Every commit survives a power cut: intent must be on disk before a server is touched. Raises
    StateError wherever the database cannot be used.
    """

    kind: Kind

    def __init__(self, place: str, engine: Engine) -> None:
        self.place = place
        self._engine = engine
        with self._explained():
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
            self._engine.connect().execution_options(**{WRITES: True}) as connection,
            connection.begin(),
        ):
            yield connection

    @abc.abstractmethod
    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return the insert of this database, which has `on_conflict_do_update`."""

    @abc.abstractmethod
    def in_words(self, error: BaseException) -> StateError:
        """Say what a failure of the database's driver means, and what to do next."""

    @abc.abstractmethod
    def run_script(self, connection: Connection, script: str) -> None:
        """Run statements of our own within the transaction of a connection."""

    def _migrate(self) -> None:
        known = migrations(self.kind)
        newest = known[-1].number
        with self._engine.connect() as connection:
            if _version(connection) == newest:
                return
        with self.writing() as connection:
            self.run_script(
                connection, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL);"
            )
            version = _version(connection)
            if version > newest:
                raise StateError(
                    f"{self.place} was written by a newer owc-deploy"
                    f" (schema {version}; this version knows {newest})",
                    hint="pip install --upgrade owc-deploy",
                )
            for migration in known:
                if migration.number > version:
                    for script in migration.scripts:
                        self.run_script(connection, script)
                    connection.execute(insert(schema_version).values(version=migration.number))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self.in_words(error.orig or error) from error


def _version(connection: Connection) -> int:
    if not connection.dialect.has_table(connection, schema_version.name):
        return 0
    return int(connection.execute(select(func.max(schema_version.c.version))).scalar() or 0)
