"""The verbs of `owc-deploy catalogue` that make keys, and sign and publish proposals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.client import Verified
from owc_deploy.catalogue.trust.keys import (
    SHOWN_KEYID,
    AskSecret,
    adopt_key,
    create_key,
    holder_name,
    read_holder,
    signer_of,
)
from owc_deploy.catalogue.trust.proposal import read_proposal
from owc_deploy.catalogue.trust.publish import TIMESTAMP_DAYS, first_root, publish, sign
from owc_deploy.catalogue.trust.published import (
    Published,
    keys_of,
    must_be_published,
    read_published,
    verify,
)
from owc_deploy.catalogue.trust.review import review
from owc_deploy.cli.options import format_option
from owc_deploy.cli.proposal_view import (
    SCHEMA_VERSION,
    print_missing,
    print_review,
    published_option,
    review_document,
    root_option,
)
from owc_deploy.cli.session import now
from owc_deploy.cli.view import can_ask, confirm, narrate, plain, print_json, print_table
from owc_deploy.errors import CatalogueError, UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

_MAXIMUM_PASSPHRASE_BYTES = 4096


def key_options(function: Function) -> Function:
    """Add `--key` and `--passphrase-file`; the verb receives `key` and `passphrase_file`."""
    for option in (
        click.option(
            "--passphrase-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A file with the passphrase, for work without a terminal.",
        ),
        click.option(
            "--key",
            required=True,
            type=click.Path(path_type=Path),
            help="Your key: the path of its files, with or without their endings.",
        ),
    ):
        function = option(function)
    return function


@click.command(
    "key",
    epilog="""
\b
Examples:
  owc-deploy catalogue key keys/buren --holder 'Gemeente Buren'
  owc-deploy catalogue key keys/heusden --holder 'Gemeente Heusden' --in gnupg:FINGERPRINT
  owc-deploy catalogue key keys/yard --holder 'Yard' --in hsm:      # a PKCS#11 token
""",
)
@click.argument("name", type=click.Path(path_type=Path))
@click.option("--holder", required=True, help="Who signs with it, as others will read it.")
@click.option("--in", "where", help="Use a key that stays in GnuPG's agent or on a token.")
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the passphrase, for work without a terminal.",
)
def key_command(name: Path, holder: str, where: str | None, passphrase_file: Path | None) -> None:
    """Make a key: NAME.key, encrypted, which never leaves your machine, and NAME.pub.json.

    Hand NAME.pub.json to whoever governs the catalogue, and compare the identifier by telephone.
    """
    if where is not None:
        made = adopt_key(name, holder, where)
    else:
        made = create_key(name, holder, _asking(passphrase_file, new=True)(f"passphrase of {name}"))
    click.echo(f"{made.base}.pub.json: {plain(made.name)}")
    click.echo(made.key.keyid)


@click.command(
    "review",
    epilog="""
\b
Example:
  owc-deploy catalogue review proposals/deliver-openwoo --catalogue published
""",
)
@click.argument("proposal", type=click.Path(exists=True, file_okay=False, path_type=Path))
@published_option
@root_option
@format_option
def review_command(proposal: Path, folder: Path, root: Path | None, output_format: str) -> int:
    """Show every value that a proposal changes, what is wrong with it, and who must still sign.

    It is compared with what is published, which is verified from the root that you trust.
    """
    published = read_published(folder)
    if published is not None and root is not None:
        verify(published, _read_root(root))
    elif published is not None:
        narrate(f"without --root, what is in {folder} is taken as it stands")
    found = review(published, read_proposal(proposal))
    if output_format == "json":
        print_json(review_document(found))
    else:
        print_review(found)
    return CatalogueError.exit_code if found.problems else 0


@click.command(
    "sign",
    epilog="""
\b
Example:
  owc-deploy catalogue sign proposals/deliver-openwoo --key keys/buren --catalogue published
""",
)
@click.argument("proposal", type=click.Path(exists=True, file_okay=False, path_type=Path))
@key_options
@published_option
@root_option
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
def sign_command(
    proposal: Path,
    key: Path,
    passphrase_file: Path | None,
    folder: Path,
    root: Path | None,
    yes: bool,
) -> None:
    """Sign a proposal with your key, on your own machine, after reading what it changes.

    It is compared with what is published, which is verified from the root that you trust: --root,
    or the file root.json beside your key.
    """
    published, offered = read_published(folder), read_proposal(proposal)
    holder = read_holder(key)
    if published is not None:
        verify(published, _read_root(root or holder.base.with_name("root.json")))
    found = review(published, offered)
    print_review(found)
    if found.problems:
        raise CatalogueError(f"{proposal} is not to be signed: {'; '.join(found.problems)}")
    confirm(f"Sign this as {plain(holder.name)}?", yes=yes)
    roles = sign(published, offered, signer_of(holder, _asking(passphrase_file)))
    click.echo(f"signed as {plain(holder.name)}: {', '.join(roles)}")
    print_missing(review(published, read_proposal(proposal)))


@click.command(
    "publish",
    epilog="""
