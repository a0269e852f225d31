"""A plan and its outcomes as text for a person."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

import click

from owc_deploy.plan.models import Change, Plan, ServerPlan, SiteOutcome, SitePlan

_SIGNS = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "repair": ("~", "magenta"),
    "decommission": ("-", "red"),
    "held": ("!", "red"),
    "not-attempted": ("!", "red"),
    "none": (" ", None),
}
_COLOURS = {"ok": "green", "changed": "green", "inconclusive": "yellow", "not-attempted": "yellow"}


def print_plan(plan: Plan) -> None:
    """Print what would change on every server and site, and why."""
    for server in plan.servers:
        for line in _server_lines(server):
            click.echo(line)
    for site in plan.sites:
        for line in _site_lines(site):
            click.echo(line)
    counts = Counter(site.action for site in plan.sites)
    words = ", ".join(
        f"{count} {'unchanged' if action == 'none' else action}"
        for action, count in sorted(counts.items())
    )
    click.echo(f"Plan {plan.plan_id[:12]}: {words or 'no sites'}")
    if not plan.has_changes and not plan.is_incomplete:
        click.echo("Nothing to do.")


def print_outcomes(outcomes: Iterable[SiteOutcome]) -> None:
    """Print one line per site: how it ended, what is live now, and why if it went wrong."""
    rows = list(outcomes)
    width = max((len(row.site) for row in rows), default=0)
    for row in rows:
        word = click.style(f"{row.outcome:13}", fg=_COLOURS.get(row.outcome, "red"))
        live = row.release_id or "nothing live"
        click.echo(f"{row.site:{width}}  {word} {live:25} {row.seconds:6.1f} s  on {row.server}")
        if row.message:
            click.echo(f"{'':{width}}  {row.message}")
    counts = Counter(row.outcome for row in rows)
    click.echo(", ".join(f"{count} {word}" for word, count in sorted(counts.items())) or "no sites")


def _server_lines(server: ServerPlan) -> Iterable[str]:
    if server.action == "provision":
        yield f"{click.style('~', fg='yellow')} server {server.server}: prepare; {server.reason}"
    elif server.action == "unreachable":
        yield f"{click.style('!', fg='red')} server {server.server}: {server.reason}"
    if server.artefacts:
        count = len(server.artefacts)
        yield f"  server {server.server}: receives {count} artefact{'s' if count != 1 else ''}"


def _site_lines(site: SitePlan) -> Iterable[str]:
    if site.action == "none":
        for warning in site.warnings:
            yield f"{click.style('!', fg='yellow')} {site.site}: {warning}"
        return
    sign, colour = _SIGNS[site.action]
    where = f"{site.site} on {site.server}" + (f" (ring {site.ring})" if site.ring else "")
    yield f"{click.style(sign, fg=colour)} {site.action} {where}"
    if site.reason:
        yield f"    {site.reason}"
    for warning in site.warnings:
        yield f"    {click.style('!', fg='yellow')} {warning}"
    for change in site.changes:
        yield f"    {change_words(change)}"
    for migration in site.migrations:
        moved = f"{migration.block} {migration.from_version} -> {migration.to_version}"
        way = "reversible" if migration.reversible else "one way"
        yield f"    migration: {moved}, {way}: {_command_words(migration.commands)}"
    if not all(migration.reversible for migration in site.migrations):
        yield (
            "    the way back will be a restore of the database as it was before; writes are held"
            " while it migrates"
        )
    if site.post_steps:
        yield f"    afterwards: {_command_words(site.post_steps)}"


def _command_words(commands: Iterable[Sequence[str]]) -> str:
    return ", ".join(f"wp {shlex.join(command)}" for command in commands)


def change_words(change: Change) -> str:
    """Return one change on one line: what, before and after, and why."""
    if change.before is None:
        moved = f"{change.after}"
    elif change.after is None:
        moved = f"{change.before} -> removed"
    else:
        moved = f"{change.before} -> {change.after}"
    return f"{change.what}: {moved}  ({change.why})"
