"""What `owc-deploy apply` leaves in the history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.fleet import FleetSimulator
from unit.cli.sessions import session, two_servers

from owc_deploy.cli.apply import carry_out
from owc_deploy.cli.plan import planned
from owc_deploy.fleet.models import Fleet
from owc_deploy.store import open_store


@pytest.fixture
def servers() -> FleetSimulator:
    return FleetSimulator(["web1", "web2"])


def apply(fleet: Fleet, servers: FleetSimulator) -> int:
    opened = session(fleet, servers)
    plan = planned(opened, (), ())
    words = {"output_format": "json", "reason": ""}
    return carry_out(opened, plan, yes=True, take_over=False, **words)


def history(fleet: Fleet) -> list[tuple[str, str]]:
    """Return (site, outcome), the newest first."""
    recorded = open_store(fleet.settings.state).history.outcomes()
    return [(outcome.site, outcome.outcome) for outcome in recorded]


BOTH = [("altena", "changed"), ("heusden", "changed")]


def test_nothing_to_do_leaves_no_trace_but_says_how_it_is(
    tmp_path: Path, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = two_servers(tmp_path)
    assert apply(fleet, servers) == 0
    capsys.readouterr()
    assert apply(fleet, servers) == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["outcome"] for item in document["outcomes"]] == ["ok", "ok"]
    assert history(fleet) == BOTH
    assert len(open_store(fleet.settings.state).history.runs()) == 1


def test_only_the_sites_that_something_is_done_to_are_remembered(
    tmp_path: Path, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(two_servers(tmp_path), servers)
    fleet = two_servers(tmp_path, news="2.0.0")
    capsys.readouterr()
    assert apply(fleet, servers) == 0
    assert len(json.loads(capsys.readouterr().out)["outcomes"]) == 2
    assert history(fleet) == [("altena", "changed"), *BOTH]


def test_a_server_out_of_reach_is_a_failure_though_nothing_was_to_do(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    fleet = two_servers(tmp_path)
    apply(fleet, servers)
    servers.servers["web2"].unreachable = "no route to host"
    assert apply(fleet, servers) == 1
    assert history(fleet) == BOTH
