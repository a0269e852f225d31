"""`owc-deploy catalogue`: what may be installed, and the artefacts that carry it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from owc_deploy.catalogue.add import AddRequest, AddResult, add_release
from owc_deploy.catalogue.document import block_document
from owc_deploy.catalogue.listing import read_metadata
from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue, Kind, Requirement
from owc_deploy.catalogue.read import artefact_path, read_catalogue, verify_artefact
from owc_deploy.catalogue.trust import names
from owc_deploy.cli.options import fleet_option, format_option
from owc_deploy.cli.session import catalogue_of
from owc_deploy.cli.view import narrate, print_json, print_table
from owc_deploy.errors import CatalogueError, UsageError
from owc_deploy.fleet.documents import closest
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Channel, Lock, SignedCatalogue
from owc_deploy.plan.stewardship import has_lapsed, standing

SCHEMA_VERSION = 1

Function = TypeVar("Function", bound=Callable[..., Any])


# Verbs in files of their own: verb -> module in owc_deploy.cli, and the command in it.
_VERBS = {
    "build": ("catalogue_build", "build"),
    "lint": ("catalogue_source", "lint"),
    "resolve": ("catalogue_source", "resolve_sites"),
    "key": ("catalogue_sign", "key_command"),
    "init": ("catalogue_propose", "init"),
    "delegate": ("catalogue_propose", "delegate"),
    "deliver": ("catalogue_propose", "deliver"),
    "withdraw": ("catalogue_propose", "withdraw"),
    "guarantee": ("catalogue_propose", "guarantee"),
    "revoke": ("catalogue_propose", "revoke"),
    "rotate": ("catalogue_propose", "rotate"),
    "renew": ("catalogue_propose", "renew"),
    "review": ("catalogue_sign", "review_command"),
    "sign": ("catalogue_sign", "sign_command"),
    "publish": ("catalogue_sign", "publish_command"),
    "roles": ("catalogue_sign", "roles"),
    "import-publiccode": ("publiccode", "import_one"),
    "lint-publiccode": ("publiccode", "lint"),
    "promote": ("promote", "command"),
}


class _Verbs(click.Group):
    """A group that imports the verbs of other modules only when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_VERBS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return super().get_command(ctx, cmd_name)
        module, name = _VERBS[cmd_name]
        command = getattr(importlib.import_module(f"owc_deploy.cli.{module}"), name)
        if not isinstance(command, click.Command):
            raise TypeError(cmd_name)
        return command


@click.group(
    cls=_Verbs,
    epilog="""
\b
Examples:
  owc-deploy catalogue add openwoo-4.3.0.zip --name openwoo --kind plugin
  owc-deploy catalogue build source.yml --catalogue catalogue
  owc-deploy catalogue list
""",
)
def command() -> None:
    """List, add and verify blocks and the artefacts that carry them."""


def catalogue_options(function: Function) -> Function:
    """Add `--fleet` and `--catalogue`; the verb receives `fleet_root` and `folder`."""
    return fleet_option(
        click.option(
            "--catalogue",
            "folder",
            type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
            help="Folder of the catalogue (default: what fleet.yml names).",
        )(function)
    )


