"""`owc-deploy catalogue build-recipe`: artefacts from their commit, in a clean lab server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from owc_deploy.catalogue.source import BlockSource, read_source
from owc_deploy.cli.options import fleet_option, format_option
from owc_deploy.cli.view import narrate, plain, print_json
from owc_deploy.errors import CatalogueError, UsageError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.lab.build import Job, Outcome, build_jobs

SCHEMA_VERSION = 1


@click.command(
    "build-recipe",
    epilog="""
\b
Examples:
  owc-deploy catalogue build-recipe catalogues/owc/openwoo.yml
  owc-deploy catalogue build-recipe catalogues/owc/openpub-base.yml --release 2.3.13
  owc-deploy catalogue build-recipe catalogues/owc/*.yml --catalogue catalogue

Needs a machine that can run a lab: `owc-deploy lab up` says what is missing.
""",
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@fleet_option
@click.option(
    "--catalogue",
    "folder",
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
    help="Folder of the catalogue (default: what fleet.yml names).",
)
@click.option("--release", "version", help="The version to build (default: the newest).")
@format_option
def build_recipe(
    files: tuple[Path, ...],
    fleet_root: Path,
    folder: Path | None,
    version: str | None,
    output_format: str,
) -> int:
    """Build blocks from their commit with the recipe in their file, and list them.

    In a server made for it and gone afterwards: git, composer, the recipe's commands as an
    unprivileged user, pruning, and the checks of `catalogue add`. One that cannot be built leaves
    the others alone; the exit code is 1 then. Files without a recipe are passed over.
    """
    if version is not None and len(files) > 1:
        raise UsageError("--release names a version of one block", hint="name one file")
    destination = folder if folder is not None else load_fleet(fleet_root).settings.catalogue
    jobs = []
    for source in map(read_source, files):
        if source.recipe is None or not source.block.releases:
            narrate(f"{source.block.name}: nothing to build, bring its artefact")
        else:
            jobs.append(_job(source, version))
    outcomes = []
    for outcome in build_jobs(jobs, destination, narrate) if jobs else ():
        outcomes.append(outcome)
        _tell(outcome, quiet=output_format == "json")
    if output_format == "json":
        releases = [_document(outcome) for outcome in outcomes]
        print_json({"schema_version": SCHEMA_VERSION, "releases": releases})
    return CatalogueError.exit_code if any(o.error for o in outcomes) else 0


def _job(source: BlockSource, version: str | None) -> Job:
    for release in source.block.releases:
        if version is None or release.version == version:
            return Job(source, release)
    listed = ", ".join(release.version for release in source.block.releases)
    raise UsageError(
        f"{source.document.file} lists no {version} of {source.block.name}",
        hint=f"one of {listed}",
    )


def _tell(outcome: Outcome, *, quiet: bool) -> None:
    name, version = outcome.job.source.block.name, outcome.job.release.version
    if outcome.error is not None:
        narrate(f"{name} {version} was not built: {outcome.error.message}")
        for line in (outcome.error.context or "").splitlines():
            narrate(f"  {plain(line)}")
        if outcome.error.hint:
            narrate(f"  Next: {outcome.error.hint}")
    elif outcome.result is not None and not quiet:
        word = "recorded" if outcome.result.changed else "is listed already"
        click.echo(f"{name} {version} {word} (SHA-256 {outcome.result.sha256})")


def _document(outcome: Outcome) -> dict[str, Any]:
    result, error = outcome.result, outcome.error
    return {
        "name": outcome.job.source.block.name,
        "version": outcome.job.release.version,
        "sha256": result.sha256 if result else None,
        "problem": error.message if error else None,
    }
