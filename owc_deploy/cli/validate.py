"""`owc-deploy validate`: every problem of every document, at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import click

from owc_deploy.catalogue.check import problems_of
from owc_deploy.catalogue.read import CATALOGUE_FILE
from owc_deploy.cli.junit_view import problems_junit
from owc_deploy.cli.markdown_view import problems_markdown
from owc_deploy.cli.options import ci_format_option, fleet_option
from owc_deploy.cli.session import catalogue_of
from owc_deploy.cli.view import narrate, print_json
from owc_deploy.errors import DocumentsInvalidError, Problem
from owc_deploy.fleet.load import check_fleet
from owc_deploy.fleet.models import Fleet

SCHEMA_VERSION = 1


@click.command(
    epilog="""
\b
Examples:
  owc-deploy validate
  owc-deploy validate --fleet my-fleet
  owc-deploy validate --format json | jq '.problems[].file'

Exit codes: 0 no problems, 3 problems.
"""
)
@fleet_option
@ci_format_option
def command(fleet_root: Path, output_format: str) -> int:
    """Check every document of the fleet, offline.

    Reads fleet.yml, servers.yml, every manifest in sites/ and every lock in locks/, and reports all
    problems of all files: where, what is wrong, and what to write instead. Where the catalogue's
    folder is at hand, the blocks and versions that manifests ask for must be in it.
    """
    fleet, problems = check_fleet(fleet_root)
    if fleet is not None:
        problems = _catalogue_problems(fleet)
    sites = len(fleet.manifests) if fleet is not None else None
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "sites": sites,
                "problems": [_as_document(problem) for problem in problems],
            }
        )
    elif output_format == "junit":
        click.echo(problems_junit(problems, sites))
    elif output_format == "markdown":
        click.echo(problems_markdown(problems, sites), nl=False)
    elif problems:
        _print_problems(problems)
    else:
        click.echo(f"{sites} site{'s' if sites != 1 else ''}, no problems")
    return DocumentsInvalidError.exit_code if problems else 0


def _catalogue_problems(fleet: Fleet) -> tuple[Problem, ...]:
    """Hold the fleet against its catalogue; without one at hand there is nothing to say."""
    settings = fleet.settings
    if settings.signed_catalogue is None and not _is_there(settings.catalogue / CATALOGUE_FILE):
        narrate(f"No catalogue in {settings.catalogue}: blocks and versions are not checked.")
        return ()
    try:
        return problems_of(fleet, catalogue_of(fleet, last_verified_will_do=True))
    except DocumentsInvalidError as error:
        return error.problems


def _is_there(file: Path) -> bool:
    """Return whether there is a file, or something of which whoever reads it will say why not."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _as_document(problem: Problem) -> dict[str, str | int]:
    return {
        "file": str(problem.file),
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "reference": problem.reference,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }


def _print_problems(problems: tuple[Problem, ...]) -> None:
    files = 0
    for _, group in itertools.groupby(problems, key=lambda problem: problem.file):
        files += 1
        for line in _lines(group):
            click.echo(line)
        click.echo()
    count = len(problems)
    click.echo(
        f"{count} problem{'s' if count != 1 else ''} in {files} file{'s' if files != 1 else ''}"
    )


def _lines(problems: Iterable[Problem]) -> Iterable[str]:
    for problem in problems:
        place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part)
        yield f"{click.style(place, bold=True)}  {problem.message}"
        if problem.suggestion:
            yield f"    write: {problem.suggestion}"
