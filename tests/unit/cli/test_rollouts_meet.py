"""Rollouts that meet each other, other people, and what happens between two steps."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from unit.cli.sessions import session
from unit.cli.test_rollout import Desk, desk, three_sites

from owc_deploy.cli import rollout_walk
from owc_deploy.cli.plan import planned, write_plan
from owc_deploy.cli.rollout_view import event_line
from owc_deploy.fleet.models import FailureBudget, Ring, Share
from owc_deploy.plan.document import plan_to_document
from owc_deploy.rollout.journal import StoreJournal
from owc_deploy.store import open_fleet_store

__all__ = ["desk"]
SOAKED_CANARY = (Ring("canary", soak_minutes=600), Ring("all"))


def later(desk: Desk, **spent: int) -> None:
    real = rollout_walk.now
    desk.patch.setattr(rollout_walk, "now", lambda: real() + timedelta(**spent))


def test_a_saved_plan_is_refused_when_a_server_is_not_as_it_saw_it(desk: Desk) -> None:
    """`--help`: refused when what it was made from has changed; `apply PLAN` exits 5."""
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0")
    saved = desk.fleet.root / "monday.plan.json"
    write_plan(saved, plan_to_document(planned(session(desk.fleet, desk.servers), (), ())))
    site = desk.servers.servers["web1"].sites["altena"]
    other = copy.deepcopy(site.releases[site.current])
    other["blocks"][0]["version"] = "1.5.0"
    site.releases["by-hand"], site.current = other, "by-hand"
    assert desk.owc("start", "--plan", str(saved), "--yes") == 5
    assert desk.live()["altena"] == "1.5.0"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000])
def test_a_plan_that_is_no_text_is_no_bug(desk: Desk, tmp_path: Path, content: bytes) -> None:
    desk.patch.chdir(tmp_path)
    (tmp_path / "x.plan.json").write_bytes(content)
    assert desk.owc("start", "--plan", "x.plan.json", "--yes") == 2


def test_no_later_ring_begins_while_an_earlier_one_soaks_in_another_rollout(desk: Desk) -> None:
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=SOAKED_CANARY)
    assert desk.json("start", "altena", "--yes")["state"] == "waiting"
    desk.owc("start", "--yes")
    assert desk.live() == {"altena": "2.0.0", "bergen": "1.0.0", "heusden": "1.0.0"}


def test_superseding_for_one_site_does_not_pass_over_the_soak_of_the_canary(desk: Desk) -> None:
    """docs/how-to/rollout.md: `--supersede` takes the old one's place, and its soaks go on."""
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=SOAKED_CANARY)
    assert desk.json("start", "--yes")["state"] == "waiting"
    desk.owc("start", "heusden", "--supersede", "--yes")
    assert desk.live()["heusden"] == "1.0.0"


def test_a_merge_during_a_soak_does_not_disarm_the_undo_of_the_canary(desk: Desk) -> None:
    """A newer rollout keeps the soak, but forgot what was live before the older one."""
    desk.owc("start", "--yes")
    rings = (Ring("canary", soak_minutes=600, undo_since="canary"), Ring("all"))
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=rings)
    assert desk.json("start", "--yes")["state"] == "waiting"
    # What is merged concerns another site, of a later ring.
    before = three_sites(desk.fleet.root, rings=rings).locks["heusden"]
    desk.fleet = replace(desk.fleet, locks={**desk.fleet.locks, "heusden": before})
    assert desk.json("start", "--supersede", "--yes")["state"] == "waiting"
    desk.servers.servers["web1"].sites["altena"].drift = [{"what": "wp-config.php"}]
    later(desk, days=1)
    assert desk.owc("resume", "--scheduled", "--yes") == 6
    assert desk.live()["altena"] == "1.0.0"


def test_a_site_that_fails_after_its_soak_is_brought_back(desk: Desk) -> None:
    """fleet.yml of `init`: without undo_since the sites that failed undo themselves."""
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=SOAKED_CANARY)
    desk.owc("start", "--yes")
    desk.servers.servers["web1"].sites["altena"].drift = [{"what": "wp-config.php"}]
    later(desk, days=1)
    assert desk.owc("resume", "--yes") == 6
    assert desk.live()["altena"] == "1.0.0"


