"""The same fleet on Temporal and PostgreSQL: three workers, and all that walks it is killed.

It moves there from the embedded engine and its file, as an operator would. Last of this folder, as
that takes a history which the other tests do not have.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from e2e.rollouts.conftest import PLACES, RINGS, SITES, Province
from fakes.temporal import DevelopmentServer
from unit.store.postgresql_server import PASSWORD, Server, running_server

from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.standing import Standing
from owc_deploy.store import open_fleet_store

pytestmark = pytest.mark.lab

WORKERS = 3
# It sees no process but its own, as on a machine of its own, and nobody sees whether it is gone, so
# that its leases have to lapse. What it started is killed with it, and it is when these tests are.
_A_MACHINE = ["setpriv", "--pdeathsig", "KILL"]
_A_MACHINE += ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL"]


@dataclass
class Worker:
    """The verb `worker` as it runs on one of several machines, with a checkout of its own."""

    root: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, root: Path) -> Worker:
        verb = [sys.executable, "-m", "owc_deploy", "worker", "--fleet", str(root)]
        with root.with_suffix(".log").open("wb") as log:
            return cls(root, subprocess.Popen([*_A_MACHINE, *verb], stderr=log))

    @property
    def told(self) -> str:
        return self.root.with_suffix(".log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)


@dataclass
class Machines:
    """What walks rollouts: two databases that remember, and workers."""

    province: Province
    temporal: DevelopmentServer
    database: Server
    workers: list[Worker]

    def __post_init__(self) -> None:
        self.store = open_fleet_store(load_fleet(self.province.root))

    @property
    def rollout_id(self) -> str:
        """The newest rollout, empty while there is none."""
        return next(iter(self.store.rollouts.identifiers()), "")

    @property
    def standing(self) -> Standing:
        return read(self.store, self.rollout_id)

    def events(self, kind: str) -> list[Any]:
        found = StoreJournal(self.store, self.rollout_id).events()
        return [event for event in found if event.kind == kind]

    def at_work(self) -> tuple[Worker, str] | None:
        """Return a worker and a site whose server is changing it for that worker just now."""
        under_way = self.standing.under_way
        for worker in self.workers:
            for site in under_way:
                if f"  change {site} on" in worker.told and self._is_changing(site):
                    return worker, site
        return None

    def _is_changing(self, site: str) -> bool:
        show = ("systemctl", "show", "--property=ActiveState", "--value")
        state = self.province.run(PLACES[site], *show, f"owc-transaction-{site}.service")
        return state.strip() == "active"

    def push_and_pull(self, name: str) -> None:
        """Let every worker's checkout have a folder as it is where the operator works."""
        for worker in self.workers:
            shutil.copytree(self.province.root / name, worker.root / name, dirs_exist_ok=True)

    def lose_power(self, seconds: float) -> None:
        """Let both databases be gone for a while, in the middle of whatever they are at."""
        self.temporal.kill()
        self.database.kill()
        time.sleep(seconds)
        self.database.start()
        self.temporal.start()


def wait_for(what: Callable[[], Any], seconds: float = 300.0) -> Any:
    """Return what `what` returns once that is true."""
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.2)
    return found


def clone(root: Path, to: Path) -> Path:
    """Return another checkout of a fleet: its documents, and the authority that goes with it."""
    for name in ("sites", "locks", "secrets", ".owc-deploy/internal-ca"):
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name)
    for name in ("fleet.yml", "servers.yml", "identity"):
        if (root / name).is_file():
            shutil.copyfile(root / name, to / name)
    return to


