"""The server of the scenario that molecule runs, as the tests see it."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

_SHARED = Path(__file__).parent / "shared"


@dataclass(frozen=True)
class Response:
    """One answer of the web server; header names in lower case, every value that was sent."""

    status: int
    headers: dict[str, list[str]]
    body: str


class _NamedHttpsConnection(http.client.HTTPSConnection):
    """Connects to an address, but asks for a name, as a browser with its own DNS would."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(address, 443, timeout=10)
        self._name = name

    def connect(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(
            socket.create_connection((self.host, 443), timeout=10), server_hostname=self._name
        )


@pytest.fixture(scope="session")
def lab() -> Path:
    """Return the folder of the lab that belongs to the scenario."""
    labs = os.environ.get("OWC_TEST_LABS", "test")
    return Path("/var/lib/owc-deploy/lab") / f"{labs}-{os.environ['MOLECULE_SCENARIO_NAME']}"


@pytest.fixture(scope="session")
def server(lab: Path) -> Host:
    """Return the server, entered as the deploy user who becomes root."""
    return testinfra.get_host(f"ssh://web1?ssh_config={lab / 'ssh_config'}&sudo=true")


@pytest.fixture(scope="session")
def address(lab: Path) -> str:
    """Return the server's IPv4 address."""
    lines = (lab / "ssh_config").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.split()[:1] == ["HostName"])


@pytest.fixture(scope="session")
def site(server: Host) -> str:
    """Make the site `test` by hand, as a release would leave it; return its host name."""
    script = (_SHARED / "hand_made_site.sh").read_text()
    result = server.run("sh -c %s", script)
    assert result.rc == 0, result.stderr
    return "www.test.example"


@pytest.fixture(scope="session")
def fetch(address: str) -> Callable[..., Response]:
    """Return a function that asks the server for a path of a name, from outside."""

    def ask(
        name: str,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        tls: bool = True,
    ) -> Response:
        connection = (
            _NamedHttpsConnection(address, name)
            if tls
            else http.client.HTTPConnection(address, 80, timeout=10)
        )
        connection.request(method, path, headers={"Host": name, **(headers or {})})
        answer = connection.getresponse()
        received: dict[str, list[str]] = {}
        for key, value in answer.getheaders():
            received.setdefault(key.lower(), []).append(value)
        response = Response(answer.status, received, answer.read().decode(errors="replace"))
        connection.close()
        return response

    return ask
