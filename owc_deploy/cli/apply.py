"""`owc-deploy apply`: make the servers what the manifests say."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from owc_deploy.cli.junit_view import junit
from owc_deploy.cli.markdown_view import outcomes_markdown
from owc_deploy.cli.options import change_options, ci_format_option, fleet_option, sites_argument
from owc_deploy.cli.plan import planned
from owc_deploy.cli.plan_view import print_outcomes, print_plan
from owc_deploy.cli.record import recorded_run
from owc_deploy.cli.rows import rows_of_applied
from owc_deploy.cli.session import Session, now, open_session, progress
from owc_deploy.cli.tell import apply_notice, job_link, notifier
from owc_deploy.cli.view import confirm, narrate, print_json
from owc_deploy.errors import UsageError
from owc_deploy.plan.document import plan_from_text
from owc_deploy.plan.models import Plan, SiteOutcome
from owc_deploy.rollout.apply import CHANGING, Applied, applied_document, apply_plan, check_plan
from owc_deploy.store import warm_up
from owc_deploy.store.models import Intent


@click.command(
    epilog="""
\b
Examples:
  owc-deploy apply
  owc-deploy apply heusden --yes
  owc-deploy plan --out monday.plan.json && owc-deploy apply --plan monday.plan.json

Exit codes: 0 done or nothing to do, 1 a site or server failed, 4 somebody else is at work,
5 the plan is stale.
"""
)
@sites_argument
@fleet_option
@ci_format_option
@change_options
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Apply this saved plan; refused when what it was made from has changed.",
)
@click.option(
    "--decommission",
    "decommission",
    multiple=True,
    metavar="SITE",
    help="Take this site, which no manifest names any more, off the air (keeps everything).",
)
def command(
    sites: tuple[str, ...],
    fleet_root: Path,
    output_format: str,
    plan_file: Path | None,
    decommission: tuple[str, ...],
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Make the servers what the manifests and locks say.

    Shows the plan, asks, prepares servers that need it, and releases the sites ring by ring. Each
    site's release is a transaction on its server: one that fails is undone and the earlier release
    keeps answering, and other sites are left alone.
    """
    if plan_file is not None and (sites or decommission):
        raise UsageError("a saved plan names its sites itself", hint=f"apply --plan {plan_file}")
    session = open_session(fleet_root)
    with closing(session.executor):
        if plan_file is not None:
            plan = plan_from_text(plan_file.read_text(encoding="utf-8"))
        else:
            warm_up()
            plan = planned(session, sites, decommission, hold=True)
        return carry_out(
            session,
            plan,
            output_format=output_format,
            yes=yes,
            reason=reason,
            take_over=take_over,
        )


def carry_out(
    session: Session,
    plan: Plan,
    *,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Show a plan, ask, apply it, show how it ended; return the exit code."""
    check_plan(session.fleet, session.catalogue, plan)
    if output_format == "human":
        print_plan(plan)
    if plan.has_changes:
        confirm("Apply this plan?", yes=yes)
        applied = _recorded(session, plan, reason=reason, take_over=take_over)
    else:
        # Nothing is going to be changed, so there is nothing to hold a lease for or to remember.
        applied = apply_plan(session.fleet, session.executor, plan, lambda _: None, now)
    if output_format == "json":
        print_json(applied_document(applied, plan.plan_id))
    elif output_format == "junit":
        click.echo(junit("apply", rows_of_applied(applied, plan)))
    elif output_format == "markdown":
        click.echo(outcomes_markdown("Applied", rows_of_applied(applied, plan)), nl=False)
    elif plan.has_changes or not applied.succeeded:
        print_outcomes(applied.outcomes)
    for server in applied.servers:
        if server.status != "ok":
            narrate(f"server {server.server}: {server.status}: {server.message}")
    if not applied.succeeded:
        notifier(session.fleet).tell(apply_notice(session.fleet, applied, job_link()))
    return 0 if applied.succeeded else 1


def _recorded(session: Session, plan: Plan, *, reason: str, take_over: bool) -> Applied:
    """Apply a plan under the lease; the history tells of the sites that something is done to."""
    intents = [
        Intent(site.site, site.server, site.ring) for site in plan.sites if site.action in CHANGING
    ]
    intended = {intent.site for intent in intents}
    with recorded_run(
        session.fleet, "apply", intents, plan_id=plan.plan_id, reason=reason, take_over=take_over
    ) as run:

        def note(outcome: SiteOutcome) -> None:
            if outcome.site in intended:
                run.note(outcome)

        with progress("applying") as on_progress:
            applied = apply_plan(
                session.fleet, session.executor, plan, note, now, on_progress=on_progress
            )
        run.failed = not applied.succeeded
    return applied