def move(province: Province, to: Path, temporal: DevelopmentServer, database: Server) -> Province:
    """Return the fleet as a team works with it, with the documents and nothing else of before."""
    root = clone(province.root, to)
    identity = pyrage.x25519.Identity.generate()
    (root / "identity").write_text(f"{identity}\n")
    (root / "secrets").mkdir()
    sealed = pyrage.encrypt(PASSWORD.encode(), [identity.to_public()])
    (root / "secrets" / "history.age").write_bytes(sealed)
    state = database.new_database()
    document = yaml.safe_load((root / "fleet.yml").read_text())
    document["age_identity"] = "identity"
    document["engine"] = {"temporal": {"address": temporal.address}}
    document["state"] = {
        "postgresql": {
            "host": "localhost",
            "port": state.port,
            "database": state.database,
            "user": state.user,
            "password": {"secret": "history"},
            "root_certificate": str(database.folder / "server.pem"),
        }
    }
    (root / "fleet.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    return Province(root, province.lab)


def choose(province: Province, constraint: str) -> None:
    for site in SITES:
        blocks = {"lab-news": constraint}
        province.write(site, PLACES[site], ring=RINGS[site], blocks=blocks)


def says(province: Province, site: str, text: str) -> bool:
    page = province.get(site, server=PLACES[site])
    return page.status == 200 and text in page.body


@pytest.fixture
def machines(province: Province, tmp_path: Path) -> Iterator[Machines]:
    """Return the fleet with release 1.0.0 of the block everywhere, moved to Temporal."""
    choose(province, "1.0.0")
    province.lock()
    province.owc("rollout", "start", "--yes", timeout_seconds=900)
    with ExitStack() as stack:
        temporal = DevelopmentServer(tmp_path)
        temporal.start()
        stack.callback(temporal.kill)
        database = stack.enter_context(running_server())
        moved = move(province, tmp_path / "fleet", temporal, database)
        made = Machines(moved, temporal, database, [])
        for number in range(WORKERS):
            worker = Worker.start(clone(moved.root, tmp_path / f"worker{number}"))
            stack.callback(worker.kill)
            made.workers.append(worker)
        yield made


@pytest.mark.timeout(1200)
def test_a_worker_and_both_databases_are_killed_and_every_site_is_changed_once(
    machines: Machines,
) -> None:
    province = machines.province
    for worker in machines.workers:
        wait_for(lambda: "serves" in worker.told)  # noqa: B023
    # Nothing is known of these sites here but what their servers say.
    assert province.owc("rollout", "list", "--format", "json").document["rollouts"] == []
    assert province.owc("plan", "--detailed-exitcode").code == 0
    choose(province, "^1.0")
    machines.push_and_pull("sites")
    before = {site: province.activations(site) for site in SITES}
    following = province.begin(
        *("rollout", "start", "--block", "lab-news", "--version", "~1.1.0", "--yes")
    )
    wait_for(lambda: machines.rollout_id)
    machines.push_and_pull("locks")
    wait_for(lambda: machines.events("ring-ended")[1:])

    # In mid-ring, while a server is at what it was told.
    killed, site = wait_for(machines.at_work)
    killed.kill()
    assert not machines.standing.sites[site].outcome
    ended = len(machines.events("site-ended"))
    wait_for(lambda: len(machines.events("site-ended")) > ended + 1)
    wait_for(lambda: machines.standing.under_way.keys() - {site})
    machines.lose_power(5.0)
    _, told = following.communicate(timeout=60)
    assert "goes on" in told
    resumed = province.owc(
        *("rollout", "resume", "--yes", "--patience", "10", "--format", "json"), timeout_seconds=600
    )

    assert resumed.document["state"] == "done"
    assert resumed.document["counts"] == {"changed": 24}
    assert all(says(province, each, "lab-news 1.1.0") for each in SITES)
    assert {each: province.activations(each) - before[each] for each in SITES} == dict.fromkeys(
        SITES, 1
    )
    order = [RINGS[event.site] for event in machines.events("site-intended")]
    assert order == sorted(order, key=["canary", "early", "all"].index)
    history = province.owc("history", SITES[0], "--format", "json").document
    notes = history["outcomes"][0]["details"]["notes"]
    assert any("changed from another history store" in note for note in notes)
    # Temporal went on with the workflow that it had, and another worker with the killed one's site.
    assert len(machines.events("walk-begun")) == 1
    left = [worker for worker in machines.workers if worker is not killed]
    assert any(f"  change {site} on" in worker.told for worker in left)
    assert all(worker.process.poll() is None for worker in left)
    assert "whole" in province.owc("audit-log", "verify").stdout
    assert province.owc("plan", "--detailed-exitcode").code == 0
