"""The store in PostgreSQL: reached safely or not at all, and every failure in words."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pyrage
import pytest
from sqlalchemy import func, select
from unit.store.places import child_environment, place_at
from unit.store.postgresql_server import PASSWORD, USER, Server

from owc_deploy.cli.main import run
from owc_deploy.errors import StateError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import PostgresqlState
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.store import open_fleet_store, postgresql
from owc_deploy.store.audit import NewEntry
from owc_deploy.store.chain import verify_chain
from owc_deploy.store.postgresql import PostgresqlDatabase, connection_parameters
from owc_deploy.store.tables import audit_log

ELSEWHERE = PostgresqlState("db.example", "one", "two", root_certificate=Path("/ca.pem"))


@pytest.fixture
def database(postgresql_server: Server) -> PostgresqlState:
    return postgresql_server.new_database()


@pytest.fixture
def by_network(database: PostgresqlState, postgresql_server: Server) -> PostgresqlState:
    certificate = postgresql_server.folder / "server.pem"
    return replace(database, host="localhost", root_certificate=certificate)


def refusal(settings: PostgresqlState, password: str | None = PASSWORD) -> StateError:
    with pytest.raises(StateError) as caught:
        PostgresqlDatabase(settings, Sensitive(password) if password else None)
    assert PASSWORD not in f"{caught.value.message} {caught.value.context} {caught.value.hint}"
    assert caught.value.hint
    return caught.value


def test_elsewhere_it_must_prove_what_it_is_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    parameters = connection_parameters(ELSEWHERE, Sensitive("secret\n"))
    assert parameters["sslmode"] == "verify-full"
    assert parameters["sslrootcert"] == "/ca.pem"
    assert parameters["password"] == "secret"
    with pytest.raises(StateError, match="nothing proves what it is"):
        connection_parameters(replace(ELSEWHERE, root_certificate=None), None)


def test_nothing_that_is_shown_holds_the_password(
    by_network: PostgresqlState, tmp_path: Path
) -> None:
    database = PostgresqlDatabase(by_network, Sensitive(PASSWORD + "\n"))
    assert PASSWORD not in f"{database._engine.url!r} {database._engine!r} {database.place}"
    with database.reading() as connection:
        encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.exec_driver_sql(encrypted).scalar() is True


def test_a_wrong_password_is_a_refused_login(by_network: PostgresqlState) -> None:
    error = refusal(by_network, "wrong")
    assert error.message.endswith(f"refuses {USER}")
    assert "psql --host=localhost" in (error.hint or "")
    assert refusal(by_network, None).message.endswith(f"refuses {USER}")


def test_another_name_or_authority_is_not_trusted(
    by_network: PostgresqlState, tmp_path: Path
) -> None:
    error = refusal(replace(by_network, host="127.0.0.1"))
    assert error.message.endswith("did not prove what it is")
    other = tmp_path / "ca.pem"
    make = ["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost"]
    keyout = ["-keyout", str(tmp_path / "key"), "-out", str(other)]
    subprocess.run(["openssl", *make, *keyout], check=True, capture_output=True)
    error = refusal(replace(by_network, root_certificate=other))
    assert error.message.endswith("did not prove what it is")
    error = refusal(replace(by_network, root_certificate=tmp_path / "lost.pem"))
    assert "lost.pem is not there" in error.message


def test_what_is_not_there_is_told_so(database: PostgresqlState) -> None:
    error = refusal(replace(database, database="nowhere"))
    assert error.message.endswith("does not exist")
    assert "createdb --owner=owc_deploy nowhere" in (error.hint or "")
    error = refusal(replace(database, host="127.0.0.1", port=1))
    assert error.message.endswith("cannot be reached")
    assert error.hint == "pg_isready --host=127.0.0.1 --port=1"


def test_a_user_who_may_not_make_tables_is_told_so(
    database: PostgresqlState, postgresql_server: Server
) -> None:
    postgresql_server.as_superuser(f"ALTER DATABASE {database.database} OWNER TO postgres")
    assert refusal(database).message.endswith(f"cannot be written by {USER}")


def test_a_connection_that_is_closed_loses_all_that_was_not_committed(
    database: PostgresqlState, postgresql_server: Server
) -> None:
    store = place_at(Path("/nowhere/x"), database).open()

    def close_within() -> None:
        with store._database.writing() as connection:
            store.audit.append_within(connection, NewEntry("a", {}))
            postgresql_server.close_connections(database.database)
            store.audit.append_within(connection, NewEntry("b", {}))

    with pytest.raises(StateError, match="cannot be reached"):
        close_within()
    assert list(store.audit.entries()) == []


def test_who_writes_waits_for_who_writes_and_not_for_ever(
    database: PostgresqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "BUSY_MILLISECONDS", 1000)
    store = place_at(Path("/nowhere/x"), database).open()
    with store._database.writing() as connection:
        store.audit.append_within(connection, NewEntry("a", {}))
        with pytest.raises(StateError, match="in use by another process for 1 seconds") as caught:
            store.audit.append(NewEntry("b", {}))
        assert "pg_stat_activity" in (caught.value.hint or "")
        assert list(store.audit.entries()) == []
    assert [entry.kind for entry in store.audit.entries()] == ["a"]


def test_who_reads_sees_one_state_and_cannot_write(database: PostgresqlState) -> None:
    store = place_at(Path("/nowhere/x"), database).open()
    count = select(func.count()).select_from(audit_log)
    with store._database.reading() as connection:
        assert connection.execute(count).scalar() == 0
        store.audit.append(NewEntry("a", {}))
        assert connection.execute(count).scalar() == 0

    def write() -> None:
        with store._database.reading() as connection:
            connection.exec_driver_sql("DELETE FROM leases")

    with pytest.raises(StateError, match="cannot be written"):
        write()


def test_without_the_extra_it_says_what_to_install(database: PostgresqlState) -> None:
    script = """
