"""`owc-deploy mitigate`: close a route or a block on every site before there is a patch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.record import claimed, counted_on, recorded
from owc_deploy.cli.session import Session, now, open_session, operator, progress
from owc_deploy.cli.view import narrate, print_json, print_table
from owc_deploy.errors import DocumentsInvalidError, UsageError
from owc_deploy.execution.ports import Fences
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.mitigations import (
    FILE,
    build_mitigations,
    problems_of,
    read_mitigations,
    write_mitigations,
    wrong_names,
)
from owc_deploy.fleet.models import Mitigation
from owc_deploy.plan.mitigations import is_declared, left_open, rules, unknown_blocks
from owc_deploy.plan.models import Fence, SiteOutcome
from owc_deploy.rollout.apply import GOOD
from owc_deploy.rollout.mitigate import concerned, mitigate
from owc_deploy.rollout.names import MITIGATIONS_DOCUMENT, mitigation_name
from owc_deploy.rollout.observe import check_sites
from owc_deploy.rollout.takeover import highest_token
from owc_deploy.store.models import Intent

SCHEMA_VERSION = 1


@click.group(
    epilog="""
\b
Examples:
  owc-deploy mitigate add --route owc/gravityforms-zgw/v1 --reason "uploads without a login"
  owc-deploy mitigate list
  owc-deploy mitigate lift owc-gravityforms-zgw-v1 --reason "1.15.3 is everywhere"
"""
)
def command() -> None:
    """Close a REST route or a block on sites, in seconds, until a vulnerability is fixed.

    What is closed stands in mitigations.yml and stays closed through releases and rollbacks, until
    it is lifted. No release is made and WordPress is not touched.
    """


take_over_option = click.option(
    "--take-over", is_flag=True, help="Take the lease from a controller that has stopped."
)


@command.command(
    epilog="""
\b
Examples:
  owc-deploy mitigate add --route owc/gravityforms-zgw/v1 --reason "uploads without a login"
  owc-deploy mitigate add --block owc-gravityforms-zgw --advisory CVE-2026-12345 --reason "..."
  owc-deploy mitigate add --route owc/pdc/v1 --reason "..." heusden