@command.command(
    "add",
    epilog="""
\b
Examples:
  owc-deploy catalogue add openwoo-4.3.0.zip --name openwoo --kind plugin \\
      --requires 'cmb2:>=2.10.1' --requires 'function:register_extended_post_type'
  owc-deploy catalogue add ./our-theme --name our-theme --kind theme
  owc-deploy catalogue add https://blocks.example/cmb2.zip --sha256 9f86... --name cmb2 \\
      --kind plugin
  owc-deploy catalogue add pdc-base.zip --name pdc-base --kind plugin --metadata pdc-base.yml

--requires takes BLOCK, BLOCK:CONSTRAINT, BLOCK|OTHER:CONSTRAINT or function:NAME.
""",
)
@click.argument("source")
@catalogue_options
@click.option("--name", required=True, help="Its name in the catalogue.")
@click.option("--kind", required=True, type=click.Choice(get_args(Kind)), help="What it is.")
@click.option("--sha256", help="The hash of the zip; required for an address.")
@click.option("--version", help="The version of the release (default: what its header says).")
@click.option("--header-version", help="What its header says, where that is not the version.")
@click.option(
    "--folder-name",
    help="The one folder in it (default: the folder that is there). Must be said where it is "
    "another than the block's.",
)
@click.option(
    "--main-file",
    help="The plugin's file (default: the one with a plugin header). Must be said where it is "
    "another than the block's.",
)
@click.option(
    "--channel",
    type=click.Choice(get_args(Channel)),
    help="beta: only for sites that ask for it (default: stable).",
)
@click.option("--php", help="The PHP versions on which it runs, such as '>=8.1'.")
@click.option("--wordpress", help="The WordPress versions on which it runs, such as '>=6.7'.")
@click.option("--requires", multiple=True, help="What must be active first; may be repeated.")
@click.option("--provides", multiple=True, help="A PHP function it provides; may be repeated.")
@click.option(
    "--metadata",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML or JSON file with everything else (schemas/catalogue-metadata.schema.json).",
)
@click.option("--correct", is_flag=True, help="Replace the details of a release listed already.")
@format_option
def add(
    source: str,
    fleet_root: Path,
    folder: Path | None,
    metadata: Path | None,
    requires: tuple[str, ...],
    provides: tuple[str, ...],
    folder_name: str | None,
    output_format: str,
    **claimed: Any,
) -> None:
    """Check a zip, a folder or an https address, and list it as a release.

    Refused: names that climb out of their folder, links, zip bombs, more than one top folder, a
    missing main file, a header that says another version, copies of other blocks inside. A release
    never changes: another artefact needs another version.
    """
    details = read_metadata(metadata) if metadata else {}
    details.update({key: value for key, value in claimed.items() if value is not None})
    if requires:
        details["requires"] = tuple(_requirement(text) for text in requires)
    if provides:
        details["provides"] = provides
    request = AddRequest(archive=source, folder=folder_name, **details)
    result = add_release(own_folder(fleet_root, folder), request)
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "releases": [result_document(result)]})
    else:
        print_result(result)


@command.command("list")
@catalogue_options
@format_option
def list_blocks(fleet_root: Path, folder: Path | None, output_format: str) -> None:
    """List every block with its newest release."""
    catalogue = catalogue_in(fleet_root, folder)
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "blocks": {name: _summary(block) for name, block in catalogue.blocks.items()},
            }
        )
        return
    print_table(
        ("Name", "Kind", "Newest", "Releases", "Title"),
        [
            (name, block.kind, _newest(block), str(len(block.releases)), _title(block))
            for name, block in sorted(catalogue.blocks.items())
        ],
    )


@command.command("show")
@click.argument("name")
@catalogue_options
@format_option
def show(name: str, fleet_root: Path, folder: Path | None, output_format: str) -> None:
    """Show one block with all its releases."""
    catalogue = catalogue_in(fleet_root, folder)
    block = _block(catalogue, name)
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "name": name, **block_document(block)})
        return
    place = _place(block.folder, block.main_file)
    click.echo(f"{name}  {block.kind}  {_title(block)}")
    click.echo(f"  {place}  {block.licence or 'licence not stated'}")
    click.echo(f"  may run in {', '.join(block.environments)}")
    for advisory in block.advisories:
        click.echo(
            f"  {advisory.identifier} ({advisory.severity}) in {advisory.affected}: "
            f"{advisory.summary}"
        )
    print_table(
        ("Version", "Header", "PHP", "WordPress", "Needs", "SHA-256"),
        [
            (
                release.version + _standing_of(release),
                release.header_version or "-",
                release.php,
                release.wordpress,
                ", ".join(_needs(requirement) for requirement in release.requires) or "-",
                release.sha256[:12],
            )
            for release in block.releases
        ],
    )
    for release in block.releases:
        if _place(*block.place_of(release)) != place:
            click.echo(f"  {release.version} is in {_place(*block.place_of(release))}")


