"""`owc-deploy apply`: make the servers what the manifests say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from owc_deploy.cli.junit_view import junit
from owc_deploy.cli.markdown_view import outcomes_markdown
from owc_deploy.cli.options import change_options, ci_format_option, fleet_option, sites_argument
from owc_deploy.cli.plan import planned
from owc_deploy.cli.plan_view import print_outcomes, print_plan
from owc_deploy.cli.record import Held, claimed, recorded, settled
from owc_deploy.cli.rows import rows_of_applied
from owc_deploy.cli.session import Session, now, open_session, progress
from owc_deploy.cli.tell import apply_notice, job_link, notifier
from owc_deploy.cli.view import confirm, narrate, print_json
from owc_deploy.errors import UsageError
from owc_deploy.plan.document import plan_from_text
from owc_deploy.plan.models import Plan, SiteOutcome
from owc_deploy.rollout.apply import CHANGING, Applied, applied_document, apply_plan, check_plan
from owc_deploy.rollout.names import plan_names
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
    help="Take this site, which no manifest names any more, off the air (keeps everything), and do"
    " nothing else but for each SITE that is named too.",
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
        again = partial(planned, session, sites, decommission, hold=True)
        if plan_file is not None:
            plan = plan_from_text(plan_file.read_bytes())
        else:
            warm_up()
            plan = again()
        return carry_out(
            session,
            plan,
            again=None if plan_file else again,
            output_format=output_format,
            yes=yes,
            reason=reason,
            take_over=take_over,
        )


def carry_out(
    session: Session,
    plan: Plan,
    *,
    again: Callable[[], Plan] | None = None,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Show a plan, ask, apply it, show how it ended; return the exit code.

    `again` plans once more, where what was live turns out to have been somebody else's unfinished
    work; without it servers refuse what was planned from that.
    """

    def show_and_ask(plan: Plan) -> None:
        if output_format == "human":
            print_plan(plan)
        if plan.has_changes:
            confirm("Apply this plan?", yes=yes)

    check_plan(session.fleet, session.catalogue, plan)
    show_and_ask(plan)
    if plan.has_changes:
        names = plan_names(session.fleet, plan)
        with claimed(session.fleet, "apply", names, reason=reason, take_over=take_over) as held:
            if _settled(held, session, plan) and again is not None:
                narrate("something else may be live now; planning again")
                plan = again()
                show_and_ask(plan)
                held.claim.take(plan_names(session.fleet, plan))
            applied = _applied(held, session, plan)
    else:
        applied = _nothing_done(session, plan)
    _print(applied, plan, output_format)
    for server in applied.servers:
        if server.status != "ok":
            narrate(f"server {server.server}: {server.status}: {server.message}")
    if not applied.succeeded:
        notifier(session.fleet).tell(apply_notice(session.fleet, applied, job_link()))
    return 0 if applied.succeeded else 1


def _print(applied: Applied, plan: Plan, output_format: str) -> None:
    if output_format == "json":
        print_json(applied_document(applied, plan.plan_id))
    elif output_format == "junit":
        click.echo(junit("apply", rows_of_applied(applied, plan)))
    elif output_format == "markdown":
        click.echo(outcomes_markdown("Applied", rows_of_applied(applied, plan)), nl=False)
    elif plan.has_changes or not applied.succeeded:
        print_outcomes(applied.outcomes)


def _settled(held: Held, session: Session, plan: Plan) -> bool:
    """Let unfinished work of others come to its end; return whether there was any.

    Also when it ended by itself since the plan was made.
    """
    changing = [site for site in plan.sites if site.action in CHANGING]
    where = {site.site: site.server for site in changing}
    interrupted = [site.site for site in changing if site.is_interrupted]
    ended = settled(held, session.executor, where, interrupted=interrupted)
    return bool(ended) or any(site.is_under_way for site in changing)


def _applied(held: Held, session: Session, plan: Plan) -> Applied:
    """Apply a plan and record it; the history tells of the sites that something is done to."""
    if not plan.has_changes:
        return _nothing_done(session, plan)
    intents = [
        Intent(site.site, site.server, site.ring) for site in plan.sites if site.action in CHANGING
    ]
    intended = {intent.site for intent in intents}
    with recorded(held, intents, plan_id=plan.plan_id) as run:

        def note(outcome: SiteOutcome) -> None:
            if outcome.site in intended:
                run.note(outcome)

        with progress("applying") as on_progress:
            applied = apply_plan(
                session.fleet,
                session.executor,
                plan,
                note,
                now,
                fences=held.claim.fences(),
                on_progress=on_progress,
            )
        run.failed = not applied.succeeded
    return applied


def _nothing_done(session: Session, plan: Plan) -> Applied:
    """Return how things are; there is nothing to hold a lease for, or to remember."""
    return apply_plan(session.fleet, session.executor, plan, lambda _: None, now, fences={})
