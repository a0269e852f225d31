"""What the benchmarks share: a throw-away server, a fleet on it, and the seconds of commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from owc_deploy.lab.fleet import build_lab_catalogue
from owc_deploy.lab.servers import Lab, lab_up

SERVER = "web1"
# The same variable names the labs of the tests.
PREFIX = os.environ.get("OWC_TEST_LABS", "bench")


@dataclass(frozen=True)
class Applied:
    """One `owc-deploy apply` of one site: its exit code, seconds and the site's own outcome."""

    code: int
    seconds: float
    outcome: str
    message: str


@dataclass
class Bench:
    """One fleet on one lab with one server, and the figures measured so far."""

    root: Path
    lab: Lab
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The server's address."""
        return str(self.lab.servers[SERVER].address)

    @property
    def authority(self) -> Path:
        """The certificate that visitors of the sites trust."""
        return self.root / ".owc-deploy" / "internal-ca" / "certificate.pem"

    def owc(self, *arguments: str) -> float:
        """Run one command line that must succeed and return its seconds."""
        started = time.perf_counter()
        done = self._run_owc(arguments)
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            sys.exit(f"owc-deploy {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return seconds

    def apply(self, site: str) -> Applied:
        """Apply one site, whatever comes of it."""
        started = time.perf_counter()
        done = self._run_owc(("apply", site, "--yes", "--format", "json"))
        seconds = time.perf_counter() - started
        try:
            outcomes = json.loads(done.stdout)["outcomes"]
        except (ValueError, KeyError):
            return Applied(done.returncode, seconds, "none", done.stderr[-2000:])
        found = next(item for item in outcomes if item["site"] == site)
        return Applied(done.returncode, seconds, found["outcome"], found["message"])

    def write(self, site: str, **changes: Any) -> None:
        """Write the manifest of a site; `changes` replace keys."""
        manifest = {
            "schema_version": 1,
            "site": site,
            "municipality": {"name": f"Gemeente {site}"},
            "environment": "production",
            "url": f"https://www.{site}.example",
            "servers": {"web": [SERVER], "database": [SERVER]},
            "ring": "all",
            "wordpress": "~7.1",
            "php": "8.2",
            "theme": {"name": "lab-theme", "version": "1.0.0"},
            "tls": {"policy": "internal"},
            "blocks": {"lab-woo": "^4.3", "lab-news": "1.0.0"},
            **changes,
        }
        path = self.root / "sites" / f"{site}.yml"
        path.write_text(yaml.safe_dump(manifest), encoding="utf-8")

    def write_news(self, site: str, version: str) -> None:
        """Write the manifest of a site with another version of the block that updates change."""
        self.write(site, blocks={"lab-woo": "^4.3", "lab-news": version})

    def create(self, site: str) -> float:
        """Bring a new site live and return the seconds that its `apply` took."""
        self.write(site)
        self.owc("lock", site)
        return self.owc("apply", site, "--yes")

    def run(self, command: str) -> str:
        """Run a shell command on the server as root and return what it printed."""
        done = self.lab.run(SERVER, ["sudo", "bash", "-c", command])
        return str(done.stdout)

    def sql(self, site: str, statement: str) -> list[str]:
        """Ask the database of a site and return the lines of the answer."""
        database = "owc_" + site.replace("-", "_")
        client = ["mariadb", "--batch", "--skip-column-names", database, "--execute", statement]
        return str(self.lab.run(SERVER, client, become=True).stdout).splitlines()

    def note(self, what: str, *cells: str) -> None:
        """Keep one row of the table and say it at once."""
        self.rows.append((what, *cells))
        print(f"{what}: {'; '.join(filter(None, cells))}", flush=True)

    def _run_owc(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "owc_deploy", *arguments, "--fleet", str(self.root)],
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def booted() -> Iterator[Bench]:
    """Boot a server with a fleet without sites, and take all of it away again.

    A benchmark that is terminated tidies up as well. The number of this process names the lab, so
    that several can run side by side.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = Path(tempfile.mkdtemp(prefix="owc-benchmark-"))
    try:
        lab = lab_up(f"{PREFIX}-{os.getpid()}", [SERVER])
        try:
            (root / "sites").mkdir()
            build_lab_catalogue(root / "catalogue")
            (root / "fleet.yml").write_text(
                "schema_version: 1\nname: bench\ncatalogue: catalogue\nrings: [{name: all}]\n"
            )
            shutil.copyfile(lab.inventory_path, root / "servers.yml")
            yield Bench(root, lab)
        finally:
            lab.down()
    finally:
        shutil.rmtree(root)


def rounds(count: int, once: Callable[[int], float]) -> list[float]:
    """Measure several times."""
    return [once(number) for number in range(count)]


def spread(figures: list[float]) -> str:
    """Return the median and the range of several measurements, in words."""
    return f"{statistics.median(figures):.1f} s ({min(figures):.1f} to {max(figures):.1f})"


# What grows with every site: its files, and its database's own. MariaDB's common files grow too,
# but by 64 MB at once, for whoever happens to write just then.
SITE_DISK = ("/srv/owc", "/var/lib/mysql/*/")


def used_bytes(bench: Bench, *folders: str) -> int:
    """Return what folders on the server take on disk together, hard links counted once."""
    bench.run("sync")
    return int(
        bench.run(f"du -s --block-size=1 {' '.join(folders)} | awk '{{s+=$1}} END {{print s}}'")
    )
