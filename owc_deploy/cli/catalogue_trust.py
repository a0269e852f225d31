"""The verbs of `owc-deploy catalogue` that make, sign and publish a signed catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from owc_deploy.catalogue.models import Block, Guarantee
from owc_deploy.catalogue.read import artefact_path, read_catalogue, verify_artefact
from owc_deploy.catalogue.trust import changes, names
from owc_deploy.catalogue.trust.client import Verified
from owc_deploy.catalogue.trust.keys import (
    SHOWN_KEYID,
    AskSecret,
    Holder,
    adopt_key,
    create_key,
    holder_name,
    read_holder,
    signer_of,
)
from owc_deploy.catalogue.trust.proposal import read_proposal, write_proposal
from owc_deploy.catalogue.trust.publish import TIMESTAMP_DAYS, first_root, publish, sign
from owc_deploy.catalogue.trust.published import (
    Published,
    keys_of,
    must_be_published,
    read_published,
    verify,
)
from owc_deploy.catalogue.trust.review import Review, review
from owc_deploy.cli.options import format_option
from owc_deploy.cli.session import now
from owc_deploy.cli.view import can_ask, narrate, plain, print_json, print_table
from owc_deploy.errors import CatalogueError, UsageError

SCHEMA_VERSION = 1

Function = TypeVar("Function", bound=Callable[..., Any])

_KEYID = re.compile(r"[0-9a-f]{40,64}")
_MAXIMUM_PASSPHRASE_BYTES = 4096


def published_option(function: Function) -> Function:
    """Add `--catalogue`, the folder that is published; the verb receives `folder`."""
    return click.option(
        "--catalogue",
        "folder",
        required=True,
        type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
        help="The folder that is published, or a copy of it.",
    )(function)


def root_option(function: Function) -> Function:
    """Add `--root`, the root to trust; the verb receives `root`."""
    return click.option(
        "--root",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The root that you trust: published/metadata/1.root.json, as you compared it.",
    )(function)


def proposal_option(function: Function) -> Function:
    """Add `--proposal`, the folder to write; the verb receives `destination`."""
    return click.option(
        "--proposal",
        "destination",
        type=click.Path(path_type=Path),
        help="The folder to write (default: proposals/ and what it is about).",
    )(function)


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
    "init",
    epilog="""
\b
Example, with two of three who govern together, and a publisher:
  owc-deploy catalogue init --catalogue published --threshold 2 \\
      --key keys/buren.pub.json --key keys/heusden.pub.json --key keys/owc.pub.json \\
      --publisher-key keys/publisher.pub.json
""",
)
@published_option
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="The public key of one who signs; repeated.",
)
@click.option("--threshold", default=2, show_default=True, help="How many must sign together.")
@click.option(
    "--publisher-key",
    "publishers",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="The public key of the publisher; may be repeated.",
)
@proposal_option
def init(
    folder: Path,
    keys: tuple[Path, ...],
    threshold: int,
    publishers: tuple[Path, ...],
    destination: Path | None,
) -> None:
    """Begin a signed catalogue: propose its root, for those who govern it to sign.

    The holders of the keys decide together who speaks for which block. They sign rarely, on
    machines that are offline. The publisher's key says each time what is current.
    """
    if read_published(folder) is not None:
        raise UsageError(f"{folder} is a signed catalogue already")
    change = changes.found(_holders(keys), threshold, _holders(publishers), now())
    _proposed(None, change, destination, "init")


@click.command(
    "delegate",
    epilog="""
\b
Example:
  owc-deploy catalogue delegate openwoo --catalogue published \\
      --key keys/buren.pub.json --key keys/yard.pub.json
""",
)
@click.argument("blocks", nargs=-1, required=True, metavar="BLOCK...")
@published_option
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="The public key of one who signs; repeated.",
)
@click.option("--threshold", default=2, show_default=True, help="How many must sign together.")
@proposal_option
def delegate(
    blocks: tuple[str, ...],
    folder: Path,
    keys: tuple[Path, ...],
    threshold: int,
    destination: Path | None,
) -> None:
    """Propose who speaks for blocks: their steward and supplier, together, and nobody else."""
    for block in blocks:
        if names.block_of(names.role_of(block)) is None:
            raise UsageError(f"{block} can be no block's name")
    published = must_be_published(folder)
    change = changes.delegate(published, blocks, _holders(keys), threshold, now())
    _proposed(published, change, destination, f"delegate-{_about(blocks)}")


@click.command(
    "deliver",
    epilog="""
