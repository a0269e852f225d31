"""How long reading, checking and resolving 1,000 manifests takes, and how much memory.

    python benchmarks/validate.py [MANIFESTS]

Each manifest has about 60 lines. Measured inside one process after imports, so that the figure says
what a larger fleet costs; the whole command is measured too.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from owc_deploy.catalogue.contents import FIXED_FOLDERS
from owc_deploy.catalogue.document import render_catalogue
from owc_deploy.catalogue.models import Block, BlockRelease, Kind, Requirement
from owc_deploy.catalogue.source import catalogue_of, read_sources
from owc_deploy.fleet.load import load_fleet
from owc_deploy.resources import resource_folder

MANIFEST = """\
# yaml-language-server: $schema=../.owc-deploy/schemas/site.schema.json
schema_version: 1
site: {site}
municipality:
  name: Gemeente {site}
  code: gm0344
environment: production
url: https://www.{site}.example
title: Gemeente {site}
aliases:
  - {site}.example
servers:
  web: [web{server}]
  database: [web{server}]
ring: everyone
php: "8.2"
wordpress: ^7.1
locale: nl_NL
theme:
  name: example-theme
  version: ^1.0
dependencies: add
blocks:
{blocks}
  openwoo:
    version: ^4.3
    settings:
      openwoo_portal_url: https://woo.{site}.example
      openwoo_options:
        per_page: 20
        archive: true
settings:
  timezone_string: Europe/Amsterdam
  blog_public: 1
redirects:
  - source: /paspoort
    target: /onderwerpen/paspoort-aanvragen
  - source: /rijbewijs
    target: /onderwerpen/rijbewijs-aanvragen
    status: 302
administrators:
  - login: webbeheer
    email: webbeheer@{site}.example
pages:
  - path: /contact
    text: Gemeente {site}
tls:
  policy: acme
  email: webbeheer@{site}.example
releases_kept: 5
"""
BLOCKS = [f"block-{number}" for number in range(10)]
SERVERS = 20
RUNS = 5


def write_fleet(root: Path, sites: int) -> None:
    """Write a fleet of so many sites, without locks."""
    (root / "sites").mkdir()
    (root / "fleet.yml").write_text(
        "schema_version: 1\nname: benchmark\ncatalogue: catalogue\n"
        "rings: [{name: canary}, {name: everyone}]\n"
    )
    hosts = f"hosts: {{'web[1:{SERVERS}]': }}"
    (root / "servers.yml").write_text(f"web: {{{hosts}}}\ndatabase: {{{hosts}}}\n")
    blocks = "\n".join(f"  {name}: ^1.{number}" for number, name in enumerate(BLOCKS))
    for number in range(sites):
        site = f"site-{number}"
        text = MANIFEST.format(site=site, server=number % SERVERS + 1, blocks=blocks)
        (root / "sites" / f"{site}.yml").write_text(text)


def write_catalogue(root: Path) -> None:
    """Write a catalogue with everything the manifests ask for, in several versions."""
    digest = "0123456789abcdef" * 4

    def block(name: str, kind: Kind, versions: list[str], needs: tuple[str, ...] = ()) -> Block:
        releases = tuple(
            BlockRelease(
                version=version,
                header_version=version,
                sha256=digest,
                size_bytes=1,
                requires=tuple(Requirement(any_of=(need,), version="^1.0") for need in needs),
            )
            for version in versions
        )
        main_file = f"{name}.php" if kind == "plugin" else ""
        return Block(name, kind, name, name, main_file, releases)

    minors = [f"1.{minor}.0" for minor in range(15, -1, -1)]
    blocks = [
        block("wordpress", "core", ["7.1.1", "7.1.0", "6.5.5"]),
        block("wp-cli", "tool", ["2.12.0"]),
        block("language-nl_NL", "language", ["7.1.1", "7.1.0", "6.5.5"]),
        block("example-theme", "theme", ["1.1.0", "1.0.0"]),
        block("openwoo", "plugin", ["4.3.0", "4.2.0"], (BLOCKS[0], BLOCKS[1])),
        *(
            block(name, "plugin", minors, (BLOCKS[0],) if name != BLOCKS[0] else ())
            for name in BLOCKS
        ),
    ]
    (root / "catalogue").mkdir()
    (root / "catalogue" / "catalogue.json").write_bytes(render_catalogue(blocks))


def write_owc_fleet(root: Path, sites: int) -> None:
    """Write a fleet of the example compositions, again and again, and the OWC's whole catalogue.

    What is not built yet gets a made-up hash, since only what is built can be in a catalogue.
    """
    examples = resource_folder("inventories") / "example-compositions"
    (root / "sites").mkdir()
    for name in ("fleet.yml", "servers.yml"):
        shutil.copy(examples / name, root / name)
    originals = [yaml.safe_load(file.read_text()) for file in (examples / "sites").glob("*.yml")]
    for number in range(sites):
        manifest = {**originals[number % len(originals)], "site": f"site-{number}"}
        manifest.update(url=f"https://site-{number}.example", aliases=[])
        (root / "sites" / f"site-{number}.yml").write_text(yaml.safe_dump(manifest))
    folders = (resource_folder("catalogues") / "owc", examples / "supplied")
    built = [
        replace(
            block,
            folder=block.folder or FIXED_FOLDERS[block.kind],
            releases=tuple(
                replace(release, sha256="0123456789abcdef" * 4, size_bytes=1)
                for release in block.releases
            ),
        )
        for block in catalogue_of(read_sources(folders)).blocks.values()
        if block.releases
    ]
    (root / "catalogue").mkdir()
    (root / "catalogue" / "catalogue.json").write_bytes(render_catalogue(built))


def measured(work: Callable[[], object], runs: int = RUNS) -> str:
    """Return the median time of some runs, and the processor time, which a busy machine leaves."""
    elapsed, processor = [], []
    for _ in range(runs):
        begun, used = time.perf_counter(), processor_seconds()
        work()
        elapsed.append(time.perf_counter() - begun)
        processor.append(processor_seconds() - used)
    return f"{statistics.median(elapsed):6.2f} s   {statistics.median(processor):6.2f} s"


def processor_seconds() -> float:
    """Return the processor time of this process and of those it started."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Measure and print a table."""
    sites = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    program = str(Path(sys.executable).with_name("owc-deploy"))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_fleet(root, sites)
        lines = len((root / "sites" / "site-0.yml").read_text().splitlines())
        print(f"{sites} manifests of {lines} lines, median of {RUNS} runs")

        def run(verb: str, fleet: Path = root) -> None:
            subprocess.run(
                [program, verb, "--format", "json", "--fleet", fleet],
                check=True,
                capture_output=True,
            )

        print("                                        elapsed  processor")
        print(f"read, check and build the models     {measured(lambda: load_fleet(root))}")
        print(f"owc-deploy validate                  {measured(lambda: run('validate'))}")
        write_catalogue(root)
        print(f"the same, resolved in the catalogue  {measured(lambda: run('validate'))}")
        print(f"owc-deploy lock, once for every site {measured(lambda: run('lock'), runs=1)}")
        print(f"owc-deploy validate, now locked      {measured(lambda: run('validate'))}")
    with tempfile.TemporaryDirectory() as folder:
        owc = Path(folder)
        write_owc_fleet(owc, sites)
        print(f"compositions in the OWC's catalogue  {measured(lambda: run('validate', owc))}")
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"most memory of the command           {children} MB")


if __name__ == "__main__":
    main()
