"""A run that is stopped gives back what it holds and says so with its exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from owc_deploy.store import open_store

# The command line with one verb more, which holds a site and works until it is stopped. `stubborn`:
# giving back is hindered by one more signal.
VERB = """
import os, signal, sys, time, types
from dataclasses import replace
from pathlib import Path
import click
from unit.cli.sessions import two_servers
from owc_deploy.cli import main
from owc_deploy.cli.record import claimed, recorded
from owc_deploy.store import leases
from owc_deploy.store.models import Intent

@click.command()
@click.argument("root", type=Path)
@click.option("--stubborn", is_flag=True)
def command(root, stubborn):
    if stubborn:
        give = leases.Claim.give
        def hindered(self, *names):
            leases.Claim.give = give
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        leases.Claim.give = hindered
    with (
        claimed(two_servers(root), "apply", ["site/altena"], reason="", take_over=False) as held,
        recorded(held, [Intent("altena", "web1")]),
    ):
        print("ready", flush=True)
        time.sleep(60)

module = types.ModuleType("owc_deploy.cli.works")
module.command = command
sys.modules[module.__name__] = module
main.VERBS["works"] = "works"
main.main()
"""


@pytest.fixture
def working(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Give a list for what is started; all of it is ended afterwards."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def begin(root: Path, *options: str, before: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", before + VERB, "works", str(root), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(["tests", *sys.path[1:]]), "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def state(root: Path) -> tuple[int, str]:
    """Return how many leases are taken and how the run stands."""
    store = open_store(root / "history.sqlite3")
    with store._database.reading() as connection:
        taken = connection.exec_driver_sql("SELECT count(*) FROM leases").scalar_one()
    return taken, store.history.outcomes()[0].outcome


@pytest.mark.parametrize("options", [[], ["--stubborn"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_gives_back_what_it_holds(
    tmp_path: Path,
    working: list[subprocess.Popen[str]],
    number: signal.Signals,
    options: list[str],
) -> None:
    process = begin(tmp_path, *options)
    working.append(process)
    assert state(tmp_path) == (1, "running")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "Stopped." in said
    assert "Next: owc-deploy status" in said
    assert state(tmp_path) == (0, "interrupted")


def test_a_hang_up_that_is_kept_away_stays_away(
    tmp_path: Path, working: list[subprocess.Popen[str]]
) -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = begin(tmp_path, before=ignoring)
    working.append(process)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
