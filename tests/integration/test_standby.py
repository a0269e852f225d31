"""Ansible in waiting: taken, or gone without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from integration.bench import ends, run_folders

from owc_deploy.execution import standby

BEGIN_AND_WAIT = """
import sys, time
from pathlib import Path
from owc_deploy.execution import standby
standby.begin(Path(sys.argv[1]))
print(standby._begun[0].process_id, flush=True)
time.sleep(60)
"""


def test_what_was_begun_for_this_fleet_is_taken(tmp_path: Path) -> None:
    standby.begin(tmp_path)
    (begun,) = standby._begun
    taken = standby.take(tmp_path)
    assert taken is begun
    assert taken.run(["--version"], lambda: False) == 0
    assert "ansible-playbook [core" in taken.tail
    taken.end()
    assert run_folders() == []


def test_what_was_begun_for_another_fleet_is_ended(tmp_path: Path) -> None:
    standby.begin(tmp_path / "one")
    (begun,) = standby._begun
    taken = standby.take(tmp_path / "two")
    assert taken is not begun
    assert ends(begun.process_id)
    taken.end()
    assert ends(taken.process_id)
    assert run_folders() == []


def test_it_is_killed_when_it_must_end(tmp_path: Path) -> None:
    taken = standby.take(tmp_path)
    assert taken.run(["--version"], lambda: True) in {0, -signal.SIGKILL}
    taken.end()


TELL_AND_WAIT = """
import os, sys
from pathlib import Path
from owc_deploy.execution import standby
folder = Path(sys.argv[1])
os.mkfifo(folder / "never.yml")
(folder / "play.yml").write_text("- hosts: all\\n")
taken = standby.take(folder)
print(taken.process_id, flush=True)
taken.run(["--inventory", str(folder / "never.yml"), str(folder / "play.yml")], lambda: False)
"""


def test_nobody_is_left_reading_when_the_controller_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TELL_AND_WAIT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as controller:
        assert controller.stdout is not None
        process_id = int(controller.stdout.readline())
        time.sleep(2)
        controller.kill()
    assert ends(process_id)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nobody_is_left_waiting_when_the_controller_is_gone(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN_AND_WAIT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as controller:
        assert controller.stdout is not None
        process_id = int(controller.stdout.readline())
        os.kill(controller.pid, number)
        if number == signal.SIGINT:
            # Where interrupts are ignored, as in CI, it has to be told otherwise.
            os.kill(controller.pid, signal.SIGTERM)
        controller.wait()
    assert ends(process_id)
