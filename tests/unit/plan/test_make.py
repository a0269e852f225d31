from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.plan.examples import (
    LIVE,
    NOW,
    catalogue,
    fleet,
    live_site,
    lock,
    manifest,
    server,
    sha256,
)

from owc_deploy.errors import PlanStaleError, UsageError
from owc_deploy.fleet.models import Fleet, Redirect, SiteServers, Tls
from owc_deploy.plan.document import plan_from_text, plan_to_document
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.models import ObservedServer, Plan, PlannedMigration
from owc_deploy.plan.specification import canonical_sha256


def planned(fleet: Fleet, seen: ObservedServer, wishes: Wishes | None = None) -> Plan:
    return planned_on(fleet, (seen,), wishes)


def planned_on(
    fleet: Fleet, servers: tuple[ObservedServer, ...], wishes: Wishes | None = None
) -> Plan:
    observed = {seen.server: seen for seen in servers}
    fingerprints = dict.fromkeys(observed, "f")
    return make_plan(fleet, catalogue(), observed, fingerprints, wishes or Wishes(), {}, NOW)


def test_a_site_that_is_as_it_should_be_needs_nothing() -> None:
    plan = planned(
        fleet(manifest(), locks=(lock(),)), server({"heusden": live_site(manifest(), lock())})
    )
    assert [site.action for site in plan.sites] == ["none"]
    assert not plan.has_changes


def test_a_new_site_is_created_and_its_artefacts_are_sent_once() -> None:
    seen = server(store=frozenset({sha256(10)}))
    plan = planned(
        fleet(manifest(), manifest("altena"), locks=(lock(), lock("altena"))),
        seen,
    )
    assert [site.action for site in plan.sites] == ["create", "create"]
    assert plan.servers[0].artefacts == tuple(sha256(number) for number in (11, 12, 13, 20))


def test_an_update_says_what_changes_why_and_what_migrates() -> None:
    plan = planned(
        fleet(manifest(), locks=(lock(news="2.0.0"),)),
        server({"heusden": live_site(manifest(), lock())}),
    )
    site = plan.sites[0]
    assert site.action == "update"
    assert site.observed_release == LIVE
    assert site.migrations == (
        PlannedMigration("news", "1.0.0", "2.0.0", (("news", "migrate"),), reversible=False),
    )
    block = site.changes[0]
    assert (block.what, block.before, block.after) == ("plugin news", "1.0.0", "2.0.0")
    assert block.why == "the lock says so"


def test_a_repair_undoes_what_was_changed_on_the_server() -> None:
    drift = [{"what": "plugin news/news.php", "before": "active", "after": "inactive"}]
    plan = planned(
        fleet(manifest(), locks=(lock(),)),
        server({"heusden": live_site(manifest(), lock(), drift=drift)}),
    )
    assert plan.sites[0].action == "repair"
    assert plan.sites[0].changes[0].after == "active"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"title": "Heusden"}, "option blogname"),
        ({"settings": {"blogdescription": "x"}}, "option blogdescription"),
        ({"aliases": ("heusden.example",)}, "domains"),
        ({"redirects": (Redirect("/a", "/b"),)}, "file nginx.conf"),
        ({"locale": "en_US"}, "locale"),
        ({"releases_kept": 9}, "releases_kept"),
        ({"environment": "acceptance"}, "environment"),
    ],
)
def test_a_changed_manifest_is_an_update(change: dict[str, Any], what: str) -> None:
    plan = planned(
        fleet(manifest(**change), locks=(lock(),)),
        server({"heusden": live_site(manifest(), lock())}),
    )
    assert plan.sites[0].action == "update"
    assert what in [item.what for item in plan.sites[0].changes]


@pytest.mark.parametrize(
    ("locks", "reason"),
    [((), "owc-deploy lock heusden"), ((lock(manifest_sha256=sha256(9)),), "changed since")],
)
def test_a_site_without_a_fitting_lock_is_left_alone(locks: Any, reason: str) -> None:
    plan = planned(fleet(manifest(), locks=locks), server())
    assert plan.sites[0].action == "not-attempted"
    assert reason in plan.sites[0].reason
    assert not plan.has_changes


def test_an_unreachable_server_is_said_and_not_counted_as_done() -> None:
    plan = planned(fleet(manifest(), locks=(lock(),)), server(unreachable="no route"))
    assert plan.servers[0].action == "unreachable"
    assert plan.sites[0].action == "not-attempted"
    assert plan.sites[0].reason == "no route"


