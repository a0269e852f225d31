"""An update of many sites at once, each of which can be harmed at a point of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from e2e.faults.comparing import problems
from e2e.faults.street import CONFIRMED_SECONDS, Street, eventually


class Change:
    """An update of many sites at once, each of which stands still at a point of its own."""

    def __init__(
        self,
        street: Street,
        points: Mapping[str, str],
        *,
        confirmation_seconds: float = CONFIRMED_SECONDS,
    ) -> None:
        self.street = street
        self.points = points
        self.before = street.look()["sites"]
        self.pids: dict[str, int] = {}
        write = "import json, os, sys; os.makedirs('/run/owc-fault', exist_ok=True); "
        write += "[open('/run/owc-fault/' + s, 'w').write(p) for s, p in json.loads(sys.argv[1])]"
        street.inside("python3", "-c", write, json.dumps(list(points.items())))
        command = ("apply", *points, "--yes", "--format", "json")
        self.process = street.begin(*command, confirmation_seconds=confirmation_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing that stands still, or would in the next test."""
        self.kill_controller()
        self.street.inside("rm", "-rf", "/run/owc-fault")
        signal_all(signal.SIGKILL, self.street.stopped().values())

    def wait_until_all_stand_still(self) -> None:
        def all_stopped() -> bool:
            self.pids = self.street.stopped()
            return self.pids.keys() == set(self.points) or self.process.poll() is not None

        eventually(all_stopped, "every transaction stands at its point")
        missing = set(self.points) - self.pids.keys()
        assert not missing, (missing, self.process.poll() and self.process.communicate())

    def let_go(self) -> None:
        signal_all(signal.SIGCONT, self.pids.values())

    def kill(self) -> None:
        """Kill the transactions that stand still."""
        signal_all(signal.SIGKILL, self.pids.values())

    def kill_controller(self) -> None:
        """Kill the controller and everything that it started, as losing its machine would."""
        if self.process.poll() is None:
            signal_all(signal.SIGKILL, descendants(self.process.pid))
            self.process.communicate()

    def problems(
        self,
        *,
        may_be_new: Iterable[str] = (),
        must_be_new: Iterable[str] = (),
        told: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[str]:
        """See `problems`."""
        return problems(self.street, self.before, self.points, may_be_new, must_be_new, told or {})


def descendants(pid: int) -> list[int]:
    """Return a process and everything below it, whatever session it made for itself."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            own, _, rest = entry.read_text(errors="replace").partition(" ")
            parents[int(own)] = int(rest.rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def signal_all(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
