"""What goes wrong around a change: its services, hands on the server, operators, clocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.faults.changing import Change
from e2e.faults.comparing import problems
from e2e.faults.street import Street, outcomes, site_of, watched
from e2e.faults.wishes import NEW, STEPS, want

pytestmark = pytest.mark.lab

BY_HAND = "/etc/nginx/conf.d/zz-by-hand.conf"
REDIRECTS = [{"source": "/oud", "target": "/nieuw"}]

# The site whose PHP-FPM will not start with the new settings; whose nginx configuration is broken
# before it is tested, and between that and the reload; and one that needs neither of the two.
PHP, REFUSED, LATE, NEITHER = (site_of(p) for p in ("services", "stage", "settle", "freeze"))
STANDING = {PHP: "services", REFUSED: "stage", LATE: "services", NEITHER: "freeze"}
# One start an hour: the one that fails uses it up, so the undo has to begin the count anew.
DROP_IN = """
[Unit]
StartLimitIntervalSec=1h
StartLimitBurst=1
[Service]
ExecStartPre=/bin/grep -q by-hand {config}
"""


@pytest.fixture
def picky(street: Street) -> Iterator[None]:
    """Let one site's PHP-FPM start with the settings of its live release only."""
    config = f"/srv/owc/sites/{PHP}/current/php-fpm.conf"
    folder = f"/etc/systemd/system/owc-php-fpm@{PHP}.service.d"
    street.inside("sh", "-c", f"echo '; by-hand' >> {config}")
    street.write_file(f"{folder}/by-hand.conf", DROP_IN.format(config=config))
    street.inside("systemctl", "daemon-reload")
    yield
    street.inside("rm", "-r", folder)
    street.inside("sed", "-i", "/by-hand/d", config)
    street.inside("systemctl", "daemon-reload")


def test_services_that_refuse_a_change_go_on_as_they_were(street: Street, picky: None) -> None:
    want(street, {LATE: NEW}, redirects=REDIRECTS)
    others = [site for site in STEPS if site != PHP]
    with watched(street, others) as wrong, Change(street, STANDING) as change:
        change.wait_until_all_stand_still()
        street.write_file(BY_HAND, "server { listen eighty; }\n")
        try:
            change.let_go()
            told = outcomes(change.process)
            assert change.problems(must_be_new=[NEITHER], told=told) == []
        finally:
            street.inside("rm", BY_HAND)
        assert wrong() == []
    want(street, {LATE: NEW})
    assert told[NEITHER]["outcome"] == "changed"
    assert told[PHP]["outcome"] == "rolled-back"
    assert told[PHP]["message"].startswith("services: systemctl failed")
    for site, outcome, step in (
        (REFUSED, "failed", "preflight"),
        (LATE, "rolled-back", "services"),
    ):
        assert told[site]["outcome"] == outcome
        assert told[site]["message"].startswith(f"{step}: nginx failed")
        assert "zz-by-hand.conf" in told[site]["message"]


def test_of_two_operators_at_once_one_changes_each_site(street: Street, tmp_path: Path) -> None:
    sites = [site_of(point) for point in ("room", "identity", "database")]
    other = tmp_path / "other"
    shutil.copytree(street.root, other, ignore=shutil.ignore_patterns("history.sqlite3*"))
    before = street.look()["sites"]
    command = ("apply", *sites, "--yes", "--format", "json")
    both = [street.begin(*command, parallel=4, root=root) for root in (street.root, other)]
    told = [outcomes(process) for process in both]
    won: dict[str, Any] = {}
    for site in sites:
        ended = [each[site] for each in told if site in each]
        (won[site],) = [each for each in ended if each["outcome"] == "changed"]
        # Who came when it was done already had nothing to do, and so no outcome.
        lost = {
            (each["outcome"], each["message"].partition(":")[0])
            for each in ended
            if each is not won[site]
        }
        assert lost <= {
            ("busy", "another transaction is changing this site"),
            ("failed", "the plan is stale"),
        }
    points = {site: STEPS[site] for site in sites}
    assert problems(street, before, points, must_be_new=sites, told=won) == []


def test_with_a_wrong_clock_the_way_back_is_to_what_was_live_before(street: Street) -> None:
    site = site_of("gate")
    first = street.first[site]
    was = street.look()["sites"][site]["state"]
    ahead = street.change(site, clock_days=365)[site]
    want(street, {site: NEW}, title="Een jaar terug")
    back = street.change(site, clock_days=-365)[site]
    assert (ahead["outcome"], back["outcome"]) == ("changed", "changed")
    assert back["release_id"] < first < ahead["release_id"]
    for wanted in (ahead["release_id"], first):
        street.owc("rollback", site, "--yes", "--restore-database")
        assert street.status(site)["release_id"] == wanted
    now = street.look()["sites"][site]["state"]
    kept = ("current", "entries", "table", "plugins", "options")
    assert {name: now[name] for name in kept} == {name: was[name] for name in kept}
    assert "lab-fault 1.0.0: 4" in street.get(site).body
    want(street, {site: NEW})


def test_releases_deleted_by_hand_are_no_way_back_and_the_live_one_is_built_anew(
    street: Street,
) -> None:
    # One of its own: there is no way back for it to where the other tests begin.
    site = "stap-met-de-hand"
    made = []
    for title in ("Nieuw", "Opnieuw", "Nogmaals"):
        want(street, {site: NEW}, title=title)
        made.append(street.change(site)[site]["release_id"])
    first, second, third = made
    delete(street, site, first)
    assert f"possible: {second}" in refusal(street, site, "--to", first)
    delete(street, site, third)
    plan = street.owc("plan", site, "--format", "json").document
    assert [(item["site"], item["action"]) for item in plan["sites"]] == [(site, "update")]
    assert "unreadable" in json.dumps(plan["sites"])
    repaired = street.change(site)[site]
    assert (repaired["outcome"], repaired["previous_release_id"]) == ("changed", third), repaired
    page = street.get(site)
    assert (page.status, "lab-fault 2.0.0: " in page.body) == (200, True)
    assert street.status(site)["state"] == "live"
    assert f"possible: {second}" in refusal(street, site, "--to", third)
    street.owc("rollback", site, "--yes")
    assert street.status(site)["release_id"] == second
    delete(street, site, repaired["release_id"])
    assert "no earlier release" in refusal(street, site)


def delete(street: Street, site: str, release: str) -> None:
    street.inside("rm", "-r", f"/srv/owc/sites/{site}/releases/{release}")


def refusal(street: Street, site: str, *arguments: str) -> str:
    """Return what is said of a rollback that is not possible."""
    result = street.owc("rollback", site, *arguments, "--yes", check=False)
    assert result.code not in (0, 1), result
    return result.stdout + result.stderr
