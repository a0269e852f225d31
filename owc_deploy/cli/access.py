"""`owc-deploy access`: let an administrator in without a password being made or sent."""

from __future__ import annotations

from pathlib import Path

import click

from owc_deploy.cli.options import fleet_option
from owc_deploy.cli.view import narrate
from owc_deploy.errors import UsageError
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.observe import check_sites


@click.command(
    epilog="""
\b
Examples:
  owc-deploy access heusden
  owc-deploy access heusden --login beheer
"""
)
@click.argument("site")
@click.option("--login", default="", help="Whose; default: the manifest's first administrator.")
@fleet_option
def command(site: str, login: str, fleet_root: Path) -> None:
    """Print a link with which an administrator of SITE sets a password, once, within a day."""
    fleet = load_fleet(fleet_root)
    check_sites(fleet, (site,))
    manifest = fleet.manifests[site]
    people = [person.login for person in manifest.administrators]
    if not login and not people:
        raise UsageError(
            f"the manifest of {site} names no administrator",
            hint=f"add `administrators:` to {manifest.source}, then owc-deploy apply {site}",
        )
    server = manifest.servers.web[0]
    link = AnsibleExecutor(fleet).access(server, site, login or people[0])
    narrate(f"for {login or people[0]}; whoever has it can set the password:")
    click.echo(link.reveal())
