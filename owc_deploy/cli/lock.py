"""`owc-deploy lock`: manifests resolved to exact artefacts, written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.holds import HoldStanding
from owc_deploy.catalogue.relock import LockChange, Relocked, relock, write_lock
from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.session import catalogue_of
from owc_deploy.cli.view import narrate, print_json, print_table
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.locks import lock_file
from owc_deploy.rollout.observe import check_sites

SCHEMA_VERSION = 1

EXIT_WOULD_CHANGE = 10


@click.command(
    epilog="""
\b
Examples:
  owc-deploy lock
  owc-deploy lock heusden
  owc-deploy lock --upgrade
  owc-deploy lock --check        # in CI: are the committed locks those of the manifests?

Exit codes: 0 done, 3 a manifest asks what cannot be combined, 10 with --check when a lock would
change.
"""
)
@sites_argument
@fleet_option
@format_option
@click.option("--check", is_flag=True, help="Write nothing; say what would change.")
@click.option("--upgrade", is_flag=True, help="Take the newest of everything, not what is locked.")
def command(
    sites: tuple[str, ...], fleet_root: Path, output_format: str, check: bool, upgrade: bool
) -> int:
    """Resolve manifests to exact artefacts and write locks/SITE.lock.yml.

    What is locked already is kept as long as the manifest allows it; `owc-deploy update BLOCK`
    brings one block to its newest, --upgrade everything. A site that is refused keeps its lock, and
    the others are written all the same.
    """
    fleet = load_fleet(fleet_root)
    named = check_sites(fleet, sites)
    catalogue = catalogue_of(fleet)
    relocked = relock(fleet, catalogue, sorted(named or fleet.manifests), upgrade=upgrade)
    if not check:
        for item in relocked:
            if item.lock is not None and not item.is_written:
                write_lock(fleet, item.lock)
    if output_format == "json":
        print_json(
            {"schema_version": SCHEMA_VERSION, "sites": [site_document(item) for item in relocked]}
        )
    else:
        print_relocked(relocked, check=check)
    if any(item.refusals for item in relocked):
        return ResolutionError.exit_code
    return EXIT_WOULD_CHANGE if check and not all(item.is_written for item in relocked) else 0


def site_document(item: Relocked) -> dict[str, Any]:
    """Return what became of one site's lock, for programs."""
    return {
        "site": item.site,
        "outcome": _outcome(item),
        "changes": [
            {"name": change.name, "before": change.before, "after": change.after}
            for change in item.changes
        ],
        "refusals": [
            {
                "path": ".".join(refusal.path),
                "reference": refusal.reference,
                "message": refusal.message,
                "suggestion": refusal.suggestion,
            }
            for refusal in item.refusals
        ],
        "holds": [hold_document(hold) for hold in item.holds],
        "advisories": [
            {"name": artefact.name, "version": artefact.version, "identifier": advisory.identifier}
            for artefact, advisory in item.warnings
        ],
    }


def hold_document(hold: HoldStanding) -> dict[str, Any]:
    """Return how a hold stands, for programs."""
    return {
        "name": hold.name,
        "version": hold.version,
        "reason": hold.reason,
        "until": hold.until,
        "is_over": hold.is_over,
        "withdrawn": hold.withdrawn,
        "advisories": [advisory.identifier for advisory in hold.advisories],
    }


def narrate_holds(item: Relocked) -> None:
    """Tell a person what the manifest of one site holds, and what speaks against it."""
    for hold in item.holds:
        said = f"{item.site}: {hold}"
        narrate(click.style(said, fg="red", bold=True) if hold.danger else said)


def print_relocked(relocked: Sequence[Relocked], *, check: bool) -> None:
    """Tell a person what became of the locks: changes on stdout, refusals and warnings beside."""
    rows = [
        (item.site, change.name, change.before or "-", change.after or "-", _why(change))
        for item in relocked
        for change in item.changes
    ]
    if rows:
        print_table(("Site", "What", "Before", "After", "Why"), rows)
    for item in relocked:
        if item.lock is not None and not item.is_written and not item.changes:
            click.echo(f"{item.site}: the same artefacts, for a changed manifest")
        if item.lock is not None and not item.is_written:
            narrate(f"{'would write' if check else 'wrote'} {lock_file(item.site)}")
        narrate_holds(item)
        for artefact, advisory in item.warnings:
            narrate(
                f"{item.site}: {artefact.name} {artefact.version} has a known vulnerability, "
                f"{advisory.identifier} ({advisory.severity}): {advisory.summary}"
            )
        if item.refusals:
            narrate(str(ResolutionError(item.site, item.refusals, item.places)))
    same = sum(1 for item in relocked if item.is_written)
    refused = sum(1 for item in relocked if item.refusals)
    counts = (
        (len(relocked) - same - refused, "changed"),
        (same, "unchanged"),
        (refused, "refused"),
    )
    click.echo(", ".join(f"{count} {word}" for count, word in counts if count) or "no sites")


def _outcome(item: Relocked) -> str:
    if item.refusals:
        return "failed"
    return "ok" if item.is_written else "changed"


def _why(change: LockChange) -> str:
    if change.rebuilt:
        return "another artefact of the same version"
    if change.after is None:
        return "no longer needed"
    return change.reason
