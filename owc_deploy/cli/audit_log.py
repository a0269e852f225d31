"""`owc-deploy audit-log`: what happened, and proof that nobody changed it afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from owc_deploy.cli.options import fleet_option, format_option
from owc_deploy.cli.view import narrate, plain, print_json, print_table
from owc_deploy.errors import OwcError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.store import open_fleet_store
from owc_deploy.store.chain import AuditEntry, ChainReport, Head, as_document, verify_chain
from owc_deploy.store.export import read_entries, write_entries

SCHEMA_VERSION = 1
HEADINGS = ("Number", "When", "Who", "Kind", "Site", "Rollout", "What")


class _HeadType(click.ParamType[Head]):
    """NUMBER:SHA256, as `verify` and `export` print it."""

    name = "head"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Head:
        if isinstance(value, Head):
            return value
        match = re.fullmatch(r"([0-9]{1,15}):([0-9a-f]{64})", str(value))
        if match is None:
            self.fail("write it as `verify` printed it: NUMBER:SHA256", param, ctx)
        return Head(int(match[1]), match[2])


@click.group(
    epilog="""
\b
Examples:
  owc-deploy audit-log verify
  owc-deploy audit-log export --out 2026.jsonl
  owc-deploy audit-log verify 2026.jsonl --expect "$(cat noted-head)"
"""
)
def command() -> None:
    """Show, export and verify the log of everything that was done.

    Each entry holds the hash of the one before it, so that none can be changed, left out or put in
    afterwards without a trace.
    """


@command.command(
    epilog="""
\b
Examples:
  owc-deploy audit-log verify
  owc-deploy audit-log verify --expect "$(cat noted-head)"
  owc-deploy audit-log verify 2026.jsonl --format json

Exit codes: 0 the log is whole, 1 it is not.
"""
)
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--expect",
    "expected",
    type=_HeadType(),
    metavar="NUMBER:SHA256",
    help="A head that was noted before; the log must still have it.",
)
@fleet_option
@format_option
def verify(file: Path | None, expected: Head | None, fleet_root: Path, output_format: str) -> int:
    """Verify the fleet's log, or an exported FILE, which needs no fleet and no access to a store.

    Prints the head, NUMBER:SHA256 of the newest entry. Note it where those who can write the log
    cannot: a log that lost its newest entries, or was written anew as a whole, looks whole. Only a
    head noted before tells, given with --expect.
    """
    with _entries_of(file, fleet_root) as entries:
        report = verify_chain(entries, expected)
    if output_format == "json":
        print_json(_document(report))
    elif report.broken is not None:
        click.echo(f"broken at entry {report.broken.number}: {plain(report.broken.message)}")
        click.echo(f"whole until then: {report.head}")
    else:
        click.echo(f"whole: {report.head.number} entries")
        click.echo(f"head: {report.head}")
        if expected is None:
            narrate("Without --expect and a head noted before, newest entries may be missing.")
    return 0 if report.broken is None else 1


@command.command(
    epilog="""
\b
Examples:
  owc-deploy audit-log export --out audit-log.jsonl
"""
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it here; a file that is there already is left as it is.",
)
@fleet_option
def export(out: Path, fleet_root: Path) -> None:
    """Write the whole log as JSON lines, one entry a line, and print its head.

    Anybody can verify the file: docs/how-to/audit-log.md.
    """
    entries = open_fleet_store(load_fleet(fleet_root)).audit.entries()
    try:
        with out.open("xb") as file:
            head = write_entries(entries, file)
    except FileExistsError as error:
        raise OwcError(f"{out} is there already", hint="name another file with --out") from error
    except OSError as error:
        raise OwcError(
            f"{out} cannot be written", context=error.strerror, hint=f"ls -ld {out.parent}"
        ) from error
    narrate(f"{head.number} entries are in {out}")
    click.echo(str(head))


@command.command(
    epilog="""
\b
Examples:
  owc-deploy audit-log show
  owc-deploy audit-log show --site heusden --limit 5
  owc-deploy audit-log show --format json | jq '.entries[] | select(.kind == "lease-taken-over")'
"""
)
@click.option("--site", help="Only of this site, and runs that were to work on it.")
@click.option("--rollout", "rollout_id", help="Only of the rollout with this id.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many entries at the most.",
)
@fleet_option
@format_option
def show(
    site: str | None, rollout_id: str | None, limit: int, fleet_root: Path, output_format: str
) -> None:
    """Show the newest entries, newest first; `verify` tells whether they can be believed."""
    store = open_fleet_store(load_fleet(fleet_root))
    entries = store.audit.newest(limit=limit, site=site, rollout_id=rollout_id)
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "entries": [as_document(entry) for entry in entries],
            }
        )
    elif entries:
        print_table(HEADINGS, map(_cells, entries))
    else:
        click.echo("no entries")


@contextmanager
def _entries_of(file: Path | None, fleet_root: Path) -> Iterator[Iterator[AuditEntry]]:
    if file is None:
        yield open_fleet_store(load_fleet(fleet_root)).audit.entries()
        return
    try:
        with file.open("rb") as opened:
            yield read_entries(opened)
    except OSError as error:
        raise OwcError(
            f"{file} cannot be read", context=error.strerror, hint=f"ls -l {file}"
        ) from error


def _document(report: ChainReport) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "whole": report.broken is None,
        "head": asdict(report.head),
        "broken": asdict(report.broken) if report.broken else None,
    }


def _cells(entry: AuditEntry) -> tuple[str, ...]:
    return (
        str(entry.number),
        _when(entry.at),
        entry.actor,
        entry.kind,
        entry.site or "-",
        entry.rollout_id or "-",
        _what(entry.body),
    )


def _when(at: str) -> str:
    try:
        return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        # Somebody changed it; `verify` says so.
        return at


def _what(body: Mapping[str, Any]) -> str:
    """Return the short values of a body; lists and mappings by their size, hashes not at all."""
    shown = []
    for key, value in body.items():
        if value in ("", None) or key.endswith("sha256"):
            continue
        text = len(value) if isinstance(value, list | dict) else value
        shown.append(f"{key}={text}".replace("\n", " "))
    return " ".join(shown)
