"""`owc-deploy catalogue promote`: a beta release becomes stable."""

from __future__ import annotations

from pathlib import Path

import click

from owc_deploy.catalogue.promote import promote
from owc_deploy.cli.catalogue import catalogue_options, own_folder


@click.command(
    epilog="""
\b
Example:
  owc-deploy catalogue promote openpub-base 3.9.0
"""
)
@click.argument("name")
@click.argument("version")
@catalogue_options
def command(name: str, version: str, fleet_root: Path, folder: Path | None) -> None:
    """Make a beta release stable; its artefact and all its other details stay as they are."""
    changed = promote(own_folder(fleet_root, folder), name, version)
    click.echo(f"{name} {version} {'is stable now' if changed else 'was stable already'}")
