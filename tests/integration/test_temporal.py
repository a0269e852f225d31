"""Rollouts on Temporal: its server, PostgreSQL and workers are real, only sites are simulated."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.province import SERVERS, SITES, Province, ended
from fakes.served_fleet import SlowFleet, serve
from fakes.temporal import SHORT, DevelopmentServer, SimulatedWorker
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer
from unit.store.postgresql_server import Server, running_server

from owc_deploy.cli import main
from owc_deploy.cli.rollout_walk import EmbeddedEngine, engine_of
from owc_deploy.errors import LeaseHeldError
from owc_deploy.rollout.journal import StoreJournal, read
from owc_deploy.rollout.models import Event, NewEvent, Stand, Wait
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.temporal.workflows import RingWorkflow, RolloutWorkflow
from owc_deploy.store import Store
from owc_deploy.store.chain import verify_chain

WAIT_SECONDS = 180.0


def wait_for(what: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """Return what `what` returns once that is true."""
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentServer]:
    server = DevelopmentServer(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.kill()


@dataclass
class Bench:
    """A fleet on Temporal, its servers, and its workers."""

    folder: Path
    temporal: DevelopmentServer
    province: Province
    port: int
    workers: list[SimulatedWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store: Store = self.province.open_store()
        self.engine = engine_of(self.province.fleet, self.store)

    def worker(self, **changes: Any) -> SimulatedWorker:
        log = self.folder / f"worker{len(self.workers)}.log"
        made = SimulatedWorker(
            **{"root": self.province.root, "fleet_port": self.port, "log": log, **changes}
        )
        self.workers.append(made)
        return made

    def begin(self, **ring_changes: Any) -> str:
        return self.province.begin(self.store, **ring_changes).rollout_id

    def walk(
        self, rollout_id: str, patience: timedelta | None = None
    ) -> tuple[Standing, Wait | Stand]:
        return self.engine.walk(
            self.province.session, rollout_id, patience=patience, take_over=False
        )

    def walking(self, rollout_id: str) -> threading.Thread:
        """Have it walked, and return while it is."""
        thread = threading.Thread(target=self.walk, args=(rollout_id,))
        thread.start()
        return thread

    def standing(self, rollout_id: str) -> Standing:
        return read(self.store, rollout_id)

    def events(self, rollout_id: str, kind: str = "") -> list[Event]:
        found = StoreJournal(self.store, rollout_id).events()
        return [event for event in found if not kind or event.kind == kind]

    def owc(self, *arguments: str) -> int:
        return main.run(["rollout", *arguments, "--fleet", str(self.province.root)])

    def history(self, workflow_id: str) -> WorkflowHistory:
        async def fetch() -> WorkflowHistory:
            client = await Client.connect(self.temporal.address)
            return await client.get_workflow_handle(workflow_id).fetch_history()

        return asyncio.run(fetch())

    def no_site_was_changed_twice(self) -> None:
        assert set(self.province.servers.activations.values()) == {1}

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()


@pytest.fixture
def bench(
    tmp_path: Path, temporal: DevelopmentServer, database: Server, request: pytest.FixtureRequest
) -> Iterator[Bench]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    options: dict[str, Any] = getattr(request, "param", {})
    servers = SlowFleet(SERVERS, options.get("seconds", 0.2))
    province = Province(
        tmp_path / "fleet",
        name,
        servers,
        {"temporal": {"address": temporal.address}},
        database.new_database(),
        options.get("places", {}),
        SITES[: options.get("sites", 8)],
    )
    made = Bench(tmp_path, temporal, province, serve(servers))
    yield made
    made.close()


def embedded(tmp_path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return how the same rollout ends, and what is live then, where one process walks it."""
    province = Province(tmp_path / "twin", "twin", SlowFleet(SERVERS, 0.0))
    store = province.open_store()
    rollout = province.begin(store)
    standing, _ = EmbeddedEngine(store).walk(
        province.session, rollout.rollout_id, patience=None, take_over=False
    )
    return ended(standing), province.live()


