"""What a worker does of a rollout: asked twice, cut off, overtaken, and beside others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from fakes.fleet import FleetSimulator
from sqlalchemy import update
from unit.plan.examples import catalogue, fleet, lock, manifest

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.errors import ExecutionError, LeaseHeldError
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.fleet.models import Fleet, Ring, RolloutLimits, Server, SiteServers, SlaTier, Window
from owc_deploy.rollout.checkout import CheckoutDiffersError
from owc_deploy.rollout.claims import reason_of
from owc_deploy.rollout.hands import GONE
from owc_deploy.rollout.journal import StoreJournal, begin, read
from owc_deploy.rollout.looks import MOVED
from owc_deploy.rollout.models import Event, NewEvent, Rollout, Stand, Wait
from owc_deploy.rollout.rings import rollout_rings
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.steps import Batch, EnterRing, LeaveRing, Step, Work
from owc_deploy.rollout.stint import Stint, UnderWay
from owc_deploy.store import Store, open_store
from owc_deploy.store.tables import leases

SITES = ("altena", "bergen", "heusden")
ID = "20261127T090000Z-1"
WALK = "workflow-1"
PAUSED = NewEvent("rollout-paused", body={"why": "lunch"})


@dataclass
class Still:
    """A checkout in memory."""

    documents: Fleet
    offered: Catalogue

    def fleet(self) -> Fleet:
        return self.documents

    def catalogue(self, _: Fleet) -> Catalogue:
        return self.offered


@dataclass
class Clock:
    moment: datetime = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
    on_look: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        self.on_look()
        return self.moment


@dataclass
class Bench:
    """A rollout that is begun, and workers on it."""

    path: Path
    fleet: Fleet
    servers: FleetSimulator
    clock: Clock
    store: Store

    def worker(
        self, pause: Callable[[float], None] = lambda _: None, fleet: Fleet | None = None
    ) -> Stint:
        return Stint(
            store=open_store(self.path, clock=lambda: self.clock.moment),
            checkout=Still(fleet or self.fleet, catalogue()),
            open_executor=lambda _: self.servers,
            clock=self.clock.now,
            pause=pause,
        )

    @property
    def journal(self) -> StoreJournal:
        return StoreJournal(self.store, ID)

    def kinds(self, *of: str) -> list[str]:
        return [event.kind for event in self.journal.events() if not of or event.kind in of]

    def standing(self) -> Standing:
        return read(self.store, ID)

    def outcomes(self) -> dict[str, str | None]:
        return {name: site.outcome for name, site in self.standing().sites.items()}

    def batch(self, *sites: str, **changes: object) -> Batch:
        made = Batch("change", "all", "web1", "default", sites, self.standing().number)
        return replace(made, **changes)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    place = SiteServers(("web2",), ("web2",))
    made = fleet(
        manifest("altena"),
        manifest("bergen", servers=place),
        manifest("heusden"),
        locks=tuple(lock(site) for site in SITES),
    )
    names = ("web1", "web2")
    servers = {name: Server(name, ("web", "database"), ("8.2",)) for name in names}
    settings = replace(made.settings, rings=(Ring("all"),), rollouts=RolloutLimits(attempts=2))
    made = replace(made, root=tmp_path, settings=settings, servers=servers)
    simulated = FleetSimulator(names)
    for name, server in simulated.servers.items():
        server.provisioned = provision_fingerprint(servers[name])
    clock = Clock()
    store = open_store(tmp_path / "h.sqlite3", clock=lambda: clock.moment)
    rings = rollout_rings(made, SITES)
    started = "2026-11-27T09:00:00+00:00"
    begin(store, Rollout(ID, "test", started, "anna", "locks", rings, limits=settings.rollouts))
    found = Bench(tmp_path / "h.sqlite3", made, simulated, clock, store)
    found.worker().begin(ID, WALK, take_over=False)
    return found


def changes(bench: Bench) -> int:
    return sum(method == "release" for method, _ in bench.servers.calls)


def pretend_elsewhere(store: Store) -> None:
    """Let every lease be held on another machine, where nobody sees whether its holder is gone."""
    with store._database.writing() as connection:
        connection.execute(update(leases).values(host="elsewhere"))


def test_steps_are_taken_until_there_is_something_to_carry_out_or_to_wait_for(bench: Bench) -> None:
    worker = bench.worker()
    assert worker.advance(ID, WALK, "", UnderWay()) == EnterRing("all")
    step = worker.advance(ID, WALK, "all", UnderWay())
    assert isinstance(step, Work)
    assert [(batch.server, batch.sites) for batch in step.batches] == [
        ("web1", ("altena", "heusden")),
        ("web2", ("bergen",)),
    ]
    assert isinstance(worker.advance(ID, WALK, "all", UnderWay(changing=SITES)), Wait)
    for batch in step.batches:
        worker.carry_out(ID, WALK, batch)
    assert bench.outcomes() == dict.fromkeys(SITES, "changed")
    assert worker.advance(ID, WALK, "all", UnderWay()) == LeaveRing()
    assert worker.advance(ID, WALK, "", UnderWay()) == Stand("done", "")
    ends = ["ring-settled", "ring-ended", "rollout-ended"]
    assert bench.kinds(*ends) == ends
    assert bench.store.rollouts.identifiers(unfinished=True) == ()
    runs = bench.store.history.runs()
    assert [(run.verb, run.outcome) for run in runs] == [("rollout", "changed")] * 2


def test_a_walk_is_begun_once_and_ends_that_of_another(bench: Bench) -> None:
    worker = bench.worker()
    worker.begin(ID, WALK, take_over=False)
    assert bench.kinds("walk-begun") == ["walk-begun"]
    worker.begin(ID, "workflow-2", take_over=False)
    assert worker.advance(ID, WALK, "all", UnderWay()) == LeaveRing()
    assert worker.advance(ID, WALK, "", UnderWay()) == Stand("running", "others walk it now")
    worker.carry_out(ID, WALK, bench.batch("altena"))
    assert changes(bench) == 0


def test_a_controller_that_walks_by_itself_is_not_walked_over(bench: Bench) -> None:
    told: list[str] = []
    with bench.store.claim(f"rollout/{ID}", reason="rollout", narrate=told.append) as claim:
        with pytest.raises(LeaseHeldError):
            bench.worker().begin(ID, "workflow-2", take_over=False)
        bench.worker().begin(ID, "workflow-2", take_over=True)
        claim.renew()
        with pytest.raises(LeaseHeldError):
            claim.require()


def test_nothing_is_written_down_of_what_was_decided_too_late(bench: Bench) -> None:
    worker = bench.worker()
    for site in SITES:
        ended = {"outcome": "changed", "message": ""}
        bench.journal.append(NewEvent("site-ended", site, ended))
    orders = iter([PAUSED])

    def pause() -> None:
        for order in orders:
            bench.journal.append(order)

    # Between reading the journal and writing the ring's end into it, a person pauses.
    bench.clock.on_look = pause
    assert worker.advance(ID, WALK, "all", UnderWay()) == LeaveRing()
    assert bench.kinds("ring-settled", "ring-ended") == []
    assert worker.advance(ID, WALK, "", UnderWay()) == Stand("paused", "lunch")


def test_a_batch_that_is_asked_for_twice_is_done_once(bench: Bench) -> None:
    batch = bench.batch("altena", "heusden")
    bench.worker().carry_out(ID, WALK, batch)
    bench.worker().carry_out(ID, WALK, batch)
    assert changes(bench) == 1
    assert bench.kinds("site-ended") == ["site-ended"] * 2


def test_what_a_dead_worker_changed_is_seen_and_not_changed_again(bench: Bench) -> None:
    """It was killed after its servers had done it, and before it wrote that down."""
    batch = bench.batch("altena", "heusden")

    class KilledError(Exception):
        pass

    class Killed(FleetSimulator):
        def release(self, *given: object, **named: object) -> object:
            bench.servers.release(*given, **named)
            raise KilledError

    killed = Killed(["web1", "web2"])
    killed.servers = bench.servers.servers
    worker = bench.worker()
    worker.open_executor = lambda _: killed
    with pytest.raises(KilledError):
        worker.carry_out(ID, WALK, batch)
    assert bench.outcomes()["altena"] is None
    bench.worker().carry_out(ID, WALK, batch)
    assert changes(bench) == 1
    assert bench.outcomes() == {"altena": "changed", "heusden": "changed", "bergen": None}
    assert "seen on the server" in bench.standing().sites["altena"].message


def test_a_worker_that_only_seemed_dead_is_waited_for(bench: Bench) -> None:
    """Temporal gave its batch to another, while it was still at it."""
    batch = bench.batch("altena")
    waited = threading.Event()
    first = bench.store.claim("site/altena", reason=reason_of(ID), rollout_id=ID)
    with first:
        second = threading.Thread(
            target=bench.worker(pause=lambda _: waited.set()).carry_out, args=(ID, WALK, batch)
        )
        second.start()
        assert waited.wait(20)
        assert second.is_alive()
        ended = {"outcome": "changed", "message": ""}
        bench.journal.append(NewEvent("site-ended", "altena", ended))
    second.join(20)
    assert not second.is_alive()
    assert changes(bench) == 0
    assert bench.outcomes()["altena"] == "changed"


def test_who_lost_a_site_writes_nothing_more_about_it(bench: Bench) -> None:
    """It hung until its lease had lapsed, and another had taken the site over."""
    batch = bench.batch("altena")

    class Hung(FleetSimulator):
        def release(self, *given: object, **named: object) -> object:
            pretend_elsewhere(bench.store)
            bench.clock.moment += timedelta(seconds=91)
            bench.worker().carry_out(ID, WALK, batch)
            return bench.servers.release(*given, **named)

    hung = Hung(["web1", "web2"])
    hung.servers = bench.servers.servers
    worker = bench.worker()
    worker.open_executor = lambda _: hung
    with pytest.raises(LeaseHeldError):
        worker.carry_out(ID, WALK, batch)
    assert bench.kinds("site-ended") == ["site-ended"]
    assert bench.outcomes()["altena"] == "changed"
    # The server refused it, as it had seen the newer owner.
    live = bench.servers.servers["web1"].sites["altena"]
    assert len(live.releases) == 1
    assert bench.standing().sites["altena"].release_ids[-1] == live.current


def test_a_site_somebody_else_is_at_work_on_is_busy(bench: Bench) -> None:
    with bench.store.claim("site/altena", reason="apply"):
        bench.worker().carry_out(ID, WALK, bench.batch("altena", "heusden"))
    assert bench.outcomes() == {"altena": "busy", "heusden": "changed", "bergen": None}


def test_nothing_is_begun_of_a_rollout_that_was_paused_meanwhile(bench: Bench) -> None:
    batch = bench.batch("altena")
    bench.journal.append(PAUSED)
    bench.worker().carry_out(ID, WALK, batch)
    assert bench.servers.calls == []
    assert bench.outcomes()["altena"] is None


def test_a_worker_with_other_documents_leaves_the_batch_alone(bench: Bench) -> None:
    behind = replace(bench.fleet, locks={**bench.fleet.locks, "altena": lock("altena", "2.0.0")})
    batch = bench.batch("altena")
    with pytest.raises(CheckoutDiffersError):
        bench.worker(fleet=behind).carry_out(ID, WALK, batch)
    assert bench.servers.calls == []
    bench.worker().carry_out(ID, WALK, batch)
    assert bench.outcomes()["altena"] == "changed"


def test_the_last_that_is_asked_looks_and_changes_what_it_may(bench: Bench) -> None:
    """As one process does that walks by itself and whose documents are others by then."""
    batch = bench.batch("altena", "heusden")
    bench.worker().carry_out(ID, WALK, bench.batch("altena"))
    changed = bench.standing().sites["altena"].release_ids[-1]
    ended = {"outcome": "inconclusive", "message": "its worker was killed"}
    bench.journal.append(NewEvent("site-ended", "altena", ended))
    behind = replace(
        bench.fleet,
        locks={name: lock(name, "2.0.0") if name != "heusden" else lock(name) for name in SITES},
    )
    again = replace(batch, after=bench.standing().number)
    bench.worker(fleet=behind).carry_out(ID, WALK, again, is_last=True)
    other = bench.batch("bergen", server="web2")
    bench.worker(fleet=behind).carry_out(ID, WALK, other, is_last=True)
    # What is live on altena was made by this rollout; bergen is left as it is.
    assert bench.outcomes() == {
        "altena": "changed",
        "bergen": "not-attempted",
        "heusden": "changed",
    }
    assert bench.standing().sites["altena"].live == changed
    assert bench.standing().sites["bergen"].message == MOVED
    assert "bergen" not in bench.servers.servers["web2"].sites


def test_a_server_that_no_checkout_knows_any_more_counts_as_one_out_of_reach(bench: Bench) -> None:
    servers = {"web1": bench.fleet.servers["web1"]}
    behind = replace(bench.fleet, servers=servers)
    batch = bench.batch("bergen", server="web2")
    with pytest.raises(CheckoutDiffersError, match="no server web2"):
        bench.worker(fleet=behind).carry_out(ID, WALK, batch)
    bench.worker(fleet=behind).carry_out(ID, WALK, batch, is_last=True)
    assert bench.outcomes()["bergen"] == "unreachable"
    assert bench.standing().sites["bergen"].message == GONE


def test_a_batch_that_failed_for_good_is_told_of_every_site(bench: Bench) -> None:
    bench.worker().give_up(ID, bench.batch("bergen", server="web2"), "nobody", was_begun=False)
    assert bench.outcomes()["bergen"] == "unreachable"

    class Broken(FleetSimulator):
        def probe(self, *_: object, **__: object) -> object:
            raise ExecutionError("no Ansible here")

    worker = bench.worker()
    worker.open_executor = lambda _: Broken(["web1"])
    batch = bench.batch("altena", "heusden")
    with pytest.raises(ExecutionError):
        worker.carry_out(ID, WALK, batch)
    intended = {"release_id": "r", "observed_release": ""}
    bench.journal.append(NewEvent("site-intended", "heusden", intended))
    worker.give_up(ID, batch, "no Ansible here", was_begun=True)
    worker.give_up(ID, batch, "no Ansible here", was_begun=True)
    assert bench.outcomes() == {
        "altena": "not-attempted",
        "bergen": "unreachable",
        "heusden": "inconclusive",
    }
    assert len(bench.kinds("site-ended")) == 3


def test_everything_that_is_written_down_is_told(bench: Bench) -> None:
    told: list[str] = []

    def on_events(fleet: Fleet, rollout: Rollout, events: Sequence[NewEvent]) -> None:
        told.extend(event.kind for event in events)

    worker = bench.worker()
    worker.on_events = on_events
    worker.carry_out(ID, WALK, bench.batch("altena", "heusden"))
    worker.carry_out(ID, WALK, bench.batch("bergen", server="web2"))
    worker.advance(ID, WALK, "all", UnderWay())
    worker.advance(ID, WALK, "", UnderWay())
    expected = ["site-intended"] * 2 + ["site-ended"] * 2 + ["site-intended", "site-ended"]
    assert told == [*expected, "ring-settled", "ring-ended", "rollout-ended"]


def test_others_decide_while_channels_are_told(bench: Bench) -> None:
    worker = bench.worker()
    for site in SITES:
        ended = {"outcome": "changed", "message": ""}
        bench.journal.append(NewEvent("site-ended", site, ended))
    steps: list[Step] = []

    def on_events(*_: object) -> None:
        asking = threading.Thread(
            target=lambda: steps.append(worker.advance(ID, WALK, "all", UnderWay()))
        )
        asking.start()
        asking.join(20)

    worker.on_events = on_events
    assert worker.advance(ID, WALK, "all", UnderWay()) == LeaveRing()
    assert steps == [LeaveRing()] * 2


def test_the_journal_is_read_once_for_a_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_after: list[int] = []
    events = StoreJournal.events

    def counted(journal: StoreJournal, *, after: int = 0) -> Sequence[Event]:
        read_after.append(after)
        return events(journal, after=after)

    batch = bench.batch("altena")
    monkeypatch.setattr(StoreJournal, "events", counted)
    bench.worker().carry_out(ID, WALK, batch)
    assert read_after == [0, batch.after]


# It is 9:00 UTC on a Friday.
MORNING = SlaTier("default", "UTC", (Window(("friday",), time(8), time(9, 5)),))


def test_a_batch_that_waited_for_a_worker_keeps_to_the_window(bench: Bench) -> None:
    """Workers take a batch up to 15 minutes later, and try it again for up to two hours."""
    settings = replace(bench.fleet.settings, sla_tiers={"default": MORNING})
    bench.fleet = replace(bench.fleet, settings=settings)
    step = bench.worker().advance(ID, WALK, "all", UnderWay())
    bench.clock.moment += timedelta(minutes=14)
    bench.worker().carry_out(ID, WALK, step.batches[0])
    assert changes(bench) == 0
