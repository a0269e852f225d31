"""The verbs of `owc-deploy catalogue` that propose a change to a signed catalogue."""

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
from owc_deploy.catalogue.trust.keys import (
    Holder,
    read_holder,
)
from owc_deploy.catalogue.trust.proposal import write_proposal
from owc_deploy.catalogue.trust.published import (
    Published,
    must_be_published,
    read_published,
)
from owc_deploy.catalogue.trust.review import review
from owc_deploy.cli.proposal_view import (
    print_review,
    proposal_option,
    published_option,
)
from owc_deploy.cli.session import now
from owc_deploy.errors import CatalogueError, UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

_KEYID = re.compile(r"[0-9a-f]{40,64}")


def signers_options(function: Function) -> Function:
    """Add `--key` and `--threshold`, those who sign together; the verb receives both."""
    for option in (
        click.option(
            "--threshold", default=2, show_default=True, help="How many must sign together."
        ),
        click.option(
            "--key",
            "keys",
            multiple=True,
            required=True,
            type=click.Path(path_type=Path),
            help="The public key of one who signs; repeated.",
        ),
    ):
        function = option(function)
    return function


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
@signers_options
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
@signers_options
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
    print_review(found)
    click.echo(proposal.folder)
    if found.problems:
        raise CatalogueError("this will not be accepted: " + "; ".join(found.problems))


def _holders(paths: Sequence[Path]) -> tuple[Holder, ...]:
    return tuple(read_holder(path) for path in paths)
