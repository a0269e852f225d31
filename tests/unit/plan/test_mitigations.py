"""What a mitigation closes on a site, and what the plan says when it is not so."""

from __future__ import annotations

from dataclasses import replace

from unit.plan import examples

from owc_deploy.catalogue.models import Catalogue, Gate
from owc_deploy.fleet.models import Mitigation
from owc_deploy.plan.mitigations import left_open, missing, rules

ROUTE = Mitigation("zgw", "a hole", "me", "2026-11-24", route="OWC/zgw/v1/")
BLOCK = Mitigation("news", "a hole", "me", "2026-11-24", block="news", ajax_actions=("send",))


def catalogue(*routes: str) -> Catalogue:
    news = examples.catalogue().blocks["news"]
    gate = Gate(rest_namespaces=("owc/news/v1",) if routes else (), rest_routes=routes)
    releases = (
        replace(news.releases[0], gate=gate),
        *(replace(each, gate=Gate()) for each in news.releases[1:]),
    )
    return Catalogue({"news": replace(news, releases=releases)}, examples.sha256(2))


def test_a_route_is_closed_in_one_form() -> None:
    (rule,) = rules([ROUTE], catalogue(), "heusden")
    assert rule == {
        "identifier": "zgw",
        "routes": ["/owc/zgw/v1"],
        "folders": [],
        "ajax_actions": [],
    }


def test_a_block_is_closed_with_what_its_releases_declare() -> None:
    declared = catalogue("/owc/news/v1/items", "/owc/feed/(?P<id>[0-9]+)", "/owc/x/it[a-z]+")
    (rule,) = rules([BLOCK], declared, "heusden")
    assert rule["routes"] == ["/owc/feed", "/owc/news/v1", "/owc/x"]
    assert rule["folders"] == ["plugins/news"]
    assert rule["ajax_actions"] == ["send"]


def test_what_is_left_open_is_said() -> None:
    assert any("--route" in words for words in left_open(BLOCK, catalogue()))
    assert any(
        "--ajax-action" in w for w in left_open(replace(BLOCK, ajax_actions=()), catalogue("/x"))
    )
    assert any("shortcodes" in words for words in left_open(BLOCK, catalogue("/x")))


def test_only_the_sites_named_are_concerned() -> None:
    assert rules([replace(ROUTE, sites=("breda",))], catalogue(), "heusden") == ()


def test_the_plan_warns_of_what_lacks_and_of_what_is_beside() -> None:
    wanted = rules([ROUTE], catalogue(), "heusden")
    live = {"release_id": "r1", "mitigations": [dict(wanted[0])]}
    assert missing(wanted, live) == ()
    (lacking,) = missing(wanted, {**live, "mitigations": []})
    assert "not in force: zgw" in lacking
    (beside,) = missing((), live)
    assert "does not have" in beside
    assert missing(wanted, {}) == ()