import sys
sys.modules["psycopg"] = None
from owc_deploy.errors import StateError
from unit.store.places import open_place
try:
    open_place(sys.argv[1])
except StateError as error:
    print(error.message, error.hint, sep="\\n")
"""
    finished = subprocess.run(
        [sys.executable, "-c", script, place_at(Path("/nowhere/x"), database).words],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    message, hint = finished.stdout.splitlines()
    assert "psycopg is not there" in message
    assert hint == "pip install 'owc-deploy[postgres]'"


def test_a_fleet_keeps_its_history_there(
    by_network: PostgresqlState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path)]) == 0
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"{identity}\n")
    (tmp_path / "secrets" / "history.age").write_bytes(
        pyrage.encrypt(f"{PASSWORD}\n".encode(), [identity.to_public()])
    )
    with (tmp_path / "fleet.yml").open("a") as file:
        file.write(
            f"""
age_identity: key
state:
  postgresql:
    host: localhost
    port: {by_network.port}
    database: {by_network.database}
    user: {by_network.user}
    password: {{secret: history}}
    root_certificate: {by_network.root_certificate}
"""
        )
    fleet = load_fleet(tmp_path)
    store = open_fleet_store(fleet, actor="anna@controller")
    number = store.history.begin_run(verb="apply", operator="anna")
    store.history.finish_run(number, "ok")
    capsys.readouterr()
    assert run(["audit-log", "verify", "--fleet", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("whole: 2 entries")
    assert verify_chain(store.audit.entries()).broken is None
    assert not fleet.settings.state.exists()


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        ("53100", "could not extend file", "no room left"),
        ("25006", "cannot execute INSERT in a read-only transaction", "cannot be written"),
        ("57P01", "terminating connection", "cannot be reached"),
        ("08006", "connection failure", "cannot be reached"),
        ("42P01", 'relation "runs" does not exist', "cannot be used"),
        ("", "connection failed: session is read-only", "cannot be written"),
        ("", 'FATAL:  role "two" does not exist', "refuses two"),
        ("", 'FATAL:  Peer authentication failed for user "two"', "refuses two"),
        ("", "FATAL:  no pg_hba.conf entry for host", "refuses two"),
        ("", "server does not support SSL, but SSL was required", "did not prove what it is"),
        ("", "", "cannot be reached"),
    ],
)
def test_failures_in_words(code: str, reason: str, words: str) -> None:
    error = psycopg.errors.lookup(code)(reason) if code else psycopg.OperationalError(reason)
    found = postgresql._in_words(ELSEWHERE, "the database", error)
    assert words in found.message
    assert found.hint
