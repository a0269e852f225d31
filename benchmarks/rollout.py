"""What deciding and recording a rollout costs, in seconds per ring and in memory.

    python benchmarks/rollout.py [SITES ...]

A fleet of so many sites (500, 1,000, 2,000 and 4,000 unless told otherwise), ten to a server, in
four rings of 1, 9, 30 and 60 hundredths, each site of 24 artefacts. Servers are simulated in memory
and answer at once; everything else is what `owc-deploy rollout` does: each batch is looked at,
planned for, written down in a store in a file, sent, and written down again, with its run in the
history, its leases and its entries in the audit log. Every size has a process of its own.

The seconds are of the whole walk; of these, those of the simulated servers are told too, which a
real fleet does not have. Memory is what Python holds at most while walking, beyond the documents of
the fleet and what was live on the simulated servers before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, event

from owc_deploy.rollout.claims import RunRecords, SiteClaims
from owc_deploy.rollout.hands import ServerHands
from owc_deploy.rollout.journal import StoreJournal, begin
from owc_deploy.rollout.models import NewEvent, Stand
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.turns import Calendar
from owc_deploy.rollout.walk import walk
from owc_deploy.store import open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes.fleet import FleetSimulator
from fakes.large_fleet import large_catalogue, large_fleet, large_rollout, live_servers
from fakes.walking import FakeClock

SIZES = (500, 1000, 2000, 4000)


@dataclass
class Figures:
    """What one rollout took; `seconds` are by ring."""

    sites: int
    servers: int
    seconds: dict[str, float] = field(default_factory=dict)
    processor_seconds: float = 0.0
    simulated_seconds: float = 0.0
    commits: int = 0
    peak_bytes: int = 0
    store_bytes: int = 0


class TimedServers(FleetSimulator):
    """Simulated servers that know how long they took, and forget what they were sent."""

    seconds = 0.0

    def probe(self, *arguments: Any, **more: Any) -> Any:
        return self._timed(super().probe, *arguments, **more)

    def release(self, *arguments: Any, **more: Any) -> Any:
        outcomes = self._timed(super().release, *arguments, **more)
        for outcome in outcomes:
            site = self.servers[outcome.server].sites[outcome.site]
            site.releases = {site.current: {}}
        return outcomes

    def _timed(self, work: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        started = time.perf_counter()
        try:
            return work(*arguments, **more)
        finally:
            self.seconds += time.perf_counter() - started


def measured(sites: int, folder: Path, *, memory: bool) -> Figures:
    """Walk one rollout; with `memory` only its memory is of use, since counting it takes time."""
    fleet = large_fleet(sites)
    servers = TimedServers(fleet.servers)
    live_servers(fleet, servers)
    figures = Figures(sites, len(fleet.servers))
    made = large_rollout(fleet)
    store = open_store(folder / "history.sqlite3")
    begin(store, made)
    clock = FakeClock()
    standing = Standing(made)
    started = time.perf_counter()

    def tell(words: str) -> None:
        nonlocal started
        if words.endswith("has ended"):
            ring = words.split()[1]
            figures.seconds[ring] = time.perf_counter() - started
            started = time.perf_counter()

    if memory:
        tracemalloc.start()
    rollout_id = made.rollout_id
    with (
        counted_commits(figures),
        store.claim(f"rollout/{rollout_id}", reason="benchmark", rollout_id=rollout_id) as claim,
    ):
        journal = StoreJournal(store, rollout_id)
        journal.append(NewEvent("walk-begun", body={"owner": claim.owner}))
        hands = ServerHands(
            fleet=fleet,
            catalogue=large_catalogue(),
            executor=servers,
            journal=journal,
            claims=SiteClaims(claim),
            record=RunRecords(store, made, claim),
            clock=clock.now,
        )
        started, used = time.perf_counter(), time.process_time()
        while True:
            stopped = walk(
                *(standing, journal, hands, Calendar({}, ()), clock),
                patience=timedelta(),
                require=claim.require,
                tell=tell,
            )
            if isinstance(stopped, Stand):
                break
            # Soaks take no time here.
            clock.sleep_until(stopped.until)
        figures.processor_seconds = time.process_time() - used
    if memory:
        figures.peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if stopped != Stand("done", ""):
        sys.exit(f"it is {stopped}: this benchmark no longer measures what it says")
    figures.simulated_seconds = servers.seconds
    figures.store_bytes = (folder / "history.sqlite3").stat().st_size
    return figures


@contextmanager
def counted_commits(figures: Figures) -> Iterator[None]:
    """Count what has to reach the disk before anything goes on."""

    def count(*arguments: Any) -> None:
        figures.commits += str(arguments[2]).startswith("BEGIN IMMEDIATE")

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def in_a_process(sites: int, *, memory: bool) -> Figures:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--one", str(sites), *(["--memory"] if memory else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Figures(**json.loads(done.stdout))


def one(sites: int, *, memory: bool) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        print(json.dumps(asdict(measured(sites, Path(folder), memory=memory))))


def main() -> None:
    if "--one" in sys.argv:
        one(int(sys.argv[2]), memory="--memory" in sys.argv)
        return
    table = Table(
        *("Sites", "Servers", "canary", "early", "most", "all", "processor", "simulated"),
        *("ms a site", "commits", "memory", "a further site", "store"),
        title="Seconds to decide and record each ring; memory while walking",
    )
    peaks: dict[int, int] = {}
    for sites in [int(each) for each in sys.argv[1:]] or SIZES:
        figures = in_a_process(sites, memory=False)
        peak = peaks[sites] = in_a_process(sites, memory=True).peak_bytes
        first = min(peaks)
        further = (peak - peaks[first]) / (sites - first) if sites > first else 0
        table.add_row(
            *(f"{sites:,}", f"{figures.servers:,}"),
            *(f"{seconds:.2f}" for seconds in figures.seconds.values()),
            f"{figures.processor_seconds:.2f}",
            f"{figures.simulated_seconds:.2f}",
            f"{sum(figures.seconds.values()) / sites * 1e3:.2f}",
            f"{figures.commits:,}",
            f"{peak / 1e6:.1f} MB",
            f"{further / 1e3:.1f} kB" if further else "",
            f"{figures.store_bytes / 1e6:.1f} MB",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
