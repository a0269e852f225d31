"""Harm at every step of a change: what is left is the site as it was, or as it was confirmed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.conftest import PREFIX
from e2e.faults import (
    CALMER,
    COMMIT,
    POINTS,
    SERVER,
    UNCONFIRMED_SECONDS,
    Change,
    Street,
    boot,
    copy_of_plugins,
    cut_off,
    cut_the_power,
    filled,
    outcomes,
    problems,
    shut_down,
    site_of,
    small_disk,
    take_back,
    watched,
)

pytestmark = pytest.mark.lab

LAB = f"{PREFIX}-faults"
DISK_MEGABYTES = 3000
STEPS = {site_of(point): point for point in POINTS}
COMMITTED = site_of(COMMIT)
NEIGHBOURS = {"lab-news": "1.0.0", "lab-silent": "1.0.0"}
OLD, NEW = {"lab-fault": "1.0.0"}, {"lab-fault": "2.0.0"}
# As the lab's catalogue says of the migration that hangs.
HANG_SECONDS = 4


@pytest.fixture(scope="session")
def prepared(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Return a fleet without sites on a prepared server whose disk can be filled."""
    folder = tmp_path_factory.mktemp("faults")
    root = folder / "fleet"
    (root / "sites").mkdir(parents=True)
    fleet = {
        "schema_version": 1,
        "name": "faults",
        "catalogue": str(catalogue),
        "rings": [{"name": "all"}],
    }
    (root / "fleet.yml").write_text(yaml.safe_dump(fleet), encoding="utf-8")
    plugins = copy_of_plugins(folder / "plugins", *CALMER)
    with small_disk(folder / "disk", DISK_MEGABYTES) as disk:
        lab = boot(LAB, disk)
        try:
            servers = yaml.safe_load(lab.inventory_path.read_text(encoding="utf-8"))
            host = servers["all"]["children"]["web"]["hosts"][SERVER]
            host["runtime_recover_calendar"] = "*-*-* *:*:00/5"
            (root / "servers.yml").write_text(yaml.safe_dump(servers), encoding="utf-8")
            street = Street(root, lab, disk=disk, plugins=plugins)
            street.owc("provision", "--yes", timeout_seconds=900)
            yield street
        finally:
            lab.down()


@pytest.fixture(scope="session")
def built(prepared: Street) -> Street:
    """Return the street with all its sites live at the first release of their block."""
    want(prepared, dict.fromkeys(STEPS, OLD))
    made = prepared.change(*STEPS)
    assert {item["outcome"] for item in made.values()} == {"changed"}, made
    seen = prepared.look()["sites"]
    prepared.first.update({site: seen[site]["state"]["current"] for site in STEPS})
    want(prepared, dict.fromkeys(STEPS, NEW))
    return prepared


def manifest(blocks: dict[str, str]) -> dict[str, object]:
    return {
        "locale": "en_US",
        "wordpress": "6.2.*",
        "blocks": {**NEIGHBOURS, **blocks},
        "pages": [{"path": "/", "text": "lab-fault"}],
    }


def want(street: Street, blocks: dict[str, dict[str, str]]) -> None:
    """Let the manifests and locks of these sites say so."""
    for site, wanted in blocks.items():
        street.write(site, SERVER, **manifest(wanted))
    street.lock(*blocks)


@pytest.fixture
def street(built: Street) -> Street:
    """Return the street with every site at the first release, about to go to the second."""
    take_back(built, built.first)
    return built


@dataclass(frozen=True)
class Broken:
    """A release of a block that is broken, and what has to be said of it."""

    block: str
    version: str
    said: str


BROKEN = {
    "fatal when loaded": Broken("lab-news", "1.2.0", "lab-news"),
    "switches itself off": Broken("lab-silent", "1.1.0", "switched itself off"),
    "fatal in wp-admin": Broken("lab-fault", "1.1.0", "lab_fault_admin_menu()"),
    "fatal in cron": Broken("lab-fault", "1.2.0", "as a scheduled task: "),
    "fatal under WP-CLI": Broken("lab-fault", "1.3.0", "under WP-CLI"),
    "migration fails half-way": Broken("lab-fault", "1.4.0", "The other half cannot be moved."),
    "migration hangs": Broken("lab-fault", "1.5.0", f"took longer than {HANG_SECONDS} s"),
    "REST namespace gone": Broken("lab-fault", "1.6.0", "namespace lab/fault/v1 is missing"),
    "cron event gone": Broken("lab-fault", "1.7.0", "cron event lab_fault_tick is missing"),
    "page without its output": Broken("lab-fault", "1.9.0", "/ lacks the text 'lab-fault'"),
}


