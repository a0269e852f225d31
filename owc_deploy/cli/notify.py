"""`owc-deploy notify`: whether the channels of fleet.yml can be told."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from owc_deploy.cli.options import fleet_option, format_option
from owc_deploy.cli.session import operator
from owc_deploy.cli.tell import notifier
from owc_deploy.cli.view import plain, print_json
from owc_deploy.errors import UsageError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet, NotificationChannel
from owc_deploy.notify.message import Notice

SCHEMA_VERSION = 1


@click.group(
    epilog="""
\b
Examples:
  owc-deploy notify test
  owc-deploy notify test beheer-team
"""
)
def command() -> None:
    """Try the channels that are told of events (notifications in fleet.yml)."""


@command.command(
    "test",
    epilog="""
\b
Examples:
  owc-deploy notify test
  owc-deploy notify test beheer-team --format json

Exit codes: 0 every channel took the message, 1 one did not.
""",
)
@click.argument("name", required=False)
@fleet_option
@format_option
def check(name: str | None, fleet_root: Path, output_format: str) -> int:
    """Send a message to every channel, or to the one named, and say which took it."""
    fleet = load_fleet(fleet_root)
    channels = _channels(fleet, name)
    notice = Notice(
        "test",
        fleet.settings.name,
        "can you read this",
        f"{operator()} tries whether the channels of this fleet can be told. Nothing happened.",
    )
    deliveries = notifier(fleet).send(notice, channels)
    if output_format == "json":
        rows = [asdict(delivery) for delivery in deliveries]
        print_json({"schema_version": SCHEMA_VERSION, "channels": rows})
    else:
        for delivery in deliveries:
            word = f"not told: {delivery.trouble}" if delivery.trouble else "told"
            click.echo(f"{delivery.channel}  {plain(word)}")
    return 1 if any(delivery.trouble for delivery in deliveries) else 0


def _channels(fleet: Fleet, name: str | None) -> tuple[NotificationChannel, ...]:
    every = fleet.settings.notifications
    if not every:
        raise UsageError(
            "fleet.yml names no channel", hint="write `notifications:` in fleet.yml and try again"
        )
    named = tuple(channel for channel in every if name in {None, channel.name})
    if not named:
        raise UsageError(
            f"there is no channel {name} in fleet.yml",
            context=f"there are: {', '.join(channel.name for channel in every)}",
            hint="owc-deploy notify test",
        )
    return named
