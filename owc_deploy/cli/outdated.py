"""`owc-deploy outdated`: what could be newer, and what holds it back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from owc_deploy.catalogue.outdated import Standing, standings_of
from owc_deploy.cli.lock import hold_document
from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.session import catalogue_of
from owc_deploy.cli.view import narrate, print_json, print_table
from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.observe import check_sites

SCHEMA_VERSION = 1


@click.command(
    epilog="""
\b
Examples:
  owc-deploy outdated
  owc-deploy outdated heusden
  owc-deploy outdated --format json | jq '.artefacts[] | select(.advisories != [])'

Exit code: 0, whatever is outdated.
"""
)
@sites_argument
@fleet_option
@format_option
def command(sites: tuple[str, ...], fleet_root: Path, output_format: str) -> int:
    """Compare every locked artefact with the newest allowed and the newest there is.

    Allowed is what the manifest and the other blocks of the site leave open. Known vulnerabilities
    of what is locked are named. Nothing is changed; `owc-deploy update` does that.
    """
    fleet = load_fleet(fleet_root)
    named = check_sites(fleet, sites)
    catalogue = catalogue_of(fleet, last_verified_will_do=True)
    standings = [
        standing
        for site in sorted(named or fleet.manifests)
        for manifest in [fleet.manifests[site]]
        for standing in standings_of(
            manifest, fleet.servers[manifest.servers.web[0]], catalogue, fleet.locks.get(site)
        )
    ]
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "artefacts": [_document(standing) for standing in standings],
            }
        )
    else:
        for site in sorted(set(named or fleet.manifests) - {item.site for item in standings}):
            narrate(f"{site} is not locked and cannot be: owc-deploy lock {site} says why")
        _print([standing for standing in standings if standing.is_outdated], len(standings))
    return 0


def _document(standing: Standing) -> dict[str, Any]:
    return {
        "site": standing.site,
        "name": standing.name,
        "kind": standing.kind,
        "locked": standing.locked,
        "allowed": standing.allowed,
        "newest": standing.newest,
        "held_back": standing.held_back,
        "hold": hold_document(standing.hold) if standing.hold is not None else None,
        "advisories": [
            {"identifier": advisory.identifier, "severity": advisory.severity}
            for advisory in standing.advisories
        ],
    }


def _print(outdated: Sequence[Standing], count: int) -> None:
    if outdated:
        print_table(
            ("Site", "What", "Locked", "Allowed", "Newest", "Why"),
            [
                (
                    standing.site,
                    standing.name,
                    standing.locked or "not locked",
                    standing.allowed or "-",
                    standing.newest or "-",
                    _why(standing),
                )
                for standing in outdated
            ],
        )
    click.echo(f"{len(outdated)} of {count} artefacts could be newer")


def _why(standing: Standing) -> str:
    vulnerable = ", ".join(
        f"{advisory.identifier} ({advisory.severity})" for advisory in standing.advisories
    )
    parts = [f"vulnerable: {vulnerable}"] if vulnerable else []
    if standing.hold is not None and (standing.hold.is_over or standing.hold.danger):
        parts.append(str(standing.hold))
    if standing.held_back:
        parts.append(f"held back: {standing.held_back}")
    return "; ".join(parts)
