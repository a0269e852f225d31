"""First figures for what an operator waits for, on lab servers of this machine.

    python benchmarks/sites.py [--sites 20] [--rounds 5]

Needs root. Boots a server and takes it away again. Every figure is of whole commands, from typing
to the shell's next prompt, medians of `--rounds`; the table names the goal and the peer's figure
beside it. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPSConnection
from socket import create_connection
from ssl import create_default_context

from _bench import SITE_DISK, Bench, booted, rounds, spread, used_bytes
from rich.console import Console
from rich.table import Table

RATE_PER_SECOND = 20


@contextmanager
def asked(bench: Bench, site: str) -> Iterator[dict[str, int]]:
    """Ask for the front page at a fixed rate until the block ends; count what was not a 200."""
    counts = {"asked": 0, "failed": 0}
    stop = threading.Event()

    def keep_asking() -> None:
        due = time.monotonic()
        while not stop.is_set():
            counts["asked"] += 1
            counts["failed"] += not page_is_good(bench, site)
            due += 1 / RATE_PER_SECOND
            stop.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


def page_is_good(bench: Bench, site: str) -> bool:
    context = create_default_context(cafile=str(bench.authority))
    connection = HTTPSConnection(f"www.{site}.example", context=context, timeout=10)
    try:
        plain = create_connection((bench.address, 443), timeout=10)
        connection.sock = context.wrap_socket(plain, server_hostname=f"www.{site}.example")
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def measure(bench: Bench, sites: int, count: int) -> None:
    first = bench.create("eerste")
    bench.note("fresh server to first live site", f"{first:.0f} s", "90 s", "WordOps 321 s + 12 s")

    before = used_bytes(bench, *SITE_DISK)
    names = [f"site-{number:03}" for number in range(1, sites)]
    figure = spread(rounds(count, lambda number: bench.create(names[number])))
    bench.note("one more site on a prepared server", figure, "5 s", "WordOps 12 s")
    after = used_bytes(bench, *SITE_DISK)
    bench.note(
        "disk for one more site", f"{(after - before) / count / 1e6:.1f} MB", "5 MB", "117 MB"
    )

    def update(number: int) -> float:
        bench.write_news("eerste", "1.1.0" if number % 2 == 0 else "1.0.0")
        bench.owc("lock", "eerste")
        return bench.owc("apply", "eerste", "--yes")

    with asked(bench, "eerste") as counts:
        figure = spread(rounds(count, update))
    bench.note("update one block on one site", figure, "2.1 s", "Ansistrano 10.7 s")
    failed = f"{counts['failed']} of {counts['asked']}"
    bench.note(f"failed requests through {count} updates", failed, "0")

    figure = spread(rounds(count, lambda _: bench.owc("rollback", "eerste", "--yes")))
    bench.note("code rollback", figure, "1.8 s", "Ansistrano 3.6 s")

    for name in names[count:]:
        bench.write(name)
    bench.owc("lock")
    bench.owc("apply", "--yes")
    figure = spread(rounds(count, lambda _: bench.owc("apply", "--yes")))
    bench.note(f"nothing to do, {sites} sites on one server", figure, "3 s (100)", "Trellis 7 min")

    bench.run("systemctl stop 'owc-cron@*.timer'; sleep 35")
    masters = [int(line) for line in bench.run(PSS).split()]
    average = sum(masters) / len(masters) / 1024
    bench.note(f"memory of an idle site, of {len(masters)}", f"{average:.1f} MB PSS", "40 MB")
    total = int(bench.run("awk '{s+=$1} END {print s}' <(" + ALL_PSS + ")")) / 1024
    bench.note(f"memory of all processes, {sites} idle sites", f"{total:.0f} MB PSS", "4 GB (100)")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    bench.note("peak memory of any controller process", f"{peak:.0f} MB", "200 MB")


PSS = (
    "for pid in $(pgrep -f '^php-fpm: master process'); do"
    " awk '/^Pss:/ {print $2}' /proc/$pid/smaps_rollup; done"
)
ALL_PSS = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ {print $2}'"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sites", type=int, default=20, help="sites on the server in the end")
    parser.add_argument("--rounds", type=int, default=5, help="measurements for each median")
    options = parser.parse_args()
    if options.sites <= options.rounds:
        parser.error("--sites must be more than --rounds")
    with booted() as bench:
        measure(bench, options.sites, options.rounds)
    table = Table("What", "Measured", "Goal", "Peer", title="On this machine, whole commands")
    for row in bench.rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
