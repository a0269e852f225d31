from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.fleet import FleetSimulator, SimulatedServer, fences
from unit.plan.examples import NOW, catalogue, fleet, lock, manifest, sha256

from owc_deploy.errors import ExecutionError, PlanStaleError
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.execution.ports import Fences, ProgressCallback, ReleaseRequest, ServerOutcome
from owc_deploy.fleet.models import Fleet, SecretReference, Server, SiteServers, Tls
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.models import Plan, SiteOutcome
from owc_deploy.rollout.apply import Applied, apply_plan, check_plan
from owc_deploy.rollout.observe import observe
from owc_deploy.rollout.secrets import supplied_chains

SITES = ("altena", "heusden", "zundert")


def two_servers(*, news: str = "1.0.0", **changes: Any) -> Fleet:
    """Altena and zundert on web1, heusden (in the canary ring) on web2."""
    manifests = (
        manifest("altena"),
        manifest("heusden", ring="canary", servers=SiteServers(("web2",), ("web2",))),
        manifest("zundert", **changes),
    )
    made = fleet(*manifests, locks=tuple(lock(site, news) for site in SITES))
    servers = {name: Server(name, ("web", "database"), ("8.2",)) for name in ("web1", "web2")}
    return replace(made, servers=servers)


def planned(made: Fleet, simulator: FleetSimulator, wishes: Wishes | None = None) -> Plan:
    servers = tuple(made.servers.values())
    return make_plan(
        made,
        catalogue(),
        observe(simulator, servers),
        {server.name: provision_fingerprint(server) for server in servers},
        wishes or Wishes(),
        supplied_chains(made),
        NOW,
    )


def applied(
    made: Fleet, simulator: FleetSimulator, plan: Plan | None = None
) -> tuple[Applied, list[SiteOutcome]]:
    recorded: list[SiteOutcome] = []
    plan = plan or planned(made, simulator)
    mine = fences(*SITES)
    return apply_plan(made, simulator, plan, recorded.append, lambda: NOW, fences=mine), recorded


def words(result: Applied) -> dict[str, str]:
    return {outcome.site: outcome.outcome for outcome in result.outcomes}


@pytest.fixture
def simulator() -> FleetSimulator:
    return FleetSimulator({"web1": SimulatedServer(), "web2": SimulatedServer()})


def test_servers_are_prepared_then_rings_in_their_order(simulator: FleetSimulator) -> None:
    result, recorded = applied(two_servers(), simulator)
    assert words(result) == dict.fromkeys(SITES, "changed")
    assert result.succeeded
    changing = [call for call in simulator.calls if call[0] != "probe"]
    assert changing == [
        ("provision", ("web1", "web2")),
        ("release", ("web2",)),
        ("release", ("web1",)),
    ]
    assert [outcome.site for outcome in recorded] == ["heusden", "altena", "zundert"]


def test_sites_in_no_ring_come_last(simulator: FleetSimulator) -> None:
    made = two_servers(ring="", environment="test")
    result, recorded = applied(made, simulator)
    assert result.succeeded
    assert [outcome.site for outcome in recorded] == ["heusden", "altena", "zundert"]
    assert [call for call in simulator.calls if call[0] == "release"] == [
        ("release", ("web2",)),
        ("release", ("web1",)),
        ("release", ("web1",)),
    ]


def test_nothing_to_do_means_nothing_done(simulator: FleetSimulator) -> None:
    applied(two_servers(), simulator)
    before = len(simulator.calls)
    result, _ = applied(two_servers(), simulator)
    assert words(result) == dict.fromkeys(SITES, "ok")
    assert [call[0] for call in simulator.calls[before:]] == ["probe"]


def test_one_site_that_fails_leaves_the_others_alone(simulator: FleetSimulator) -> None:
    simulator.script("altena", "rolled-back")
    result, _ = applied(two_servers(), simulator)
    assert words(result) == {"altena": "rolled-back", "heusden": "changed", "zundert": "changed"}
    assert not result.succeeded


def test_a_server_that_cannot_be_prepared_costs_its_own_sites(simulator: FleetSimulator) -> None:
    simulator.servers["web1"].provision_error = "the disk is full"
    result, _ = applied(two_servers(), simulator)
    assert words(result) == {
        "altena": "not-attempted",
        "heusden": "changed",
        "zundert": "not-attempted",
    }
    assert "the disk is full" in result.outcomes[-1].message
    assert not result.succeeded


def test_a_server_out_of_reach_is_never_counted_as_success(simulator: FleetSimulator) -> None:
    simulator.servers["web2"].unreachable = "no route to host"
    result, _ = applied(two_servers(), simulator)
    assert words(result)["heusden"] == "unreachable"
    assert not result.succeeded


def test_every_server_ends_up_with_what_its_sites_are_made_of(simulator: FleetSimulator) -> None:
    made = two_servers(ring="canary")
    result, _ = applied(made, simulator)
    assert result.succeeded
    for server in simulator.servers.values():
        assert server.store == {sha256(number) for number in (10, 11, 12, 13, 20)}


@pytest.mark.parametrize(
    "changed",
    [two_servers(title="Anders", sha256=sha256(7)), two_servers(news="2.0.0")],
    ids=["manifest", "lock"],
)
def test_a_plan_whose_documents_moved_is_refused(simulator: FleetSimulator, changed: Fleet) -> None:
    plan = planned(two_servers(), simulator)
    check_plan(two_servers(), catalogue(), plan)
    with pytest.raises(PlanStaleError, match="changed since"):
        check_plan(changed, catalogue(), plan)
    with pytest.raises(PlanStaleError, match="catalogue"):
        check_plan(two_servers(), replace(catalogue(), sha256=sha256(3)), plan)


