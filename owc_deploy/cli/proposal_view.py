"""What the verbs of a signed catalogue have in common: options, and what a review shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from owc_deploy.catalogue.trust.review import Review
from owc_deploy.cli.view import plain

SCHEMA_VERSION = 1

Function = TypeVar("Function", bound=Callable[..., Any])


def published_option(function: Function) -> Function:
    """Add `--catalogue`, the folder that is published; the verb receives `folder`."""
    return click.option(
        "--catalogue",
        "folder",
        required=True,
        type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
        help="The folder that is published, or a copy of it.",
    )(function)


def root_option(function: Function) -> Function:
    """Add `--root`, the root to trust; the verb receives `root`."""
    return click.option(
        "--root",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The root that you trust: published/metadata/1.root.json, as you compared it.",
    )(function)


def proposal_option(function: Function) -> Function:
    """Add `--proposal`, the folder to write; the verb receives `destination`."""
    return click.option(
        "--proposal",
        "destination",
        type=click.Path(path_type=Path),
        help="The folder to write (default: proposals/ and what it is about).",
    )(function)


def print_review(found: Review) -> None:
    """Show every change, what is wrong, and who must still sign."""
    for change in found.changes:
        click.echo(f"  {plain(change)}")
    for problem in found.problems:
        click.echo(f"  {click.style('wrong', fg='red')}: {plain(problem)}")
    print_missing(found)


def print_missing(found: Review) -> None:
    """Show who must still sign."""
    for role, (count, who) in found.missing.items():
        others = plain(", ".join(who) or "keys that nobody has")
        click.echo(f"  {role} still needs {count} of: {others}")


def review_document(found: Review) -> dict[str, Any]:
    """Return a review for programs."""
    return {
        "schema_version": SCHEMA_VERSION,
        "changes": list(found.changes),
        "problems": list(found.problems),
        "missing": [
            {"role": role, "signatures": count, "holders": list(who)}
            for role, (count, who) in found.missing.items()
        ],
    }
