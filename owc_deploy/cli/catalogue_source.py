"""`owc-deploy catalogue lint` and `resolve`: a catalogue's source, before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.catalogue.source import SourceInvalidError, catalogue_of, read_sources
from owc_deploy.catalogue.source_check import problems_between, unbuildable
from owc_deploy.cli.options import fleet_option, format_option
from owc_deploy.cli.view import narrate, print_json
from owc_deploy.errors import UsageError
from owc_deploy.fleet.documents import closest
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet, Lock, LockedArtefact
from owc_deploy.resources import resource_folder

SCHEMA_VERSION = 1

Function = TypeVar("Function", bound=Callable[..., Any])


def source_option(function: Function) -> Function:
    """Add `--source`, which may be repeated; the verb receives `folders`."""
    return click.option(
        "--source",
        "folders",
        multiple=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="A folder of block files; a later one's file replaces an earlier one's of the same "
        "name (default: the Open Webconcept's, which comes with this program).",
    )(function)


def _folders(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    return folders or (resource_folder("catalogues") / "owc",)


@click.command(
    "lint",
    epilog="""
\b
Examples:
  owc-deploy catalogue lint
  owc-deploy catalogue lint --source catalogues/owc --source our-plugins

Exit codes: 0 no problems, 3 problems.
""",
)
@source_option
@format_option
def lint(folders: tuple[Path, ...], output_format: str) -> None:
    """Check that the block files of a catalogue's source are sound, each and together.

    What is needed is listed, functions have a provider, trains have more than one block, releases
    are in one line, migrations lead to the releases that carry them.
    """
    sources = read_sources(_folders(folders))
    problems = problems_between(sources)
    if problems:
        raise SourceInvalidError(problems)
    releases = sum(len(source.block.releases) for source in sources)
    unknown = [
        f"{source.block.name} {version}" for source in sources for version in unbuildable(source)
    ]
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "files": len(sources),
                "releases": releases,
                "without_commit": unknown,
            }
        )
        return
    click.echo(f"{len(sources)} files, {releases} releases, no problems")
    if unknown:
        click.echo(f"Neither tag nor commit is known, so not to be built: {', '.join(unknown)}")


@click.command(
    "resolve",
    epilog="""
\b
Examples:
  owc-deploy catalogue resolve --fleet inventories/example-compositions
  owc-deploy catalogue resolve datasite woo-portaal --source catalogues/owc --source our-plugins

Exit codes: 0 all can be had, 3 some cannot.
""",
)
@click.argument("sites", nargs=-1)
@fleet_option
@source_option
@format_option
def resolve_sites(
    sites: tuple[str, ...], fleet_root: Path, folders: tuple[Path, ...], output_format: str
) -> int:
    """Show what sites would get from a catalogue's source, offline and before anything is built.

    Without SITES, every site of the fleet. What is printed is no lock: what is not built has no
    hash. Build it, then `owc-deploy lock`.
    """
    fleet = load_fleet(fleet_root)
    catalogue = catalogue_of(read_sources(_folders(folders)))
    answers: dict[str, Lock | ResolutionError] = {}
    for site in sites or sorted(fleet.manifests):
        manifest = fleet.manifests.get(site)
        if manifest is None:
            raise _no_such_site(fleet, site)
        server = fleet.servers[manifest.servers.web[0]]
        try:
            answers[site] = resolve(manifest, server, catalogue)
        except ResolutionError as error:
            answers[site] = error
    if output_format == "json":
        documents = {site: _document(answer) for site, answer in answers.items()}
        print_json({"schema_version": SCHEMA_VERSION, "sites": documents})
    else:
        for site, answer in answers.items():
            _print(site, answer)
        narrate("Nothing of this is built yet: it is no lock.")
    refused = any(isinstance(answer, ResolutionError) for answer in answers.values())
    return ResolutionError.exit_code if refused else 0


def _no_such_site(fleet: Fleet, site: str) -> UsageError:
    return UsageError(
        f"the fleet has no site {site}",
        context=f"nearest: {closest(site, sorted(fleet.manifests))}",
        hint="owc-deploy validate",
    )


def _print(site: str, answer: Lock | ResolutionError) -> None:
    if isinstance(answer, ResolutionError):
        click.echo(f"{site}: cannot be had")
        for refusal in answer.refusals:
            click.echo(f"  - {refusal}")
        return
    theme = answer.theme
    click.echo(f"{site}: PHP {answer.php}, WordPress {answer.wordpress.version}")
    click.echo(f"  {theme.name} {theme.version} (theme)")
    for block in answer.blocks:
        why = "" if block.reason == "chosen" else f" ({block.reason})"
        click.echo(f"  {block.name} {block.version}{why}")


def _document(answer: Lock | ResolutionError) -> dict[str, Any]:
    if isinstance(answer, ResolutionError):
        return {
            "refusals": [
                {"reference": one.reference, "message": one.message, "suggestion": one.suggestion}
                for one in answer.refusals
            ]
        }
    return {
        "php": answer.php,
        "wordpress": answer.wordpress.version,
        "theme": _choice(answer.theme),
        "blocks": [_choice(block) for block in answer.blocks],
    }


def _choice(artefact: LockedArtefact) -> dict[str, str]:
    return {
        "name": artefact.name,
        "version": artefact.version,
        "reason": artefact.reason,
    }
