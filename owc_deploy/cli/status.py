"""`owc-deploy status`: what is live, and whether it is as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.session import progress
from owc_deploy.cli.view import print_json
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import ObservedServer
from owc_deploy.rollout.observe import check_sites, observe, servers_for


@click.command(
    epilog="""
\b
Examples:
  owc-deploy status
  owc-deploy status heusden --format json

Exit codes: 0 every site is live and unchanged, 1 one is not, or a server is out of reach.
"""
)
@sites_argument
@fleet_option
@format_option
def command(sites: tuple[str, ...], fleet_root: Path, output_format: str) -> int:
    """Look at the servers: what is live, and what was changed behind the tool's back."""
    fleet = load_fleet(fleet_root)
    named = check_sites(fleet, sites)
    with progress("looking at the servers") as on_progress:
        observed = observe(
            AnsibleExecutor(fleet), servers_for(fleet, named), on_progress=on_progress
        )
    rows = list(site_rows(fleet, observed, named))
    if output_format == "json":
        print_json({"schema_version": 1, "sites": rows})
    else:
        for row in rows:
            _print_row(row)
    return 0 if all(row["state"] == "live" for row in rows) else 1


def site_rows(
    fleet: Fleet, observed: Mapping[str, ObservedServer], named: frozenset[str]
) -> Iterator[dict[str, Any]]:
    """Yield what is known of each site, in the order of their names."""
    for name, manifest in sorted(fleet.manifests.items()):
        if named and name not in named:
            continue
        server = observed[manifest.servers.web[0]]
        seen = server.sites.get(name, {})
        specification = seen.get("specification") or {}
        closed = {rule["identifier"] for rule in seen.get("mitigations", ())}
        wanted = {each.identifier for each in fleet.mitigations if each.concerns(name)}
        yield {
            "site": name,
            "server": server.server,
            "url": manifest.url,
            "state": _state(server, seen, mitigations_differ=closed != wanted),
            "reason": server.unreachable,
            "release_id": seen.get("release_id", ""),
            "wordpress": specification.get("wordpress", {}).get("version", ""),
            "php": specification.get("php", ""),
            "blocks": {
                block["name"]: block["version"] for block in specification.get("blocks", [])
            },
            "drift": seen.get("drift", []),
            "transaction": seen.get("transaction", ""),
            "mitigations": sorted(closed),
            "mitigations_missing": sorted(wanted - closed),
            "mitigations_beside": sorted(closed - wanted),
            "releases": seen.get("releases", []),
        }


def _state(server: ObservedServer, seen: Mapping[str, Any], *, mitigations_differ: bool) -> str:
    if server.unreachable:
        return "unreachable"
    if seen.get("transaction"):
        return "changing"
    if not seen.get("release_id"):
        return "decommissioned" if seen.get("decommissioned") else "absent"
    if seen.get("interrupted"):
        return "interrupted"
    return "drifted" if seen.get("drift") or mitigations_differ else "live"


def _print_row(row: Mapping[str, Any]) -> None:
    colour = "green" if row["state"] == "live" else "red"
    state = click.style(f"{row['state']:14}", fg=colour)
    click.echo(f"{row['site']:24} {state} {row['url']} on {row['server']}")
    if row["reason"]:
        click.echo(f"    {row['reason']}")
    if row["release_id"]:
        click.echo(f"    {row['release_id']}  WordPress {row['wordpress']}  PHP {row['php']}")
        blocks = "  ".join(f"{name} {version}" for name, version in row["blocks"].items())
        click.echo(f"    {blocks}")
    if row["transaction"]:
        click.echo(f"    a change is under way: {row['transaction']}")
    for item in row["drift"]:
        click.echo(f"    {item['what']}: should be {item['before']}, is {item['after']}")
    if row["mitigations"]:
        click.echo(f"    closed: {', '.join(row['mitigations'])}")
    for key, words in (
        ("mitigations_missing", "not closed, though mitigations.yml says so"),
        ("mitigations_beside", "closed, and not in mitigations.yml"),
    ):
        if row[key] and row["release_id"]:
            names = ", ".join(row[key])
            click.echo(f"    {words}: {names}; next: owc-deploy mitigate apply")
