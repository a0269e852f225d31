"""What a proposal says, in words, and whether it may say that: before signing, and publishing.

Pure but for reading the files that come with the proposal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Key, Metadata, Root, Targets

from owc_deploy.catalogue.add import fixed_name
from owc_deploy.catalogue.archive import inspect_archive
from owc_deploy.catalogue.contents import find_block
from owc_deploy.catalogue.document import block_document, parse_catalogue
from owc_deploy.catalogue.models import Block, BlockRelease
from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.keys import same_public_key, shown, wrong_with_key
from owc_deploy.catalogue.trust.proposal import Proposal
from owc_deploy.catalogue.trust.published import Published, keys_of
from owc_deploy.errors import DocumentsInvalidError, OwcError


@dataclass(frozen=True, slots=True)
class Review:
    """What a proposal changes, what is wrong with it, and who must still sign.

    `missing` maps a role to how many signatures it lacks and who could give them.
    """

    changes: tuple[str, ...]
    problems: tuple[str, ...]
    missing: Mapping[str, tuple[int, tuple[str, ...]]]


def review(published: Published | None, proposal: Proposal) -> Review:
    """Hold a proposal against what is published."""
    changes: list[str] = []
    problems: list[str] = []
    for role, metadata in proposal.roles.items():
        problems += _wrong_version(published, role, metadata)
        if isinstance(metadata.signed, Root):
            found, wrong = _root_review(published, metadata.signed)
        elif role == names.TARGETS:
            found, wrong = _delegations_review(published, metadata.signed)
        else:
            found, wrong = _block_review(published, proposal, role, metadata.signed)
        changes += found
        problems += wrong
    problems += _strangers(proposal)
    missing = {
        role: lacking
        for role, metadata in proposal.roles.items()
        if (lacking := _lacking(published, proposal, role, metadata))[0]
    }
    return Review(tuple(changes), tuple(problems), missing)


def entitled(published: Published | None, proposal: Proposal, role: str) -> tuple[Key, ...]:
    """Return the keys whose signature on a role counts: those of before, too, for the root."""
    keys = [
        key for delegator in _delegators(published, proposal, role) for key in keys_of(*delegator)
    ]
    return tuple({key.keyid: key for key in keys}.values())


def _delegators(
    published: Published | None, proposal: Proposal, role: str
) -> Iterator[tuple[Root | Targets, str]]:
    root = published.root.signed if published else None
    if role == names.ROOT:
        for each in (root, proposal.root):
            if each is not None:
                yield each, role
    elif role == names.TARGETS:
        governing = proposal.root or root
        if governing is not None:
            yield governing, role
    else:
        delegating = proposal.targets or (published.targets.signed if published else None)
        if delegating is not None:
            yield delegating, role


def _lacking(
    published: Published | None,
    proposal: Proposal,
    role: str,
    metadata: Metadata[Root] | Metadata[Targets],
) -> tuple[int, tuple[str, ...]]:
    """Return the number of signatures that are missing, and who could give them."""
    most, who = 0, {}
    for delegator, name in _delegators(published, proposal, role):
        if not keys_of(delegator, name):
            return 1, ()
        result = delegator.get_verification_result(name, metadata.signed_bytes, metadata.signatures)
        if not result:
            most = max(most, result.missing)
            who.update({keyid: shown(key) for keyid, key in result.unsigned.items()})
    return most, tuple(sorted(who.values()))


def _wrong_version(
    published: Published | None, role: str, metadata: Metadata[Root] | Metadata[Targets]
) -> Iterator[str]:
    current = _current(published, role)
    version = current.signed.version if current else 0
    if current and current.signed_bytes == metadata.signed_bytes:
        # An earlier publication was cut off after this was in its place.
        return
    if metadata.signed.version != version + 1:
        yield (
            f"{role} is version {metadata.signed.version}, and {version} is published: it was made "
            "from an earlier state, so make it again"
        )


def _current(published: Published | None, role: str) -> Metadata[Root] | Metadata[Targets] | None:
    if published is None:
        return None
    if role == names.ROOT:
        return published.root
    return published.targets if role == names.TARGETS else published.roles.get(role)


def _root_review(published: Published | None, root: Root) -> tuple[list[str], list[str]]:
    """Return what changes in the root, and what is wrong with that."""
    before = published.root.signed if published else None
    changes = [
        line
        for role in sorted(root.roles)
        for line in _signers_changes(before, root, role, f"{role} is signed")
    ]
    changes.append(f"root is valid until {root.expires:%Y-%m-%d}")
    problems = list(_wrong_with_parties(root, root.keys, root.roles))
    if root.consistent_snapshot is not True:
        problems.append("root says that published files are written over")
    return changes, problems


def _delegations_review(
    published: Published | None, targets: Targets
) -> tuple[list[str], list[str]]:
    """Return what changes in who speaks for which block, and what is wrong with that."""
    if targets.delegations is None or targets.delegations.roles is None:
        return [], ["targets does not delegate block by block"]
    before = published.targets.signed if published else None
    delegated = targets.delegations.roles
    changes = [
        line
        for name in sorted(delegated)
        for line in _signers_changes(before, targets, name, f"{names.block_of(name)} is spoken for")
    ]
    changes.append(f"targets is valid until {targets.expires:%Y-%m-%d}")
    problems = list(_wrong_with_parties(targets, targets.delegations.keys, delegated))
    problems += _wrong_with_delegations(before, targets, delegated)
    return changes, problems


def _wrong_with_delegations(
    before: Targets | None, targets: Targets, delegated: Mapping[str, DelegatedRole]
) -> Iterator[str]:
    if targets.targets:
        yield "targets lists files of its own; only the roles of blocks may"
    known = before.delegations.roles if before and before.delegations else None
    for gone in sorted(set(known or {}) - set(delegated)):
        yield f"{gone} would no longer be delegated, and sites may run its releases"
    for name, role in delegated.items():
        block = names.block_of(name)
        if block is None or role.paths != [names.paths_of(block)] or role.path_hash_prefixes:
            yield f"{name} is delegated more, or something else, than one block"
        if not role.terminating:
            yield f"{name} is not delegated terminating: another role could speak for its block"
    folded = [name.casefold() for name in delegated]
    if len(set(folded)) != len(folded):
        yield "two blocks differ in capitals only, which not every disk tells apart"


def _wrong_with_parties(
    delegator: Root | Targets, keys: Mapping[str, Key], roles: Iterable[str]
) -> Iterator[str]:
    """Yield what lets one party count as two, or pass for another."""
    for key in keys.values():
        if wrong := wrong_with_key(key):
            yield f"the key {key.keyid} {wrong}"
            return
    for role in roles:
        parties = keys_of(delegator, role)
        if any(
            same_public_key(one, other) for i, one in enumerate(parties) for other in parties[:i]
        ):
            yield f"{role} names one key as two parties"
        if len(parties) < delegator.get_delegated_role(role).threshold:
            yield f"{role} has fewer keys than must sign together"


def _signers_changes(
    before: Root | Targets | None, after: Root | Targets, role: str, words: str
) -> Iterator[str]:
    now, then = _signers(after, role), _signers(before, role) if before else ""
    if now != then:
        yield f"{words} by {now}" + (f"; before by {then}" if then else "")


def _signers(delegator: Root | Targets, role: str) -> str:
    keys = keys_of(delegator, role)
    if not keys:
        return ""
    who = ", ".join(sorted(shown(key) for key in keys))
    return f"{delegator.get_delegated_role(role).threshold} of: {who}"


def _block_review(
    published: Published | None, proposal: Proposal, role: str, targets: Targets
) -> tuple[list[str], list[str]]:
    """Return what changes for a block, and what is wrong with that."""
    name = names.block_of(role) or ""
    problems = [] if targets.delegations is None else [f"{role} delegates further"]
    problems += _wrong_files(published, proposal, role, targets)
    try:
        before = published.block(name) if published else None
        others = published.other_blocks(name) if published else ()
        block = _offered(published, proposal, name, targets)
    except OwcError as error:
        return [], [*problems, *_reasons(error)]
    if block is None:
        return [], [*problems, f"{role} does not speak of {name}, and of nothing else"]
    problems += _wrong_releases(before, block, targets)
    problems += _wrong_place(before, block, others)
    for release in block.releases:
        file = _artefact(published, proposal, before, block, release)
        if file is not None:
            problems += _wrong_artefact(block, release, file)
    changes = [*_block_changes(before, block), f"{role} is valid until {targets.expires:%Y-%m-%d}"]
    return changes, problems


def _wrong_place(before: Block | None, block: Block, others: Iterable[Block]) -> Iterator[str]:
    """Yield what would let a block pass for another."""
    if before is not None and before.kind != block.kind:
        yield f"{block.name} is a {before.kind}, and would become a {block.kind}"
    if fixed := fixed_name(block.kind, block.name):
        yield f"{block.name} cannot be of kind {block.kind}: {fixed}"
    for other in others:
        shared = sorted(block.folders & other.folders)
        if shared and block.kind == other.kind != "language":
            yield f"{block.name} would have the folder of {other.name}, {shared[0]}"


def _artefact(
    published: Published | None,
    proposal: Proposal,
    before: Block | None,
    block: Block,
    release: BlockRelease,
) -> Path | None:
    """Return the artefact that is to be looked at: a new one, or one that would be used anew."""
    path = names.artefact_path_of(block.name, release.version)
    if path in proposal.files:
        return proposal.files[path]
    known = (
        next((r for r in before.releases if r.version == release.version), None) if before else None
    )
    if published is None or before is None or known is None:
        return None
    if (before.kind, before.place_of(known)) == (block.kind, block.place_of(release)):
        return None
    return published.folder / names.TARGETS_FOLDER / names.stored_as(path, known.sha256)


def _reasons(error: OwcError) -> list[str]:
    if isinstance(error, DocumentsInvalidError):
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return [error.message]


def _offered(
    published: Published | None, proposal: Proposal, name: str, targets: Targets
) -> Block | None:
    path = names.document_path(name)
    file = proposal.files.get(path)
    if file is None:
        return published.block(name) if published and path in targets.targets else None
    blocks = parse_catalogue(file.read_bytes(), file).blocks
    return blocks[name] if set(blocks) == {name} else None


def _wrong_files(
    published: Published | None, proposal: Proposal, role: str, targets: Targets
) -> Iterator[str]:
    name = names.block_of(role) or ""
    current = published.roles.get(role) if published else None
    known = current.signed.targets if current else {}
    for path, target in targets.targets.items():
        folder, _, rest = path.rpartition("/")
        if folder != f"blocks/{name}" or not rest or set(target.hashes) != {"sha256"}:
            yield f"{role} lists {path}, which is not of {name}, or not by its SHA-256"
            continue
        file = proposal.files.get(path)
        if file is None:
            if path not in known or known[path].hashes != target.hashes:
                yield f"{path} is new, and is not in the proposal"
            continue
        try:
            with file.open("rb") as stream:
                target.verify_length_and_hashes(stream)
        except RepositoryError as error:
            yield f"{path} is not the file that {role} lists: {error}"


def _wrong_releases(before: Block | None, block: Block, targets: Targets) -> Iterator[str]:
    listed = {names.document_path(block.name)}
    for release in block.releases:
        path = names.artefact_path_of(block.name, release.version)
        listed.add(path)
        target = targets.targets.get(path)
        if target is None or target.hashes != {"sha256": release.sha256}:
            yield f"{block.name} {release.version} is listed without its artefact"
        elif target.length != release.size_bytes:
            yield f"{block.name} {release.version} has another size than it says"
    for path in sorted(set(targets.targets) - listed):
        yield f"{path} is listed, and no release is it"
    offered = {release.version: release.sha256 for release in block.releases}
    for release in before.releases if before else ():
        if offered.get(release.version) != release.sha256:
            yield (
                f"{block.name} {release.version} would be gone or another artefact: releases stay "
                "listed and never change"
            )


def _wrong_artefact(block: Block, release: BlockRelease, file: Path) -> Iterator[str]:
    folder, main_file = block.place_of(release)
    try:
        found = find_block(file, inspect_archive(file), block.kind, folder, main_file or None)
    except OwcError as error:
        yield f"{block.name} {release.version}: {error.message}"
        return
    shown = found.header_version
    if block.kind not in {"language", "tool"} and shown and shown != release.header_version:
        yield (
            f"{block.name} {release.version} says that its header is "
            f"{release.header_version or 'none'}, and it is {shown}"
        )


def _block_changes(before: Block | None, block: Block) -> Iterator[str]:
    """Yield every value that changes: what is not shown could not be agreed to."""
    was, now = block_document(before) if before else {}, block_document(block)
    then = {release["version"]: release for release in was.pop("releases", ())}
    releases = now.pop("releases")
    yield from _value_changes(block.name, was, now)
    for release in releases:
        version = release.pop("version")
        yield from _value_changes(f"{block.name} {version}", then.get(version, {}), release)


def _value_changes(
    what: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[str]:
    if not before:
        yield f"{what} is new"
    for key in sorted({*before, *after} - {"version"}):
        if key not in after:
            yield f"{what} {key}: no more (was {_text(before[key])})"
        elif key not in before:
            yield f"{what} {key}: {_text(after[key])}"
        elif before[key] != after[key]:
            yield f"{what} {key}: {_text(after[key])} (was {_text(before[key])})"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _strangers(proposal: Proposal) -> Iterator[str]:
    listed = {
        path
        for metadata in proposal.roles.values()
        if isinstance(metadata.signed, Targets)
        for path in metadata.signed.targets
    }
    for path in sorted(set(proposal.files) - listed):
        yield f"{path} is in the proposal, and no role lists it"
