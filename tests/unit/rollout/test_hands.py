"""Carrying out what a rollout decided: what is done to servers, and what is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.fleet import FleetSimulator, SimulatedSite
from fakes.walking import FakeClock, MemoryClaims, MemoryJournal, MemoryRecord
from unit.plan.examples import catalogue, fleet, lock, manifest, sha256

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.execution.ports import ReleaseRequest, RollbackRequest
from owc_deploy.fleet.models import Fleet, SecretReference, Server, SiteServers, Tls
from owc_deploy.plan.models import Fence, OutcomeWord
from owc_deploy.rollout.hands import ServerHands
from owc_deploy.rollout.looks import MOVED
from owc_deploy.rollout.models import Event, NewEvent, Rollout, RolloutSite
from owc_deploy.rollout.rings import rollout_rings
from owc_deploy.rollout.standing import Standing

SITES = ("altena", "bergen", "heusden")


def three_sites(news: str = "1.0.0", **changes: Mapping[str, Any]) -> Fleet:
    """Altena and heusden on web1, bergen on web2; `changes` are of manifests."""
    servers = {"altena": "web1", "bergen": "web2", "heusden": "web1"}
    made = fleet(
        *(
            manifest(
                name,
                **{"servers": SiteServers((server,), (server,)), **changes.get(name, {})},
            )
            for name, server in servers.items()
        ),
        locks=tuple(lock(name, news) for name in servers),
    )
    names = ("web1", "web2")
    return replace(made, servers={name: Server(name, ("web",), ("8.2",)) for name in names})


@dataclass
class Bench:
    """One rollout on simulated servers, its journal, and hands that work for it."""

    fleet: Fleet = field(default_factory=three_sites)
    servers: FleetSimulator = field(default_factory=lambda: FleetSimulator(["web1", "web2"]))
    clock: FakeClock = field(default_factory=FakeClock)
    claims: MemoryClaims = field(default_factory=MemoryClaims)
    record: MemoryRecord = field(default_factory=MemoryRecord)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, server in self.fleet.servers.items():
            self.servers.servers[name].provisioned = provision_fingerprint(server)
        self.begin()

    def begin(self) -> None:
        """Begin a rollout to what manifests and locks say now."""
        rings = rollout_rings(self.fleet, self.fleet.manifests)
        self.rollout = Rollout("r1", "test", "", "anna", "news", rings)
        self.standing = Standing(self.rollout)
        self.journal = MemoryJournal(self.clock)

    @property
    def hands(self) -> ServerHands:
        return ServerHands(
            fleet=self.fleet,
            catalogue=catalogue(),
            executor=self.servers,
            journal=self.journal,
            claims=self.claims,
            record=self.record,
            clock=self.clock.now,
            tell=self.told.append,
        )

    def sites(self, *names: str) -> tuple[RolloutSite, ...]:
        return tuple(site for site in self.rollout.sites if site.site in (names or SITES))

    def _learned(self) -> list[Event]:
        events = list(self.journal.events(after=self.standing.number))
        self.standing.learn(events)
        return events

    def change(self, *names: str) -> list[tuple[str, str, str]]:
        """Change sites; return kind, site and outcome of what was written down."""
        self.hands.change(self.standing, "all", self.sites(*names))
        return [(e.kind, e.site, e.body.get("outcome", "")) for e in self._learned()]

    def undo(self, *names: str) -> list[tuple[str, str, str]]:
        self.hands.undo(self.standing, self.sites(*names))
        return [(e.kind, e.site, e.body.get("outcome", "")) for e in self._learned()]

    def check(self, *names: str) -> dict[str, str]:
        """Look at sites; return what is wrong with them."""
        self.hands.check(self.standing, "all", self.sites(*names))
        (event,) = self._learned()
        return {name: found["message"] for name, found in event.body["problems"].items()}

    def message(self, site: str) -> str:
        return self.standing.sites[site].message

    def on(self, site: str) -> SimulatedSite:
        return next(s.sites[site] for s in self.servers.servers.values() if site in s.sites)

    def live(self) -> dict[str, str]:
        """Return the version of the block that is live on each site."""
        found = {}
        for name in SITES:
            site = self.on(name)
            found[name] = site.releases[site.current]["blocks"][0]["version"]
        return found

    def calls(self) -> list[str]:
        return [f"{method} {' '.join(servers)}" for method, servers in self.servers.calls]


def once_live() -> Bench:
    """Everything is live, and a rollout of the next version of the block begins."""
    bench = Bench()
    bench.change()
    bench.fleet = three_sites("2.0.0")
    bench.begin()
    bench.servers.calls.clear()
    bench.told.clear()
    bench.record = MemoryRecord()
    return bench


def test_sites_are_looked_at_intended_and_changed_in_one_call() -> None:
    bench = once_live()
    before = {name: bench.on(name).current for name in SITES}
    assert bench.change() == [
        *[("site-intended", name, "") for name in ("altena", "bergen", "heusden")],
        *[("site-ended", name, "changed") for name in ("altena", "heusden", "bergen")],
    ]
    assert bench.calls() == ["probe web1 web2", "release web1 web2"]
    assert bench.live() == dict.fromkeys(SITES, "2.0.0")
    for name in SITES:
        standing = bench.standing.sites[name]
        assert (standing.outcome, standing.before) == ("changed", before[name])
        assert standing.release_ids == (bench.on(name).current,)
    assert bench.record.runs == [(SITES, "all")]
    assert {each.details["versions"]["news"] for each in bench.record.ended} == {"2.0.0"}
    assert bench.claims.taken == set()
    assert bench.told[0] == "altena (web1): changed"


def test_intents_say_what_is_about_to_be_done() -> None:
    bench = once_live()
    bench.claims.token = 7
    before = bench.on("bergen").current
    bench.change("bergen")
    intent = bench.journal.written[0]
    assert intent.body == {
        "server": "web2",
        "release_id": bench.on("bergen").current,
        "observed_release": before,
        "attempt": 1,
        "fencing_token": 7,
    }


def test_where_nothing_is_to_be_done_nothing_is() -> None:
    bench = once_live()
    bench.change()
    bench.begin()
    assert bench.change() == [("site-ended", name, "ok") for name in SITES]
    assert bench.calls()[-1] == "probe web1 web2"
    assert len(bench.record.runs) == 1


@pytest.mark.parametrize("outcome", ["failed", "rolled-back", "inconclusive", "unreachable"])
def test_what_the_server_says_is_written_down(outcome: OutcomeWord) -> None:
    bench = once_live()
    bench.servers.script("heusden", outcome, "it fatals")
    bench.change()
    assert bench.standing.sites["heusden"].outcome == outcome
    assert bench.message("heusden") == "it fatals"
    assert bench.standing.sites["altena"].outcome == "changed"
    assert f"heusden (web1): {outcome}: it fatals" in bench.told
    assert bench.live() == {"altena": "2.0.0", "bergen": "2.0.0", "heusden": "1.0.0"}


def test_a_server_out_of_reach_costs_its_own_sites() -> None:
    bench = once_live()
    bench.servers.servers["web1"].unreachable = "no route to host"
    assert bench.change()[:2] == [
        ("site-ended", "altena", "unreachable"),
        ("site-ended", "heusden", "unreachable"),
    ]
    assert bench.message("altena") == "no route to host"
    assert bench.standing.sites["bergen"].outcome == "changed"


def test_a_site_that_somebody_else_has_is_busy_and_not_looked_at() -> None:
    bench = once_live()
    bench.claims.held = {"bergen": "anna is at work on it"}
    assert bench.change()[0] == ("site-ended", "bergen", "busy")
    assert bench.message("bergen") == "anna is at work on it"
    assert bench.calls() == ["probe web1", "release web1"]


def test_a_site_that_its_server_was_told_is_somebody_elses_is_busy() -> None:
    bench = once_live()
    bench.on("bergen").fence = Fence("test-store", 9, "bo")
    bench.change("bergen")
    assert bench.standing.sites["bergen"].outcome == "busy"
    assert "bo, has taken this site over" in bench.message("bergen")


LEFT: list[tuple[str, Callable[[Fleet], Fleet], str, str]] = [
    (
        "its manifest is another one",
        lambda _: three_sites("2.0.0", bergen={"title": "Anders", "sha256": sha256(7)}),
        "not-attempted",
        MOVED,
    ),
    (
        "its lock is another one",
        lambda made: replace(made, locks={**made.locks, "bergen": lock("bergen")}),
        "not-attempted",
        MOVED,
    ),
    (
        "its manifest is gone",
        lambda made: replace(
            made, manifests={n: m for n, m in made.manifests.items() if n != "bergen"}
        ),
        "not-attempted",
        MOVED,
    ),
    (
        "it is on another server",
        lambda _: three_sites(
            "2.0.0", bergen={"servers": SiteServers(("web1",), ("web1",)), "sha256": sha256(7)}
        ),
        "not-attempted",
        MOVED,
    ),
    (
        "its server is gone",
        lambda made: replace(made, servers={"web1": made.servers["web1"]}),
        "unreachable",
        "it is not in servers.yml any more",
    ),
    (
        "its server is to be prepared",
        lambda made: replace(
            made,
            servers={**made.servers, "web2": Server("web2", ("web",), ("8.2",), {"owc_a": 1})},
        ),
        "not-attempted",
        "web2 is to be prepared first; next: owc-deploy provision web2",
    ),
]


@pytest.mark.parametrize(
    ("changes", "outcome", "message"), [case[1:] for case in LEFT], ids=[case[0] for case in LEFT]
)
def test_a_site_that_cannot_be_changed_says_why_and_costs_no_other(
    changes: Callable[[Fleet], Fleet], outcome: OutcomeWord, message: str
) -> None:
    bench = once_live()
    bench.fleet = changes(bench.fleet)
    bench.change()
    assert bench.standing.sites["bergen"].outcome == outcome
    assert bench.message("bergen") == message
    assert bench.standing.sites["bergen"].release_ids == ()
    assert bench.standing.sites["altena"].outcome == "changed"
    assert bench.live() == {"altena": "2.0.0", "bergen": "1.0.0", "heusden": "2.0.0"}


def test_a_site_for_which_nothing_can_be_planned_says_why() -> None:
    bench = once_live()
    stale = replace(bench.fleet.locks["bergen"], manifest_sha256=sha256(99))
    bench.fleet = replace(bench.fleet, locks={**bench.fleet.locks, "bergen": stale})
    bench.begin()
    assert bench.change("bergen") == [("site-ended", "bergen", "not-attempted")]
    assert bench.message("bergen").startswith("the manifest changed since it was locked; next:")


def test_a_secret_that_is_missing_costs_its_own_site(tmp_path: Path) -> None:
    tls = Tls("supplied", certificate="tls/bergen.pem", private_key=SecretReference("bergen"))
    bench = Bench(replace(three_sites(bergen={"tls": tls}), root=tmp_path))
    bench.change()
    assert bench.standing.sites["bergen"].outcome == "not-attempted"
    assert "tls/bergen.pem will not do: cannot be read" in bench.message("bergen")
    assert bench.standing.sites["altena"].outcome == "changed"
    assert bench.record.runs == [(("altena", "heusden"), "all")]


class Killed(BaseException):
    """The controller is killed."""


class Door(FleetSimulator):
    """A simulator at whose door something happens to a release or a rollback.

    `before` and `after` are called when the servers have not acted yet, and when they have but
    nobody heard the answer.
    """

    before: Callable[[], None] = staticmethod(lambda: None)
    after: Callable[[], None] = staticmethod(lambda: None)

    def release(self, requests: Mapping[str, ReleaseRequest], **more: Any) -> Any:
        self.before()
        answer = super().release(requests, **more)
        self.after()
        return answer

    def rollback(self, requests: Mapping[str, tuple[RollbackRequest, ...]], **more: Any) -> Any:
        self.before()
        answer = super().rollback(requests, **more)
        self.after()
        return answer


def die() -> None:
    raise Killed


def nothing() -> None:
    """Let it happen."""


def with_a_door() -> tuple[Bench, Door]:
    bench = once_live()
    door = Door(["web1", "web2"])
    door.servers = bench.servers.servers
    bench.servers = door
    return bench, door


def killed(bench: Bench, work: Callable[..., object], *names: str) -> None:
    """Let the controller be killed at its work, and another walk on."""
    with pytest.raises(Killed):
        work(*names)
    bench.standing.learn(bench.journal.events(after=bench.standing.number))
    bench.journal.append(NewEvent("walk-begun"))
    bench.standing.learn(bench.journal.events(after=bench.standing.number))
    bench.claims.token += 1


def test_what_was_changed_before_a_cut_off_is_seen_and_not_changed_twice() -> None:
    bench, door = with_a_door()
    before = bench.on("bergen").current
    door.after = die
    killed(bench, bench.change)
    door.after = nothing
    assert bench.change() == [("site-ended", name, "changed") for name in SITES]
    assert bench.message("bergen").startswith("seen on the server")
    assert bench.journal.written[-2].body["previous_release_id"] == before
    assert bench.calls()[-2:] == ["fence web1 web2", "probe web1 web2"]
    # Two runs: that of the controller that was killed, and of what was seen.
    assert [sites for sites, _ in bench.record.runs] == [SITES, SITES]
    assert [each.details["versions"]["news"] for each in bench.record.ended] == 3 * ["2.0.0"]


def test_what_was_not_changed_before_a_cut_off_is_changed_now() -> None:
    bench, door = with_a_door()
    door.before = die
    killed(bench, bench.change)
    door.before = nothing
    bench.change()
    assert bench.live() == dict.fromkeys(SITES, "2.0.0")
    assert {len(bench.on(name).releases) for name in SITES} == {2}
    assert len(bench.standing.sites["bergen"].release_ids) == 2


def test_what_waits_to_be_confirmed_after_a_cut_off_is_ended_first() -> None:
    bench, door = with_a_door()
    before = bench.on("bergen").current
    door.after = die
    killed(bench, bench.change, "bergen")
    door.after = nothing
    bench.on("bergen").transaction, bench.on("bergen").provisional = "t1", True
    door.ending["bergen"] = before
    bench.change("bergen")
    assert any("its server is to end it" in words for words in bench.told)
    assert bench.standing.sites["bergen"].before == before
    assert bench.live()["bergen"] == "2.0.0"
    assert bench.standing.sites["bergen"].release_ids[-1] == bench.on("bergen").current


def test_what_was_changed_before_a_cut_off_is_seen_although_its_documents_moved() -> None:
    bench, door = with_a_door()
    door.after = die
    killed(bench, bench.change, "bergen")
    door.after = nothing
    bench.fleet = replace(bench.fleet, locks={**bench.fleet.locks, "bergen": lock("bergen")})
    assert bench.change("bergen") == [("site-ended", "bergen", "changed")]
    assert "versions" not in bench.record.ended[-1].details


def test_a_site_that_others_changed_between_the_look_and_the_act_is_busy() -> None:
    bench, door = with_a_door()

    def meanwhile() -> None:
        site = bench.on("bergen")
        site.releases["theirs"] = site.releases[site.current]
        site.current = "theirs"

    door.before = meanwhile
    bench.change()
    assert bench.standing.sites["bergen"].outcome == "busy"
    assert bench.message("bergen").startswith("it changed meanwhile: the plan is stale")
    assert bench.standing.sites["altena"].outcome == "changed"
    door.before = nothing
    bench.change("bergen")
    assert bench.standing.sites["bergen"].outcome == "changed"
    assert bench.standing.sites["bergen"].before == "theirs"


def fails() -> None:
    raise ExecutionError("ansible-runner died", context="rc 250")


def test_of_work_that_could_not_be_started_nobody_knows() -> None:
    bench, door = with_a_door()
    door.before = fails
    bench.change()
    assert {site.outcome for site in bench.standing.sites.values()} == {"inconclusive"}
    assert bench.message("bergen") == "ansible-runner died (rc 250)"
    assert all(site.is_unknown for site in bench.standing.sites.values())
    assert len(bench.record.ended) == 3
    assert bench.claims.taken == set()


def changed() -> tuple[Bench, Door]:
    bench, door = with_a_door()
    bench.change()
    bench.journal.append(NewEvent("rollout-halted", body={"why": "", "undo_rings": ["all"]}))
    bench.standing.learn(bench.journal.events(after=bench.standing.number))
    bench.servers.calls.clear()
    bench.told.clear()
    return bench, door


def test_sites_are_brought_back_in_one_call() -> None:
    bench, _ = changed()
    assert bench.undo() == [
        *[("undo-intended", name, "") for name in ("altena", "heusden", "bergen")],
        *[("undo-ended", name, "changed") for name in ("altena", "heusden", "bergen")],
    ]
    assert bench.calls() == ["probe web1 web2", "rollback web1 web2"]
    assert bench.live() == dict.fromkeys(SITES, "1.0.0")
    assert list(bench.standing.to_undo()) == []
    assert bench.told[-1] == "bergen (web2): undone"
    assert bench.record.runs[-1] == (SITES, "")


def test_what_would_lose_data_is_not_brought_back() -> None:
    bench, _ = changed()
    bench.on("bergen").losses = {"posts": {}}
    bench.undo()
    assert bench.standing.sites["bergen"].undo == "failed"
    assert bench.standing.sites["bergen"].undo_message == "it would lose data"
    assert "bergen (web2): not undone, failed: it would lose data" in bench.told
    assert bench.live() == {"altena": "1.0.0", "bergen": "2.0.0", "heusden": "1.0.0"}


def test_what_somebody_else_has_is_not_brought_back_yet() -> None:
    bench, _ = changed()
    bench.claims.held = {"bergen": "anna is at work on it"}
    bench.servers.servers["web1"].unreachable = "no route to host"
    assert bench.undo() == [
        ("undo-ended", "bergen", "busy"),
        ("undo-ended", "altena", "unreachable"),
        ("undo-ended", "heusden", "unreachable"),
    ]
    assert {site.site for site in bench.standing.to_undo()} == set(SITES)


def test_an_undo_that_was_cut_off_is_seen() -> None:
    bench, door = changed()
    door.after = die
    killed(bench, bench.undo)
    door.after = nothing
    assert bench.undo() == [("undo-ended", name, "ok") for name in SITES]
    assert bench.calls()[-2:] == ["fence web1 web2", "probe web1 web2"]


def test_of_an_undo_that_could_not_be_started_nobody_knows() -> None:
    bench, door = changed()
    door.before = fails
    bench.undo()
    assert {site.undo for site in bench.standing.sites.values()} == {"inconclusive"}
    assert {site.site for site in bench.standing.to_undo()} == set(SITES)


def test_looking_after_a_soak_writes_down_what_is_wrong() -> None:
    bench = once_live()
    bench.change()
    assert bench.check() == {}
    bench.on("bergen").drift = [{"what": "plugin news"}]
    bench.fleet = replace(bench.fleet, servers={"web2": bench.fleet.servers["web2"]})
    assert bench.check() == {
        "altena": "it is not in servers.yml any more",
        "bergen": "after the soak it differs: plugin news",
        "heusden": "it is not in servers.yml any more",
    }
    assert bench.standing.sites["bergen"].outcome == "failed"


def test_each_turn_says_which_attempt_it_was() -> None:
    """Whoever tells of the last one only, as the rollout itself tries again, has to know it."""
    bench = once_live()
    bench.claims.held = {"altena": "a colleague"}
    said = []
    for doing in (bench.change, bench.change, bench.undo):
        doing("altena")
        said.append(bench.journal.written[-1].body["attempt"])
    assert said == [1, 2, 1]
    bench.servers.servers["web1"].unreachable = "gone"
    bench.check("altena")
    bench.check("altena")
    assert bench.journal.written[-1].body["problems"]["altena"]["attempt"] == 2


def test_many_servers_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("owc_deploy.rollout.hands.LOOKS_AT_ONCE", 1)
    bench = once_live()
    bench.change()
    bench.servers.calls.clear()
    for name in SITES:
        bench.on(name).drift = [{"what": "theme"}]
    assert set(bench.check()) == set(SITES)
    assert bench.calls() == ["probe web1", "probe web2"]
    assert set(bench.journal.written[-1].body["sites"]) == set(SITES)


def test_nothing_to_look_at_is_nothing_wrong() -> None:
    bench = once_live()
    bench.hands.check(bench.standing, "all", ())
    assert bench.calls() == []
    assert bench.journal.written[-1].body == {"ring": "all", "sites": [], "problems": {}}
