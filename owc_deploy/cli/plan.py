"""`owc-deploy plan`: what would change, on which site, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import click

from owc_deploy.cli.junit_view import junit
from owc_deploy.cli.markdown_view import plan_markdown
from owc_deploy.cli.options import ci_format_option, fleet_option, sites_argument
from owc_deploy.cli.plan_view import print_plan
from owc_deploy.cli.rows import rows_of_plan
from owc_deploy.cli.session import Session, now, open_session, progress
from owc_deploy.cli.view import narrate, print_json
from owc_deploy.errors import UsageError
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.document import plan_to_document
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.models import ObservedServer, Plan
from owc_deploy.plan.windows import is_open
from owc_deploy.rollout.observe import check_sites, observe, servers_for
from owc_deploy.rollout.secrets import supplied_chains

EXIT_CHANGES = 10


@click.command(
    epilog="""
\b
Examples:
  owc-deploy plan
  owc-deploy plan heusden --out heusden.plan.json
  owc-deploy plan --detailed-exitcode --format json

Exit codes: 0 planned, 1 a site cannot be planned for, 3 documents invalid, 10 changes pending
(with --detailed-exitcode).
"""
)
@sites_argument
@fleet_option
@ci_format_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan here.")
@click.option(
    "--decommission",
    "decommission",
    multiple=True,
    metavar="SITE",
    help="Take this site, which no manifest names any more, off the air (keeps everything), and do"
    " nothing else but for each SITE that is named too.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 10 when something would change.")
def command(
    sites: tuple[str, ...],
    fleet_root: Path,
    output_format: str,
    out: Path | None,
    decommission: tuple[str, ...],
    detailed_exitcode: bool,
) -> int:
    """Show what would change on each site, and why. Changes nothing.

    Compares manifests and locks with one look at each server. A saved plan is bound to what it was
    made from: `apply --plan` refuses it when any of that has moved.
    """
    session = open_session(fleet_root, last_verified_will_do=True)
    plan = planned(session, sites, decommission)
    if out is not None:
        write_plan(out, plan_to_document(plan))
        narrate(f"saved; next: owc-deploy apply --plan {out}")
    show_plan(plan, "plan", output_format)
    for site in outside_window(session.fleet, plan, now()):
        narrate(f"{site} is outside its window now; next: owc-deploy when {site}")
    return exit_code(plan, detailed=detailed_exitcode)


def show_plan(plan: Plan, verb: str, output_format: str) -> None:
    """Print a plan on stdout."""
    if output_format == "json":
        print_json(plan_to_document(plan))
    elif output_format == "junit":
        click.echo(junit(verb, rows_of_plan(plan)))
    elif output_format == "markdown":
        click.echo(plan_markdown(plan), nl=False)
    else:
        print_plan(plan)


def outside_window(fleet: Fleet, plan: Plan, moment: datetime) -> list[str]:
    """Return the sites that would change and are outside their window at `moment`.

    Not part of the plan, which holds whatever the time is.
    """
    settings = fleet.settings
    return [
        site.site
        for site in plan.sites
        if site.specification is not None
        and not is_open(settings.tier_of(fleet.manifests[site.site]), settings.freeze_days, moment)
    ]


def exit_code(plan: Plan, *, detailed: bool = False) -> int:
    """Return 10 for pending changes when that is asked for, else 1 for an incomplete plan, else 0.

    A site that could not be planned for must never pass for one that needs nothing.
    """
    if detailed and plan.has_changes:
        return EXIT_CHANGES
    return 1 if plan.is_incomplete else 0


def planned(
    session: Session,
    sites: tuple[str, ...],
    decommission: tuple[str, ...],
    *,
    hold: bool = False,
) -> Plan:
    """Look at the servers and return the plan for the named sites, or for all.

    For named sites only their own servers are looked at, unless one would be created: then all, as
    it may be live on another server. `hold`: see `observe`.
    """
    fleet = session.fleet
    named = check_sites(fleet, sites)
    wishes = Wishes(named, frozenset(decommission))
    every = servers_for(fleet, frozenset())
    servers = every if decommission else servers_for(fleet, named)
    with progress("looking at the servers") as on_progress:
        observed = observe(session.executor, servers, hold=hold, on_progress=on_progress)
        plan = _plan(session, observed, wishes)
        rest = tuple(server for server in every if server.name not in observed)
        if rest and any(site.action == "create" for site in plan.sites):
            others = observe(session.executor, rest, on_progress=on_progress)
            plan = _plan(session, {**observed, **others}, wishes)
    return plan


def _plan(session: Session, observed: Mapping[str, ObservedServer], wishes: Wishes) -> Plan:
    fleet = session.fleet
    fingerprints = {name: provision_fingerprint(fleet.servers[name]) for name in observed}
    chains = supplied_chains(fleet)
    return make_plan(fleet, session.catalogue, observed, fingerprints, wishes, chains, now())


def write_plan(path: Path, document: dict[str, object]) -> None:
    """Save a plan, readable by its owner only; raises UsageError where that cannot be."""
    try:
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