@command.command(
    "stewards",
    epilog="""
\b
Examples:
  owc-deploy catalogue stewards
  owc-deploy catalogue stewards --format json
""",
)
@catalogue_options
@format_option
def stewards(fleet_root: Path, folder: Path | None, output_format: str) -> None:
    """Show who guarantees each block, until when, and which sites of the fleet depend on it."""
    fleet = None if folder is not None else load_fleet(fleet_root)
    catalogue = catalogue_in(fleet_root, folder)
    today = datetime.now(UTC).date()
    rows = [
        _steward(block, fleet.locks if fleet else {}, today)
        for _, block in sorted(catalogue.blocks.items())
        if block.kind in {"plugin", "mu-plugin", "theme"}
    ]
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "blocks": rows})
        return
    print_table(
        ("Block", "Guaranteed by", "From", "Until", "Standing", "Support", "Sites"),
        [
            (
                row["name"],
                row["by"] or "nobody",
                row["from_date"] or "-",
                row["until_date"] or "-",
                row["standing"] or ("good" if row["by"] else "not known"),
                row["support"] or "-",
                ", ".join(row["sites"]) or "-",
            )
            for row in rows
        ],
    )


def _steward(block: Block, locks: Mapping[str, Lock], today: date) -> dict[str, Any]:
    guarantee = block.guarantee
    return {
        "name": block.name,
        "by": guarantee.by if guarantee else "",
        "from_date": guarantee.from_date if guarantee else "",
        "until_date": guarantee.until_date if guarantee else "",
        "standing": standing(block, today),
        "lapsed": has_lapsed(block, today),
        "support": block.support,
        "successor": block.successor,
        "sites": sorted(
            site
            for site, lock in locks.items()
            if any(artefact.name == block.name for artefact in lock.artefacts)
        ),
    }


@command.command(
    "verify",
    epilog="""
\b
Examples:
  owc-deploy catalogue verify
  owc-deploy catalogue verify --catalogue published --root trust/root.json
""",
)
@catalogue_options
@click.option(
    "--root",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The root to trust, of a signed catalogue (default: what fleet.yml names).",
)
@format_option
def verify(fleet_root: Path, folder: Path | None, root: Path | None, output_format: str) -> int:
    """Hash every artefact again; exit 1 and name what is damaged or missing.

    A signed catalogue is verified from its root on, as a stranger would.
    """
    signed = _signed_source(fleet_root, folder, root)
    if signed is not None:
        return _verify_signed(signed, output_format)
    own = folder if folder is not None else load_fleet(fleet_root).settings.catalogue
    catalogue = read_catalogue(own)
    damaged = []
    count = 0
    for name, block in sorted(catalogue.blocks.items()):
        for release in block.releases:
            count += 1
            try:
                verify_artefact(artefact_path(own, release.sha256), release.sha256)
            except CatalogueError as error:
                damaged.append({"name": name, "version": release.version, "problem": error.message})
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "artefacts": count, "damaged": damaged})
    else:
        for item in damaged:
            click.echo(f"{item['name']} {item['version']}: {item['problem']}")
        click.echo(f"{count} artefacts, {len(damaged) or 'none'} damaged")
    return CatalogueError.exit_code if damaged else 0


def _signed_source(
    fleet_root: Path, folder: Path | None, root: Path | None
) -> SignedCatalogue | None:
    if folder is None:
        signed = load_fleet(fleet_root).settings.signed_catalogue
        if root is not None and signed is None:
            raise UsageError("the fleet's catalogue is not signed, so no root says what is in it")
        return replace(signed, root=root) if signed and root else signed
    if not (folder / names.METADATA_FOLDER).is_dir():
        if root is not None:
            raise UsageError(f"{folder} is no signed catalogue, so no root says what is in it")
        return None
    if root is None:
        raise UsageError(
            f"{folder} is a signed catalogue: say which root you trust",
            hint="--root FILE, obtained from those who govern it and not from the folder",
        )
    return SignedCatalogue(str(folder), root)