@pytest.mark.parametrize(
    ("provisioned", "action"), [("", "provision"), ("g", "provision"), ("f", "none")]
)
def test_a_server_is_prepared_when_its_fingerprint_differs(provisioned: str, action: str) -> None:
    plan = planned(fleet(), server(provisioned=provisioned))
    assert plan.servers[0].action == action


def test_a_site_that_no_manifest_names_is_held_until_it_is_named() -> None:
    seen = server({"weg": live_site(manifest("weg"), lock("weg"))})
    held = planned(fleet(), seen)
    assert held.sites[0].action == "held"
    assert "--decommission weg" in held.sites[0].reason
    assert not held.has_changes
    asked = planned(fleet(), seen, Wishes(decommission=frozenset({"weg"})))
    assert asked.sites[0].action == "decommission"
    assert asked.sites[0].observed_release == LIVE


def test_who_takes_a_site_off_the_air_does_not_ask_for_more() -> None:
    """Else it would change every other site that has something to come, outside its ring."""
    strangers = {name: live_site(manifest(name), lock(name)) for name in ("weg", "vreemd")}
    wishes = Wishes(decommission=frozenset({"weg"}))
    plan = planned(fleet(manifest(), locks=(lock(),)), server(strangers), wishes)
    assert [(site.site, site.action) for site in plan.sites] == [("weg", "decommission")]


def test_sites_stand_in_the_order_of_their_rings() -> None:
    plan = planned(
        fleet(
            manifest("altena"),
            manifest("zundert", ring="canary"),
            locks=(lock("altena"), lock("zundert")),
        ),
        server(),
    )
    assert [site.site for site in plan.sites] == ["zundert", "altena"]


def test_sites_in_no_ring_stand_last() -> None:
    plan = planned(
        fleet(
            manifest("altena", ring="", environment="test"),
            manifest("zundert"),
            locks=(lock("altena"), lock("zundert")),
        ),
        server(),
    )
    assert [(site.site, site.ring) for site in plan.sites] == [("zundert", "all"), ("altena", "")]


def test_an_internal_certificate_is_asked_for_when_there_is_none() -> None:
    wanted = manifest(tls=Tls("internal"))
    plan = planned(fleet(wanted, locks=(lock(),)), server({"heusden": live_site(wanted, lock())}))
    assert plan.sites[0].new_certificate
    assert plan.sites[0].changes[0].what == "certificate"


def test_the_same_question_gives_the_same_plan() -> None:
    arguments = (fleet(manifest(), locks=(lock(),)), server())
    assert planned(*arguments) == planned(*arguments)


def test_a_plan_is_known_by_the_hash_of_its_document() -> None:
    plan = planned(fleet(manifest(), locks=(lock(),)), server())
    document = {**plan_to_document(plan), "plan_id": ""}
    del document["schema_version"]
    assert plan.plan_id == canonical_sha256(document)


def test_a_plan_survives_being_saved_and_an_edited_one_is_refused() -> None:
    plan = planned(fleet(manifest(), locks=(lock(),)), server())
    document = plan_to_document(plan)
    assert plan_from_text(json.dumps(document)) == replace(
        plan, sites=plan_from_text(json.dumps(document)).sites
    )
    document["sites"][0]["server"] = "web2"
    with pytest.raises(PlanStaleError):
        plan_from_text(json.dumps(document))
    with pytest.raises(UsageError):
        plan_from_text("{}")


KILLED = "transaction"


@pytest.mark.parametrize(
    ("seen", "news", "action", "whats"),
    [
        ({}, "1.0.0", "repair", [KILLED]),
        ({}, "2.0.0", "repair", [KILLED, "plugin news"]),
        ({"release_id": "", "specification": None}, "1.0.0", "create", [KILLED, "site"]),
    ],
    ids=["as it should be", "behind", "while it was made"],
)
def test_a_site_whose_transaction_was_killed_is_never_nothing_to_do(
    seen: dict[str, Any], news: str, action: str, whats: list[str]
) -> None:
    plan = planned(
        fleet(manifest(), locks=(lock(news=news),)),
        server({"heusden": live_site(manifest(), lock(), interrupted=True, **seen)}),
    )
    site = plan.sites[0]
    assert (site.action, plan.has_changes) == (action, True)
    assert [change.what for change in site.changes][: len(whats)] == whats
    assert (site.changes[0].before, site.changes[0].after) == ("interrupted", "undone")
    assert site.specification is not None
    assert bool(site.migrations) is (news == "2.0.0")