@dataclass(frozen=True)
class Tried:
    """What came of every broken block, each on a site of its own."""

    sites: Mapping[str, str]
    told: Mapping[str, Any]
    wrong: Sequence[str]
    unanswered: Sequence[Any]


@pytest.fixture(scope="session")
def tried(built: Street, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Apply every broken block at once."""
    take_back(built, built.first)
    sites = dict(zip(BROKEN, STEPS, strict=False))
    want(built, {sites[name]: {**OLD, b.block: b.version} for name, b in BROKEN.items()})
    plugins = copy_of_plugins(tmp_path_factory.mktemp("calm") / "plugins", *CALMER)
    before = built.look()["sites"]
    with watched(built, list(sites.values())) as unanswered:
        told = built.change(*sites.values(), plugins=plugins)
        seen = unanswered()
    points = {site: name for name, site in sites.items()}
    wrong = problems(built, before, points, told=told)
    want(built, dict.fromkeys(sites.values(), NEW))
    return Tried(sites, told, wrong, seen)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_block_is_undone_and_said(tried: Tried, name: str) -> None:
    site = tried.sites[name]
    assert [each for each in tried.wrong if each.startswith(site) or "left behind" in each] == []
    assert [each for each in tried.unanswered if each[1] == site] == []
    assert tried.told[site]["outcome"] == "rolled-back"
    assert BROKEN[name].said in tried.told[site]["message"]


def test_a_transaction_killed_at_any_step_is_undone_at_once(street: Street) -> None:
    with watched(street, list(STEPS)) as wrong, Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        street.signal("KILL", change.pids.values())
        told = outcomes(change.process)
        street.wait_until_over()
        assert change.problems(must_be_new=[COMMITTED], told=told) == []
        assert wrong() == []


def test_without_its_controller_a_change_at_any_step_is_undone(street: Street) -> None:
    with (
        watched(street, list(STEPS)) as wrong,
        Change(street, STEPS, confirmation_seconds=UNCONFIRMED_SECONDS) as change,
    ):
        change.wait_until_all_stand_still()
        change.kill_controller()
        change.let_go()
        street.wait_until_over()
        assert change.problems(must_be_new=[COMMITTED]) == []
        assert wrong() == []


def test_cut_off_from_its_controller_a_change_at_any_step_is_undone(street: Street) -> None:
    # Nobody is told of the last moment before the cut either, so that point is left out.
    points = {site: point for site, point in STEPS.items() if point != COMMIT}
    with Change(street, points, confirmation_seconds=UNCONFIRMED_SECONDS) as change:
        change.wait_until_all_stand_still()
        with cut_off(street.address):
            change.let_go()
            street.wait_until_over()
        told = outcomes(change.process)
        assert change.problems(told=told) == []


def test_a_database_killed_at_any_step_costs_nothing(street: Street) -> None:
    with Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        street.inside("pkill", "-KILL", "mariadbd")
        change.let_go()
        told = outcomes(change.process)
        street.wait_until_over()
        assert change.problems(may_be_new=STEPS, must_be_new=[COMMITTED], told=told) == []


def test_a_full_disk_at_any_step_is_survived(street: Street) -> None:
    with watched(street, list(STEPS)) as wrong, Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        with filled(street.disk):
            change.let_go()
            told = outcomes(change.process)
            street.wait_until_over()
            assert wrong() == []
        street.wait_until_recovered()
        late = {site for site in STEPS if "undo incomplete" in told[site]["message"]}
        told = {site: outcome for site, outcome in told.items() if site not in late}
        assert change.problems(may_be_new=STEPS, must_be_new=[COMMITTED], told=told) == []


def test_a_power_cut_at_any_step_is_undone_at_boot(street: Street) -> None:
    with Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        change.kill_controller()
        cut_the_power(street)
        boot(LAB, street.disk)
        street.wait_until_recovered()
        street.wait_until_over()
        assert change.problems(must_be_new=[COMMITTED]) == []


def test_a_server_that_goes_down_in_order_undoes_every_step_first(street: Street) -> None:
    with Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        change.kill_controller()
        shut_down(street)
        boot(LAB, street.disk)
        street.wait_until_recovered()
        assert change.problems(must_be_new=[COMMITTED]) == []
