"""`owc-deploy rollback`: make an earlier release live again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from owc_deploy.cli.losses_view import job_lines, loss_lines, moment
from owc_deploy.cli.options import change_options, fleet_option, format_option
from owc_deploy.cli.plan_view import print_outcomes
from owc_deploy.cli.record import Held, RunRecord, claimed, recorded, settled
from owc_deploy.cli.session import progress
from owc_deploy.cli.view import can_ask, confirm, narrate, print_json
from owc_deploy.errors import ExecutionError, UsageError
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.ports import Executor, RollbackRequest
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.rollout.names import site_name
from owc_deploy.rollout.observe import check_sites, observe, servers_for
from owc_deploy.store import warm_up
from owc_deploy.store.models import Intent


@click.command(
    epilog="""
\b
Examples:
  owc-deploy rollback heusden --preview
  owc-deploy rollback heusden
  owc-deploy rollback heusden --to 20261123T190344Z-338a1ebf --restore-database --yes

The lock is left alone: the next `apply` goes forward again unless the manifest is changed.

Exit codes: 0 done, or previewed; 1 it failed, or it would lose what was written and
--restore-database was not given; 4 somebody else is at work.
"""
)
@click.argument("site")
@click.option("--to", "target", default="", metavar="RELEASE", help="The release to go back to.")
@click.option(
    "--preview", "preview_only", is_flag=True, help="Only say what it would mean and lose."
)
@click.option(
    "--restore-database",
    is_flag=True,
    help="Also bring back the database of then, if that is needed; what is lost is exported first.",
)
@fleet_option
@format_option
@change_options
def command(
    site: str,
    target: str,
    preview_only: bool,
    restore_database: bool,
    fleet_root: Path,
    output_format: str,
    yes: bool,
    reason: str,
    take_over: bool,
) -> int:
    """Make an earlier release of SITE live again: the one before, or the one named.

    Code, configuration, PHP version, active plugins and owned options go back together. Where the
    old code cannot work with the database of now, the database goes back too: what that loses is
    told first, asked for, and exported on the server before anything is overwritten.
    """
    warm_up()
    fleet = load_fleet(fleet_root)
    check_sites(fleet, (site,))
    wish = Wish(
        site,
        target,
        preview_only=preview_only,
        restore_database=restore_database,
        output_format=output_format,
        yes=yes,
        reason=reason,
        take_over=take_over,
    )
    with closing(AnsibleExecutor(fleet)) as executor:
        return go_back(fleet, executor, wish)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    site: str
    target: str = ""
    preview_only: bool = False
    restore_database: bool = False
    output_format: str = "human"
    yes: bool = False
    reason: str = ""
    take_over: bool = False

    @property
    def is_for_people(self) -> bool:
        """Whether stdout is for a person."""
        return self.output_format == "human"


@dataclass(frozen=True, slots=True)
class Way:
    """The way back that a preview found: from what is live to `request.release_id`."""

    server: str
    request: RollbackRequest
    restore_needed: bool
    losses: Mapping[str, Any] | None
    exports: str
    notes: tuple[str, ...]


def go_back(fleet: Fleet, executor: Executor, wish: Wish) -> int:
    """Preview, tell, ask and go back; return the exit code."""
    with progress("looking at the server") as on_progress:
        servers = servers_for(fleet, frozenset({wish.site}))
        seen = observe(executor, servers, hold=True, on_progress=on_progress)[servers[0].name]
    if seen.unreachable:
        hint = f"owc-deploy status {wish.site}"
        raise ExecutionError(f"{seen.server}: {seen.unreachable}", hint=hint)
    observed = seen.sites.get(wish.site, {})
    release = choose_target(wish.site, observed, wish.target)
    live = str(observed.get("release_id", ""))
    request = RollbackRequest(wish.site, release, live)
    begun = bool(observed.get("interrupted"))
    if wish.yes and not wish.restore_database and not wish.preview_only:
        return _at_once(fleet, executor, wish, seen.server, request, begun=begun)
    found = _preview(executor, seen.server, request)
    if isinstance(found, SiteOutcome):
        _show_end(wish, [found], None)
        return 1
    lines = list(_way_lines(found))
    if wish.preview_only:
        if wish.is_for_people:
            click.echo("\n".join(lines))
        else:
            _show_end(wish, [], found)
        return 0
    if found.restore_needed and not wish.restore_database and not can_ask():
        _show_refusal(wish, found, _not_attempted(found))
        return 1
    if found.restore_needed or found.notes:
        click.echo("\n".join(lines), err=not wish.is_for_people)
    question = f"Take {wish.site} from {live or 'nothing'} back to {release}"
    confirm(f"{question}, and lose this?" if found.restore_needed else f"{question}?", yes=wish.yes)
    return _carried_out(fleet, executor, wish, found, begun=begun)


def _preview(executor: Executor, server: str, request: RollbackRequest) -> Way | SiteOutcome:
    """Return the way back, or how it ended when there is none to be seen."""
    with progress("comparing with then") as on_progress:
        asked = {server: (replace(request, preview=True),)}
        outcome = executor.rollback(asked, fences={}, on_progress=on_progress)[0]
    preview = outcome.details.get("preview")
    if outcome.outcome != "ok" or not isinstance(preview, Mapping):
        return outcome
    return Way(
        server,
        request,
        bool(outcome.details["restore_needed"]),
        outcome.details.get("losses"),
        str(preview["exports"]),
        tuple(str(note) for note in outcome.details.get("notes", ())),
    )


def _way_lines(way: Way) -> Iterable[str]:
    request = way.request
    yield f"{request.site}: back from {request.observed_release} to {request.release_id}"
    yield from (f"Note: {note}." for note in way.notes)
    if not way.restore_needed or way.losses is None:
        yield "The database stays as it is; nothing that was written is lost."
        return
    since = moment(way.losses["snapshot_at"])
    yield f"The old code needs the database as it was on {since}."
    yield from loss_lines(way.losses)
    yield "Scheduled jobs that ran since then will not run again."
    yield f"All of it is first exported on {way.server} to {way.exports}/,"
    yield "and the whole database of now is kept there as a snapshot."


def _not_attempted(way: Way) -> SiteOutcome:
    """Return the outcome of a rollback that was left alone for what it would lose."""
    release, live = way.request.release_id, way.request.observed_release
    since = moment(way.losses["snapshot_at"]) if way.losses else "then"
    message = (
        f"nothing was changed: since release {release} the database was changed in a way that the"
        f" old code may not understand; going back loses what was written since {since}"
    )
    return SiteOutcome(way.request.site, way.server, "not-attempted", message, live, live)


def _show_refusal(wish: Wish, way: Way, outcome: SiteOutcome) -> None:
    """Say what would be lost, that nothing was done, and what to type to do it nevertheless."""
    if wish.is_for_people:
        click.echo("\n".join(_way_lines(way)))
    _show_end(wish, [outcome], way)
    again = f"owc-deploy rollback {wish.site} --to {way.request.release_id}"
    narrate(f"  Next: {again} --restore-database --yes")


def _at_once(
    fleet: Fleet,
    executor: Executor,
    wish: Wish,
    server: str,
    request: RollbackRequest,
    *,
    begun: bool,
) -> int:
    """Go back without asking; a server that would have to lose data refuses, and is then asked."""
    way = None
    with _recorded(fleet, executor, wish, server, begun=begun) as (held, run):
        outcome = _worked(held, executor, server, request)
        if outcome.outcome == "failed" and outcome.details.get("restore_needed"):
            found = _preview(executor, server, request)
            if isinstance(found, Way):
                way, outcome = found, _not_attempted(found)
        run.note(outcome)
    if way:
        _show_refusal(wish, way, outcome)
    else:
        _show_end(wish, [outcome], None)
    return 1 if run.word == "failed" else 0


def _carried_out(fleet: Fleet, executor: Executor, wish: Wish, way: Way, *, begun: bool) -> int:
    request = replace(way.request, restore_database=way.restore_needed)
    with _recorded(fleet, executor, wish, way.server, begun=begun) as (held, run):
        outcome = _worked(held, executor, way.server, request)
        run.note(outcome)
    _show_end(wish, [outcome], way)
    return 1 if run.word == "failed" else 0


@contextmanager
def _recorded(
    fleet: Fleet, executor: Executor, wish: Wish, server: str, *, begun: bool
) -> Iterator[tuple[Held, RunRecord]]:
    """Hold the site while it goes back; what somebody else had begun on it is ended first."""
    intent = Intent(wish.site, server, fleet.manifests[wish.site].ring)
    names = (site_name(wish.site),)
    with claimed(fleet, "rollback", names, reason=wish.reason, take_over=wish.take_over) as held:
        settled(held, executor, {wish.site: server}, interrupted=[wish.site] if begun else [])
        with recorded(held, [intent]) as run:
            yield held, run


def _worked(held: Held, executor: Executor, server: str, request: RollbackRequest) -> SiteOutcome:
    with progress("rolling back") as on_progress:
        asked = {server: (request,)}
        fences = held.claim.fences()
        return executor.rollback(asked, fences=fences, on_progress=on_progress)[0]


def _show_end(wish: Wish, outcomes: Iterable[SiteOutcome], way: Way | None) -> None:
    """Show how it ended; of a rollback that was done, what was exported and held."""
    ended = list(outcomes)
    details = ended[0].details if ended else {}
    export, held = str(details.get("export") or ""), list(details.get("held_jobs") or ())
    if wish.is_for_people:
        print_outcomes(ended)
        if export:
            click.echo(f"What was lost is on {ended[0].server}: {export}")
        for line in job_lines(held):
            click.echo(line)
        return
    print_json(
        {
            "schema_version": 1,
            "outcomes": [asdict(outcome) for outcome in ended],
            "restore_needed": way.restore_needed if way else bool(details.get("restore_needed")),
            "losses": details.get("losses") or (way.losses if way else None),
            "export": export or (f"{way.exports}/" if way and way.restore_needed else ""),
            "held_jobs": held,
        }
    )


def choose_target(site: str, observed: Mapping[str, Any], wanted: str) -> str:
    """Return the release to go back to: the one wanted, or the last one live that is older.

    Older is what was live first: after a rollback the release that was left is the one live before,
    and going "back" to it would be going forward again. Raises UsageError naming what is possible.
    """
    live = str(observed.get("release_id", ""))
    order = {str(item["release_id"]): int(item["order"]) for item in observed.get("releases", ())}
    possible = [release for release in order if release != live]
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
    older = [release for release in possible if order[release] < order.get(live, len(order))]
    if not older:
        raise UsageError(
            f"there is no release of {site} on its server that is older than {live}",
            context="possible, going forward: " + ", ".join(possible),
            hint=f"owc-deploy rollback {site} --to {possible[0]}",
        )
    return older[0]