\b
Example:
  owc-deploy catalogue add openwoo-4.4.0.zip --name openwoo --kind plugin --catalogue working
  owc-deploy catalogue deliver openwoo --from working --catalogue published
""",
)
@click.argument("blocks", nargs=-1, required=True, metavar="BLOCK...")
@click.option(
    "--from",
    "working",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A catalogue of your own, made with `catalogue add` or `catalogue build`.",
)
@published_option
@proposal_option
def deliver(blocks: tuple[str, ...], working: Path, folder: Path, destination: Path | None) -> None:
    """Propose what a catalogue of your own says of blocks: new releases, details, promises.

    What is published already stays: releases are only ever added, and never change.
    """
    published = must_be_published(folder)
    offered = read_catalogue(working).blocks
    for block in blocks:
        if block not in offered:
            raise UsageError(f"{working} holds no {block}", hint="owc-deploy catalogue add")
    delivered = [_delivered(published, working, offered[block]) for block in blocks]
    change = changes.together(delivered)
    _proposed(published, change, destination, f"deliver-{_about(blocks)}")


def _delivered(published: Published, working: Path, offered: Block) -> changes.Change:
    known = published.block(offered.name)
    listed = {release.sha256 for release in known.releases} if known else set()
    artefacts = {
        release.sha256: artefact_path(working, release.sha256)
        for release in offered.releases
        if release.sha256 not in listed
    }
    for sha256, file in artefacts.items():
        verify_artefact(file, sha256)
    return changes.deliver(published, changes.merged(known, offered), artefacts, now())


def _about(blocks: Sequence[str]) -> str:
    return blocks[0] if len(blocks) == 1 else f"{blocks[0]}-and-{len(blocks) - 1}-more"


@click.command(
    "withdraw",
    epilog="""
\b
Example:
  owc-deploy catalogue withdraw openwoo 4.4.0 --reason 'loses attachments' --catalogue published
""",
)
@click.argument("block")
@click.argument("version")
@click.option("--reason", required=True, help="Why; everybody who looks will read it.")
@published_option
@proposal_option
def withdraw(block: str, version: str, reason: str, folder: Path, destination: Path | None) -> None:
    """Propose that a release is no longer installed. It stays listed, for those who have it."""
    published, known = _published_block(folder, block)
    if all(release.version != version for release in known.releases):
        raise UsageError(f"no {block} {version} is published")
    releases = tuple(
        replace(release, withdrawn=reason) if release.version == version else release
        for release in known.releases
    )
    change = changes.deliver(published, replace(known, releases=releases), {}, now())
    _proposed(published, change, destination, f"withdraw-{block}-{version}")


@click.command(
    "guarantee",
    epilog="""
\b
Example:
  owc-deploy catalogue guarantee openwoo --by 'Gemeente Buren' --from-date 2026-12-01 \\
      --until-date 2027-12-01 --support woo@buren.example --catalogue published
""",
)
@click.argument("block")
@click.option("--by", required=True, help="The municipality that guarantees its upkeep.")
@click.option("--from-date", required=True, help="The first day, such as 2026-12-01.")
@click.option("--until-date", required=True, help="The last day.")
@click.option("--support", default="", help="An e-mail or web address for questions.")
@published_option
@proposal_option
def guarantee(
    block: str,
    by: str,
    from_date: str,
    until_date: str,
    support: str,
    folder: Path,
    destination: Path | None,
) -> None:
    """Propose a steward's promise to maintain a block, or a longer one."""
    published, known = _published_block(folder, block)
    promised = replace(
        known,
        guarantee=Guarantee(by, from_date, until_date),
        support=support or known.support,
    )
    change = changes.deliver(published, promised, {}, now())
    _proposed(published, change, destination, f"guarantee-{block}")


