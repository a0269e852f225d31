"""A PostgreSQL database: how it is reached, and its failures in words."""

from __future__ import annotations

import shlex
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.pool import NullPool

from owc_deploy.errors import StateError
from owc_deploy.fleet.models import PostgresqlState, is_this_machine
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.store.database import BUSY_MILLISECONDS, WRITES, Database

_CONNECT_SECONDS = 10
# A writer whose machine went away holds everybody else up for as long at the most.
_IDLE_MILLISECONDS = 30_000
# Of this tool alone in its database; whoever writes holds it until the end of the transaction.
_WRITERS_LOCK = 0x6F77635F

# Codes of PostgreSQL, and words of its client library where there is no code yet.
_NO_ROOM = frozenset({"53100"})
_BUSY = frozenset({"55P03"})
_NOT_ALLOWED = frozenset({"42501", "25006"})
# Classes of codes: the connection was closed.
_LOST = frozenset({"08", "57"})
_LOGIN_REFUSED = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    'role "',
    "not permitted to log in",
)
_NOT_TO_BE_TRUSTED = ("certificate", "ssl error", "does not support ssl")


class PostgresqlDatabase(Database):
    """One database of a PostgreSQL server (15 or newer), which exists and is empty at first.

    Those who write wait for each other, as with SQLite.
    """

    kind = "postgresql"

    def __init__(self, settings: PostgresqlState, password: Sensitive | None) -> None:
        self._settings = settings
        if settings.root_certificate is not None and not settings.root_certificate.is_file():
            raise StateError(
                f"{settings.root_certificate} is not there; without it nothing proves that the"
                f" database on {settings.host} is the right one",
                hint="correct root_certificate in fleet.yml, or put the file there",
            )
        place = f"the PostgreSQL database {settings.database} on {settings.host}:{settings.port}"
        super().__init__(place, _engine(settings, password))

    def insert(self, table: Table) -> Insert:
        """Return PostgreSQL's insert."""
        return insert(table)

    def run_script(self, connection: Connection, script: str) -> None:
        """Run statements; all at once, since those of functions hold semicolons."""
        # Only without parameters does the driver take more than one statement.
        connection.exec_driver_sql(script, execution_options={"no_parameters": True})

    def in_words(self, error: BaseException) -> StateError:
        """Say what a failure of PostgreSQL or of the way to it means, and what to do next."""
        return _in_words(self._settings, self.place, error)


def connection_parameters(settings: PostgresqlState, password: Sensitive | None) -> dict[str, Any]:
    """Return what psycopg connects with: everything, so that no environment variable decides.

    On a server elsewhere the certificate must be valid for `host`; there is no way around that.
    """
    parameters: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "dbname": settings.database,
        "user": settings.user,
        "sslmode": "prefer" if settings.root_certificate is None else "verify-full",
        "gssencmode": "disable",
        "target_session_attrs": "read-write",
        "application_name": "owc-deploy",
        "client_encoding": "UTF8",
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": _IDLE_MILLISECONDS,
        "options": (
            f"-c lock_timeout={BUSY_MILLISECONDS}"
            f" -c idle_in_transaction_session_timeout={_IDLE_MILLISECONDS}"
        ),
    }
    if settings.root_certificate is not None:
        parameters["sslrootcert"] = str(settings.root_certificate)
    elif not is_this_machine(settings.host):
        raise StateError(
            f"the history store on {settings.host} is elsewhere, and nothing proves what it is",
            hint="owc-deploy validate",
        )
    if password is not None:
        parameters["password"] = password.reveal().rstrip("\r\n")
    return parameters


def _engine(settings: PostgresqlState, password: Sensitive | None) -> Engine:
    def connect() -> psycopg.Connection:
        # A server that hands connections on to others would lose what was prepared on one.
        return psycopg.connect(**connection_parameters(settings, password), prepare_threshold=None)

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITES, False):
            # Each statement after the lock sees what those before it committed.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    return engine


def _in_words(settings: PostgresqlState, place: str, error: BaseException) -> StateError:
    reason = str(error).strip()
    code = getattr(error, "sqlstate", None) or ""
    lowered = reason.lower()
    psql = shlex.join(
        [
            "psql",
            f"--host={settings.host}",
            f"--port={settings.port}",
            f"--username={settings.user}",
            settings.database,
        ]
    )
    if code in _NO_ROOM:
        return StateError(f"no room left for {place}", context=reason, hint="df -h, on its server")
    if code in _BUSY:
        seconds = BUSY_MILLISECONDS // 1000
        return StateError(
            f"{place} has been in use by another process for {seconds} seconds",
            context=reason,
            hint=f"{psql} --command='TABLE pg_stat_activity'",
        )
    if code in _NOT_ALLOWED or "session is read-only" in lowered:
        return StateError(
            f"{place} cannot be written by {settings.user}", context=reason, hint=f"{psql}"
        )
    if code and code[:2] not in _LOST:
        return StateError(f"{place} cannot be used", context=reason, hint=psql)
    if any(words in lowered for words in _NOT_TO_BE_TRUSTED):
        return StateError(
            f"{place} did not prove what it is",
            context=reason,
            hint="compare root_certificate in fleet.yml with those who run the database",
        )
    if any(words in lowered for words in _LOGIN_REFUSED):
        return StateError(
            f"{place} refuses {settings.user}",
            context=reason,
            hint=f"{psql}; and compare the password's secret in fleet.yml",
        )
    if "does not exist" in lowered:
        return StateError(
            f"{place} does not exist",
            context=reason,
            hint=f"createdb --owner={settings.user} {settings.database}, on its server",
        )
    return StateError(
        f"{place} cannot be reached",
        context=reason or None,
        hint=f"pg_isready --host={settings.host} --port={settings.port}",
    )
