"""`owc-deploy catalogue lint-publiccode` and `import-publiccode`: what blocks say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.catalogue.publiccode import Publiccode, corrected, hints_of, judge
from owc_deploy.cli.catalogue import catalogue_in, catalogue_options
from owc_deploy.cli.options import format_option
from owc_deploy.cli.view import narrate, plain, print_json
from owc_deploy.errors import DocumentsInvalidError, OwcError, UsageError
from owc_deploy.fleet.yaml_reader import MAXIMUM_BYTES

SCHEMA_VERSION = 1

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_without_catalogue = click.option(
    "--no-catalogue", is_flag=True, help="Do not compare with a catalogue."
)


@click.command(
    epilog="""
\b
Examples:
  owc-deploy catalogue lint-publiccode publiccode.yml
  owc-deploy catalogue lint-publiccode --no-catalogue blocks/*/publiccode.y*ml

Exit codes: 0 nothing is missing or wrong, 3 something is.
"""
)
@click.argument("files", nargs=-1, required=True, type=_FILE)
@catalogue_options
@_without_catalogue
@format_option
def lint(
    files: tuple[Path, ...],
    fleet_root: Path,
    folder: Path | None,
    no_catalogue: bool,
    output_format: str,
) -> int:
    """Say what is missing or wrong in publiccode files, with line and column.

    The standard is held against each file, and what the OWC agreed on: an owner, a maintainer, an
    end of support. Its licence is compared with the catalogue's.
    """
    catalogue = None if no_catalogue else _catalogue(fleet_root, folder)
    judged = [_judged(file, catalogue) for file in files]
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "files": [_document(one) for one in judged]})
    else:
        for one in judged:
            _print(one)
        wrong = sum(1 for one in judged if one.problems)
        click.echo(f"{len(judged)} files, {wrong or 'none'} with something missing or wrong")
    return DocumentsInvalidError.exit_code if any(one.problems for one in judged) else 0


@click.command(
    epilog="""
\b
Examples:
  owc-deploy catalogue import-publiccode publiccode.yml
  owc-deploy catalogue import-publiccode publiccode.yml --write publiccode.corrected.yml

Exit codes: 0 it could be read, 3 it could not.
"""
)
@click.argument("file", type=_FILE)
@click.option(
    "--write",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a corrected copy here; nothing that exists is overwritten.",
)
@catalogue_options
@_without_catalogue
@format_option
def import_one(
    file: Path,
    target: Path | None,
    fleet_root: Path,
    folder: Path | None,
    no_catalogue: bool,
    output_format: str,
) -> int:
    """Print what an entry of a catalogue could take over from a publiccode file.

    It changes no catalogue: an entry never depends on such a file. The end of a contract is a hint
    for whoever asks the steward for a guarantee, and not a guarantee.
    """
    one = _judged(file, None if no_catalogue else _catalogue(fleet_root, folder))
    hints = hints_of(one.data)
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "details": dict(hints.details),
                "contracts_until": [
                    {"name": name, "until": until} for name, until in hints.contracts_until
                ],
                **_document(one),
            }
        )
    else:
        for key, value in hints.details.items():
            click.echo(f"{key}: {plain(value)}")
        for name, until in hints.contracts_until:
            click.echo(
                f"# hint, no guarantee: the contract of {plain(name)} ends on {plain(until)}"
            )
        for problem in one.problems:
            narrate(f"{problem.file}:{problem.line}:{problem.column}: {problem.message}")
    if target is not None:
        _write(one, target)
    return 0 if one.data else DocumentsInvalidError.exit_code


def _write(one: Publiccode, target: Path) -> None:
    text = corrected(one)
    if text is None:
        raise DocumentsInvalidError(one.problems)
    try:
        with target.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(
            f"{target} exists, and is not overwritten", hint="--write with another name"
        ) from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    narrate(f"wrote {target}")


def _judged(file: Path, catalogue: Catalogue | None) -> Publiccode:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    return judge(file, raw, catalogue)


def _catalogue(fleet_root: Path, folder: Path | None) -> Catalogue | None:
    """Return the catalogue to compare with, `None` where none was named and there is none."""
    try:
        return catalogue_in(fleet_root, folder)
    except OwcError:
        if folder is not None:
            raise
        narrate("there is no catalogue here to compare licences with (--catalogue FOLDER)")
        return None


def _print(one: Publiccode) -> None:
    for problem in one.problems:
        path = f"{problem.path}: " if problem.path else ""
        click.echo(f"{problem.file}:{problem.line}:{problem.column}: {path}{problem.message}")
        if problem.suggestion:
            click.echo(f"    write: {problem.suggestion}")


def _document(one: Publiccode) -> dict[str, Any]:
    return {
        "file": str(one.file),
        "problems": [
            {
                "line": problem.line,
                "column": problem.column,
                "path": problem.path,
                "reference": problem.reference,
                "message": problem.message,
                "suggestion": problem.suggestion,
            }
            for problem in one.problems
        ],
    }