@pytest.mark.parametrize("bench", [{"sites": 24}], indirect=True)
def test_a_worker_and_temporal_itself_are_killed_and_nothing_is_lost(
    bench: Bench, tmp_path: Path
) -> None:
    workers = [bench.worker() for _ in range(3)]
    servers = bench.province.servers
    rollout_id = bench.begin()
    walking = bench.walking(rollout_id)
    wait_for(lambda: bench.events(rollout_id, "ring-ended")[1:])
    # In mid-ring, while servers are at what they told them to do.
    servers.gate.clear()
    wait_for(lambda: len(servers.working) > 2)
    killed, left = wait_for(lambda: at_work(workers, servers))
    killed.kill()
    servers.gate.set()
    wait_for(lambda: all(bench.standing(rollout_id).sites[site].outcome for site in left))
    for site in left:
        assert "seen on the server" in bench.standing(rollout_id).sites[site].message
    servers.gate.clear()
    wait_for(lambda: servers.working)
    bench.temporal.kill()
    servers.gate.set()
    wait_for(lambda: not servers.working)
    bench.temporal.start()
    walking.join(WAIT_SECONDS)
    standing = bench.standing(rollout_id)
    assert (standing.state, standing.is_over) == ("done", True)
    assert (ended(standing), bench.province.live()) == embedded(tmp_path)
    bench.no_site_was_changed_twice()
    assert set(servers.activations) == set(SITES)
    assert servers.at_once <= 6
    assert servers.at_once_on_a_server <= 2
    assert len(bench.events(rollout_id, "walk-begun")) == 1
    assert verify_chain(list(bench.store.audit.entries())).broken is None
    wait_for(lambda: bench.engine.walker(rollout_id) == "")
    histories = [bench.history(rollout_id)]
    histories += [bench.history(f"{rollout_id}/{name}") for name in ("canary", "early", "all")]
    asyncio.run(replay(histories))
    only_identifiers(histories)
    # The history of the last ring had grown, and it went on with a new one.
    began = histories[-1].events[0].workflow_execution_started_event_attributes
    assert began.continued_execution_run_id


def at_work(
    workers: list[SimulatedWorker], servers: SlowFleet
) -> tuple[SimulatedWorker, list[str]] | None:
    """Return a worker that waits for a server, and the sites it waits for."""
    for worker in workers:
        said = [line for line in worker.log.read_text().splitlines() if " change " in line]
        working = {site for _, site in servers.working}
        sites = said[-1].split(" change ")[1].split(" on ")[0].split(", ") if said else []
        if sites and working.issuperset(sites):
            return worker, sites
    return None


async def replay(histories: list[WorkflowHistory]) -> None:
    """Run the workflows again from what was recorded: they must give the same commands."""
    replayer = Replayer(workflows=[RolloutWorkflow, RingWorkflow])
    for history in histories:
        await replayer.replay_workflow(history)


def only_identifiers(histories: list[WorkflowHistory]) -> None:
    """Nothing that workflows and activities tell each other is more than a name or a number."""
    keys = {key for history in histories for said in told(history) for key in keys_in(said)}
    assert keys <= {
        *("rollout_id", "take_over", "workflow", "ring", "state", "kind", "until"),
        *("changing", "undoing", "checking", "batches", "batch", "queue", "summary"),
        *("doing", "server", "place", "sites", "after"),
        *("heartbeat_seconds", "start_seconds", "end_seconds"),
    }


def told(history: WorkflowHistory) -> Iterator[Any]:
    for event in history.events:
        for _, attributes in event.ListFields():
            for name in ("input", "result"):
                for payload in getattr(getattr(attributes, name, None), "payloads", ()):
                    yield json.loads(payload.data or b"null")


def keys_in(said: Any) -> Iterator[str]:
    if isinstance(said, dict):
        yield from said
    for each in said.values() if isinstance(said, dict) else said if isinstance(said, list) else ():
        yield from keys_in(each)