def test_a_site_that_moved_on_since_the_plan_is_refused_by_its_server(
    simulator: FleetSimulator,
) -> None:
    applied(two_servers(), simulator)
    newer = two_servers(news="2.0.0")
    plan = planned(newer, simulator)
    applied(newer, simulator)
    result, _ = applied(newer, simulator, plan)
    assert set(words(result).values()) == {"failed"}


def test_taking_a_site_off_the_air(simulator: FleetSimulator) -> None:
    applied(two_servers(), simulator)
    rest = two_servers()
    manifests = {name: item for name, item in rest.manifests.items() if name != "zundert"}
    rest = replace(rest, manifests=manifests)
    result, _ = applied(rest, simulator)
    assert "zundert" not in words(result)
    plan = planned(rest, simulator, Wishes(decommission=frozenset({"zundert"})))
    result, _ = applied(rest, simulator, plan)
    assert words(result)["zundert"] == "changed"
    assert simulator.servers["web1"].sites["zundert"].decommissioned


class BrokenDoor(FleetSimulator):
    """A simulator in front of which Ansible itself breaks down when it comes to certain servers."""

    release_breaks_at = ""
    provision_breaks = False

    def release(
        self,
        requests: Mapping[str, ReleaseRequest],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        if self.release_breaks_at in requests:
            raise ExecutionError("ansible-runner died", context="rc 250")
        return super().release(requests, fences=fences, on_progress=on_progress)

    def provision(
        self, fingerprints: Mapping[str, str], *, on_progress: ProgressCallback | None = None
    ) -> tuple[ServerOutcome, ...]:
        if self.provision_breaks:
            raise ExecutionError("ansible-runner died")
        return super().provision(fingerprints, on_progress=on_progress)


@pytest.mark.parametrize(
    ("breaks_at", "expected"),
    [
        (
            "web1",
            {"heusden": "changed", "altena": "inconclusive", "zundert": "inconclusive"},
        ),
        (
            "web2",
            {"heusden": "inconclusive", "altena": "not-attempted", "zundert": "not-attempted"},
        ),
    ],
    ids=["the last ring", "the first ring"],
)
def test_a_ring_that_cannot_be_carried_out_loses_no_outcome(
    breaks_at: str, expected: dict[str, str]
) -> None:
    door = BrokenDoor(["web1", "web2"])
    door.release_breaks_at = breaks_at
    result, recorded = applied(two_servers(), door)
    assert words(result) == expected
    assert len(recorded) == len(expected)
    assert not result.succeeded
    messages = {outcome.outcome: outcome.message for outcome in recorded}
    assert messages["inconclusive"] == "ansible-runner died (rc 250)"
    if "not-attempted" in messages:
        assert messages["not-attempted"] == "an earlier ring could not be carried out"


def test_nothing_leaves_the_air_after_a_ring_that_could_not_be_carried_out() -> None:
    door = BrokenDoor(["web1", "web2"])
    applied(two_servers(), door)
    rest = two_servers(news="2.0.0")
    rest = replace(
        rest, manifests={name: item for name, item in rest.manifests.items() if name != "zundert"}
    )
    door.release_breaks_at = "web1"
    plan = planned(rest, door, Wishes(frozenset(rest.manifests), frozenset({"zundert"})))
    result, _ = applied(rest, door, plan)
    assert words(result) == {
        "altena": "inconclusive",
        "heusden": "changed",
        "zundert": "not-attempted",
    }
    assert not door.servers["web1"].sites["zundert"].decommissioned


def test_servers_that_could_not_even_be_begun_are_failed() -> None:
    door = BrokenDoor(["web1", "web2"])
    door.provision_breaks = True
    result, _ = applied(two_servers(), door)
    assert [(server.server, server.status) for server in result.servers] == [
        ("web1", "failed"),
        ("web2", "failed"),
    ]
    assert set(words(result).values()) == {"not-attempted"}
    assert "ansible-runner died" in result.outcomes[0].message


def test_a_certificate_that_cannot_be_supplied_costs_its_own_site(
    simulator: FleetSimulator, tmp_path: Path
) -> None:
    tls = Tls("supplied", certificate="tls/zundert.pem", private_key=SecretReference("zundert"))
    made = replace(two_servers(tls=tls), root=tmp_path)
    result, _ = applied(made, simulator)
    assert words(result) == {
        "altena": "changed",
        "heusden": "changed",
        "zundert": "not-attempted",
    }
    assert "tls/zundert.pem will not do: cannot be read" in result.outcomes[-1].message
    assert "zundert" not in simulator.servers["web1"].sites


def test_an_outcome_tells_which_versions_are_live(simulator: FleetSimulator) -> None:
    made = two_servers()
    first, _ = applied(made, simulator)
    again, _ = applied(made, simulator)
    for outcome in (*first.outcomes, *again.outcomes):
        assert outcome.details["versions"]["news"] == "1.0.0"


def test_a_site_that_somebody_has_taken_over_is_busy_and_costs_no_other(
    simulator: FleetSimulator,
) -> None:
    applied(two_servers(), simulator)
    (newer,) = fences("zundert", token=9).values()
    simulator.servers["web1"].sites["zundert"].fence = newer
    result, _ = applied(two_servers(news="2.0.0"), simulator)
    assert words(result) == {"altena": "changed", "heusden": "changed", "zundert": "busy"}
    assert "anna@controller:9, has taken this site over" in result.outcomes[-1].message