@click.command(
    "revoke",
    epilog="""
\b
Examples:
  owc-deploy catalogue revoke keys/yard.pub.json --by keys/yard-2.pub.json --catalogue published
  owc-deploy catalogue revoke KEYID --catalogue published      # where enough other keys are left
""",
)
@click.argument("key")
@click.option("--by", "replacement", type=click.Path(path_type=Path), help="The key in its place.")
@published_option
@proposal_option
def revoke(key: str, replacement: Path | None, folder: Path, destination: Path | None) -> None:
    """Propose that a key counts for nothing any more: lost, stolen, or its holder gone.

    What it could sign is signed anew by those who are left.
    """
    _replace_key(key, replacement, folder, destination, "revoke")


@click.command(
    "rotate",
    epilog="""
\b
Example:
  owc-deploy catalogue rotate keys/buren.pub.json --by keys/buren-2027.pub.json \\
      --catalogue published
""",
)
@click.argument("key")
@click.option(
    "--by",
    "replacement",
    required=True,
    type=click.Path(path_type=Path),
    help="The key in its place.",
)
@published_option
@proposal_option
def rotate(key: str, replacement: Path, folder: Path, destination: Path | None) -> None:
    """Propose that a new key takes the place of an old one in every role."""
    _replace_key(key, replacement, folder, destination, "rotate")


@click.command(
    "renew",
    epilog="""
\b
Examples:
  owc-deploy catalogue roles --catalogue published        # until when is each valid?
  owc-deploy catalogue renew root targets --catalogue published
""",
)
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...")
@published_option
@proposal_option
def renew(roles: tuple[str, ...], folder: Path, destination: Path | None) -> None:
    """Propose the same again, for a new period: root, targets, or block-NAME."""
    published = must_be_published(folder)
    change = changes.renew(published, roles, now())
    _proposed(published, change, destination, f"renew-{'-'.join(roles)}"[:100])


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
        print_json(_review_document(found))
    else:
        _print_review(found)
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
    _print_review(found)
    if found.problems:
        raise CatalogueError(f"{proposal} is not to be signed: {'; '.join(found.problems)}")
    if not yes:
        if not can_ask():
            raise UsageError("there is no terminal to ask on", hint="the same command with --yes")
        click.confirm(f"Sign this as {plain(holder.name)}?", abort=True, err=True)
    roles = sign(published, offered, signer_of(holder, _asking(passphrase_file)))
    click.echo(f"signed as {plain(holder.name)}: {', '.join(roles)}")
    _print_missing(review(published, read_proposal(proposal)))


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


def _replace_key(
    key: str, replacement: Path | None, folder: Path, destination: Path | None, verb: str
) -> None:
    published = must_be_published(folder)
    keyid = key.lower() if _KEYID.fullmatch(key.lower()) else read_holder(Path(key)).key.keyid
    holder = read_holder(replacement) if replacement else None
    change = changes.replace_key(published, keyid, holder, now())
    _proposed(published, change, destination, f"{verb}-{keyid[:12]}")


def _published_block(folder: Path, name: str) -> tuple[Published, Block]:
    published = must_be_published(folder)
    block = published.block(name)
    if block is None:
        raise UsageError(f"nothing of {name} is published", hint="owc-deploy catalogue deliver")
    return published, block


def _proposed(
    published: Published | None, change: changes.Change, destination: Path | None, what: str
) -> None:
    proposal = write_proposal(destination or Path("proposals", what), change)
    found = review(published, proposal)
    _print_review(found)
    click.echo(proposal.folder)
    if found.problems:
        raise CatalogueError("this will not be accepted: " + "; ".join(found.problems))


def _read_root(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        raise UsageError(
            f"there is no root {file} to trust",
            hint=f"--root FILE, or put it at {file}, as you compared it with those who govern",
        ) from None


def _holders(paths: Sequence[Path]) -> tuple[Holder, ...]:
    return tuple(read_holder(path) for path in paths)


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


def _print_review(found: Review) -> None:
    for change in found.changes:
        click.echo(f"  {plain(change)}")
    for problem in found.problems:
        click.echo(f"  {click.style('wrong', fg='red')}: {plain(problem)}")
    _print_missing(found)


def _print_missing(found: Review) -> None:
    for role, (count, who) in found.missing.items():
        others = plain(", ".join(who) or "keys that nobody has")
        click.echo(f"  {role} still needs {count} of: {others}")


def _review_document(found: Review) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "changes": list(found.changes),
        "problems": list(found.problems),
        "missing": [
            {"role": role, "signatures": count, "holders": list(who)}
            for role, (count, who) in found.missing.items()
        ],
    }


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
