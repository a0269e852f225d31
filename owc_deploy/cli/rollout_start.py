"""`owc-deploy rollout start`: begin a rollout and walk it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click

from owc_deploy.cli.options import change_options, ci_format_option, fleet_option, sites_argument
from owc_deploy.cli.plan import planned
from owc_deploy.cli.plan_view import print_plan
from owc_deploy.cli.rollout_begin import Beginning
from owc_deploy.cli.rollout_supersede import (
    abort_idle,
    in_the_way,
    undoing,
)
from owc_deploy.cli.rollout_view import sites_in
from owc_deploy.cli.rollout_walk import finish, nothing_to_do, walk_on, walk_options
from owc_deploy.cli.rollout_wish import Wish, aim_of, relocked
from owc_deploy.cli.session import Session, now, open_session, operator
from owc_deploy.cli.view import confirm, narrate
from owc_deploy.errors import UsageError
from owc_deploy.execution.jobs import new_transaction_id
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Plan
from owc_deploy.rollout.aims import Aim
from owc_deploy.rollout.apply import check_seen
from owc_deploy.rollout.models import Emergency, Rollout
from owc_deploy.rollout.names import LOCKS_DOCUMENT
from owc_deploy.rollout.observe import check_sites
from owc_deploy.rollout.rings import documents_sha256, rollout_rings
from owc_deploy.rollout.supersede import left_behind, soaking
from owc_deploy.store import open_fleet_store

# Sites of a plan to which a rollout has nothing to do.
_LEFT_ALONE = frozenset({"none", "held", "decommission"})


@click.command(
    "start",
    epilog="""
\b
Examples:
  owc-deploy rollout start
  owc-deploy rollout start --block openwoo --version '^4.3'
  owc-deploy rollout start --withdrawn openpub-base --yes
  owc-deploy rollout start --advisory CVE-2026-1234 --emergency --reason "being exploited" \\
      --approved-by "J. de Vries" --yes
  owc-deploy plan --out monday.plan.json && owc-deploy rollout start --plan monday.plan.json

Exit codes: 0 done, waiting for a window or a soak, or nothing to do; 1 done, but sites were left
as they were; 3 a lock was refused; 4 somebody else walks it; 6 halted, paused or aborted; 10
waiting, with --detailed-exitcode.
""",
)
@sites_argument
@click.option("--block", metavar="NAME", help="Lock a newer release of this block.")
@click.option(
    "--version", default="*", metavar="CONSTRAINT", help="Which releases of --block, as '^4.3'."
)
@click.option("--withdrawn", metavar="BLOCK", help="Move off withdrawn releases of this block.")
@click.option("--advisory", metavar="ID", help="Move off what has this vulnerability.")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Roll out the sites of this saved plan; refused when what it was made from has changed.",
)
@click.option(
    "--skip-refused", is_flag=True, help="Leave out sites whose lock is refused, and begin."
)
@click.option(
    "--supersede",
    is_flag=True,
    help="Take the place of rollouts under way that have the same sites; rings that soak go on.",
)
@click.option(
    "--emergency",
    is_flag=True,
    help="Pass over windows, freeze days and soaks; needs --reason and --approved-by.",
)
@click.option(
    "--approved-by", default="", metavar="NAME", help="The second person who agreed to it."
)
@walk_options
@fleet_option
@ci_format_option
@change_options
def start_command(
    sites: tuple[str, ...],
    block: str | None,
    version: str,
    withdrawn: str | None,
    advisory: str | None,
    plan_file: Path | None,
    skip_refused: bool,
    supersede: bool,
    emergency: bool,
    approved_by: str,
    patience: timedelta | None,
    detailed_exitcode: bool,
    fleet_root: Path,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Bring sites to what manifests and locks say, ring after ring.

    Shows what would change, asks, and walks the rings of fleet.yml: every site inside its window,
    so many at once as fleet.yml allows. With --block, --withdrawn or --advisory the locks are
    renewed for that first. Without a terminal it stops where it would have to wait; `rollout
    resume --scheduled` goes on.
    """
    wish = Wish(block, version, withdrawn, advisory, plan_file)
    wish.check(sites)
    approval = _emergency(emergency=emergency, reason=reason, approved_by=approved_by)
    session = open_session(fleet_root)
    with closing(session.executor):
        store = open_fleet_store(session.fleet)
        aim = aim_of(session, store, wish, check_sites(session.fleet, sites))
        asked_for = session.fleet
        session, aim, renewed = relocked(session, aim, skip_refused=skip_refused)
        if supersede:
            for each in undoing(session.fleet, store, aim.sites):
                confirm(f"Undo rollout {each} first?", yes=yes)
                walk_on(session, store, each, patience=timedelta(0), take_over=take_over)
        earlier = in_the_way(session.fleet, store, aim.sites) if supersede else ()
        plan, kept = _planned(session, aim, sites, soaking(earlier).keys())
        rollout = _rollout(session.fleet, plan, aim, kept, reason, approval)
        if output_format == "human":
            print_plan(plan)
            _print_rings(rollout)
        _tell_left_out(plan)
        begins = Beginning(session.fleet, store, aim, rollout, kept, renewed)
        if not begins.has_work(earlier):
            idle = [each for each in earlier if not left_behind(each, aim.sites)]
            if idle and not rollout.rings:
                confirm("Abort what is under way?", yes=yes)
                abort_idle(session.fleet, store, idle)
            return nothing_to_do(rollout, plan, output_format)
        begins.check(earlier)
        confirm("Start this rollout?", yes=yes)
        # One at a time: whoever may not begin must not write locks either.
        with store.claim(
            LOCKS_DOCUMENT, reason="a rollout begins", take_over=take_over, narrate=narrate
        ):
            _require_unmoved(asked_for, load_fleet(fleet_root), rollout)
            # They went on while somebody was asked.
            begins.begin(in_the_way(session.fleet, store, aim.sites) if supersede else ())
        narrate(f"rollout {rollout.rollout_id}")
        standing, stopped = walk_on(
            session, store, rollout.rollout_id, patience=patience, take_over=take_over
        )
    return finish(
        session.fleet, store, standing, stopped, output_format, detailed=detailed_exitcode
    )