Exit codes: 0 closed everywhere, 1 not on some site, 4 somebody else is at work on mitigations.
"""
)
@sites_argument
@click.option("--route", default="", help="A REST route; closed with all that is below it.")
@click.option("--block", default="", help="A block: its REST routes, and PHP files in its folder.")
@click.option("--ajax-action", "actions", multiple=True, help="Also this action of admin-ajax.php.")
@click.option("--reason", required=True, help="Why, for mitigations.yml and the history.")
@click.option("--advisory", default="", help="The vulnerability, as audit names it.")
@click.option("--identifier", default="", help="What to call it; default: from what it closes.")
@take_over_option
@fleet_option
@format_option
def add(
    sites: tuple[str, ...],
    route: str,
    block: str,
    actions: tuple[str, ...],
    reason: str,
    advisory: str,
    identifier: str,
    take_over: bool,
    fleet_root: Path,
    output_format: str,
) -> int:
    """Close something on the named sites, or on all, now and until it is lifted."""
    session = open_session(fleet_root, last_verified_will_do=True)
    named = check_sites(session.fleet, sites)
    mitigation = Mitigation(
        identifier=identifier or _name(route, block, actions),
        reason=reason,
        by=operator(),
        since=now().isoformat(timespec="seconds"),
        route=route,
        block=block,
        ajax_actions=actions,
        advisory=advisory,
        sites=tuple(sorted(named)),
    )
    _check(session, mitigation)

    def added(present: tuple[Mitigation, ...]) -> tuple[Mitigation, ...]:
        if any(each.identifier == mitigation.identifier for each in present):
            raise UsageError(
                f"there is a mitigation `{mitigation.identifier}` already",
                hint="give another --identifier, or: owc-deploy mitigate apply",
            )
        return (*present, mitigation)

    added(session.fleet.mitigations)
    return _carry_out(
        session,
        added,
        concerned(session.fleet, mitigation),
        verb="mitigate",
        changed=mitigation,
        reason=_why(mitigation, reason),
        take_over=take_over,
        output_format=output_format,
    )


@command.command()
@click.argument("identifier")
@click.option("--reason", required=True, help="Why it may be opened, for the history.")
@take_over_option
@fleet_option
@format_option
def lift(
    identifier: str, reason: str, take_over: bool, fleet_root: Path, output_format: str
) -> int:
    """Open again what IDENTIFIER closed, on all its sites."""
    session = open_session(fleet_root, last_verified_will_do=True)
    present = {mitigation.identifier: mitigation for mitigation in session.fleet.mitigations}
    if identifier not in present:
        raise UsageError(
            f"there is no mitigation {identifier}",
            context=f"there are: {', '.join(present) or 'none'}",
            hint="owc-deploy mitigate list",
        )
    mitigation = present[identifier]
    return _carry_out(
        session,
        lambda now_there: tuple(each for each in now_there if each.identifier != identifier),
        concerned(session.fleet, mitigation),
        verb="mitigate lift",
        changed=mitigation,
        reason=_why(mitigation, reason),
        take_over=take_over,
        output_format=output_format,
    )


@command.command()
@sites_argument
@click.option("--reason", default="", help="Why, for the history.")
@take_over_option
@fleet_option
@format_option
def apply(
    sites: tuple[str, ...], reason: str, take_over: bool, fleet_root: Path, output_format: str
) -> int:
    """Close on the servers what mitigations.yml says, and nothing else; safe to repeat."""
    session = open_session(fleet_root, last_verified_will_do=True)
    named = check_sites(session.fleet, sites)
    return _carry_out(
        session,
        lambda present: present,
        tuple(sorted(named or session.fleet.manifests)),
        verb="mitigate apply",
        changed=None,
        reason=reason,
        take_over=take_over,
        output_format=output_format,
    )


@command.command("list")
@fleet_option
@format_option
def list_command(fleet_root: Path, output_format: str) -> None:
    """Show what mitigations.yml closes, without asking a server."""
    fleet = load_fleet(fleet_root)
    if output_format == "json":
        rows = [asdict(mitigation) for mitigation in fleet.mitigations]
        print_json({"schema_version": SCHEMA_VERSION, "mitigations": rows})
    elif fleet.mitigations:
        print_table(
            ("Identifier", "Closes", "Sites", "Advisory", "Since", "By", "Reason"),
            [
                (
                    each.identifier,
                    _closes(each),
                    ", ".join(each.sites) or "all",
                    each.advisory or "-",
                    each.since,
                    each.by,
                    each.reason,
                )
                for each in fleet.mitigations
            ],
        )
    else:
        click.echo("nothing is closed")


def _name(route: str, block: str, actions: tuple[str, ...]) -> str:
    what = route.strip("/").replace("/", "-").lower() or block or "-".join(actions)
    return re.sub("^[^A-Za-z0-9]+", "", what)[:99]


def _closes(mitigation: Mitigation) -> str:
    parts = [f"route {mitigation.route}"] if mitigation.route else []
    parts += [f"block {mitigation.block}"] if mitigation.block else []
    return ", ".join([*parts, *(f"action {action}" for action in mitigation.ajax_actions)])


def _why(mitigation: Mitigation, reason: str) -> str:
    named = f"{mitigation.identifier}, {mitigation.advisory}".removesuffix(", ")
    return f"{named}: {reason}"


def _check(session: Session, mitigation: Mitigation) -> None:
    """Raise UsageError, with all that is wrong with a new mitigation."""
    problems = list(problems_of(mitigation))
    route, block = mitigation.route, mitigation.block
    if not route and not block and not mitigation.ajax_actions:
        problems.append("name what to close: --route, --block or --ajax-action")
    problems += (words for _, words in wrong_names(route, mitigation.ajax_actions))
    if block and block not in session.catalogue.blocks:
        problems.append(f"the catalogue has no block `{block}`")
    elif block and session.catalogue.blocks[block].kind not in {"plugin", "theme", "mu-plugin"}:
        problems.append(f"`{block}` is no plugin or theme, and cannot be closed")
    if problems:
        raise UsageError("; ".join(problems), hint="owc-deploy mitigate add --help")
    if route and not is_declared(route, session.catalogue):
        narrate(f"Warning: no block of the catalogue declares {route}: is it spelled right?")


def _carry_out(
    session: Session,
    change: Callable[[tuple[Mitigation, ...]], tuple[Mitigation, ...]],
    sites: Sequence[str],
    *,
    verb: str,
    changed: Mitigation | None,
    reason: str,
    take_over: bool,
    output_format: str,
) -> int:
    """Write the document, make the servers follow, record it, show how it ended."""
    fleet = session.fleet
    intents = [Intent(site, fleet.manifests[site].servers.web[0]) for site in sites]
    details = {"mitigation": asdict(changed)} if changed else {}
    # Names of their own: closing a hole must not wait for an update of the site.
    names = [mitigation_name(site) for site in sites]
    if changed is not None:
        names.append(MITIGATIONS_DOCUMENT)
    with (
        claimed(fleet, verb, names, reason=reason, take_over=take_over) as held,
        recorded(held, intents) as run,
    ):
        # Somebody else may have closed something between reading the document and this.
        fleet = replace(fleet, mitigations=change(_written(fleet.root)))
        unknown = unknown_blocks(fleet.mitigations, session.catalogue)
        for words in unknown:
            narrate(f"Warning: {words}")
        if changed is not None:
            write_mitigations(fleet.root, fleet.mitigations)
            held.claim.give(MITIGATIONS_DOCUMENT)
        with progress("closing" if verb != "mitigate lift" else "opening") as on_progress:

            def close() -> tuple[SiteOutcome, ...]:
                return mitigate(
                    fleet,
                    session.catalogue,
                    session.executor,
                    sites,
                    fences=held.claim.fences("mitigations"),
                    on_progress=on_progress,
                )

            outcomes = close()
            if counted_on(held, _highest_token(outcomes, held.claim.fences("mitigations"))):
                outcomes = close()
        outcomes = tuple(replace(each, details={**each.details, **details}) for each in outcomes)
        for outcome in outcomes:
            run.note(outcome)
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "mitigation": asdict(changed) if changed else None,
                "left_open": list(left_open(changed, session.catalogue)) if changed else [],
                "outcomes": [asdict(outcome) for outcome in outcomes],
            }
        )
    else:
        _print(outcomes, changed if verb == "mitigate" else None, session.catalogue)
    if changed is not None:
        narrate(f"next: git commit {FILE}")
    bad = [outcome for outcome in outcomes if outcome.outcome not in GOOD]
    if bad:
        narrate(f"{len(bad)} of {len(outcomes)} sites are not as they should be")
        narrate("  next, once that is mended: owc-deploy mitigate apply")
    return 1 if bad or unknown else 0


def _highest_token(outcomes: Sequence[SiteOutcome], fences: Fences) -> int:
    told = {outcome.site: outcome.details.get("newer") for outcome in outcomes}
    newer = {
        site: Fence(str(fence["store"]), int(fence["token"]), str(fence["owner"]))
        for site, fence in told.items()
        if isinstance(fence, Mapping)
    }
    return highest_token(newer, fences)


def _written(root: Path) -> tuple[Mitigation, ...]:
    document, problems = read_mitigations(root)
    if problems:
        raise DocumentsInvalidError(problems)
    return build_mitigations(document)


def _print(outcomes: Sequence[SiteOutcome], added: Mitigation | None, catalogue: Catalogue) -> None:
    if added is not None:
        (rule,) = rules([replace(added, sites=())], catalogue, "")
        for route in rule["routes"]:
            click.echo(f"closed: the REST route {route} and all below it")
        for folder in rule["folders"]:
            click.echo(f"closed: PHP files in wp-content/{folder}")
        for action in rule["ajax_actions"]:
            click.echo(f"closed: the action {action} of admin-ajax.php and admin-post.php")
        for words in left_open(added, catalogue):
            click.echo(f"not closed: {words}")
    for outcome in outcomes:
        colour = "green" if outcome.outcome in GOOD else "red"
        word = click.style(f"{outcome.outcome:13}", fg=colour)
        click.echo(f"{outcome.site:27} {word} {outcome.server} {outcome.message}".rstrip())
