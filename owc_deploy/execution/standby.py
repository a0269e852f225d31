"""`ansible-playbook`, begun before it is known what it has to do.

Importing Ansible takes a third of a second, as long as reading a fleet's documents does. So a verb
that will need servers begins it first, and tells it later what to run. Nothing is done on a server
before that; told nothing, it ends by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.environment import ansible_settings, run_folder, scrubbed

_PROCESS = Path(__file__).with_name("playbook_process.py")
_POLL_SECONDS = 0.1
_TAIL_LINES = 20
_QUOTED = re.compile(r"\s*(\d+ |\^|$)")


class Standby:
    """One `ansible-playbook` in waiting, with a private folder that is gone when it ended."""

    def __init__(self, fleet_root: Path) -> None:
        self.fleet_root = fleet_root
        self._stack = contextlib.ExitStack()
        self.folder = self._stack.enter_context(run_folder())
        (self.folder / "tmp").mkdir(mode=0o700)
        self._output = self.folder / "output"
        settings = ansible_settings(self.folder, fleet_root)
        with self._output.open("wb") as output:
            self._process = self._stack.enter_context(
                subprocess.Popen(
                    # -P: this folder has an ansible.py of its own.
                    [sys.executable, "-P", str(_PROCESS), "--standby"],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=scrubbed({}, settings),
                    start_new_session=True,
                )
            )

    @property
    def process_id(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    @property
    def tail(self) -> str:
        """The last lines that Ansible said."""
        text = self._output.read_text(encoding="utf-8", errors="replace")
        # Ansible quotes the lines around an error, and there may be a password in servers.yml.
        lines = [line.rstrip() for line in text.splitlines() if not _QUOTED.match(line)]
        return "\n".join(lines[-_TAIL_LINES:])

    def run(self, arguments: Sequence[str], must_end: Callable[[], bool]) -> int:
        """Run `ansible-playbook` with these arguments to its end and return its exit code.

        `must_end` is asked several times a second whether it has to be killed.
        """
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as told:
                told.write(json.dumps(list(arguments)).encode() + b"\n")
        ended = os.pidfd_open(self._process.pid)
        try:
            while not select.select([ended], [], [], _POLL_SECONDS)[0]:
                if must_end():
                    self._kill()
        finally:
            os.close(ended)
        return self._process.wait()

    def end(self) -> None:
        """End the process if it is there still, and delete its folder."""
        if self._process.poll() is None:
            self._kill()
        self._stack.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


_begun: list[Standby] = []


def begin(fleet_root: Path) -> None:
    """Begin one for the fleet in this folder, to be taken by `take`."""
    # Whatever is wrong here is said when it is needed, by then for the right fleet.
    with contextlib.suppress(ExecutionError, OSError):
        _begun.append(Standby(fleet_root))


def take(fleet_root: Path) -> Standby:
    """Return the one that was begun for this fleet, or a new one; `end` it when it is done with."""
    while _begun:
        standby = _begun.pop()
        if standby.fleet_root == fleet_root:
            return standby
        standby.end()
    return Standby(fleet_root)


@atexit.register
def _end_what_nobody_took() -> None:
    while _begun:
        _begun.pop().end()