def _planned(
    session: Session, aim: Aim, named: Collection[str], soaks: Collection[str]
) -> tuple[Plan, frozenset[str]]:
    """Return the plan of what is aimed at, and the sites that are only to go on soaking.

    `soaks` are those that soak in rollouts whose place is taken. Raises PlanStaleError when it is
    another one than a saved plan, and UsageError for sites that are named in vain.
    """
    known = frozenset(soaks) & session.fleet.manifests.keys()
    plan = planned(session, tuple(sorted(aim.sites | known)), (), hold=True)
    check_seen(aim.seen, plan, aim.sites)
    _refuse_without_ring(plan, named)
    kept = known & {site.site for site in plan.sites if site.action == "none"}
    wanted = aim.sites | kept
    return replace(plan, sites=tuple(s for s in plan.sites if s.site in wanted)), kept


def _emergency(*, emergency: bool, reason: str, approved_by: str) -> Emergency | None:
    """Return the emergency, `None` for none; a second person must have agreed to one.

    Raises UsageError.
    """
    if not emergency:
        if approved_by:
            raise UsageError("--approved-by belongs to --emergency")
        return None
    if not reason.strip() or not approved_by.strip():
        raise UsageError(
            "an emergency passes over windows: it needs a reason and a second person",
            hint='--emergency --reason "why" --approved-by "name of a colleague"',
        )
    approver = approved_by.strip().partition("@")[0].casefold()
    if approver in {part.partition("@")[0].casefold() for part in operator().split(" via ")}:
        raise UsageError("a second person has to agree: --approved-by names yourself")
    return Emergency(reason.strip(), approved_by.strip())


def _refuse_without_ring(plan: Plan, named: Collection[str]) -> None:
    """Raise UsageError for sites that somebody named and that no ring holds."""
    without = [site.site for site in plan.sites if site.site in named and not site.ring]
    if without:
        raise UsageError(
            f"{', '.join(without)}: in no ring, so no rollout brings it to anything",
            hint=f"owc-deploy apply {' '.join(without)}",
        )


def _require_unmoved(before: Fleet, now_there: Fleet, rollout: Rollout) -> None:
    """Raise UsageError where somebody changed documents between the plan and the answer to it."""
    moved = [
        site.site
        for site in rollout.sites
        if site.site not in now_there.manifests
        or documents_sha256(before, site.site) != documents_sha256(now_there, site.site)
    ]
    if moved:
        raise UsageError(
            f"the manifest or lock of {', '.join(moved)} changed meanwhile",
            context="nothing was begun",
            hint="the same command again, which plans anew",
        )


def _rollout(
    fleet: Fleet,
    plan: Plan,
    aim: Aim,
    kept: Collection[str],
    reason: str,
    emergency: Emergency | None,
) -> Rollout:
    sites = [s.site for s in plan.sites if s.action not in _LEFT_ALONE or s.site in kept]
    moment = now()
    return Rollout(
        rollout_id=new_transaction_id(moment),
        fleet=fleet.settings.name,
        created_at=moment.isoformat(timespec="seconds"),
        operator=operator(),
        cause=aim.cause,
        rings=rollout_rings(fleet, sites),
        reason=reason,
        limits=fleet.settings.rollouts,
        emergency=emergency,
    )


def _print_rings(rollout: Rollout) -> None:
    for ring in rollout.rings:
        waves = "+".join(str(size) for size in ring.wave_sizes)
        soak = f", soaks {ring.soak_seconds // 60} min" if ring.soak_seconds else ""
        undo = f", undoes since {ring.undo_since}" if ring.undo_since else ""
        click.echo(f"Ring {ring.name}: {sites_in(ring.sites)} in waves of {waves}{soak}{undo}")


def _tell_left_out(plan: Plan) -> None:
    for site in plan.sites:
        if site.action not in _LEFT_ALONE and not site.ring:
            narrate(f"{site.site} is in no ring: it is left to `owc-deploy apply {site.site}`")
