"""What tests of a fleet's repository share: its documents, its history, and its sites."""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import yaml
from e2e.conftest import Answer, Town, ask
from fakes.fleet_repository import FleetRepository
from sqlalchemy import select, update
from unit.store.places import Place

from owc_deploy.cli.main import run
from owc_deploy.lab.servers import Lab
from owc_deploy.rollout.journal import read
from owc_deploy.rollout.standing import Standing
from owc_deploy.store.chain import verify_chain
from owc_deploy.store.leases import EXPIRY_SECONDS
from owc_deploy.store.tables import leases
from owc_deploy.store.times import as_text

TOKEN = "kanarie-91c4"


@dataclass
class FleetDesk:
    """A fleet's repository, and the clone in which somebody changes it.

    `places` are its sites with their servers, of which it has no others; the first site is in the
    ring `canary`. `catalogue` is where those who work with it find that.
    """

    repository: FleetRepository
    lab: Lab
    places: Mapping[str, str]
    catalogue: Path

    @property
    def clone(self) -> Town:
        return Town(self.repository.desk, self.lab)

    def begin(self, ci: str) -> None:
        """Make the repository with what does not change: the workflow, servers and their keys."""
        self.repository.make()
        assert run(["init", "--ci", ci, str(self.clone.root)]) == 0
        (self.clone.root / "sites" / "voorbeeld.yml").unlink()
        inventory = yaml.safe_load(self.lab.inventory_path.read_text())["all"]
        # What is left is for every machine that has the login, wherever it keeps it.
        for name in ("ansible_ssh_private_key_file", "ansible_ssh_common_args"):
            del inventory["vars"][name]
        for group in inventory["children"].values():
            hosts = group["hosts"].items()
            group["hosts"] = {name: host for name, host in hosts if name in self.places.values()}
        (self.clone.root / "servers.yml").write_text(yaml.safe_dump({"all": inventory}))
        shutil.copyfile(self.lab.folder / "known_hosts", self.clone.root / "known_hosts")

    def settings(self, *, soak_minutes: int = 0, **more: Any) -> None:
        """Write fleet.yml."""
        fleet = {
            "schema_version": 1,
            "name": "levensloop",
            "catalogue": str(self.catalogue),
            "rings": [{"name": "canary", "soak_minutes": soak_minutes}, {"name": "all"}],
            "rollouts": {"pause_between_attempts_seconds": 1},
            **more,
        }
        path = self.clone.root / "fleet.yml"
        path.write_text(yaml.safe_dump(fleet, sort_keys=False), encoding="utf-8")

    def keep_secret(self, name: str, value: str) -> None:
        """Encrypt a secret for the key that logs in to the servers."""
        public = self.lab.folder / "id_ed25519.pub"
        recipient = pyrage.ssh.Recipient.from_str(public.read_text().strip())
        secret = self.clone.root / "secrets" / f"{name}.age"
        secret.write_bytes(pyrage.encrypt(value.encode(), [recipient]))

    def wish(self, *sites: str, **changes: Any) -> None:
        """Write manifests of these sites, or of all, and lock them."""
        for number, (site, server) in enumerate(self.places.items()):
            if site in sites or not sites:
                ring = "all" if number else "canary"
                self.clone.write(site, server, **{"ring": ring, **changes})
        self.clone.lock(*sites)

    def activations(self) -> dict[str, int]:
        """Return how often a release of each site was made live, as its server remembers it."""
        return {site: self._activations(site) for site in self.places}

    def _activations(self, site: str) -> int:
        path = f"/srv/owc/sites/{site}/activations.jsonl"
        shown = self.clone.run(self.places[site], "sh", "-c", f"cat {path} 2>/dev/null || true")
        return sum(bool(line) for line in shown.splitlines())


@dataclass
class FleetLife(FleetDesk):
    """The same with its history, kept at `place`, and its sites.

    `authority` is the certificate of who signs for them.
    """

    place: Place
    authority: Path

    def standing(self) -> Standing:
        """Return how far the newest rollout is."""
        store = self.place.open()
        return read(store, store.rollouts.identifiers(limit=1)[0])

    def rollouts(self) -> int:
        return len(self.place.open().rollouts.identifiers())

    def outcomes(self) -> dict[str, str]:
        return {name: site.outcome for name, site in self.standing().sites.items()}

    def is_changing(self, site: str, *, after: int = 0) -> Callable[[], bool]:
        """Return what says that a rollout, one more than so many, is changing a site."""

        def changing() -> bool:
            if self.rollouts() <= after:
                return False
            standing = self.standing()
            return site in standing.sites and standing.sites[site].is_under_way

        return changing

    def wait_for_the_soak(self) -> None:
        """Return once a minute has passed since the canary settled."""
        settled = self.standing().rings["canary"].settled_at
        assert settled is not None
        left = settled + timedelta(seconds=60.5) - datetime.now(UTC)
        time.sleep(max(0.0, left.total_seconds()))

    def let_leases_lapse(self) -> None:
        """Let what is held look as it does after ninety seconds in which nobody renewed it."""
        store = self.place.open()
        with store._database.writing() as connection:
            held = connection.execute(select(leases)).mappings().all()
            assert held
            for row in held:
                earlier = {name: _earlier(row[name]) for name in ("heartbeat_at", "expires_at")}
                this = leases.c.name == row["name"]
                connection.execute(update(leases).where(this).values(**earlier))

    def leases(self) -> list[str]:
        """Return what is held, by whomever."""
        with self.place.open()._database.reading() as connection:
            return list(connection.execute(select(leases.c.name)).scalars())

    def history_is_whole(self) -> bool:
        return verify_chain(self.place.open().audit.entries()).broken is None

    def page(self, site: str) -> Answer:
        address = self.lab.servers[self.places[site]].address
        return ask(address, f"www.{site}.example", "/", self.authority)


def programs(folder: Path) -> dict[str, str]:
    """Return what a job has of this machine: its programs, and the owc-deploy under test."""
    folder.mkdir()
    program = folder / "owc-deploy"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m owc_deploy "$@"\n')
    program.chmod(0o755)
    kept = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    return {"PATH": f"{folder}:{os.environ['PATH']}", "OWC_WAIT_SECONDS": "1", **kept}


def words(comment: str) -> str:
    """Return a comment as a person reads it."""
    return html.unescape(re.sub(r"</?code>", "", comment))


def _earlier(moment: str) -> str:
    return as_text(datetime.fromisoformat(moment) - timedelta(seconds=EXPIRY_SECONDS))