@pytest.mark.parametrize("bench", [{"seconds": 0.5}], indirect=True)
def test_a_person_pauses_resumes_and_aborts_from_any_machine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("rollout_orders", "rollout_start"):
        session = f"owc_deploy.cli.{module}.open_session"
        monkeypatch.setattr(session, lambda _: bench.province.session)
    bench.worker()
    bench.worker()
    walking = threading.Thread(target=bench.owc, args=("start", "--yes"))
    walking.start()
    (rollout_id,) = wait_for(lambda: bench.store.rollouts.identifiers(unfinished=True))
    wait_for(lambda: len(bench.province.servers.working) > 1)
    assert bench.owc("pause", rollout_id, "--reason", "the help desk is called") == 0
    walking.join(WAIT_SECONDS)
    wait_for(lambda: bench.engine.walker(rollout_id) == "")
    paused = bench.standing(rollout_id)
    assert paused.state == "paused"
    assert not bench.province.servers.working
    number = bench.events(rollout_id)[-1].number
    begun = [event.number for event in bench.events(rollout_id, "site-intended")]
    (pause,) = bench.events(rollout_id, "rollout-paused")
    assert len([each for each in begun if each > pause.number]) <= 6
    time.sleep(1.0)
    assert bench.events(rollout_id)[-1].number == number

    walking = threading.Thread(target=bench.owc, args=("resume", rollout_id, "--yes"))
    walking.start()
    wait_for(lambda: len(bench.events(rollout_id, "site-ended")) > len(begun))
    assert bench.owc("abort", rollout_id, "--undo-since", "early", "--yes") == 0
    walking.join(WAIT_SECONDS)
    standing = bench.standing(rollout_id)
    assert (standing.state, standing.is_over) == ("aborted", True)
    live = bench.province.live()
    assert live[SITES[0]] == "2.0.0"
    assert {live[site] for site in live.keys() - {SITES[0]}} == {"1.0.0"}


def test_a_soak_is_a_timer_that_needs_no_worker(bench: Bench) -> None:
    first = bench.worker()
    rollout_id = bench.begin(soak_seconds=4)
    walking = bench.walking(rollout_id)
    ring = f"{rollout_id}/canary"
    wait_for(lambda: bench.events(rollout_id, "ring-settled"))
    wait_for(lambda: min(timers(bench.history(ring)), default=600) <= 4)
    # Asked to stop, as Temporal waits for one that is killed for longer than the soak takes.
    assert first.stop() == 0
    bench.worker()
    wait_for(lambda: bench.events(rollout_id, "ring-ended"))
    (settled,) = bench.events(rollout_id, "ring-settled")[:1]
    checks = bench.events(rollout_id, "ring-checked")
    assert (checks[0].at - settled.at) >= timedelta(seconds=4)
    seconds = timers(bench.history(ring))
    assert max(seconds) <= 600
    assert any(2 <= each <= 4 for each in seconds)
    # Whoever stops following does not stop it, and its end is an abort away.
    aborted = NewEvent("rollout-aborted", body={"why": "enough", "undo_rings": []})
    StoreJournal(bench.store, rollout_id).append(
        aborted, NewEvent("rollout-ended", body={"word": "aborted"})
    )
    bench.engine.wake(rollout_id)
    walking.join(WAIT_SECONDS)
    wait_for(lambda: bench.engine.walker(rollout_id) == "")


def timers(history: WorkflowHistory) -> list[int]:
    """Return for how many seconds each timer of a workflow was set."""
    started = EventType.EVENT_TYPE_TIMER_STARTED
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in history.events
        if event.event_type == started
    ]


@pytest.mark.parametrize("bench", [{"places": {"web4": "delft"}, "sites": 4}], indirect=True)
def test_only_workers_of_a_place_go_to_its_servers(bench: Bench) -> None:
    near = bench.worker(places=("default",), timing=replace(SHORT, start=0.5))
    rollout_id = bench.begin(allowed_unreachable=8)
    standing, stopped = bench.walk(rollout_id)
    there = [site.site for site in standing.rollout.sites if site.place == "delft"]
    assert len(there) == 1
    assert stopped == Stand("incomplete", "")
    outcomes = ended(standing)
    assert {outcomes[site] for site in there} == {"unreachable"}
    assert {outcomes[site] for site in outcomes.keys() - set(there)} == {"changed"}
    assert "no worker of its place" in standing.sites[there[0]].message
    assert " on web4" not in near.log.read_text()


