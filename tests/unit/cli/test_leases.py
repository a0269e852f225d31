"""One owner per site: what verbs hold, whom they refuse, and what they say when they take over."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fleet import FleetSimulator, SimulatedSite, fences
from sqlalchemy import update
from unit.cli.sessions import session, two_servers

from owc_deploy.cli.apply import carry_out
from owc_deploy.cli.plan import planned
from owc_deploy.cli.record import claimed, recorded, settled
from owc_deploy.cli.rollback import Wish, go_back
from owc_deploy.errors import LeaseHeldError
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Plan, SiteOutcome
from owc_deploy.rollout import takeover
from owc_deploy.store import Store, open_store
from owc_deploy.store.models import Intent
from owc_deploy.store.tables import leases

OLD, NEW = "20261101T000000Z-aaaaaaaa", "20261102T000000Z-bbbbbbbb"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> FleetSimulator:
    monkeypatch.setattr(takeover, "_POLL_SECONDS", 0.0)
    return FleetSimulator(["web1", "web2"])


def store_of(fleet: Fleet) -> Store:
    return open_store(fleet.settings.state)


def apply(
    fleet: Fleet, servers: FleetSimulator, *, take_over: bool = False, saved: bool = False
) -> int:
    opened = session(fleet, servers)

    def again() -> Plan:
        return planned(opened, (), ())

    return carry_out(
        opened,
        again(),
        again=None if saved else again,
        output_format="json",
        yes=True,
        reason="",
        take_over=take_over,
    )


def dies_while_holding(fleet: Fleet, *names: str, verb: str = "apply") -> None:
    """Leave what a controller leaves that was killed in the middle of a run."""
    store = store_of(fleet)
    claim = store.claim(*names, reason=verb)
    claim.take(names)
    run = store.history.begin_run(
        verb=verb,
        operator="bo@laptop",
        intents=[Intent(site, "web1") for site in ("altena", "heusden")],
        fencing_token=claim.first_token,
    )
    store.history.record_outcome(run, SiteOutcome("heusden", "web2", "changed"))
    with store._database.writing() as connection:
        # No process began before the machine did.
        connection.execute(update(leases).values(process_started="0"))


def test_work_on_another_site_goes_on_beside(tmp_path: Path, servers: FleetSimulator) -> None:
    fleet = two_servers(tmp_path)
    apply(fleet, servers)
    with store_of(fleet).claim("site/heusden", reason="apply"):
        assert apply(two_servers(tmp_path, news="2.0.0"), servers) == 0


def test_the_same_site_is_refused_with_whose_it_is(tmp_path: Path, servers: FleetSimulator) -> None:
    fleet = two_servers(tmp_path)
    with (
        store_of(fleet).claim("site/heusden", reason="update: advisory 12"),
        pytest.raises(LeaseHeldError) as caught,
    ):
        apply(fleet, servers)
    assert "is changing site heusden since" in caught.value.message
    assert "update: advisory 12" in caught.value.message
    assert [method for method, _ in servers.calls] == ["probe"]


def test_what_is_prepared_is_held_with_its_sites(tmp_path: Path, servers: FleetSimulator) -> None:
    fleet = two_servers(tmp_path)
    # Both servers are new: altena could be created, but its server is being prepared.
    with (
        store_of(fleet).claim("server/web1", reason="provision"),
        pytest.raises(LeaseHeldError, match="server web1"),
    ):
        apply(fleet, servers)


def test_each_site_is_worked_on_under_its_own_token(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    fleet = two_servers(tmp_path)
    apply(fleet, servers)
    first = servers.servers["web1"].sites["altena"].fence
    assert first is not None
    assert servers.servers["web2"].sites["heusden"].fence == first
    apply(two_servers(tmp_path, news="2.0.0"), servers)
    second = servers.servers["web1"].sites["altena"].fence
    assert second == replace(first, token=first.token + 1)
    assert servers.servers["web2"].sites["heusden"].fence == first


def dead_apply(fleet: Fleet, servers: FleetSimulator, moved: Callable[[Path], Fleet]) -> Fleet:
    """Let an apply die while altena waits to be confirmed; return the fleet that is wanted now."""
    apply(fleet, servers)
    site = servers.servers["web1"].sites["altena"]
    before = site.current
    site.releases[NEW] = {**site.releases[before], "title": "unfinished"}
    site.current, site.transaction, site.provisional = NEW, NEW, True
    servers.ending["altena"] = before
    dies_while_holding(fleet, "site/altena", "site/heusden")
    servers.calls.clear()
    return moved(fleet.root)


def test_whoever_takes_over_hears_what_was_done_and_plans_from_what_is_live_then(
    tmp_path: Path, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = dead_apply(two_servers(tmp_path), servers, lambda root: two_servers(root, news="2.0.0"))
    capsys.readouterr()
    assert apply(fleet, servers) == 0
    told = capsys.readouterr()
    assert "taking over site altena from " in told.err
    assert "that process is gone" in told.err
    assert "altena: how it ended is not known" in told.err
    assert "heusden: changed" in told.err
    assert f"altena: {NEW} waits to be confirmed" in told.err
    assert "planning again" in told.err
    outcomes = {item["site"]: item for item in json.loads(told.out)["outcomes"]}
    assert outcomes["altena"]["outcome"] == "changed"
    assert outcomes["altena"]["previous_release_id"] not in ("", NEW)
    assert [method for method, _ in servers.calls] == [
        "probe",
        "fence",
        "fence",
        "probe",
        "release",
    ]


def test_a_saved_plan_is_not_made_anew_but_refused_by_the_server(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    fleet = dead_apply(two_servers(tmp_path), servers, lambda root: two_servers(root, news="2.0.0"))
    assert apply(fleet, servers, saved=True) == 1
    assert [method for method, _ in servers.calls] == ["probe", "fence", "fence", "release"]


def test_what_was_cancelled_is_ended_first_though_its_lease_was_given_back(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    fleet = two_servers(tmp_path)
    apply(fleet, servers)
    site = servers.servers["web1"].sites["altena"]
    live = site.current
    site.transaction = NEW
    assert apply(fleet, servers) == 0
    # After that there was nothing left to do.
    assert (site.current, site.transaction) == (live, "")
    assert len(store_of(fleet).history.runs()) == 1


def test_another_store_s_controller_is_left_alone_unless_that_is_insisted_on(
    tmp_path: Path, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(two_servers(tmp_path), servers)
    fleet = two_servers(tmp_path, news="2.0.0")
    site = servers.servers["web1"].sites["altena"]
    (site.fence,) = fences("altena", store="another").values()
    site.transaction = NEW
    assert apply(fleet, servers) == 1
    assert "anna@controller:1 is changing it" in capsys.readouterr().err
    assert site.transaction == NEW
    assert apply(fleet, servers, take_over=True) == 0


def test_a_store_that_was_put_back_is_refused_until_it_is_told_to_take_over(
    tmp_path: Path, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(two_servers(tmp_path), servers)
    fleet = two_servers(tmp_path, news="2.0.0")
    site = servers.servers["web1"].sites["altena"]
    assert site.fence is not None
    site.fence = replace(site.fence, token=70)
    capsys.readouterr()
    assert apply(fleet, servers) == 1
    assert json.loads(capsys.readouterr().out)["outcomes"][0]["outcome"] == "busy"
    assert apply(fleet, servers, take_over=True) == 0
    assert "remember a later state of the history store" in capsys.readouterr().err
    assert site.fence is not None
    assert site.fence.token == 71
    with store_of(fleet).claim("site/altena", reason="next") as claim:
        assert claim.fences()["altena"].token > 71


def test_going_back_ends_what_was_begun(tmp_path: Path, servers: FleetSimulator) -> None:
    fleet = two_servers(tmp_path)
    site = SimulatedSite(NEW, {OLD: {}, NEW: {}})
    servers.servers["web1"].sites["altena"] = site
    site.transaction = "t1"
    assert go_back(fleet, servers, Wish("altena", yes=True)) == 0
    assert [method for method, _ in servers.calls] == [
        "probe",
        "fence",
        "fence",
        "rollback",
    ]
    assert site.current == OLD


def test_nobody_is_asked_where_nothing_was_begun(tmp_path: Path, servers: FleetSimulator) -> None:
    fleet = two_servers(tmp_path)
    with claimed(fleet, "apply", ["site/altena"], reason="", take_over=False) as held:
        assert settled(held, servers, {"altena": "web1"}) == frozenset()
    assert servers.calls == []


def test_a_long_history_of_who_died_is_cut_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = two_servers(tmp_path)
    store = store_of(fleet)
    claim = store.claim(reason="roll out")
    claim.take(["site/altena"])
    intents = [Intent(f"site-{number}", "web1") for number in range(30)]
    store.history.begin_run(
        verb="apply", operator="bo", intents=intents, fencing_token=claim.first_token
    )
    with (
        claimed(fleet, "apply", ["site/altena"], reason="", take_over=True) as held,
        recorded(held, []),
    ):
        pass
    said = capsys.readouterr().err
    assert said.count("its apply of") == 20
    assert "and 10 more; see: owc-deploy history" in said