def test_a_site_that_somebody_is_changing_is_not_told_as_killed() -> None:
    seen = live_site(manifest(), lock(), interrupted=True, transaction="t1")
    plan = planned(fleet(manifest(), locks=(lock(),)), server({"heusden": seen}))
    (site,) = plan.sites
    assert (site.action, site.is_interrupted, site.is_under_way) == ("repair", True, True)
    assert (site.changes[0].before, site.changes[0].after) == ("under way", "over")


def test_a_release_that_cannot_be_read_is_made_anew() -> None:
    damaged = live_site(manifest(), lock(), specification=None, specification_sha256="")
    plan = planned(fleet(manifest(), locks=(lock(),)), server({"heusden": damaged}))
    assert plan.sites[0].action == "update"
    assert plan.sites[0].changes[0].before == "unreadable"


@pytest.mark.parametrize(
    ("old", "new", "action"),
    [
        (live_site(manifest(), lock()), None, "not-attempted"),
        (live_site(manifest(), lock(), release_id="", decommissioned=True), None, "create"),
        (live_site(manifest(), lock()), live_site(manifest(), lock()), "none"),
    ],
    ids=["live there", "taken off the air there", "live on both"],
)
def test_a_site_is_not_created_while_it_is_live_on_another_server(
    old: dict[str, Any], new: dict[str, Any] | None, action: str
) -> None:
    moved = manifest(servers=SiteServers(("web2",), ("web2",)))
    seen = (server({"heusden": old}), server({"heusden": new} if new else {}, server="web2"))
    site = planned_on(fleet(moved, locks=(lock(),)), seen).sites[0]
    assert (site.server, site.action) == ("web2", action)
    if action == "not-attempted":
        assert site.specification is None
        assert "live on web1; moving a site" in site.reason
        assert "--decommission heusden" in site.reason


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("wg", "wg: it is not live on any server"),
        ("heusden", "heusden: it still has a manifest; move heusden.yml and its lock away first"),
        ("oud", "oud: it was taken off the air already"),
    ],
)
def test_a_name_that_cannot_be_taken_off_the_air_is_refused(name: str, why: str) -> None:
    seen = server(
        {
            "weg": live_site(manifest("weg"), lock("weg")),
            "oud": {"release_id": "", "decommissioned": True},
            "heusden": live_site(manifest(), lock()),
        }
    )
    wishes = Wishes(decommission=frozenset({"weg", name}))
    with pytest.raises(UsageError, match=why) as raised:
        planned(fleet(manifest(), locks=(lock(),)), seen, wishes)
    assert raised.value.context == "live without a manifest: weg"


def test_every_wrong_name_is_said_and_what_is_out_of_reach() -> None:
    wishes = Wishes(decommission=frozenset({"weg", "heusden"}))
    with pytest.raises(UsageError) as raised:
        planned(fleet(manifest()), server(unreachable="no route"), wishes)
    assert "heusden: it still has a manifest" in raised.value.message
    assert "weg: it is not live on a server that can be reached" in raised.value.message
    assert "web1 (no route)" in raised.value.message


@pytest.mark.parametrize(
    ("wishes", "prepared"),
    [
        (Wishes(), ["web1", "web2", "web3"]),
        (Wishes(sites=frozenset({"heusden"})), ["web1"]),
        (Wishes(decommission=frozenset({"weg"})), ["web2"]),
        (Wishes(frozenset({"heusden"}), frozenset({"weg"})), ["web1", "web2"]),
    ],
    ids=["all", "a site", "a decommission", "both"],
)
def test_only_servers_that_carry_what_was_named_are_prepared(
    wishes: Wishes, prepared: list[str]
) -> None:
    seen = (
        server(provisioned="g"),
        server({"weg": live_site(manifest("weg"), lock("weg"))}, server="web2", provisioned="g"),
        server({"vreemd": live_site(manifest("weg"), lock("weg"))}, server="web3", provisioned="g"),
    )
    plan = planned_on(fleet(manifest(), locks=(lock(),)), seen, wishes)
    assert [item.server for item in plan.servers if item.action == "provision"] == prepared
