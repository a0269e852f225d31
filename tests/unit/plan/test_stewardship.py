from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from unit.plan import examples

from owc_deploy.catalogue.models import Block, Catalogue, Guarantee
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.models import Plan
from owc_deploy.plan.stewardship import standing

TODAY = date(2026, 11, 24)


def block(until_date: str, from_date: str = "2020-01-01", **more: Any) -> Block:
    known = examples.catalogue().blocks["news"]
    return replace(known, guarantee=Guarantee("Gemeente Buren", from_date, until_date), **more)


@pytest.mark.parametrize(
    ("until_date", "said"),
    [
        ("2026-11-23", "ended on 2026-11-23"),
        # The last day belongs to it.
        ("2026-11-24", "ends within a month, on 2026-11-24"),
        ("2026-12-23", "ends within a month"),
        ("2026-12-24", "ends within 3 months"),
        ("2027-02-23", "ends within 3 months"),
        ("2027-02-24", "ends within 6 months"),
        ("2027-05-24", "ends within 12 months"),
        ("2027-11-23", "ends within 12 months"),
        ("2027-11-24", ""),
    ],
)
def test_the_end_of_a_guarantee_is_said_in_time(until_date: str, said: str) -> None:
    found = standing(block(until_date), TODAY)
    assert (said in found) if said else (found == "")


def test_a_month_that_lacks_the_day_ends_sooner() -> None:
    assert "within a month" in standing(block("2027-02-27"), date(2027, 1, 31))
    assert "within 3 months" in standing(block("2027-02-28"), date(2027, 1, 31))


def test_a_guarantee_may_be_yet_to_begin_and_nobody_may_have_promised_anything() -> None:
    assert "begins on 2027-01-01" in standing(block("2029-01-01", "2027-01-01"), TODAY)
    assert standing(examples.catalogue().blocks["news"], TODAY) == ""


def planned(known: Block, seen: dict[str, Any], **manifest: Any) -> Plan:
    wanted, lock = examples.manifest(**manifest), examples.lock()
    fleet = examples.fleet(wanted, locks=(lock,))
    catalogue = Catalogue({"news": known}, examples.sha256(2))
    observed = {"web1": examples.server({"heusden": seen} if seen else {})}
    now = datetime(2026, 11, 24, tzinfo=UTC)
    return make_plan(fleet, catalogue, observed, {"web1": "f"}, Wishes(), {}, now)


def test_a_lapsed_guarantee_stops_new_sites_and_says_what_to_do() -> None:
    (site,) = planned(block("2026-01-01", successor="openwoo"), {}).sites
    assert site.action == "not-attempted"
    assert "news may not be taken anew" in site.reason
    assert "its successor is openwoo" in site.reason
    assert "without_guarantee: {news: REASON}" in site.reason


def test_whoever_says_why_may_have_it_and_the_reason_is_kept() -> None:
    reasons = {"news": "decided by the CIO"}
    (site,) = planned(block("2026-01-01"), {}, without_guarantee=reasons).sites
    assert site.action == "create"
    assert "accepted for this site: decided by the CIO" in site.warnings[0]


def test_what_a_site_has_it_may_update() -> None:
    before = examples.manifest(), examples.lock(news="2.0.0")
    live = examples.live_site(*before)
    (site,) = planned(block("2026-01-01"), live, releases_kept=9).sites
    assert site.action != "not-attempted" or "anew" not in site.reason
    live = examples.live_site(examples.manifest(), examples.lock())
    (site,) = planned(block("2026-01-01"), live, releases_kept=9).sites
    assert (site.action, len(site.warnings)) == ("update", 1)


def test_a_withdrawn_release_is_spoken_of() -> None:
    known = examples.catalogue().blocks["news"]
    releases = tuple(replace(each, withdrawn="loses entries") for each in known.releases)
    live = examples.live_site(examples.manifest(), examples.lock())
    (site,) = planned(replace(known, releases=releases), live).sites
    assert site.warnings == ("news 1.0.0 is withdrawn: loses entries",)


def test_what_cannot_be_read_of_a_live_site_is_made_whole_all_the_same() -> None:
    (site,) = planned(block("2026-01-01"), {"release_id": examples.LIVE, "drift": []}).sites
    assert site.action == "update"


def test_an_exception_for_what_is_not_there_is_spoken_of() -> None:
    (site,) = planned(block("2030-01-01"), {}, without_guarantee={"typo": "why"}).sites
    assert "the site has it not" in site.warnings[0]
