"""A PostgreSQL server of our own: in a folder, not as root, thrown away at the end."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from owc_deploy.fleet.models import PostgresqlState

ACCOUNT = "postgres"
SUPERUSER = "postgres"
USER = "owc_deploy"
PASSWORD = "correct horse"
ACCESS = f"""\
local all all trust
host all {USER} 127.0.0.1/32 scram-sha-256
"""
SETTINGS = """\
unix_socket_directories = '{folder}'
listen_addresses = '127.0.0.1'
port = {port}
fsync = off
max_connections = 60
shared_buffers = 16MB
ssl = on
ssl_cert_file = '{folder}/server.pem'
ssl_key_file = '{folder}/server.key'
lc_messages = 'C'
"""


_NUMBERS = itertools.count(1)


@dataclass
class Server:
    """A server; `folder` holds its data, its socket and its certificate, server.pem."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it, with what it had committed when it was killed."""
        program = _programs() / "postgres"
        with (self.folder / "log").open("ab") as log:
            self.process = _started([program, "-D", self.folder / "data"], log.fileno())
        _wait(self)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it is at."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=60)

    def as_superuser(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user=SUPERUSER,
            dbname=database,
            autocommit=True,
        ) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def new_database(self) -> PostgresqlState:
        name = f"store_{next(_NUMBERS)}"
        self.as_superuser(f"CREATE DATABASE {name} OWNER {USER} STRATEGY file_copy")
        return PostgresqlState(host=str(self.folder), port=self.port, database=name, user=USER)

    def close_connections(self, database: str) -> None:
        self.as_superuser(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            database=database,
        )


@contextmanager
def running_server() -> Iterator[Server]:
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="owc-postgresql-"))
    try:
        _give_away(folder)
        data = folder / "data"
        _run(programs / "initdb", "-D", data, "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "-N")
        _certificate(folder)
        port = _free_port()
        (data / "postgresql.auto.conf").write_text(SETTINGS.format(folder=folder, port=port))
        (data / "pg_hba.conf").write_text(ACCESS)
        server = Server(folder, port)
        server.start()
        try:
            server.as_superuser(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if not found:
        pytest.skip("PostgreSQL is not installed; script/bootstrap does that")
    return found[-1].parent


def _version(program: Path) -> int:
    return int(program.parts[-3])


def _run(*command: str | Path) -> None:
    process = _started(command, subprocess.PIPE)
    output, _ = process.communicate()
    assert process.returncode == 0, output.decode()


def _started(command: Sequence[str | Path], output: int) -> subprocess.Popen[bytes]:
    # PostgreSQL refuses to run as root. Told to, it goes when the tests are killed.
    as_account = ["setpriv", "--pdeathsig", "QUIT"]
    if os.getuid() == 0:
        as_account += ["--reuid", ACCOUNT, "--regid", ACCOUNT, "--init-groups"]
    return subprocess.Popen(
        [*as_account, *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
    )


def _give_away(*paths: Path) -> None:
    if os.getuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        for path in paths:
            os.chown(path, account.pw_uid, account.pw_gid)


def _certificate(folder: Path) -> None:
    key, certificate = folder / "server.key", folder / "server.pem"
    make = ["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]
    curve = ["-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *make, *curve, *names, *files], check=True, capture_output=True)
    key.chmod(0o600)
    _give_away(key, certificate)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(server: Server) -> None:
    while True:
        try:
            server.as_superuser("SELECT 1")
        except psycopg.OperationalError:
            if server.process.poll() is not None:
                pytest.fail((server.folder / "log").read_text())
            time.sleep(0.05)
        else:
            return
