"""A rollout as text for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import click

from owc_deploy.cli.junit_view import junit
from owc_deploy.cli.markdown_view import outcomes_markdown
from owc_deploy.cli.rows import rows_of_rollout
from owc_deploy.cli.view import plain, print_json
from owc_deploy.rollout.models import Event
from owc_deploy.rollout.report import SCHEMA_VERSION

_COLOURS = {
    "done": "green",
    "running": "green",
    "waiting": "yellow",
    "paused": "yellow",
    "interrupted": "yellow",
}
_QUIET = frozenset({"ok", "changed", "pending"})


def print_report(document: Mapping[str, Any], output_format: str) -> None:
    """Print a rollout in the form that was asked for."""
    if output_format == "json":
        print_json(dict(document))
    else:
        print_reports([document], output_format)


def print_reports(documents: Sequence[Mapping[str, Any]], output_format: str) -> None:
    """Print any number of rollouts in the form that was asked for; to programs one document."""
    rows = tuple(row for document in documents for row in rows_of_rollout(document))
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "rollouts": list(documents)})
    elif output_format == "junit":
        click.echo(junit("rollout", rows))
    elif output_format == "markdown":
        words = ", ".join(f"{each['rollout_id']} is {each['state']}" for each in documents)
        click.echo(outcomes_markdown(f"Rollout {words or 'none'}", rows), nl=False)
    else:
        for document in documents:
            _print_for_people(document)


def _print_for_people(document: Mapping[str, Any]) -> None:
    """Print a rollout's state, a line for each ring, and every site that is not simply good."""
    state = document["state"]
    coloured = click.style(state, fg=_COLOURS.get(state, "red"), bold=True)
    click.echo(f"Rollout {document['rollout_id']}: {coloured}")
    click.echo(f"  {plain(document['cause'])}, by {plain(document['operator'])}")
    if document["emergency"]:
        emergency = document["emergency"]
        click.echo(
            f"  emergency: {plain(emergency['reason'])}; approved by"
            f" {plain(emergency['approved_by'])}"
        )
    if document["why"]:
        until = f"until {document['waits_until']}: " if document["waits_until"] else ""
        click.echo(f"  {until}{plain(document['why'])}")
    for ring in document["rings"]:
        _print_ring(ring)
    hint = next_command(document)
    if hint:
        click.echo(f"Next: {hint}")


def sites_in(sites: Sized) -> str:
    """Return how many sites these are, in words."""
    return f"{len(sites)} site{'s' if len(sites) != 1 else ''}"


def _print_ring(ring: Mapping[str, Any]) -> None:
    counts = Counter(site["outcome"] for site in ring["sites"])
    words = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    mark = click.style("ended", fg="green") if ring["has_ended"] else "      "
    if not ring["has_ended"] and ring["settled_at"]:
        mark = click.style("soaks", fg="yellow")
    click.echo(f"  {ring['ring']:20} {mark:6} {sites_in(ring['sites'])}: {words}")
    for site in ring["sites"]:
        if site["outcome"] not in _QUIET:
            message = f": {plain(site['message'])}" if site["message"] else ""
            click.echo(f"      {site['site']} on {site['server']}: {site['outcome']}{message}")


def next_command(document: Mapping[str, Any]) -> str:
    """Return what to type next, empty when there is nothing to do."""
    rollout_id = document["rollout_id"]
    return {
        "waiting": f"owc-deploy rollout resume {rollout_id}",
        "interrupted": f"owc-deploy rollout resume {rollout_id}",
        "paused": f"owc-deploy rollout resume {rollout_id}",
        "halted": f"owc-deploy rollout retry {rollout_id}; or owc-deploy rollout resume"
        f" {rollout_id} --accept-failures; or owc-deploy rollout abort {rollout_id}",
        "incomplete": "owc-deploy rollout start, once what was in the way is mended",
        "running": f"owc-deploy rollout watch {rollout_id}",
    }.get(str(document["state"]), "")


def event_line(event: Event) -> str:
    """Return one line for an event of a rollout, empty for what the other lines tell already."""
    body = event.body
    words = {
        "rollout-started": lambda: f"started by {event.actor}: {body['cause']}",
        "walk-begun": lambda: f"walked by {event.actor}",
        "site-intended": lambda: f"{event.site}: begins",
        "site-ended": lambda: _ended(event.site, body),
        "ring-settled": lambda: f"ring {body['ring']}: every site had its turn",
        "ring-checked": lambda: f"ring {body['ring']}: looked at after its soak",
        "ring-ended": lambda: f"ring {body['ring']} has ended",
        "undo-intended": lambda: f"{event.site}: goes back to {body['to_release']}",
        "undo-ended": lambda: _ended(f"{event.site}: undo", body),
        "rollout-paused": lambda: f"paused by {event.actor}: {body['why']}",
        "rollout-resumed": lambda: f"resumed by {event.actor}",
        "rollout-halted": lambda: f"halted: {body['why']}",
        "rollout-aborted": lambda: f"aborted by {event.actor}: {body['why']}",
        "failures-accepted": lambda: (
            f"failures accepted by {event.actor}: {', '.join(body['sites']) or 'none'}"
        ),
        "sites-retried": lambda: f"to be tried again: {', '.join(body['sites'])}",
        "rollout-ended": lambda: f"the rollout is {body['word']}",
    }.get(event.kind)
    return f"{event.at:%Y-%m-%d %H:%M:%S}Z  {plain(words())}" if words else ""


def _ended(what: str, body: Mapping[str, Any]) -> str:
    return f"{what}: {body['outcome']}" + (f": {body['message']}" if body["message"] else "")