def test_a_worker_whose_checkout_is_behind_leaves_sites_to_others(bench: Bench) -> None:
    behind = bench.folder / "behind"
    shutil.copytree(bench.province.root, behind)
    site = behind / "sites" / f"{SITES[0]}.yml"
    site.write_text(f"# behind\n{site.read_text()}")
    stale = bench.worker(root=behind)
    rollout_id = bench.begin()
    walking = bench.walking(rollout_id)
    wait_for(lambda: "is not the one the rollout was started with" in stale.log.read_text())
    assert bench.events(rollout_id, "site-ended") == []
    # It is brought up to date, as by git pull, and goes on without being started again.
    shutil.copy(bench.province.root / "sites" / f"{SITES[0]}.yml", site)
    walking.join(WAIT_SECONDS)
    assert bench.standing(rollout_id).state == "done"


def test_a_checkout_that_stays_behind_is_told_of_each_site(bench: Bench) -> None:
    behind = bench.folder / "behind"
    shutil.copytree(bench.province.root, behind)
    for path in (behind / "sites").iterdir():
        path.write_text(f"# behind\n{path.read_text()}")
    bench.worker(root=behind, timing=replace(SHORT, unfit=1.0))
    rollout_id = bench.begin()
    standing, stopped = bench.walk(rollout_id)
    assert stopped.why == f"ring canary: unreachable 1, allowed 0: {SITES[0]}"
    site = standing.sites[SITES[0]]
    assert site.outcome == "not-attempted"
    assert "is not the one the rollout was started with" in site.message
    assert set(bench.province.live().values()) == {"1.0.0"}


@pytest.mark.parametrize("bench", [{"seconds": 1.0}], indirect=True)
def test_a_worker_that_is_asked_to_stop_finishes_first(bench: Bench) -> None:
    first = bench.worker()
    rollout_id = bench.begin()
    walking = bench.walking(rollout_id)
    wait_for(lambda: bench.province.servers.working)
    assert first.stop() == 0
    assert "finishes what is under way" in first.log.read_text()
    (ended_event,) = bench.events(rollout_id, "site-ended")
    assert (ended_event.site, ended_event.body["outcome"]) == (SITES[0], "changed")
    # Nobody walks it into anything new now, and nobody else may meanwhile.
    other = EmbeddedEngine(bench.store)
    with pytest.raises(LeaseHeldError, match="walked by Temporal"):
        other.walk(bench.province.session, rollout_id, patience=None, take_over=False)
    standing, _ = other.walk(
        bench.province.session, rollout_id, patience=timedelta(0), take_over=True
    )
    assert standing.state == "done"
    bench.worker()
    wait_for(lambda: bench.engine.walker(rollout_id) == "")
    walking.join(WAIT_SECONDS)
    bench.no_site_was_changed_twice()


def test_all_of_temporal_may_be_lost(bench: Bench) -> None:
    bench.worker()
    servers = bench.province.servers
    rollout_id = bench.begin()
    walking = bench.walking(rollout_id)
    wait_for(lambda: bench.events(rollout_id, "ring-ended"))
    servers.gate.clear()
    wait_for(lambda: servers.working)
    bench.temporal.lose()
    servers.gate.set()
    assert bench.engine.walker(rollout_id) == ""
    # Whoever followed it gives up, or follows the new workflow: both is right.
    standing, stopped = bench.walk(rollout_id)
    walking.join(WAIT_SECONDS)
    assert stopped == Stand("done", "")
    assert set(ended(standing).values()) == {"changed"}
    assert len(bench.events(rollout_id, "walk-begun")) == 2
    bench.no_site_was_changed_twice()


def test_it_is_started_once_however_often_it_is_asked_for(bench: Bench) -> None:
    bench.worker()
    rollout_id = bench.begin()
    walks = [bench.walking(rollout_id) for _ in range(3)]
    for each in walks:
        each.join(WAIT_SECONDS)
    assert bench.standing(rollout_id).state == "done"
    assert len(bench.events(rollout_id, "walk-begun")) == 1
    bench.no_site_was_changed_twice()


def test_the_verb_serves_until_it_is_asked_to_stop(bench: Bench) -> None:
    log = bench.folder / "verb.log"
    command = [sys.executable, "-m", "owc_deploy", "worker", "--fleet", str(bench.province.root)]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as process:
        wait_for(lambda: "serves" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
    assert f"owc-deploy/{bench.province.name}/default" in log.read_text()
    assert main.run(["worker", "--fleet", str(bench.province.root), "--place", "delft"]) == 2
