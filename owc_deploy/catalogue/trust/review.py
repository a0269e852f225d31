"""What a proposal says, in words, and whether it may say that: before signing, and publishing.

Pure but for reading the files that come with the proposal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Key, Metadata, Root, Targets

from owc_deploy.catalogue.archive import inspect_archive
from owc_deploy.catalogue.contents import find_block
from owc_deploy.catalogue.document import parse_catalogue
from owc_deploy.catalogue.models import Block, BlockRelease
from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.keys import holder_name, same_public_key
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
            changes += _root_changes(published, metadata.signed)
        elif role == names.TARGETS:
            problems += _wrong_with_delegations(published, metadata.signed)
            changes += _delegation_changes(published, metadata.signed)
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
            who.update({keyid: holder_name(key) for keyid, key in result.unsigned.items()})
    return most, tuple(sorted(who.values()))


def _wrong_version(
    published: Published | None, role: str, metadata: Metadata[Root] | Metadata[Targets]
) -> Iterator[str]:
    current = _current_version(published, role)
    if metadata.signed.version != current + 1:
        yield (
            f"{role} is version {metadata.signed.version}, and {current} is published: it was made "
            "from an earlier state, so make it again"
        )


def _current_version(published: Published | None, role: str) -> int:
    if published is None:
        return 0
    if role == names.ROOT:
        return published.root.signed.version
    if role == names.TARGETS:
        return published.targets.signed.version
    return published.roles[role].signed.version if role in published.roles else 0


def _root_changes(published: Published | None, root: Root) -> Iterator[str]:
    before = published.root.signed if published else None
    for role in root.roles:
        keys = keys_of(root, role)
        if before is not None and _keyids(keys) == _keyids(keys_of(before, role)):
            continue
        who = ", ".join(sorted(holder_name(key) for key in keys))
        yield f"{role} is signed by {root.roles[role].threshold} of: {who}"
    yield f"root is valid until {root.expires:%Y-%m-%d}"


def _wrong_with_delegations(published: Published | None, targets: Targets) -> Iterator[str]:
    if targets.targets:
        yield "targets lists files of its own; only the roles of blocks may"
    delegated = _delegated(targets)
    for gone in sorted(_delegated(published.targets.signed) if published else {}):
        if gone not in delegated:
            yield f"{gone} would no longer be delegated, and sites may run its releases"
    for name, role in delegated.items():
        block = names.block_of(name)
        if block is None or role.paths != [names.paths_of(block)] or role.path_hash_prefixes:
            yield f"{name} is delegated more, or something else, than one block"
        if not role.terminating:
            yield f"{name} is not delegated terminating: another role could speak for its block"
        keys = keys_of(targets, name)
        twice = any(same_public_key(key, other) for i, key in enumerate(keys) for other in keys[:i])
        if twice or len(keys) < role.threshold:
            yield f"{name} can never be signed by {role.threshold} parties"


def _delegation_changes(published: Published | None, targets: Targets) -> Iterator[str]:
    before = published.targets.signed if published else None
    for name, role in _delegated(targets).items():
        keys = keys_of(targets, name)
        if before is not None and _keyids(keys) == _keyids(keys_of(before, name)):
            continue
        who = ", ".join(sorted(holder_name(key) for key in keys))
        yield f"{names.block_of(name)} is spoken for by {role.threshold} of: {who}"
    yield f"targets is valid until {targets.expires:%Y-%m-%d}"


def _delegated(targets: Targets) -> dict[str, DelegatedRole]:
    return dict(targets.delegations.roles or {}) if targets.delegations else {}


def _block_review(
    published: Published | None, proposal: Proposal, role: str, targets: Targets
) -> tuple[list[str], list[str]]:
    """Return what changes for a block, and what is wrong with that."""
    name = names.block_of(role) or ""
    problems = [] if targets.delegations is None else [f"{role} delegates further"]
    problems += _wrong_files(published, proposal, role, targets)
    try:
        before = published.block(name) if published else None
        block = _offered(published, proposal, name, targets)
    except OwcError as error:
        return [], [*problems, *_reasons(error)]
    if block is None:
        return [], [*problems, f"{role} says nothing of {name}"]
    problems += _wrong_releases(before, block, targets)
    for release in block.releases:
        file = proposal.files.get(names.artefact_path_of(name, release.version))
        if file is not None:
            problems += _wrong_artefact(block, release, file)
    return list(_block_changes(before, block)), problems


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
    return parse_catalogue(file.read_bytes(), file).blocks.get(name)


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
    if before is None:
        yield f"{block.name} is new: {block.title}"
    known = {release.version: release for release in before.releases} if before else {}
    for release in block.releases:
        earlier = known.get(release.version)
        if earlier is None:
            yield (
                f"{block.name} {release.version} is new: {release.size_bytes} bytes, "
                f"SHA-256 {release.sha256}"
            )
        elif earlier.withdrawn != release.withdrawn:
            yield (
                f"{block.name} {release.version} is withdrawn: {release.withdrawn}"
                if release.withdrawn
                else f"{block.name} {release.version} is no longer withdrawn"
            )
        elif earlier != release:
            different = _different(earlier, release)
            yield f"{block.name} {release.version} has other details: {different}"
    if before is None or before.guarantee != block.guarantee:
        yield _guarantee_words(block)
    if before is not None and (details := _different(before, block, {"releases", "guarantee"})):
        yield f"{block.name} has another {details}"


def _guarantee_words(block: Block) -> str:
    promise = block.guarantee
    if promise is None:
        return f"{block.name} is guaranteed by nobody"
    return (
        f"{block.name} is guaranteed by {promise.by} from {promise.from_date} "
        f"until {promise.until_date}"
    )


def _different(
    before: Block | BlockRelease,
    after: Block | BlockRelease,
    without: Collection[str] = (),
) -> str:
    return ", ".join(
        field.name
        for field in fields(after)
        if field.name not in without and getattr(before, field.name) != getattr(after, field.name)
    )


def _strangers(proposal: Proposal) -> Iterator[str]:
    listed = {
        path
        for metadata in proposal.roles.values()
        if isinstance(metadata.signed, Targets)
        for path in metadata.signed.targets
    }
    for path in sorted(set(proposal.files) - listed):
        yield f"{path} is in the proposal, and no role lists it"


def _keyids(keys: tuple[Key, ...]) -> set[str]:
    return {key.keyid for key in keys}
