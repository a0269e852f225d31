"""Which leases a plan needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.rollout.test_apply import two_servers

from owc_deploy.plan.models import Plan, ServerPlan, SitePlan
from owc_deploy.rollout.names import plan_names, server_names

EMPTY = Plan("", "", "fleet", {}, (), ())


@pytest.mark.parametrize(
    ("servers", "sites", "names"),
    [
        ((), (), set()),
        ((), (SitePlan("altena", "web1", "", "update"),), {"site/altena"}),
        ((), (SitePlan("altena", "web1", "", "none"),), set()),
        ((), (SitePlan("gone", "web1", "", "decommission"),), {"site/gone"}),
        ((), (SitePlan("stranger", "web1", "", "held"),), set()),
        ((ServerPlan("web2", "none"), ServerPlan("web1", "unreachable")), (), set()),
        (
            (ServerPlan("web1", "provision"),),
            (SitePlan("heusden", "web2", "", "create"),),
            {"server/web1", "site/altena", "site/zundert", "site/heusden"},
        ),
    ],
    ids=["nothing", "changes", "stays", "leaves", "held", "no server", "a server and its sites"],
)
def test_what_is_changed_is_held_and_nothing_else(
    servers: tuple[ServerPlan, ...], sites: tuple[SitePlan, ...], names: set[str]
) -> None:
    plan = replace(EMPTY, servers=servers, sites=sites)
    assert plan_names(two_servers(), plan) == names


def test_a_server_without_sites() -> None:
    assert server_names(two_servers(), ["web3"]) == {"server/web3"}