def test_an_abort_that_another_controller_carries_out_is_no_error(desk: Desk) -> None:
    """What `ci/order` does with OWC_ORDER=abort while the job of a merge walks."""
    desk.servers.script("bergen", "failed")
    desk.owc("start", "--yes")
    store = open_fleet_store(desk.fleet)
    rollout_id = store.rollouts.identifiers()[0]
    with store.claim(f"rollout/{rollout_id}", reason="another controller"):
        code = desk.owc("abort", "--undo-since", "canary", "--yes")
    assert "written down; " in desk.said
    # --help: 0 aborted, 1 something could not be undone.
    assert code in {0, 1}
    assert rollout_id in desk.stdout


def test_a_clock_goes_on_with_more_than_fifty_rollouts(desk: Desk) -> None:
    store = open_fleet_store(desk.fleet)
    for number in range(60):
        store.rollouts.add(f"2026{number:04}", {"schema_version": 1}, [f"site{number}"])
    assert len(store.rollouts.identifiers(unfinished=True)) == 60


def test_a_site_that_was_settled_may_get_other_documents(desk: Desk) -> None:
    """It failed, within the budget; its lock is mended while the canary soaks."""
    budget = FailureBudget(failed=Share(1))
    rings = (Ring("canary", soak_minutes=600, failure_budget=budget), Ring("all"))
    desk.fleet = three_sites(desk.fleet.root, rings=rings)
    desk.servers.script("altena", "failed")
    assert desk.json("start", "--yes")["state"] == "waiting"
    mended = three_sites(desk.fleet.root, news="2.0.0", rings=rings)
    locks = {**desk.fleet.locks, "altena": mended.locks["altena"]}
    desk.fleet = replace(desk.fleet, locks=locks)
    later(desk, days=1)
    desk.owc("resume", "--scheduled", "--yes")
    assert "left alone" not in desk.said
    assert set(desk.live()) >= {"bergen", "heusden"}


def test_a_rollout_that_a_clock_cannot_go_on_with_is_no_success(desk: Desk) -> None:
    """For ever green: its documents changed, and nobody started another."""
    desk.fleet = three_sites(desk.fleet.root, rings=SOAKED_CANARY)
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=SOAKED_CANARY)
    later(desk, days=1)
    assert desk.owc("resume", "--scheduled", "--yes") != 0
    assert "left alone" in desk.said


def test_a_ring_with_an_accepted_failure_is_not_called_good(desk: Desk) -> None:
    desk.servers.script("altena", "inconclusive")
    desk.owc("start", "--yes")
    desk.owc("resume", "--accept-failures", "--yes")
    assert "ring canary is good" not in desk.said
    store = open_fleet_store(desk.fleet)
    events = StoreJournal(store, store.rollouts.identifiers()[0]).events()
    accepted = next(event for event in events if event.kind == "failures-accepted")
    assert "['altena']" not in event_line(accepted)


def test_taking_a_rollout_over_does_not_take_sites_from_others(desk: Desk) -> None:
    """Hours later the same walk would take a site from a colleague's `apply` in the middle."""
    desk.servers.script("altena", "failed")
    desk.owc("start", "--yes")
    store = open_fleet_store(desk.fleet)
    with store.claim("site/altena", reason="apply: a colleague is at it") as claim:
        desk.owc("retry", "--yes", "--take-over")
        claim.renew()
        assert claim.lost == frozenset()
    assert "altena" not in desk.live()


def test_a_site_in_no_ring_is_not_named_in_vain(desk: Desk) -> None:
    altena = replace(desk.fleet.manifests["altena"], ring="", environment="test")
    desk.fleet = replace(desk.fleet, manifests={**desk.fleet.manifests, "altena": altena})
    assert desk.owc("start", "altena", "--yes") == 2
    assert "owc-deploy apply altena" in desk.said
    assert desk.owc("start", "--yes") == 0
    assert "altena is in no ring" in desk.said
