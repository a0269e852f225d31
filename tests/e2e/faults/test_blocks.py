"""Blocks that are broken, each in a way of its own: undone, and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from e2e.faults.comparing import problems
from e2e.faults.sent import CALMER, copy_of_plugins
from e2e.faults.street import Street, watched
from e2e.faults.wishes import NEW, OLD, STEPS, take_back, want

pytestmark = pytest.mark.lab

# As the lab's catalogue says of the migration that hangs.
HANG_SECONDS = 4


@dataclass(frozen=True)
class Broken:
    """A release of a block that is broken, and what has to be said of it."""

    block: str
    version: str
    said: str
    # Only the gate can find it, so for a moment it is what visitors get.
    live_first: bool = False


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
    "page without its output": Broken(
        "lab-fault", "1.9.0", "/ lacks the text 'lab-fault'", live_first=True
    ),
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
    unseen = [said for _, asked, said in tried.unanswered if asked == site]
    assert [
        said for said in unseen if not (BROKEN[name].live_first and said.startswith("200"))
    ] == []
    assert tried.told[site]["outcome"] == "rolled-back"
    assert BROKEN[name].said in tried.told[site]["message"]
