"""A rollout whose controller is killed wherever it writes something down, and two at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from e2e.rollouts.conftest import PLACES, RINGS, SITES, Province

pytestmark = pytest.mark.lab

# Two sites in two rings, each on a server of its own.
FEW = (SITES[0], SITES[1])
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


def start(province: Province, *, kill_after: int) -> tuple[int, int]:
    """Start a rollout, killed after one of its writings; return exit code and writings done."""
    writings = province.root / ".owc-deploy" / "writings"
    writings.write_text("0")
    command = ["rollout", "start", *FEW, "--yes", "--fleet", str(province.root)]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(kill_after), str(writings), *command],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, int(writings.read_text())


def swap(province: Province, version: str) -> None:
    for site in FEW:
        blocks = {"lab-news": version}
        province.write(site, PLACES[site], ring=RINGS[site], blocks=blocks)
    province.lock(*FEW)


def other(version: str) -> str:
    return "1.1.0" if version == "1.0.0" else "1.0.0"


def test_killed_after_every_writing_it_goes_on_to_the_same_end(province: Province) -> None:
    version = "1.1.0"
    swap(province, version)
    code, writings = start(province, kill_after=0)
    assert code == 0
    assert writings > 10
    for kill_after in range(1, writings + 1):
        version = other(version)
        swap(province, version)
        before = {site: province.activations(site) for site in FEW}
        code, _ = start(province, kill_after=kill_after)
        assert code == -9, kill_after
        went_on = province.owc("rollout", "resume", "--yes", check=False)
        if went_on.code == 2:
            # It was killed before there was a rollout, or after it was over.
            went_on = province.owc("rollout", "start", *FEW, "--yes")
        place = f"killed after writing {kill_after} of {writings}: {went_on.stderr}"
        assert went_on.code == 0, place
        changed = {site: province.activations(site) - before[site] for site in FEW}
        assert changed == dict.fromkeys(FEW, 1), place
        for site in FEW:
            assert f"lab-news {version}" in province.get(site, server=PLACES[site]).body, place


def test_of_two_controllers_exactly_one_wins_each_site(province: Province) -> None:
    version = (
        "1.1.0" if "lab-news 1.0.0" in province.get(FEW[0], server=PLACES[FEW[0]]).body else "1.0.0"
    )
    for site in SITES[:8]:
        blocks = {"lab-news": version}
        province.write(site, PLACES[site], ring=RINGS[site], blocks=blocks)
    province.lock(*SITES[:8])
    before = {site: province.activations(site) for site in SITES[:8]}
    rollout = province.begin("rollout", "start", *SITES[:8], "--yes", "--patience", "5")
    applied = province.begin("apply", *SITES[:8], "--yes")
    for each in (rollout, applied):
        each.communicate(timeout=600)
    assert rollout.returncode == 0 or applied.returncode == 0
    for site in SITES[:8]:
        assert province.activations(site) - before[site] == 1, site
        assert f"lab-news {version}" in province.get(site, server=PLACES[site]).body


def test_one_rollout_is_walked_by_one_controller(province: Province) -> None:
    version = (
        "1.1.0" if "lab-news 1.0.0" in province.get(FEW[0], server=PLACES[FEW[0]]).body else "1.0.0"
    )
    swap(province, version)
    before = {site: province.activations(site) for site in FEW}
    first = province.begin("rollout", "start", *FEW, "--yes")
    second = None
    while first.poll() is None and second is None:
        if province.rollout()["walked_by"]:
            second = province.owc("rollout", "resume", "--yes", check=False)
    first.communicate(timeout=600)
    assert first.returncode == 0
    # It may have ended before anybody saw who walked it.
    assert second is None or second.code in (2, 4), second.stderr
    assert {site: province.activations(site) - before[site] for site in FEW} == dict.fromkeys(
        FEW, 1
    )
