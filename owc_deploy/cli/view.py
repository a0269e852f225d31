"""How results, narration and errors reach the terminal: results on stdout, the rest on stderr."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from owc_deploy.errors import DocumentsInvalidError, OwcError, UsageError

_UNWRAPPED_COLUMNS = 10_000


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout; it must carry its own `schema_version`."""
    click.echo(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout; where that is no terminal every row is one line.

    What a terminal would obey is taken out of every cell.
    """
    # Imported here: most verbs never print one, and rich takes longer to load than they do to run.
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else _UNWRAPPED_COLUMNS)
    console.print(table, soft_wrap=not sys.stdout.isatty())


def narrate(message: str) -> None:
    """Say on stderr what is being done."""
    click.echo(message, err=True)


def plain(text: object) -> str:
    """Return a text that came from elsewhere without anything that a terminal would obey."""
    return "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(text)
    )


def can_ask() -> bool:
    """Return whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before servers are changed; `yes` answers.

    Raises UsageError when there is nobody to ask, click.Abort when the answer is no.
    """
    if yes:
        return
    if not can_ask():
        raise UsageError("there is no terminal to ask on", hint=typed_again("--yes"))
    click.confirm(question, abort=True, err=True)


def typed_again(option: str) -> str:
    """Return the command line that is being carried out, with one more option."""
    context = click.get_current_context(silent=True)
    arguments = context.find_root().obj if context is not None else None
    if not isinstance(arguments, tuple):
        return f"the same command with {option}"
    return shlex.join(["owc-deploy", *arguments, option])


def colour() -> bool | None:
    """Return whether text is coloured: `False` by NO_COLOR, `None` where a terminal decides."""
    return False if os.environ.get("NO_COLOR") else None


def print_error(error: OwcError) -> None:
    """Explain an expected error on stderr: what, where, and the next thing to type."""
    first, *others = error.message.splitlines() or [""]
    word = click.style("Error", fg="red", bold=True)
    click.echo(f"{word}: {plain(first)}", err=True, color=colour())
    for line in others:
        click.echo(plain(line), err=True)
    if isinstance(error, DocumentsInvalidError):
        for problem in error.problems:
            place = f"{problem.file}:{problem.line}:{problem.column}"
            click.echo(f"  {place}: {problem.path}: {problem.message}", err=True)
            if problem.suggestion:
                click.echo(f"      {problem.suggestion}", err=True)
    if error.context:
        for line in error.context.splitlines():
            click.echo(f"  {plain(line)}", err=True)
    if error.hint:
        click.echo(f"  Next: {plain(error.hint)}", err=True)
