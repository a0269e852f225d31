"""`owc-deploy provision`: prepare servers, whatever their state."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from owc_deploy.cli.options import change_options, fleet_option, format_option
from owc_deploy.cli.record import claimed, recorded
from owc_deploy.cli.session import progress
from owc_deploy.cli.view import confirm, print_json
from owc_deploy.errors import UsageError
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.names import server_names


@click.command(
    epilog="""
\b
Examples:
  owc-deploy provision
  owc-deploy provision web1 --yes

`apply` prepares a server by itself when it needs it; this verb does so at once, and again.
"""
)
@click.argument("servers", nargs=-1, metavar="[SERVER]...")
@fleet_option
@format_option
@change_options
def command(
    servers: tuple[str, ...],
    fleet_root: Path,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Prepare servers: base system, nginx, PHP, MariaDB, Redis, certificates. Safe to repeat."""
    fleet = load_fleet(fleet_root)
    names = _checked(fleet, servers)
    confirm(f"Prepare {', '.join(names)}?", yes=yes)
    fingerprints = {name: provision_fingerprint(fleet.servers[name]) for name in names}
    held = claimed(
        fleet, "provision", server_names(fleet, names), reason=reason, take_over=take_over
    )
    with held as holding, recorded(holding, ()) as run:
        with progress("preparing servers") as on_progress:
            outcomes = AnsibleExecutor(fleet).provision(fingerprints, on_progress=on_progress)
        run.failed = any(outcome.status != "ok" for outcome in outcomes)
    if output_format == "json":
        print_json({"schema_version": 1, "servers": [asdict(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            click.echo(f"{outcome.server}  {outcome.status}  {outcome.seconds:.1f} s")
            if outcome.message:
                click.echo(f"  {outcome.message}")
    return 1 if run.failed else 0


def _checked(fleet: Fleet, servers: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(servers) - set(fleet.servers))
    if unknown:
        raise UsageError(
            f"there is no server {', '.join(unknown)} in servers.yml",
            context=f"there are: {', '.join(sorted(fleet.servers))}",
        )
    return servers or tuple(sorted(fleet.servers))
