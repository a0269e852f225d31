"""Changes to a published catalogue, as metadata that waits for signatures. All of it is pure.

Each function answers with the roles that must be signed anew and the files that come with them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, TargetFile, Targets

from owc_deploy.catalogue.document import render_catalogue
from owc_deploy.catalogue.models import Block
from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.errors import ProposalRefusedError
from owc_deploy.catalogue.trust.keys import Holder, same_public_key
from owc_deploy.catalogue.trust.published import Published, keys_of
from owc_deploy.fleet.constraints import parse_version

# Freshness is the publisher's promise, renewed with every publication; these only bound how long a
# forgotten role may be used. A block's own promise is its guarantee, not this.
ROOT_DAYS = 730
TARGETS_DAYS = 730
BLOCK_DAYS = 1825

Signed = TypeVar("Signed", Root, Targets)
Roles = Mapping[str, Metadata[Root] | Metadata[Targets]]


@dataclass(frozen=True, slots=True)
class Change:
    """Roles to be signed, by name, and the targets that come with them, by their path."""

    roles: Roles
    files: Mapping[str, bytes | Path] = field(default_factory=dict)


def found(
    holders: Sequence[Holder], threshold: int, publishers: Sequence[Holder], now: datetime
) -> Change:
    """Begin a catalogue: `holders` govern it, `threshold` of them together; `publishers` date it.

    Raises ProposalRefusedError when the threshold cannot be met or a key is named twice.
    """
    _refuse_bad_threshold(holders, threshold)
    _refuse_bad_threshold(publishers, 1)
    root = Root(version=1, expires=_days_from(now, ROOT_DAYS), consistent_snapshot=True)
    for role in (names.ROOT, names.TARGETS):
        for holder in holders:
            root.add_key(holder.key, role)
        root.roles[role].threshold = threshold
    for role in (names.SNAPSHOT, names.TIMESTAMP):
        for holder in publishers:
            root.add_key(holder.key, role)
    targets = Targets(
        version=1,
        expires=_days_from(now, TARGETS_DAYS),
        delegations=Delegations(keys={}, roles={}),
    )
    return Change({names.ROOT: Metadata(root), names.TARGETS: Metadata(targets)})


def delegate(
    published: Published,
    blocks: Iterable[str],
    holders: Sequence[Holder],
    threshold: int,
    now: datetime,
) -> Change:
    """Say who speaks for each of these blocks: `threshold` of `holders`, and nobody else.

    Where a block is published already, its role is signed anew by those who speak for it now.
    Raises ProposalRefusedError when the threshold cannot be met or a key is named twice.
    """
    _refuse_bad_threshold(holders, threshold)
    targets = _next(published.targets.signed, TARGETS_DAYS, now)
    roles: dict[str, Metadata[Root] | Metadata[Targets]] = {names.TARGETS: Metadata(targets)}
    for block in blocks:
        role = names.role_of(block)
        for key in keys_of(targets, role):
            targets.revoke_key(key.keyid, role)
        _delegations(targets)[role] = DelegatedRole(
            name=role,
            keyids=[],
            threshold=threshold,
            terminating=True,
            paths=[names.paths_of(block)],
        )
        for holder in holders:
            _admit(targets, holder, role)
        if role in published.roles:
            roles[role] = Metadata(_next(published.roles[role].signed, BLOCK_DAYS, now))
    return Change(roles)


def deliver(
    published: Published, block: Block, artefacts: Mapping[str, Path], now: datetime
) -> Change:
    """Say something new of a block. `artefacts` maps the hashes of new artefacts to their files.

    Releases published earlier stay; see `merged`. Raises ProposalRefusedError when nobody was
    named to speak for the block, or nothing would change.
    """
    role = names.role_of(block.name)
    if not keys_of(published.targets.signed, role):
        raise ProposalRefusedError(
            f"nobody may speak for {block.name} yet",
            hint=f"owc-deploy catalogue delegate {block.name} --key STEWARD --key SUPPLIER",
        )
    current = published.roles.get(role)
    content = render_catalogue([block])
    targets = {names.document_path(block.name): _target(names.document_path(block.name), content)}
    files: dict[str, bytes | Path] = {names.document_path(block.name): content}
    for release in block.releases:
        if not names.is_plain_version(release.version):
            raise ProposalRefusedError(
                f"{block.name} {release.version}: a version in a signed catalogue has only "
                "letters, digits, points and hyphens"
            )
        path = names.artefact_path_of(block.name, release.version)
        targets[path] = TargetFile(release.size_bytes, {"sha256": release.sha256}, path)
        if release.sha256 in artefacts:
            files[path] = artefacts[release.sha256]
    if current is not None and current.signed.targets == targets:
        raise ProposalRefusedError(f"{block.name} is published like this already")
    signed = (
        Targets(version=1, expires=_days_from(now, BLOCK_DAYS))
        if current is None
        else _next(current.signed, BLOCK_DAYS, now)
    )
    signed.targets = targets
    return Change({role: Metadata(signed)}, files)


def together(several: Sequence[Change]) -> Change:
    """Return changes of different roles as one."""
    return Change(
        {role: metadata for change in several for role, metadata in change.roles.items()},
        {path: content for change in several for path, content in change.files.items()},
    )


def merged(known: Block | None, offered: Block) -> Block:
    """Return a block with what is published of it and what is offered.

    Releases stay listed for ever, so that going back to one stays verifiable; promises,
    advisories and a licence that the offer does not mention stay too.

    Raises ProposalRefusedError when a release is offered with another artefact than the one
    published.
    """
    if known is None:
        return offered
    offered_versions = {release.version: release for release in offered.releases}
    for release in known.releases:
        other = offered_versions.get(release.version)
        if other is not None and other.sha256 != release.sha256:
            raise ProposalRefusedError(
                f"{known.name} {release.version} is published with another artefact "
                f"({release.sha256}); a release never changes",
                hint="release it under a new version",
            )
    kept = [release for release in known.releases if release.version not in offered_versions]
    advisories = {advisory.identifier: advisory for advisory in known.advisories}
    advisories.update({advisory.identifier: advisory for advisory in offered.advisories})
    return replace(
        offered,
        licence=offered.licence or known.licence,
        guarantee=offered.guarantee or known.guarantee,
        support=offered.support or known.support,
        successor=offered.successor or known.successor,
        advisories=tuple(advisories.values()),
        releases=tuple(
            sorted(
                (*offered.releases, *kept),
                key=lambda release: parse_version(release.version),
                reverse=True,
            )
        ),
    )


def replace_key(
    published: Published, keyid: str, replacement: Holder | None, now: datetime
) -> Change:
    """Take a key out of every role it has, and put another in its place where there is one.

    Every role that it could sign is signed anew. Raises ProposalRefusedError when no role has the
    key, or a role would have fewer keys than must sign.
    """
    root = _next(published.root.signed, ROOT_DAYS, now)
    targets = _next(published.targets.signed, TARGETS_DAYS, now)
    of_root = _swap(root, list(root.roles), keyid, replacement)
    of_targets = _swap(targets, list(_delegations(targets)), keyid, replacement)
    if not of_root and not of_targets:
        raise ProposalRefusedError(f"no role has the key {keyid}")
    roles: dict[str, Metadata[Root] | Metadata[Targets]] = {}
    if of_root:
        roles[names.ROOT] = Metadata(root)
    if of_targets or names.TARGETS in of_root:
        roles[names.TARGETS] = Metadata(targets)
    for role in of_targets:
        if role in published.roles:
            roles[role] = Metadata(_next(published.roles[role].signed, BLOCK_DAYS, now))
    return Change(roles)


def renew(published: Published, roles: Iterable[str], now: datetime) -> Change:
    """Say the same again, to be signed for a new period.

    Raises ProposalRefusedError when a role is not known.
    """
    renewed: dict[str, Metadata[Root] | Metadata[Targets]] = {}
    for role in roles:
        if role == names.ROOT:
            renewed[role] = Metadata(_next(published.root.signed, ROOT_DAYS, now))
        elif role == names.TARGETS:
            renewed[role] = Metadata(_next(published.targets.signed, TARGETS_DAYS, now))
        elif role in published.roles:
            renewed[role] = Metadata(_next(published.roles[role].signed, BLOCK_DAYS, now))
        else:
            raise ProposalRefusedError(f"nothing is published by a role {role}")
    return Change(renewed)


def _swap(
    delegator: Root | Targets, roles: Iterable[str], keyid: str, replacement: Holder | None
) -> list[str]:
    touched = [
        role for role in roles if any(key.keyid == keyid for key in keys_of(delegator, role))
    ]
    for role in touched:
        delegator.revoke_key(keyid, role)
        if replacement is not None:
            _admit(delegator, replacement, role)
        delegated = delegator.get_delegated_role(role)
        if len(delegated.keyids) < delegated.threshold:
            raise ProposalRefusedError(
                f"{role} would have {len(delegated.keyids)} keys of the {delegated.threshold} that "
                "must sign together",
                hint="name the key that takes its place with --by",
            )
    return touched


def _admit(delegator: Root | Targets, holder: Holder, role: str) -> None:
    if any(same_public_key(key, holder.key) for key in keys_of(delegator, role)):
        raise ProposalRefusedError(f"the key of {holder.name} may sign for {role} already")
    try:
        known = delegator.get_key(holder.key.keyid)
    except ValueError:
        known = holder.key
    if not same_public_key(known, holder.key):
        raise ProposalRefusedError(
            f"the key of {holder.name} is called {holder.key.keyid}, as another key is"
        )
    delegator.add_key(holder.key, role)


def _refuse_bad_threshold(holders: Sequence[Holder], threshold: int) -> None:
    for index, holder in enumerate(holders):
        for other in holders[:index]:
            if same_public_key(holder.key, other.key):
                raise ProposalRefusedError(
                    f"{other.name} and {holder.name} are one key: the threshold counts parties"
                )
            if holder.key.keyid == other.key.keyid:
                raise ProposalRefusedError(f"two keys are called {holder.key.keyid}")
    if not 1 <= threshold <= len(holders):
        raise ProposalRefusedError(
            f"{threshold} of {len(holders)} keys can never sign together",
            hint="name more keys with --key, or a lower --threshold",
        )


def _target(path: str, content: bytes) -> TargetFile:
    return TargetFile.from_data(path, content, ["sha256"])


def _delegations(targets: Targets) -> dict[str, DelegatedRole]:
    if targets.delegations is None or targets.delegations.roles is None:
        raise ProposalRefusedError("the catalogue delegates nothing: it was not made by this tool")
    return targets.delegations.roles


def _next(signed: Signed, days: int, now: datetime) -> Signed:
    following = copy.deepcopy(signed)
    following.version += 1
    following.expires = _days_from(now, days)
    return following


def _days_from(now: datetime, days: int) -> datetime:
    return now.replace(microsecond=0) + timedelta(days=days)
