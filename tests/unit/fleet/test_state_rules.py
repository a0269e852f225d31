"""`state` in fleet.yml: a file, or a database that proves what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.fleet.fleet_folder import FLEET, write_fleet

from owc_deploy.fleet.load import check_fleet, load_fleet
from owc_deploy.fleet.models import PostgresqlState, SecretReference


def fleet_with(root: Path, state: str) -> Path:
    return write_fleet(root, {"fleet.yml": f"{FLEET}state: {state}\n"})


def test_a_file_is_no_database(tmp_path: Path) -> None:
    settings = load_fleet(fleet_with(tmp_path, "elsewhere/h.sqlite3")).settings
    assert settings.state == tmp_path / "elsewhere" / "h.sqlite3"
    assert settings.state_database is None


def test_a_database_with_everything(tmp_path: Path) -> None:
    state = (
        "{postgresql: {host: db.example, port: 5433, database: one, user: two,"
        " password: {secret: history}, root_certificate: trust/ca.pem}}"
    )
    settings = load_fleet(fleet_with(tmp_path, state)).settings
    assert settings.state_database == PostgresqlState(
        host="db.example",
        port=5433,
        database="one",
        user="two",
        password=SecretReference("history"),
        root_certificate=tmp_path / "trust" / "ca.pem",
    )
    # What is this machine's own stays where it was.
    assert settings.state == tmp_path / ".owc-deploy" / "history.sqlite3"


@pytest.mark.parametrize("host", ["/run/postgresql", "localhost", "127.0.0.1", '"::1"'])
def test_on_this_machine_it_needs_no_certificate(tmp_path: Path, host: str) -> None:
    state = f"{{postgresql: {{host: {host}, database: one, user: two}}}}"
    database = load_fleet(fleet_with(tmp_path, state)).settings.state_database
    assert database == PostgresqlState(host=host.strip('"'), database="one", user="two")


@pytest.mark.parametrize(
    ("state", "reference", "path"),
    [
        (
            "{postgresql: {host: db.example, database: a, user: b}}",
            "unproven-database",
            "state.postgresql.host",
        ),
        (
            "{postgresql: {host: 127.0.0.1.example, database: a, user: b}}",
            "unproven-database",
            "state.postgresql.host",
        ),
        (
            "{postgresql: {host: 'localhost,db.example', database: a, user: b}}",
            "format",
            "state.postgresql.host",
        ),
        (
            "{postgresql: {host: localhost, database: 'a sslmode=disable', user: b}}",
            "format",
            "state.postgresql.database",
        ),
        (
            "{postgresql: {host: localhost, database: a, user: b, password: geheim}}",
            "type",
            "state.postgresql.password",
        ),
        (
            "{postgresql: {host: localhost, database: a, user: b, port: 99999}}",
            "out-of-range",
            "state.postgresql.port",
        ),
        ("{postgresql: {host: localhost, database: a}}", "missing-key", "state.postgresql"),
        ("{mysql: {}}", "missing-key", "state"),
    ],
)
def test_what_is_refused(tmp_path: Path, state: str, reference: str, path: str) -> None:
    (problem, *_) = check_fleet(fleet_with(tmp_path, state))[1]
    assert (problem.reference, problem.path) == (reference, path)
