"""Updates under load: that no visitor is sent away and no write is lost.

    python benchmarks/load.py [--updates 50] [--migrating 25] [--undone 10] [--seed 1]

Needs root. Boots a server and takes it away again. Visitors read the front page and send numbered
writes at fixed rates, entries through a REST route and every fourth a comment, while one block is
updated again and again. The releases are made for the run: some migrate the very table that is
written to, some are broken in a way that is found only after that and are undone. In the end every
number is looked up in the database. Exits with 1 when a promise is broken. About ten minutes.
"""

from __future__ import annotations

import argparse
import sys

from _bench import booted
from _proof import prove
from _updates import draw_updates
from rich.console import Console
from rich.table import Table


def main() -> None:
    options = _options()
    try:
        updates = draw_updates(options.updates, options.migrating, options.undone, options.seed)
    except ValueError as error:
        sys.exit(f"{error}")
    with booted() as bench:
        proof = prove(
            bench,
            bench.root / "catalogue",
            "druk",
            updates,
            reads_per_second=options.reads,
            writes_per_second=options.writes,
            limit_seconds=options.minutes * 60,
            tell=lambda words: print(words, flush=True),
        )
    table = Table("What", "Seen", "Promised", title=f"{len(updates)} updates, seed {options.seed}")
    for row in proof.rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for broken in proof.broken:
        console.print(f"broken promise: {broken}", style="red", markup=False)
    sys.exit(1 if proof.broken else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=50, help="how many, undone ones included")
    parser.add_argument("--migrating", type=int, default=25, help="of these, that migrate data")
    parser.add_argument("--undone", type=int, default=10, help="of these, that are broken")
    parser.add_argument("--seed", type=int, default=1, help="draws their order")
    parser.add_argument("--reads", type=float, default=20, help="GETs a second")
    parser.add_argument("--writes", type=float, default=5, help="writes a second")
    parser.add_argument("--minutes", type=float, default=45, help="no update begins after these")
    return parser.parse_args()


if __name__ == "__main__":
    main()
