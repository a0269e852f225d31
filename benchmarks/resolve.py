"""How long resolving takes: one question, 1,000 manifests, and a set that is impossible.

    python benchmarks/resolve.py [ROUNDS]

A catalogue of 60 blocks with 15 releases each, chained by requirements and conflicts, and 1,000
manifests that ask 10 different sets, as a supplier's fleet does. Then the Open Webconcept's own
catalogue source, with the example compositions, and with 1,000 sets that nearly all differ. Pure
computation: no server, and files are read before the clock starts. Medians of the rounds, each with
a catalogue that was not seen before.
"""

from __future__ import annotations

import contextlib
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue, Conflict, Kind, Requirement
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.catalogue.source import catalogue_of, read_sources
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import (
    BlockChoice,
    Lock,
    Manifest,
    Municipality,
    Server,
    SiteServers,
    ThemeChoice,
    Tls,
)
from owc_deploy.resources import resource_folder

BLOCKS = 60
RELEASES = 15
MANIFESTS = 1000
DISTINCT = 10
CHOSEN = 20
SHARE_KEPT = 0.6
SERVER = Server("web1", ("web", "database"), ("8.2", "8.4"))


def main() -> None:
    """Measure and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows = [
        ("one manifest, nothing remembered", _median(rounds, _one)),
        (f"{MANIFESTS:,} manifests, {DISTINCT} sets", _median(rounds, _many)),
        (f"{MANIFESTS:,} locks kept as they are", _median(rounds, _keep, _locks)),
        ("one impossible set, explained", _median(rounds, _impossible)),
        (f"{MANIFESTS:,} manifests, OWC catalogue", _median_owc(rounds, _compositions())),
        (f"{MANIFESTS:,} sets of their own, OWC catalogue", _median_owc(rounds, _own_sets())),
    ]
    table = Table("What", "Median seconds")
    for what, seconds in rows:
        table.add_row(what, f"{seconds:.3f}")
    Console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{BLOCKS} blocks with {RELEASES} releases, {CHOSEN} chosen by each; peak {peak} MB")


def _median(
    rounds: int,
    work: Callable[[Catalogue, list[Lock]], object],
    prepare: Callable[[Catalogue], list[Lock]] = lambda _: [],
) -> float:
    taken = []
    for number in range(rounds):
        catalogue = _catalogue(number)
        prepared = prepare(catalogue)
        started = time.perf_counter()
        work(catalogue, prepared)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _median_owc(rounds: int, manifests: list[tuple[Manifest, Server]]) -> float:
    taken = []
    for _ in range(rounds):
        catalogue = _owc_catalogue()
        started = time.perf_counter()
        for manifest, server in manifests:
            # A set that lost what it needs is refused: an answer like any other.
            with contextlib.suppress(ResolutionError):
                resolve(manifest, server, catalogue)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _owc_catalogue() -> Catalogue:
    supplied = resource_folder("inventories") / "example-compositions" / "supplied"
    return catalogue_of(read_sources((resource_folder("catalogues") / "owc", supplied)))


def _compositions() -> list[tuple[Manifest, Server]]:
    fleet = load_fleet(resource_folder("inventories") / "example-compositions")
    pairs = [(m, fleet.servers[m.servers.web[0]]) for m in fleet.manifests.values()]
    return [pairs[number % len(pairs)] for number in range(MANIFESTS)]


def _own_sets() -> list[tuple[Manifest, Server]]:
    """Leave some blocks out of each composition, and let what is needed be added again."""
    shuffled = random.Random(0)  # noqa: S311  the same sets every time
    return [
        (
            replace(
                manifest,
                dependencies="add",
                blocks=tuple(block for block in manifest.blocks if shuffled.random() < SHARE_KEPT),
            ),
            server,
        )
        for manifest, server in _compositions()
    ]


def _one(catalogue: Catalogue, _: list[Lock]) -> object:
    return resolve(_manifest(0), SERVER, catalogue)


def _many(catalogue: Catalogue, _: list[Lock]) -> object:
    return [resolve(_manifest(number), SERVER, catalogue) for number in range(MANIFESTS)]


def _locks(catalogue: Catalogue) -> list[Lock]:
    return [resolve(_manifest(number), SERVER, catalogue) for number in range(MANIFESTS)]


def _keep(catalogue: Catalogue, locks: list[Lock]) -> object:
    return [
        resolve(_manifest(number), SERVER, catalogue, previous=lock)
        for number, lock in enumerate(locks)
    ]


def _impossible(catalogue: Catalogue, _: list[Lock]) -> object:
    # The newest release of every tenth block forbids the first ones of its neighbour.
    asked = (
        *_manifest(0).blocks,
        BlockChoice("block-10", "2.4.0"),
        BlockChoice("block-11", "1.0.0"),
    )
    blocks = {choice.name: choice for choice in asked}
    try:
        resolve(_manifest(0, tuple(blocks.values())), SERVER, catalogue)
    except ResolutionError as error:
        return error
    sys.exit("the impossible set was possible: this benchmark no longer measures what it says")


def _catalogue(seed: int) -> Catalogue:
    shuffled = random.Random(seed)  # noqa: S311  the same catalogue every time
    blocks = [
        _block("wordpress", "core", [_release(f"7.{minor}.0") for minor in range(4)]),
        _block("wp-cli", "tool", [_release("2.12.0")]),
        _block("language-nl_NL", "language", [_release(f"7.{n}.0", f"7.{n}.*") for n in range(4)]),
        _block("example-theme", "theme", [_release("1.0.0")]),
    ]
    for number in range(BLOCKS):
        needs = sorted(shuffled.sample(range(number), min(number, 2))) if number else []
        releases = []
        for index in range(RELEASES):
            major, minor = divmod(index, 10)
            version = f"{1 + major}.{minor}.0"
            requires = tuple(
                Requirement(any_of=(f"block-{other}",), version=f">=1.{minor // 2}")
                for other in needs
            )
            conflicts = (
                (Conflict(f"block-{number + 1}", "<1.1"),)
                if number % 10 == 0 and index == RELEASES - 1
                else ()
            )
            releases.append(_release(version, ">=7.0", requires, conflicts))
        blocks.append(_block(f"block-{number}", "plugin", releases))
    return Catalogue({block.name: block for block in blocks}, f"{seed:064}")


def _block(name: str, kind: Kind, releases: list[BlockRelease]) -> Block:
    return Block(name, kind, name, name, "", tuple(reversed(releases)))


def _release(
    version: str,
    wordpress: str = "*",
    requires: tuple[Requirement, ...] = (),
    conflicts: tuple[Conflict, ...] = (),
) -> BlockRelease:
    return BlockRelease(
        version,
        version,
        "0" * 64,
        1,
        php=">=8.1",
        wordpress=wordpress,
        requires=requires,
        conflicts=conflicts,
    )


def _manifest(number: int, blocks: tuple[BlockChoice, ...] | None = None) -> Manifest:
    chosen = random.Random(number % DISTINCT).sample(range(BLOCKS), CHOSEN)  # noqa: S311
    return Manifest(
        site=f"site-{number}",
        municipality=Municipality("Voorbeeld"),
        environment="production",
        url=f"https://site-{number}.example",
        servers=SiteServers(("web1",), ("web1",)),
        ring="everyone",
        php="^8",
        wordpress="^7",
        theme=ThemeChoice("example-theme"),
        tls=Tls("internal"),
        source=Path(f"sites/site-{number}.yml"),
        sha256=f"{number:064}",
        blocks=blocks or tuple(BlockChoice(f"block-{n}", "^1 || ^2") for n in chosen),
    )


if __name__ == "__main__":
    main()
