"""A street of sites on one real server, one for each point at which a change can be harmed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.conftest import Town
from e2e.faults.looking import LOOK, WATCH
from e2e.faults.sent import LAUNCH

from owc_agent.release import Release
from owc_deploy.lab import state

SERVER = "web1"
# After the last step there is one moment more: it is good, and that is not carried out yet.
COMMIT = "commit"
POINTS = (*Release.STEPS, COMMIT)
# Long enough for a busy machine; and short, so that what nobody confirms is undone while one waits.
CONFIRMED_SECONDS = 90.0
UNCONFIRMED_SECONDS = 3.0


@dataclass
class Street(Town):
    """Sites on one server, one for each point at which a change can be harmed."""

    disk: Path = Path()
    plugins: Path = Path()
    first: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.lab.servers[SERVER].address

    def _leader(self) -> str:
        """Return the server's first process, as this machine has it."""
        record = state.read_server(self.lab.folder, SERVER)
        assert record is not None
        return Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split()[0]

    def inside(self, *command: str, check: bool = True, timeout_seconds: float = 300) -> str:
        """Run a command on the server as root, whatever became of its network."""
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
        enter = ["nsenter", "--target", self._leader(), *spaces]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"]
        done = subprocess.run(
            [*enter, "--root", "--wd", *clean, *command],
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def python(self, script: str, *arguments: str) -> Any:
        """Run Python on the server and return the JSON document that it printed."""
        return json.loads(self.inside("python3", "-c", script, *arguments))

    def begin(
        self,
        *arguments: str,
        plugins: Path | None = None,
        parallel: int = 64,
        confirmation_seconds: float = CONFIRMED_SECONDS,
        clock_days: int = 0,
        root: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start the command line in a process group of its own, with more at a time than usual."""
        given = {
            "plugins": str(plugins or self.plugins),
            "parallel": parallel,
            "confirmation": confirmation_seconds,
            "patient": site_of(COMMIT),
            "clock_days": clock_days,
        }
        command = [sys.executable, "-c", LAUNCH, json.dumps(given), *arguments]
        return subprocess.Popen(
            [*command, "--fleet", str(root or self.root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def change(self, *sites: str, parallel: int = 4, **given: Any) -> dict[str, dict[str, Any]]:
        """Apply to these sites and return each site's outcome; `given` is for `begin`."""
        command = ("apply", *sites, "--yes", "--format", "json")
        return outcomes(self.begin(*command, parallel=parallel, **given))

    def look(self) -> dict[str, Any]:
        """Return what is on the server."""
        seen: dict[str, Any] = self.python(LOOK)
        return seen

    def units(self) -> list[str]:
        """Return the units of transactions that are there, however they are doing."""
        listed = self.inside(
            "systemctl", "list-units", "--all", "--plain", "--no-legend", "owc-transaction-*"
        )
        return [line.split()[0] for line in listed.splitlines()]

    def interrupted(self) -> list[str]:
        """Return the journals that are open."""
        find = "ls /srv/owc/sites/*/journal/transaction.jsonl 2> /dev/null || true"
        return self.inside("sh", "-c", find).split()

    def wait_until_over(self, timeout_seconds: float = 150) -> None:
        """Wait until no transaction runs; one that could not be undone may be left."""
        eventually(lambda: not self.units(), "no unit is left", timeout_seconds)

    def wait_until_recovered(self, timeout_seconds: float = 90) -> None:
        """Wait until the timer has finished or undone whatever was left."""
        eventually(lambda: not self.interrupted(), "every journal is closed", timeout_seconds)

    def stopped(self) -> dict[str, int]:
        """Return the transactions that stand still: site to process id, as this machine has it."""
        found = {}
        here = Path(f"/proc/{self._leader()}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                stat = (process / "stat").read_text(errors="replace")
                if stat.rpartition(")")[2].split()[0] != "T":
                    continue
                words = (process / "cmdline").read_text(errors="replace").split("\0")
                if words[3:4] == ["run"] and (process / "ns/pid").readlink() == here:
                    found[words[4].split("/")[3]] = int(process.name)
        return found

    def write_file(self, path: str, text: str) -> None:
        """Write a file on the server as somebody by hand would."""
        write = "import os, sys; os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True);"
        write += "open(sys.argv[1], 'w').write(sys.argv[2])"
        self.inside("python3", "-c", write, path, text)


def outcomes(process: subprocess.Popen[str], timeout_seconds: float = 300) -> dict[str, Any]:
    """Wait for an `apply` and return each site's outcome."""
    out, err = process.communicate(timeout=timeout_seconds)
    assert out, err
    return {item["site"]: item for item in json.loads(out)["outcomes"]}


def site_of(point: str) -> str:
    """Return the site that is harmed at that point."""
    return f"stap-{point.replace('_', '-')}"


def eventually(condition: Callable[[], Any], what: str, timeout_seconds: float = 120) -> Any:
    """Wait until a condition holds and return what it gave."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {timeout_seconds} s still not: {what}"
        time.sleep(0.3)
    return found


@contextmanager
def watched(street: Street, sites: Sequence[str]) -> Iterator[Callable[[], list[list[Any]]]]:
    """Ask sites for their front page on the server itself; give what went wrong until now."""
    unit = "owc-fault-watch"
    street.inside(
        "systemd-run", "--quiet", "--collect", f"--unit={unit}", "python3", "-c", WATCH, *sites
    )

    def wrong() -> list[list[Any]]:
        lines = street.inside("cat", "/run/owc-fault-watch.jsonl").splitlines()
        readings = [json.loads(line) for line in lines]
        assert readings
        return [reading for reading in readings if reading[2]]

    try:
        yield wrong
    finally:
        street.inside("systemctl", "stop", unit, check=False)
