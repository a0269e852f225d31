"""Good and bad blocks through three rings of real sites, and a server that comes and goes."""

from __future__ import annotations

import time

import pytest
from e2e.rollouts.conftest import PLACES, RINGS, SITES, Province

pytestmark = pytest.mark.lab


def says(province: Province, site: str, text: str) -> bool:
    page = province.get(site, server=PLACES[site])
    return page.status == 200 and text in page.body


def events(province: Province, kind: str) -> list[dict[str, str]]:
    """Return the entries of the newest rollout's journal of one kind, oldest first."""
    rollout_id = province.rollout()["rollout_id"]
    log = province.owc(
        "audit-log", "show", "--rollout", rollout_id, "--limit", "1000", "--format", "json"
    )
    return [entry for entry in reversed(log.document["entries"]) if entry["kind"] == kind]


def test_a_rollout_brings_a_whole_fleet_live_ring_by_ring(province: Province) -> None:
    for site in SITES:
        province.write(site, PLACES[site], ring=RINGS[site], blocks={"lab-news": "1.0.0"})
    province.lock()
    begun = province.owc("rollout", "start", "--yes", "--format", "json", timeout_seconds=900)
    assert begun.document["state"] == "done"
    assert begun.document["counts"] == {"changed": 24}
    assert all(says(province, site, "lab-news 1.0.0") for site in SITES)
    order = [RINGS[entry["site"]] for entry in events(province, "site-intended")]
    assert order == sorted(order, key=["canary", "early", "all"].index)


def test_a_good_block_goes_through_three_rings(province: Province) -> None:
    for site in SITES:
        province.write(site, PLACES[site], ring=RINGS[site], blocks={"lab-news": "^1.0"})
    before = {site: province.activations(site) for site in SITES}
    begun = province.owc(
        *("rollout", "start", "--block", "lab-news", "--version", "~1.1.0"),
        *("--yes", "--format", "json"),
        timeout_seconds=900,
    )
    assert begun.document["state"] == "done"
    assert all(says(province, site, "lab-news 1.1.0") for site in SITES)
    assert {site: province.activations(site) - before[site] for site in SITES} == dict.fromkeys(
        SITES, 1
    )
    assert "whole" in province.owc("audit-log", "verify").stdout


def test_a_bad_block_is_stopped_at_the_canary(province: Province) -> None:
    live = province.live()
    before = {site: province.activations(site) for site in SITES}
    begun = province.owc(
        *("rollout", "start", "--block", "lab-news", "--version", "1.2.0"),
        *("--yes", "--format", "json"),
        check=False,
    )
    assert begun.code == 6
    assert begun.document["state"] == "halted"
    assert begun.document["counts"] == {"rolled-back": 1, "pending": 23}
    assert province.live() == live
    assert says(province, SITES[0], "lab-news 1.1.0")
    # The other 23 were not even begun.
    assert [province.activations(site) for site in SITES[1:]] == [before[s] for s in SITES[1:]]
    assert province.owc("rollout", "resume", "--yes", check=False).code == 2
    aborted = province.owc(
        "rollout", "abort", "--yes", "--reason", "1.2 is broken", "--format", "json"
    )
    assert aborted.document["state"] == "aborted"


def test_a_failure_in_the_second_ring_undoes_the_canary_too(province: Province) -> None:
    live = province.live()
    for site in SITES:
        pages = [{"path": "/", "text": "dit staat er niet" if site == SITES[3] else "Gemeente"}]
        blocks = {"lab-news": "1.0.0"}
        province.write(site, PLACES[site], ring=RINGS[site], blocks=blocks, pages=pages)
    province.lock()
    begun = province.owc("rollout", "start", "--yes", "--format", "json", check=False)
    assert begun.code == 6, begun.stdout
    words = province.words()
    assert words[SITES[0]] == "undone"
    assert words[SITES[3]] == "rolled-back"
    assert set(words.values()) <= {"undone", "rolled-back", "pending"}
    assert province.live() == live
    assert says(province, SITES[0], "lab-news 1.1.0")
    province.owc("rollout", "abort", "--yes")


def test_a_flaky_server_is_cut_off_and_rejoins(province: Province) -> None:
    for site in SITES:
        province.write(site, PLACES[site], ring=RINGS[site], blocks={"lab-news": "1.0.0"})
    province.lock()
    before = {site: province.activations(site) for site in SITES}
    walking = province.begin("rollout", "start", "--yes", "--format", "json")
    _wait_for_ring(province, "canary")
    # What is under way ends: a server that goes away in the middle of a change is another test's.
    province.owc("rollout", "pause")
    walking.communicate(timeout=600)
    with province.cut_off("web4"):
        walking = province.begin(
            *("rollout", "resume", "--yes", "--patience", "10", "--format", "json")
        )
        deadline = time.monotonic() + 120
        while not _unreachable(province) and time.monotonic() < deadline:
            time.sleep(1)
    stdout, stderr = walking.communicate(timeout=600)
    assert walking.returncode == 0, stderr
    assert '"state": "done"' in stdout
    assert all(says(province, site, "lab-news 1.0.0") for site in SITES)
    assert {site: province.activations(site) - before[site] for site in SITES} == dict.fromkeys(
        SITES, 1
    )
    lost = {
        e["site"] for e in events(province, "site-ended") if e["body"]["outcome"] == "unreachable"
    }
    assert lost
    assert {PLACES[site] for site in lost} == {"web4"}


def _wait_for_ring(province: Province, name: str) -> None:
    """Return once a ring has ended."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        rings = {ring["ring"]: ring["has_ended"] for ring in province.rollout().get("rings", ())}
        if rings.get(name) and province.rollout()["state"] == "running":
            return
        time.sleep(0.5)
    pytest.fail(f"ring {name} never ended")


def _unreachable(province: Province) -> bool:
    return any(e["body"]["outcome"] == "unreachable" for e in events(province, "site-ended"))
