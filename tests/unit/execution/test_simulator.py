"""The simulator keeps to the port, and behaves as the servers do where rollouts depend on it."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.fleet import FleetSimulator, fences

from owc_deploy.execution.ports import (
    DecommissionRequest,
    Executor,
    Progress,
    ReleaseRequest,
    RollbackRequest,
    SiteSecret,
)
from owc_deploy.fleet.models import Server
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.plan.models import ObservedServer, SiteOutcome
from owc_deploy.plan.specification import canonical_sha256

WEB1 = Server("web1", ("web",), ())
MINE = fences("a-site", token=5)


@pytest.fixture
def fleet() -> FleetSimulator:
    return FleetSimulator([WEB1, "web2"])


def specification(site: str, **extra: Any) -> dict[str, Any]:
    return {"site": site, "blocks": [], "theme": {"folder": "t"}, **extra}


def release(
    fleet: FleetSimulator, site: str, release_id: str, observed: str = "", **extra: Any
) -> SiteOutcome:
    executor: Executor = fleet
    sent = {
        **specification(site, **extra),
        "release_id": release_id,
        "observed_release": observed,
        "migrations": [],
    }
    secrets = (SiteSecret(site, "tls/fullchain.pem", Sensitive("PEM")),)
    (outcome,) = executor.release(
        {"web1": ReleaseRequest((sent,), artefacts=("a",), secrets=secrets)}, fences=MINE
    )
    return outcome


def observed(fleet: FleetSimulator) -> ObservedServer:
    (seen,) = fleet.probe((WEB1,))
    return seen


def test_a_release_is_seen_by_the_next_probe(fleet: FleetSimulator) -> None:
    outcome = release(fleet, "a-site", "r1")
    assert (outcome.outcome, outcome.release_id, outcome.previous_release_id) == (
        "changed",
        "r1",
        "",
    )
    seen = observed(fleet)
    site = seen.sites["a-site"]
    assert seen.store == {"a"}
    assert site["release_id"] == "r1"
    assert site["specification"] == specification("a-site")
    assert site["specification_sha256"] == canonical_sha256(specification("a-site"))
    assert site["certificate"] == "PEM"


def test_a_stale_plan_is_refused(fleet: FleetSimulator) -> None:
    release(fleet, "a-site", "r1")
    outcome = release(fleet, "a-site", "r2", observed="r0")
    assert outcome.outcome == "failed"
    assert outcome.message == "the plan is stale: live is r1, the plan saw r0"
    assert observed(fleet).sites["a-site"]["release_id"] == "r1"


def test_a_scripted_failure_happens_once_and_leaves_what_is_live(fleet: FleetSimulator) -> None:
    release(fleet, "a-site", "r1")
    fleet.script("a-site", "rolled-back", "the gate said no")
    outcome = release(fleet, "a-site", "r2", "r1")
    assert (outcome.outcome, outcome.message) == ("rolled-back", "the gate said no")
    assert release(fleet, "a-site", "r3", "r1").outcome == "changed"


def test_rollback_and_decommission(fleet: FleetSimulator) -> None:
    release(fleet, "a-site", "r1")
    release(fleet, "a-site", "r2", "r1")
    (back,) = fleet.rollback({"web1": (RollbackRequest("a-site", "r1", "r2"),)}, fences=MINE)
    assert (back.outcome, back.release_id) == ("changed", "r1")
    (absent,) = fleet.rollback({"web1": (RollbackRequest("a-site", "r9", "r1"),)}, fences=MINE)
    assert absent.outcome == "failed"
    (gone,) = fleet.decommission({"web1": (DecommissionRequest("a-site", "r1"),)}, fences=MINE)
    assert gone.outcome == "changed"
    assert observed(fleet).sites["a-site"]["decommissioned"]


def test_an_unreachable_server_answers_for_each_of_its_sites(fleet: FleetSimulator) -> None:
    fleet.servers["web1"].unreachable = "no route"
    told: list[Progress] = []
    assert release(fleet, "a-site", "r1").outcome == "unreachable"
    assert fleet.provision({"web1": "f", "web2": "f"}, on_progress=told.append)[0].status == (
        "unreachable"
    )
    assert observed(fleet).unreachable == "no route"
    assert Progress("web1", "provision", "unreachable") in told
    assert [method for method, _ in fleet.calls] == ["release", "provision", "probe"]


def test_an_older_controller_is_refused_and_hears_of_whom(fleet: FleetSimulator) -> None:
    assert release(fleet, "a-site", "r1").outcome == "changed"
    asked = {"web1": ("a-site",)}
    newer = fences("a-site", token=6)
    assert fleet.fence(asked, fences=newer)[0].newer is None
    assert release(fleet, "a-site", "r2", "r1").outcome == "busy"
    assert fleet.fence(asked, fences=MINE)[0].newer == newer["a-site"]
    (closed,) = fleet.mitigate({"web1": {"a-site": []}}, fences=MINE)
    assert closed.outcome == "changed"
