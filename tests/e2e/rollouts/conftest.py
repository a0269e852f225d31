"""Twenty-four sites on four real servers, in three rings, shared by the tests of rollouts.

The four are copies of one that was prepared already. All of it is gone afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.conftest import PREFIX, PREPARED_IMAGE, Town

from owc_deploy.lab.servers import lab_up

SERVERS = ("web1", "web2", "web3", "web4")
SITES = tuple(f"gemeente{number:02}" for number in range(1, 25))
# How the sites are dealt out to the servers: one after the other.
PLACES = {site: SERVERS[number % len(SERVERS)] for number, site in enumerate(SITES)}
RINGS = {site: "canary" if n == 0 else "early" if n < 6 else "all" for n, site in enumerate(SITES)}


@dataclass
class Province(Town):
    """The fleet under test, with what tests of rollouts ask of it."""

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command line and return while it runs."""
        return subprocess.Popen(
            [sys.executable, "-m", "owc_deploy", *arguments, "--fleet", str(self.root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rollout(self) -> dict[str, Any]:
        """Return how far the newest rollout is."""
        return self.owc("rollout", "status", "--format", "json", check=False).document

    def words(self) -> dict[str, str]:
        """Return the outcome of every site of the newest rollout."""
        rings = self.rollout()["rings"]
        return {site["site"]: site["outcome"] for ring in rings for site in ring["sites"]}

    def live(self) -> dict[str, str]:
        """Return the release that is live on every site."""
        sites = self.owc("status", "--format", "json", check=False).document["sites"]
        return {site["site"]: site["release_id"] for site in sites}

    def activations(self, site: str) -> int:
        """Return how often a release of a site was made live, as its server remembers it."""
        path = f"/srv/owc/sites/{site}/activations.jsonl"
        return sum(bool(line) for line in self.run(PLACES[site], "cat", path).splitlines())

    @contextmanager
    def cut_off(self, server: str) -> Iterator[None]:
        """Let nothing from here reach a server."""
        rule = ["OUTPUT", "--destination", str(self.lab.servers[server].address), "--jump", "DROP"]
        subprocess.run(["iptables", "--wait", "--insert", *rule], check=True)
        try:
            yield
        finally:
            subprocess.run(["iptables", "--wait", "--delete", *rule], check=True)


def write_documents(root: Path, catalogue: Path, inventory: Path) -> None:
    (root / "sites").mkdir(exist_ok=True)
    fleet = {
        "schema_version": 1,
        "name": "province",
        "catalogue": str(catalogue),
        "rings": [
            {"name": "canary"},
            {"name": "early", "waves": [2, 3], "undo_since": "canary"},
            {"name": "all", "failure_budget": {"unreachable": "50%"}},
        ],
        "rollouts": {
            "sites_at_once": 4,
            "sites_at_once_per_server": 1,
            "attempts": 10,
            "pause_between_attempts_seconds": 5,
        },
    }
    (root / "fleet.yml").write_text(yaml.safe_dump(fleet, sort_keys=False), encoding="utf-8")
    (root / "servers.yml").write_text(inventory.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.fixture(scope="package")
def province(
    town: Town, catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Province]:
    """Return a fleet of twenty-four manifests whose servers are prepared and carry nothing yet."""
    del town  # its first server, when it was prepared, is what these four are copies of
    root = tmp_path_factory.mktemp("province")
    lab = lab_up(f"{PREFIX}-province", SERVERS, image_name=PREPARED_IMAGE)
    try:
        write_documents(root, catalogue, lab.inventory_path)
        made = Province(root, lab)
        for site, server in PLACES.items():
            made.write(site, server, ring=RINGS[site], blocks={"lab-news": "^1.0"})
        yield made
    finally:
        lab.down()