\b
Examples:
  owc-deploy catalogue publish proposals/deliver-openwoo --key keys/publisher \\
      --catalogue published
  owc-deploy catalogue publish --key keys/publisher --catalogue published \\
      --passphrase-file /run/credentials/publisher       # every day, from a timer
""",
)
@click.argument(
    "proposals", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@key_options
@published_option
@click.option(
    "--valid-days",
    default=TIMESTAMP_DAYS,
    show_default=True,
    type=click.IntRange(1, 365),
    help="How long it is good for; publish again before that.",
)
@format_option
def publish_command(
    proposals: tuple[Path, ...],
    key: Path,
    passphrase_file: Path | None,
    folder: Path,
    valid_days: int,
    output_format: str,
) -> None:
    """Make signed proposals current, in one step; without any, say again that all is current.

    Whoever uses the catalogue refuses it once that word has run out, so nobody can hold back newer
    releases unseen. Serve the folder with any web server, or as a share.
    """
    signer = signer_of(read_holder(key), _asking(passphrase_file))
    verified = publish(
        folder, [read_proposal(path) for path in proposals], signer, now(), valid_days=valid_days
    )
    if output_format == "json":
        print_json(_verified_document(verified))
        return
    click.echo(f"published, good until {verified.until:%Y-%m-%d %H:%M} UTC")
    for note in verified.notes:
        narrate(note)
    if verified.version == 1:
        click.echo(f"fleets trust {first_root(folder)}: hand it out, and compare its hash")


@click.command(
    "roles",
    epilog="""
\b
Example:
  owc-deploy catalogue roles --catalogue published
""",
)
@published_option
@format_option
def roles(folder: Path, output_format: str) -> None:
    """Show who signs what, how many together, and until when each role is valid."""
    rows = list(_roles(must_be_published(folder)))
    if output_format == "json":
        print_json({"schema_version": SCHEMA_VERSION, "roles": rows})
        return
    print_table(
        ("Role", "Version", "Valid until", "Signed by"),
        [
            (
                row["name"],
                str(row["version"]),
                row["valid_until"],
                f"{row['threshold']} of "
                + ", ".join(
                    f"{plain(key['holder'])} ({key['keyid'][:SHOWN_KEYID]})" for key in row["keys"]
                ),
            )
            for row in rows
        ],
    )


def _read_root(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        raise UsageError(
            f"there is no root {file} to trust",
            hint=f"--root FILE, or put it at {file}, as you compared it with those who govern",
        ) from None


def _asking(passphrase_file: Path | None, *, new: bool = False) -> AskSecret:
    def ask(what: str) -> str:
        if passphrase_file is not None:
            try:
                with passphrase_file.open("rb") as stream:
                    return stream.read(_MAXIMUM_PASSPHRASE_BYTES).decode().rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                raise UsageError(f"{passphrase_file} is no file with a passphrase") from None
        if not can_ask():
            raise UsageError("there is no terminal to ask on", hint="--passphrase-file FILE")
        answer: str = click.prompt(
            what[:1].upper() + what[1:], hide_input=True, confirmation_prompt=new, err=True
        )
        return answer

    return ask


def _verified_document(verified: Verified) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "version": verified.version,
        "valid_until": verified.until.isoformat(),
        "notes": list(verified.notes),
    }


def _roles(published: Published) -> list[dict[str, Any]]:
    root, targets = published.root.signed, published.targets.signed
    described = [
        (names.ROOT, root, root),
        (names.TARGETS, root, targets),
        (names.SNAPSHOT, root, published.snapshot.signed),
        (names.TIMESTAMP, root, published.timestamp.signed),
    ]
    delegated = targets.delegations.roles if targets.delegations else None
    rows = [
        _role_document(name, delegator, signed.version, signed.expires.date().isoformat())
        for name, delegator, signed in described
    ]
    for name in sorted(delegated or {}):
        role = published.roles.get(name)
        rows.append(
            _role_document(
                name,
                targets,
                role.signed.version if role else 0,
                role.signed.expires.date().isoformat() if role else "",
            )
        )
    return rows


def _role_document(name: str, delegator: Any, version: int, valid_until: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "valid_until": valid_until,
        "threshold": delegator.get_delegated_role(name).threshold,
        "keys": [
            {"holder": holder_name(key), "keyid": key.keyid} for key in keys_of(delegator, name)
        ],
    }