def _verify_signed(signed: SignedCatalogue, output_format: str) -> int:
    from owc_deploy.catalogue.trust.client import verify_everything  # noqa: PLC0415

    try:
        root = signed.root.read_bytes()
    except OSError as error:
        raise UsageError(f"the root {signed.root} cannot be read: {error.strerror}") from error
    verified, count = verify_everything(signed.source, root)
    if output_format == "json":
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "artefacts": count,
                "damaged": [],
                "valid_until": verified.until.isoformat(),
                "notes": list(verified.notes),
            }
        )
    else:
        for note in verified.notes:
            narrate(note)
        click.echo(
            f"{count} artefacts, all as they were signed; good until "
            f"{verified.until:%Y-%m-%d %H:%M} UTC"
        )
    return 0


def catalogue_in(fleet_root: Path, folder: Path | None) -> Catalogue:
    """Return the catalogue that `--catalogue` names, or else the fleet's."""
    if folder is not None:
        if (folder / names.METADATA_FOLDER).is_dir():
            raise UsageError(
                f"{folder} is a signed catalogue, in which nothing counts without a root",
                hint="work in a fleet that names it, or: owc-deploy catalogue verify --root FILE",
            )
        return read_catalogue(folder)
    return catalogue_of(load_fleet(fleet_root), last_verified_will_do=True)


def own_folder(fleet_root: Path, folder: Path | None) -> Path:
    """Return the folder of a catalogue that may be written in."""
    if folder is not None:
        if (folder / names.METADATA_FOLDER).is_dir():
            raise _signed(folder)
        return folder
    settings = load_fleet(fleet_root).settings
    if settings.signed_catalogue is not None:
        raise _signed(settings.signed_catalogue.source)
    return settings.catalogue


def _signed(source: object) -> UsageError:
    return UsageError(
        f"{source} is a signed catalogue, which only signatures change",
        hint="add to a folder of your own (--catalogue working), then owc-deploy catalogue deliver",
    )


def _block(catalogue: Catalogue, name: str) -> Block:
    if name not in catalogue.blocks:
        raise UsageError(
            f"the catalogue holds no {name}",
            context=f"nearest: {closest(name, sorted(catalogue.blocks))}",
            hint="owc-deploy catalogue list",
        )
    return catalogue.blocks[name]


def _requirement(text: str) -> Requirement:
    names, _, constraint = text.partition(":")
    if names == "function":
        return Requirement(function=constraint)
    return Requirement(any_of=tuple(names.split("|")), version=constraint or "*")


def _place(folder: str, main_file: str) -> str:
    return f"{folder}/{main_file}".rstrip("/")


def _needs(requirement: Requirement) -> str:
    if requirement.function is not None:
        return f"{requirement.function}()"
    constraint = "" if requirement.version == "*" else f" {requirement.version}"
    return " or ".join(requirement.any_of) + constraint


def _standing_of(release: BlockRelease) -> str:
    if release.withdrawn:
        return " (withdrawn)"
    return " (beta)" if release.channel == "beta" else ""


def _newest(block: Block) -> str:
    return next((r.version for r in block.releases if r.withdrawn is None), "withdrawn")


def _title(block: Block) -> str:
    return block.title + (" (paid)" if block.paid else "")


def _summary(block: Block) -> dict[str, Any]:
    return {
        "kind": block.kind,
        "title": block.title,
        "paid": block.paid,
        "releases": [release.version for release in block.releases],
    }


def print_result(result: AddResult) -> None:
    """Tell a person of a release that was added."""
    word = "recorded" if result.changed else "is listed already"
    click.echo(f"{result.name} {result.version} {word} (SHA-256 {result.sha256})")


def result_document(result: AddResult) -> dict[str, Any]:
    """Return a release that was added, for programs."""
    return {
        "name": result.name,
        "version": result.version,
        "header_version": result.header_version,
        "sha256": result.sha256,
        "size_bytes": result.size_bytes,
        "changed": result.changed,
    }
