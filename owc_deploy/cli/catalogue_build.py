"""`owc-deploy catalogue build`: many releases at once, from ready archives or from their commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from owc_deploy.catalogue.add import AddRequest, AddResult, add_release
from owc_deploy.catalogue.listing import NoListError, read_source_list
from owc_deploy.catalogue.source import BlockSource, read_source
from owc_deploy.cli.catalogue import (
    catalogue_options,
    own_folder,
    print_result,
    result_document,
)
from owc_deploy.cli.options import format_option
from owc_deploy.cli.view import narrate, plain, print_json
from owc_deploy.errors import CatalogueError, OwcError, UsageError
from owc_deploy.lab.build import Job, build_jobs

SCHEMA_VERSION = 1


@dataclass(slots=True)
class _Work:
    """What the files ask for: archives that are there, and blocks to be made from their commit."""

    requests: list[AddRequest] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


@click.command(
    "build",
    epilog="""
\b
Examples:
  owc-deploy catalogue build source.yml --catalogue catalogue
  owc-deploy catalogue build catalogues/owc/openwoo.yml
  owc-deploy catalogue build catalogues/owc/openpub-base.yml --release 2.3.13
\b
A list of archives (paths are relative to it; schemas/catalogue-source.schema.json):
  schema_version: 1
  releases:
    - archive: zips/cmb2-2.11.0.zip
      name: cmb2
      kind: plugin
    - archive: openwoo
      name: openwoo
      kind: plugin
      requires:
        - any_of: [cmb2]
          version: ">=2.10.1"
\b
A block file (schemas/block-source.schema.json) needs a machine that can run a lab: `owc-deploy lab
up` says what is missing.
""",
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@catalogue_options
@click.option("--release", "version", help="The version of a block to build (default: the newest).")
@format_option
def build(
    files: tuple[Path, ...],
    fleet_root: Path,
    folder: Path | None,
    version: str | None,
    output_format: str,
) -> int:
    """Add every release of lists of archives, and build blocks from their commit by their recipe.

    Blocks are built in a server made for it and gone afterwards: git, composer, the recipe's
    commands as an unprivileged user, pruning, and the checks of `catalogue add`. What is listed
    already is passed over. One that is refused leaves the others alone; the exit code is 1 then.
    """
    if version is not None and len(files) > 1:
        raise UsageError("--release names a version of one block", hint="name one file")
    destination = own_folder(fleet_root, folder)
    results: list[AddResult] = []
    refused = 0
    for name, outcome in _carried_out(_work(files, version), destination):
        if isinstance(outcome, OwcError):
            refused += 1
            _tell(name, outcome)
            continue
        results.append(outcome)
        if output_format == "human":
            print_result(outcome)
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "releases": [result_document(result) for result in results],
                "refused": refused,
            }
        )
    return CatalogueError.exit_code if refused else 0


def _work(files: Sequence[Path], version: str | None) -> _Work:
    work = _Work()
    for file in files:
        try:
            work.requests += read_source_list(file)
        except NoListError:
            source = read_source(file)
            if source.recipe is None or not source.block.releases:
                narrate(f"{source.block.name}: nothing to build, bring its artefact")
            else:
                work.jobs.append(_job(source, version))
    return work


def _carried_out(work: _Work, destination: Path) -> Iterator[tuple[str, AddResult | OwcError]]:
    for request in work.requests:
        try:
            yield request.name, add_release(destination, request)
        except CatalogueError as error:
            yield request.name, error
    for outcome in build_jobs(work.jobs, destination, narrate) if work.jobs else ():
        name = f"{outcome.job.source.block.name} {outcome.job.release.version} was not built"
        told = outcome.error or outcome.result
        if told is not None:
            yield name, told


def _job(source: BlockSource, version: str | None) -> Job:
    for release in source.block.releases:
        if version is None or release.version == version:
            return Job(source, release)
    listed = ", ".join(release.version for release in source.block.releases)
    raise UsageError(
        f"{source.document.file} lists no {version} of {source.block.name}",
        hint=f"one of {listed}",
    )


def _tell(name: str, error: OwcError) -> None:
    narrate(f"{name}: {plain(error.message)}")
    for line in (error.context or "").splitlines():
        narrate(f"  {plain(line)}")
    if error.hint:
        narrate(f"  Next: {plain(error.hint)}")
