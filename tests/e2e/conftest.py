"""Two real servers and a fleet of municipal sites on them, shared by the end-to-end tests.

Each test makes sites of its own in the one fleet, so that the servers are prepared once. Everything
goes through the command line, as an operator would.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
import yaml
from e2e.wheels import make_wheels

from owc_deploy.lab.disks import remove_snapshot
from owc_deploy.lab.fleet import build_lab_catalogue
from owc_deploy.lab.servers import Lab, lab_up

PREFIX = os.environ.get("OWC_TEST_LABS", "test")
PREPARED_IMAGE = f"{PREFIX}-prepared"


@dataclass(frozen=True)
class Result:
    """How one command line ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    def outcome(self, site: str) -> dict[str, Any]:
        return next(item for item in self.document["outcomes"] if item["site"] == site)


@dataclass(frozen=True)
class Answer:
    """What a page answered over verified TLS."""

    status: int
    body: str
    headers: dict[str, str]


@dataclass
class Town:
    """The fleet under test and the lab it runs on."""

    root: Path
    lab: Lab
    sites: list[str] = field(default_factory=list)

    def owc(self, *arguments: str, check: bool = True, timeout_seconds: float = 600) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "owc_deploy", *arguments, "--fleet", str(self.root)],
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"owc-deploy {' '.join(arguments)}: {done.stdout}\n{done.stderr}")
        return Result(done.returncode, done.stdout, done.stderr)

    def write(self, site: str, server: str = "web1", **changes: Any) -> None:
        """Write a manifest; `changes` replace keys, `None` removes one."""
        manifest: dict[str, Any] = {
            "schema_version": 1,
            "site": site,
            "municipality": {"name": f"Gemeente {site.title()}"},
            "environment": "production",
            "url": f"https://www.{site}.example",
            "servers": {"web": [server], "database": [server]},
            "ring": "all",
            "locale": "nl_NL",
            "wordpress": "~7.1",
            "php": "8.2",
            "theme": {"name": "lab-theme", "version": "1.0.0"},
            "tls": {"policy": "internal"},
            "blocks": {"lab-woo": "^4.3", "lab-news": "1.0.0"},
            "administrators": [{"login": "beheer", "email": f"beheer@{site}.example"}],
            "pages": [{"path": "/", "text": f"Gemeente {site.title()}"}],
            **changes,
        }
        kept = {key: value for key, value in manifest.items() if value is not None}
        path = self.root / "sites" / f"{site}.yml"
        path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")

    def lock(self, *sites: str) -> None:
        self.owc("lock", *sites)

    def apply(self, *sites: str, check: bool = True) -> Result:
        return self.owc("apply", *sites, "--yes", "--format", "json", check=check)

    def create(self, site: str, server: str = "web1", **changes: Any) -> Result:
        self.write(site, server, **changes)
        self.lock(site)
        return self.apply(site)

    def status(self, site: str) -> dict[str, Any]:
        result = self.owc("status", site, "--format", "json", check=False)
        return next(item for item in result.document["sites"] if item["site"] == site)

    def get(self, site: str, path: str = "/", server: str = "web1") -> Answer:
        """Ask for a page as a visitor would; the certificate must be the fleet authority's."""
        return ask(
            self.lab.servers[server].address,
            f"www.{site}.example",
            path,
            self.root / ".owc-deploy" / "internal-ca" / "certificate.pem",
        )

    def run(self, server: str, *command: str) -> str:
        """Run a command on a server as root and return what it printed."""
        done = self.lab.run(server, ["sudo", *command])
        return done.stdout if isinstance(done.stdout, str) else done.stdout.decode()


def ask(address: str, domain: str, path: str, authority: Path) -> Answer:
    context = ssl.create_default_context(cafile=str(authority))
    connection = HTTPSConnection(domain, context=context, timeout=30)
    plain = create_connection((str(address), 443), timeout=30)
    connection.sock = context.wrap_socket(plain, server_hostname=domain)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        return Answer(response.status, body, dict(response.getheaders()))
    finally:
        connection.close()


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalogue with real WordPress releases and the lab's blocks."""
    folder = tmp_path_factory.mktemp("catalogue")
    build_lab_catalogue(folder)
    return folder


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all that pip needs to install owc-deploy on a server."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheels(folder)
    return folder


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Boot two servers; they and all they left are gone afterwards."""
    servers = lab_up(f"{PREFIX}-e2e", ["web1", "web2"])
    yield servers
    servers.down()
    remove_snapshot(PREPARED_IMAGE)


@pytest.fixture(scope="session")
def town(lab: Lab, catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Return a fleet without sites whose servers are prepared."""
    root = tmp_path_factory.mktemp("fleet")
    (root / "sites").mkdir()
    fleet = {
        "schema_version": 1,
        "name": "e2e",
        "catalogue": str(catalogue),
        "rings": [{"name": "canary"}, {"name": "all"}],
    }
    (root / "fleet.yml").write_text(yaml.safe_dump(fleet), encoding="utf-8")
    (root / "servers.yml").write_text(lab.inventory_path.read_text(), encoding="utf-8")
    made = Town(root, lab)
    made.owc("provision", "--yes", timeout_seconds=900)
    # Before it carries any site: other labs are made from it.
    lab.snapshot("web1", PREPARED_IMAGE)
    return made
