"""`owc-deploy plan`: which servers are looked at, and what is said when not all could be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from fakes.fleet import FleetSimulator
from unit.cli.sessions import probes, session, two_servers

from owc_deploy.cli.apply import carry_out
from owc_deploy.cli.plan import exit_code, outside_window, planned
from owc_deploy.cli.plan_view import print_plan
from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import FreezeDays


@pytest.fixture
def servers() -> FleetSimulator:
    return FleetSimulator(["web1", "web2"])


def apply_all(root: Path, servers: FleetSimulator) -> None:
    opened = session(two_servers(root), servers)
    plan = planned(opened, (), ())
    words = {"output_format": "json", "reason": ""}
    assert carry_out(opened, plan, yes=True, take_over=False, **words) == 0
    servers.calls.clear()


def test_for_a_named_site_only_its_own_server_is_looked_at(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    apply_all(tmp_path, servers)
    plan = planned(session(two_servers(tmp_path), servers), ("heusden",), ())
    assert probes(servers) == [("web2",)]
    assert [server.server for server in plan.servers] == ["web2"]


def test_a_named_site_that_would_be_created_is_looked_for_everywhere(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    plan = planned(session(two_servers(tmp_path), servers), ("heusden",), ())
    assert probes(servers) == [("web2",), ("web1",)]
    assert plan.sites[0].action == "create"
    assert [server.server for server in plan.servers] == ["web2"]


@pytest.mark.parametrize("named", [(), ("heusden",)])
def test_a_site_that_moved_is_not_made_twice(
    tmp_path: Path, servers: FleetSimulator, named: tuple[str, ...]
) -> None:
    apply_all(tmp_path, servers)
    plan = planned(session(two_servers(tmp_path, moved=True), servers), named, ())
    moved = next(site for site in plan.sites if site.site == "heusden")
    assert moved.action == "not-attempted"
    assert "live on web2" in moved.reason
    assert exit_code(plan) == 1


def test_a_wrong_name_to_take_off_the_air_is_refused(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    apply_all(tmp_path, servers)
    with pytest.raises(UsageError, match="huesden: it is not live on any server"):
        planned(session(two_servers(tmp_path), servers), ("altena",), ("huesden",))
    assert probes(servers) == [("web1", "web2")]


@pytest.mark.parametrize(
    ("away", "code", "silent"),
    [((), 0, True), (("web1",), 1, False), (("web1", "web2"), 1, False)],
    ids=["all there", "one away", "all away"],
)
def test_nothing_to_do_is_only_said_when_it_is_known(
    tmp_path: Path,
    servers: FleetSimulator,
    capsys: pytest.CaptureFixture[str],
    away: tuple[str, ...],
    code: int,
    silent: bool,
) -> None:
    apply_all(tmp_path, servers)
    for name in away:
        servers.servers[name].unreachable = "no route to host"
    plan = planned(session(two_servers(tmp_path), servers), (), ())
    capsys.readouterr()
    print_plan(plan)
    assert not plan.has_changes
    assert exit_code(plan) == code
    assert ("Nothing to do." in capsys.readouterr().out) is silent


@pytest.mark.parametrize(
    ("news", "away", "codes"),
    [
        ("1.0.0", False, (0, 0)),
        ("2.0.0", False, (0, 10)),
        ("1.0.0", True, (1, 1)),
        ("2.0.0", True, (1, 10)),
    ],
    ids=["nothing", "changes", "one away", "changes and one away"],
)
def test_exit_codes(
    tmp_path: Path, servers: FleetSimulator, news: str, away: bool, codes: tuple[int, int]
) -> None:
    apply_all(tmp_path, servers)
    servers.servers["web2"].unreachable = "no route to host" if away else ""
    plan = planned(session(two_servers(tmp_path, news=news), servers), (), ())
    assert (exit_code(plan), exit_code(plan, detailed=True)) == codes


def test_which_sites_that_would_change_are_outside_their_window(
    tmp_path: Path, servers: FleetSimulator
) -> None:
    opened = session(two_servers(tmp_path), servers)
    frozen = FreezeDays(date(2026, 12, 24), date(2026, 12, 24), "closed")
    settings = replace(opened.fleet.settings, freeze_days=(frozen,))
    fleet = replace(opened.fleet, settings=settings)
    plan = planned(opened, ("heusden",), ())
    # Midnight is 23:00 UTC in winter.
    assert outside_window(fleet, plan, datetime(2026, 12, 23, 22, 59, tzinfo=UTC)) == []
    assert outside_window(fleet, plan, datetime(2026, 12, 23, 23, 0, tzinfo=UTC)) == ["heusden"]
    apply_all(tmp_path, servers)
    unchanged = planned(session(two_servers(tmp_path), servers), ("heusden",), ())
    assert outside_window(fleet, unchanged, datetime(2026, 12, 24, 12, 0, tzinfo=UTC)) == []
