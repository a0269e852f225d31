"""`owc-deploy lab`: throw-away servers on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from owc_deploy.cli.options import format_option
from owc_deploy.cli.view import narrate, print_json
from owc_deploy.errors import LabError
from owc_deploy.lab import servers as labs
from owc_deploy.lab.fleet import write_lab_fleet
from owc_deploy.lab.image import RELEASES, Release

_lab_option = click.option(
    "--lab",
    "name",
    default=labs.DEFAULT_LAB,
    show_default=True,
    metavar="LABNAME",
    help="Which lab; several stand side by side.",
)
_servers_argument = click.argument("servers", nargs=-1, metavar="[NAME]...")


@click.group()
def command() -> None:
    r"""Make throw-away Debian servers on this machine.

    They boot in seconds from one cached image (made the first time, about a minute) and are
    reached over ssh like any other server. Needs Linux and root.

    \b
    owc-deploy lab up                      makes web1 and web2
    owc-deploy lab ssh web1 -- uptime
    owc-deploy lab reset web1              a new disk, in seconds
    owc-deploy lab fleet demo              three municipalities to try everything on
    owc-deploy lab down                    leaves nothing behind
    """


@command.command()
@_servers_argument
@_lab_option
@click.option(
    "--release",
    type=click.Choice(RELEASES),
    default=RELEASES[0],
    show_default=True,
    help="Debian release of servers that are made now.",
)
@click.option("--image", help="Make them from this image, kept with `lab snapshot`.")
def up(servers: tuple[str, ...], name: str, release: Release, image: str | None) -> None:
    """Make the servers NAME (web1 and web2 by default) and wait until they answer."""
    lab = labs.lab_up(
        name,
        servers or labs.DEFAULT_SERVERS,
        release=release,
        image_name=image,
        narrate=narrate,
    )
    click.echo(lab.inventory_path)


@command.command()
@click.argument("server", metavar="NAME")
@click.argument("image", metavar="IMAGE")
@_lab_option
def snapshot(server: str, image: str, name: str) -> None:
    """Keep the disk of the server NAME as IMAGE, to make other servers from with `up --image`."""
    labs.lab_snapshot(name, server, image, narrate=narrate)


@command.command()
@_lab_option
@format_option
def status(name: str, output_format: str) -> None:
    """Show the servers of a lab and how they are."""
    try:
        lab = labs.load_lab(name)
    except LabError:
        if output_format == "json":
            print_json({"schema_version": 1, "lab": name, "servers": [], "labs": _other_labs()})
            return
        raise
    if output_format == "json":
        print_json(
            {
                "schema_version": 1,
                "lab": name,
                "release": lab.release,
                "inventory": str(lab.inventory_path),
                "ssh_config": str(lab.ssh_config_path),
                "labs": _other_labs(),
                "servers": [
                    {"name": server.name, "address": server.address, "state": server.state}
                    for server in lab.servers.values()
                ],
            }
        )
        return
    table = Table(box=None, header_style="bold")
    for heading in ("server", "address", "state"):
        table.add_column(heading)
    for server in lab.servers.values():
        table.add_row(server.name, server.address, server.state)
    Console().print(table)
    narrate(f"inventory: {lab.inventory_path}")


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("server", metavar="NAME")
@click.argument("remote", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@_lab_option
def ssh(server: str, remote: tuple[str, ...], name: str) -> None:
    """Open a shell on the server NAME, or run COMMAND there; its exit code is this one's."""
    arguments = labs.load_lab(name).ssh_arguments(server, remote)
    os.execvp(arguments[0], arguments)  # noqa: S606  the terminal is ssh's from here on


@command.command()
@_servers_argument
@_lab_option
def reset(servers: tuple[str, ...], name: str) -> None:
    """Give the servers NAME (all by default) a new disk and boot them."""
    labs.lab_reset(name, servers, narrate=narrate)


@command.command()
@_lab_option
def down(name: str) -> None:
    """Remove a lab: its servers, network and state, also what a crash left."""
    labs.lab_down(name, narrate=narrate)


@command.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path, resolve_path=True))
@_lab_option
def fleet(folder: Path, name: str) -> None:
    """Write a demonstration fleet of three municipalities on the lab's servers to FOLDER."""
    write_lab_fleet(folder, labs.load_lab(name), narrate)
    click.echo(folder)


def _other_labs() -> list[str]:
    return list(labs.lab_names())
