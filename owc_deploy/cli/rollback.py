"""`owc-deploy rollback`: make an earlier release live again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from owc_deploy.cli.options import change_options, fleet_option, format_option
from owc_deploy.cli.plan_view import print_outcomes
from owc_deploy.cli.record import recorded_run
from owc_deploy.cli.session import progress
from owc_deploy.cli.view import confirm, print_json
from owc_deploy.errors import ExecutionError, UsageError
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.ports import RollbackRequest
from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.observe import check_sites, observe, servers_for
from owc_deploy.store.models import Intent


@click.command(
    epilog="""
\b
Examples:
  owc-deploy rollback heusden
  owc-deploy rollback heusden --to 20261123T190344Z-338a1ebf
  owc-deploy rollback heusden --restore-database

The lock is left alone: the next `apply` goes forward again unless the manifest is changed.
"""
)
@click.argument("site")
@click.option("--to", "target", default="", metavar="RELEASE", help="The release to go back to.")
@click.option(
    "--restore-database",
    is_flag=True,
    help="Also bring back the database of then; what was written since is kept in a snapshot.",
)
@fleet_option
@format_option
@change_options
def command(
    site: str,
    target: str,
    restore_database: bool,
    fleet_root: Path,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Make an earlier release of SITE live again: the one before, or the one named.

    Code, configuration, PHP version, active plugins and owned options go back together. Where the
    database changed in between it says so and does nothing, unless --restore-database.
    """
    fleet = load_fleet(fleet_root)
    check_sites(fleet, (site,))
    executor = AnsibleExecutor(fleet)
    with progress("looking at the server") as on_progress:
        servers = servers_for(fleet, frozenset({site}))
        seen = observe(executor, servers, on_progress=on_progress)[servers[0].name]
    if seen.unreachable:
        raise ExecutionError(f"{seen.server}: {seen.unreachable}", hint=f"owc-deploy status {site}")
    observed = seen.sites.get(site, {})
    release = choose_target(site, observed, target)
    live = str(observed.get("release_id", ""))
    confirm(f"Take {site} from {live} back to {release}?", yes=yes)
    request = RollbackRequest(site, release, live, restore_database)
    intent = Intent(site, seen.server, fleet.manifests[site].ring)
    with recorded_run(fleet, "rollback", [intent], reason=reason, take_over=take_over) as run:
        with progress("rolling back") as on_progress:
            outcomes = executor.rollback({seen.server: (request,)}, on_progress=on_progress)
        for outcome in outcomes:
            run.note(outcome)
    if output_format == "json":
        document = [asdict(outcome) for outcome in outcomes]
        print_json({"schema_version": 1, "outcomes": document})
    else:
        print_outcomes(outcomes)
    return 1 if run.word == "failed" else 0


def choose_target(site: str, observed: Mapping[str, Any], wanted: str) -> str:
    """Return the release to go back to: the one wanted, or the last one live that is older.

    Older by its id, which begins with the time it was made: after a rollback the release that was
    left is the one live before, and going "back" to it would be going forward again. Raises
    UsageError naming what is possible.
    """
    live = str(observed.get("release_id", ""))
    possible = [
        str(item["release_id"])
        for item in observed.get("releases", ())
        if item["release_id"] != live
    ]
    if wanted in possible:
        return wanted
    if not possible:
        raise UsageError(
            f"there is no earlier release of {site} to go back to",
            hint=f"owc-deploy history {site}",
        )
    if wanted:
        raise UsageError(
            f"{wanted} is not another release of {site} on its server",
            context="possible: " + ", ".join(possible),
            hint=f"owc-deploy rollback {site} --to {possible[0]}",
        )
    older = [release for release in possible if not live or release < live]
    if not older:
        raise UsageError(
            f"there is no release of {site} on its server that is older than {live}",
            context="possible, going forward: " + ", ".join(possible),
            hint=f"owc-deploy rollback {site} --to {possible[0]}",
        )
    return older[0]
