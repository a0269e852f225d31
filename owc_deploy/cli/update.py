"""`owc-deploy update`: newer releases of chosen blocks, then the plan."""

from __future__ import annotations

from pathlib import Path

import click

from owc_deploy.catalogue.relock import Relocked, relock, write_lock
from owc_deploy.cli.lock import narrate_holds
from owc_deploy.cli.options import ci_format_option, fleet_option
from owc_deploy.cli.plan import exit_code, planned, show_plan
from owc_deploy.cli.session import open_session, read_again
from owc_deploy.cli.view import narrate
from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.observe import check_sites


@click.command(
    epilog="""
\b
Examples:
  owc-deploy update openpub-base
  owc-deploy update wordpress cmb2 --site heusden
  owc-deploy update openwoo && owc-deploy apply

Exit codes: 0 locked and planned, 1 a site cannot be planned for, 3 a site's lock was refused (the
others are still written).
"""
)
@click.argument("blocks", nargs=-1, required=True, metavar="BLOCK...")
@click.option("--site", "sites", multiple=True, help="Only this site; may be given more than once.")
@fleet_option
@ci_format_option
def command(
    blocks: tuple[str, ...], sites: tuple[str, ...], fleet_root: Path, output_format: str
) -> int:
    """Lock newer releases of the named blocks, as far as manifests allow, and show the plan.

    Everything else stays locked as it is, unless the newer release needs more. `wordpress`,
    `wp-cli` and language files are named in the same way. Changes no server.
    """
    session = open_session(fleet_root)
    fleet = session.fleet
    named = sorted(check_sites(fleet, sites)) or _sites_with(fleet, blocks)
    results = relock(fleet, session.catalogue, named, only=frozenset(blocks))
    for result in results:
        if result.lock is not None and not result.is_written:
            write_lock(fleet, result.lock)
        narrate_relocked(result)
    plan = planned(read_again(session), tuple(named), ())
    show_plan(plan, "update", output_format)
    return 3 if any(result.lock is None for result in results) else exit_code(plan)


def _sites_with(fleet: Fleet, blocks: tuple[str, ...]) -> list[str]:
    """Return the sites whose lock holds one of the blocks; raises UsageError when none does."""
    found = sorted(
        site
        for site, lock in fleet.locks.items()
        if any(artefact.name in blocks for artefact in lock.artefacts)
    )
    if not found:
        raise UsageError(f"no site has {', '.join(blocks)} locked", hint="owc-deploy outdated")
    return found


def narrate_relocked(result: Relocked) -> None:
    """Say what a renewed lock holds otherwise, or why it was refused."""
    for change in result.changes:
        before, after = change.before or "new", change.after or "gone"
        narrate(f"{result.site}: {change.name} {before} -> {after}")
    narrate_holds(result)
    for place, refusal in zip(result.places, result.refusals, strict=True):
        narrate(f"{result.site}: {place}: {refusal}")
