"""`owc-deploy logs`: the recent log lines of one site."""

from __future__ import annotations

from pathlib import Path

import click

from owc_deploy.cli.options import fleet_option, format_option
from owc_deploy.cli.view import print_json
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.observe import check_sites


@click.command(
    epilog="""
\b
Examples:
  owc-deploy logs heusden
  owc-deploy logs heusden --lines 500 --format json
"""
)
@click.argument("site")
@click.option("--lines", default=100, type=click.IntRange(1, 10_000), help="How many at the most.")
@fleet_option
@format_option
def command(site: str, lines: int, fleet_root: Path, output_format: str) -> None:
    """Show what PHP, cron, releases and the web server logged about SITE lately."""
    fleet = load_fleet(fleet_root)
    check_sites(fleet, (site,))
    server = fleet.manifests[site].servers.web[0]
    found = AnsibleExecutor(fleet).logs(server, site, lines=lines)
    if output_format == "json":
        print_json({"schema_version": 1, "site": site, "server": server, "lines": list(found)})
    else:
        for line in found:
            click.echo(line)
