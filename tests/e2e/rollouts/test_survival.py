"""A rollout whose controller is killed wherever it writes something down, and two at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e.rollouts.conftest import PLACES, RINGS, SITES, Province

from owc_deploy.errors import LeaseHeldError

pytestmark = pytest.mark.lab

# Two sites in two rings, each on a server of its own.
FEW = (SITES[0], SITES[1])
# Others like them, for four controllers at a time.
PAIRS = (FEW, (SITES[2], SITES[7]), (SITES[3], SITES[6]), (SITES[4], SITES[9]))
# Runs a command line and kills itself once it wrote so many times to the store; 0 for never. How
# often it wrote is in a file.
KILLER = """
import contextlib, os, pathlib, signal, sys
from owc_deploy.cli import main
from owc_deploy.store.database import Database

kill_after, writings = int(sys.argv[1]), pathlib.Path(sys.argv[2])
write = Database.writing
count = 0

@contextlib.contextmanager
def counted(self):
    global count
    with write(self) as connection:
        yield connection
    count += 1
    writings.write_text(str(count))
    if count == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)

Database.writing = counted
sys.exit(main.run(sys.argv[3:]))
"""


def start(province: Province, sites: Sequence[str], *, kill_after: int) -> tuple[int, int]:
    """Start a rollout, killed after one of its writings; return exit code and writings done.

    Rollouts begin one at a time: where another just does, it is tried again.
    """
    writings = province.root / ".owc-deploy" / f"writings-{sites[0]}"
    command = ["rollout", "start", *sites, "--yes", "--fleet", str(province.root)]
    while True:
        writings.write_text("0")
        done = subprocess.run(
            [sys.executable, "-c", KILLER, str(kill_after), str(writings), *command],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode != LeaseHeldError.exit_code:
            return done.returncode, int(writings.read_text())


def swap(province: Province, sites: Sequence[str]) -> dict[str, str]:
    """Have each site want the version of the block that it does not have; return which."""
    wanted = {site: "1.0.0" if shows(province, site, "1.1.0") else "1.1.0" for site in sites}
    for site, version in wanted.items():
        blocks = {"lab-news": version}
        province.write(site, PLACES[site], ring=RINGS[site], blocks=blocks)
    province.lock(*sites)
    return wanted


def shows(province: Province, site: str, version: str) -> bool:
    return f"lab-news {version}" in province.get(site, server=PLACES[site]).body


def activations(province: Province, sites: Sequence[str]) -> dict[str, int]:
    return {site: province.activations(site) for site in sites}


def test_killed_after_every_writing_it_goes_on_to_the_same_end(province: Province) -> None:
    everywhere = [site for pair in PAIRS for site in pair]
    province.owc("rollout", "start", *everywhere, "--yes")
    swap(province, FEW)
    code, writings = start(province, FEW, kill_after=0)
    assert code == 0
    assert writings > 10
    points = iter(range(1, writings + 1))
    while some := tuple(zip(PAIRS, points, strict=False)):
        sites = [site for pair, _ in some for site in pair]
        wanted, before = swap(province, sites), activations(province, sites)
        with ThreadPoolExecutor() as pool:
            killed = [pool.submit(start, province, pair, kill_after=n) for pair, n in some]
        assert {each.result()[0] for each in killed} == {-9}, some
        went_on = province.owc("rollout", "resume", "--scheduled", "--yes", check=False)
        assert went_on.code == 0, (some, went_on.stderr)
        # Some were killed before there was a rollout.
        begun = province.owc("rollout", "start", *sites, "--yes", check=False)
        assert begun.code == 0, (some, begun.stderr)
        after = activations(province, sites)
        assert {site: after[site] - before[site] for site in sites} == dict.fromkeys(sites, 1), some
        assert all(shows(province, site, wanted[site]) for site in sites), some


def test_of_two_controllers_exactly_one_wins_each_site(province: Province) -> None:
    sites = SITES[:8]
    wanted, before = swap(province, sites), activations(province, sites)
    rollout = province.begin("rollout", "start", *sites, "--yes", "--patience", "5")
    applied = province.begin("apply", *sites, "--yes")
    for each in (rollout, applied):
        each.communicate(timeout=600)
    assert rollout.returncode == 0 or applied.returncode == 0
    after = activations(province, sites)
    assert {site: after[site] - before[site] for site in sites} == dict.fromkeys(sites, 1)
    assert all(shows(province, site, wanted[site]) for site in sites)


def test_one_rollout_is_walked_by_one_controller(province: Province) -> None:
    swap(province, FEW)
    before = activations(province, FEW)
    first = province.begin("rollout", "start", *FEW, "--yes")
    second = None
    while first.poll() is None and second is None:
        if province.rollout()["walked_by"]:
            second = province.owc("rollout", "resume", "--yes", check=False)
    first.communicate(timeout=600)
    assert first.returncode == 0
    # It may have ended before anybody saw who walked it.
    assert second is None or second.code in (2, 4), second.stderr
    after = activations(province, FEW)
    assert {site: after[site] - before[site] for site in FEW} == dict.fromkeys(FEW, 1)
