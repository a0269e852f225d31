"""`owc-deploy init`: a commented fleet to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from owc_deploy.cli.view import narrate
from owc_deploy.errors import UsageError
from owc_deploy.fleet.load import FLEET_FILE
from owc_deploy.resources import resource_folder

SCHEMAS_FOLDER = Path(".owc-deploy") / "schemas"

# They do not carry their own names in our repository, where Git and others would obey them.
_RENAMED = {"gitignore": ".gitignore", "github": ".github", "gitlab-ci.yml": ".gitlab-ci.yml"}
# What runs a fleet by itself: folders of inventories/ci, and where in the fleet they go.
_CI: Mapping[str, Mapping[str, str]] = {
    "github": {"github": ".", "both": "ci"},
    "gitlab": {"gitlab": ".", "both": "ci"},
    "systemd": {"systemd": "ci/systemd"},
}


@click.command(
    epilog="""
\b
Examples:
  owc-deploy init my-fleet
  owc-deploy init --self-hosted /etc/owc-deploy
  owc-deploy init --ci github my-fleet    a new fleet, or one that is there
  owc-deploy init --schemas my-fleet      after an upgrade of owc-deploy
"""
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path, resolve_path=True))
@click.option(
    "--self-hosted",
    is_flag=True,
    help="One municipality on this machine itself, without SSH.",
)
@click.option(
    "--ci",
    type=click.Choice(sorted(_CI)),
    help="Write what validates, plans and rolls out by itself: a workflow (Forgejo and Gitea read"
    " GitHub's), or units for a machine of your own. To a fleet that is there only this is added.",
)
@click.option(
    "--schemas",
    "schemas_only",
    is_flag=True,
    help="Only write the schemas again that editors use.",
)
def command(folder: Path, self_hosted: bool, ci: str | None, schemas_only: bool) -> None:
    """Write a fleet to start from into FOLDER.

    Every key is explained in a comment. Nothing that exists is overwritten.
    """
    if schemas_only:
        _write(folder, _schemas())
        narrate(f"{folder / SCHEMAS_FOLDER}: written")
        return
    automation = _automation(ci)
    is_addition = bool(automation) and (folder / FLEET_FILE).exists()
    files = automation if is_addition else _files(self_hosted) | automation
    existing = sorted(str(file) for file in files if (folder / file).exists())
    if existing:
        raise UsageError(
            f"{folder} has {', '.join(existing)} already; nothing was written",
            hint=f"owc-deploy validate --fleet {folder}, or choose another folder",
        )
    if is_addition:
        _write(folder, files)
        click.echo(f"Written: {', '.join(sorted(str(file) for file in files))}. Next:")
        click.echo(
            "  read docs/how-to/ci.md of owc-deploy: keys, known_hosts, where the history is"
        )
        return
    _write(folder, files | _schemas())
    site = "sites/voorbeeld.yml"
    click.echo(f"A fleet stands in {folder}. Next:")
    click.echo(f"  cd {folder}")
    click.echo(f"  edit servers.yml and {site}; rename the manifest to your site's name")
    click.echo("  owc-deploy validate")
    click.echo("  owc-deploy catalogue add --help")
    click.echo("  owc-deploy lock")
    click.echo("  owc-deploy plan")


def _files(self_hosted: bool) -> dict[Path, bytes]:
    inventories = resource_folder("inventories")
    files = _folder(inventories / "example")
    if self_hosted:
        files |= _folder(inventories / "example-self-hosted")
    return files


def _automation(ci: str | None) -> dict[Path, bytes]:
    folder = resource_folder("inventories") / "ci"
    return {
        Path(target) / file: content
        for source, target in (_CI[ci] if ci else {}).items()
        for file, content in _folder(folder / source).items()
    }


def _folder(folder: Path) -> dict[Path, bytes]:
    return {
        Path(*(_RENAMED.get(part, part) for part in path.relative_to(folder).parts)): (
            path.read_bytes()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _schemas() -> dict[Path, bytes]:
    return {
        SCHEMAS_FOLDER / path.name: path.read_bytes()
        for path in sorted(resource_folder("schemas").glob("*.schema.json"))
    }


def _write(folder: Path, files: Mapping[Path, bytes]) -> None:
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
