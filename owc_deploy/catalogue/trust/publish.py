"""Publishing: proposals that enough have signed become what is current, in one step.

A client verifies what is to be current before anything is written. Then all of it is written beside
what is there, under names that carry versions and hashes; the new `timestamp.json` comes last.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from owc_deploy.catalogue.read import sha256_of_file
from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.client import Verified, refresh
from owc_deploy.catalogue.trust.errors import ProposalRefusedError
from owc_deploy.catalogue.trust.fetcher import Fetcher
from owc_deploy.catalogue.trust.proposal import Proposal, read_proposal, write_role
from owc_deploy.catalogue.trust.published import (
    Published,
    keys_of,
    must_be_published,
    newest_root,
    read_published,
)
from owc_deploy.catalogue.trust.review import Review, entitled, review
from owc_deploy.catalogue.write import keep, locked, write_atomically

SNAPSHOT_DAYS = 365
TIMESTAMP_DAYS = 14


def sign(published: Published | None, proposal: Proposal, signer: Signer) -> tuple[str, ...]:
    """Add a signature to every role of a proposal for which the key counts; return those roles.

    `published` must have been verified: what is signed was compared with it. Raises
    ProposalRefusedError when the proposal may not be made, changed since it was read, or the key
    counts for nothing.
    """
    _refuse_wrong(proposal, review(published, proposal))
    keyid = signer.public_key.keyid
    # Others may have signed it meanwhile.
    current = read_proposal(proposal.folder)
    signed = []
    for role, metadata in proposal.roles.items():
        if all(key.keyid != keyid for key in entitled(published, proposal, role)):
            continue
        latest = current.roles.get(role)
        if latest is None or latest.signed_bytes != metadata.signed_bytes:
            raise ProposalRefusedError(
                f"{proposal.folder} changed while it was read",
                hint=f"owc-deploy catalogue review {proposal.folder}",
            )
        latest.sign(signer, append=True)
        write_role(proposal.folder, role, latest)
        signed.append(role)
    if not signed:
        raise ProposalRefusedError(
            "that key may sign nothing in this proposal",
            hint="owc-deploy catalogue roles --catalogue FOLDER names who signs what",
        )
    return tuple(signed)


def publish(
    folder: Path,
    proposals: Sequence[Proposal],
    signer: Signer,
    now: datetime,
    *,
    valid_days: int = TIMESTAMP_DAYS,
) -> Verified:
    """Make proposals current, in the order given; without any, say again that all is current.

    `signer` is the publisher's; what it says is good for `valid_days`. Cut off at any moment, the
    same can be typed again.

    Raises ProposalRefusedError when a proposal may not be made or lacks signatures, and the errors
    of `client.refresh` when the result would not be accepted; nothing is changed then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            return _publish(folder, proposals, signer, now, valid_days)
    except (OSError, RepositoryError) as error:
        raise ProposalRefusedError(
            f"it could not be published: {error}", hint="mend that and type the same again"
        ) from error


def _publish(
    folder: Path, proposals: Sequence[Proposal], signer: Signer, now: datetime, valid_days: int
) -> Verified:
    published = read_published(folder)
    arriving = _Arriving(folder)
    for proposal in proposals:
        found = review(published, proposal)
        _refuse_wrong(proposal, found)
        _refuse_unsigned(proposal, found)
        published = arriving.applied(published, proposal)
    published = published or must_be_published(folder)
    _refuse_stranger(published.root.signed, signer)
    arriving.date(published, signer, now, valid_days)
    instead = {str(file): content for file, content in arriving.content.items()}
    first = folder / names.METADATA_FOLDER / f"1.{names.ROOT}.json"
    with tempfile.TemporaryDirectory(prefix="owc-catalogue-") as mirror:
        root = arriving.content.get(first) or first_root(folder).read_bytes()
        verified = refresh(Path(mirror), str(folder), root, fetcher=Fetcher(instead))
    arriving.write()
    return verified


class _Arriving:
    """What is about to be written: metadata and documents by their file, artefacts by theirs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.content: dict[Path, bytes] = {}
        self._artefacts: dict[Path, Path] = {}

    def applied(self, published: Published | None, proposal: Proposal) -> Published:
        """Take in a proposal, and return the state that it leads to."""
        roles = dict(published.roles) if published else {}
        root = published.root if published else None
        targets = published.targets if published else None
        for role, metadata in proposal.roles.items():
            if isinstance(metadata.signed, Root):
                root = Metadata(metadata.signed, metadata.signatures)
            elif role == names.TARGETS:
                targets = Metadata(metadata.signed, metadata.signatures)
            else:
                roles[role] = Metadata(metadata.signed, metadata.signatures)
                self._add_targets(proposal, metadata.signed)
            self._add(role, metadata)
        if root is None or targets is None:
            raise ProposalRefusedError(
                f"{proposal.folder} begins no catalogue", hint="publish what init proposed first"
            )
        if published is None:
            # Nothing was dated yet: `date` begins with the next version of both.
            snapshot, timestamp = Snapshot(version=1), Timestamp(version=1)
            snapshot.version = timestamp.version = 0
            published = Published(
                self._folder, root, targets, Metadata(snapshot), Metadata(timestamp), roles
            )
        return replace(
            published, root=root, targets=targets, roles=roles, arriving=dict(self.content)
        )

    def date(self, published: Published, signer: Signer, now: datetime, valid_days: int) -> None:
        """Add the timestamp that makes a state current, and a snapshot where it needs one."""
        snapshot = published.snapshot
        last_days = snapshot.signed.expires - timedelta(days=2 * valid_days)
        if self.content or now >= last_days or not _counts(published.root.signed, snapshot):
            listed = {names.TARGETS: published.targets, **published.roles}
            snapshot = Metadata(
                Snapshot(
                    version=published.snapshot.signed.version + 1,
                    expires=now.replace(microsecond=0) + timedelta(days=SNAPSHOT_DAYS),
                    meta={f"{role}.json": _described(each) for role, each in listed.items()},
                )
            )
            snapshot.sign(signer)
            self._add(names.SNAPSHOT, snapshot)
        timestamp = Metadata(
            Timestamp(
                version=published.timestamp.signed.version + 1,
                expires=now.replace(microsecond=0) + timedelta(days=valid_days),
                snapshot_meta=_described(snapshot),
            )
        )
        timestamp.sign(signer)
        self.content[self._folder / names.METADATA_FOLDER / "timestamp.json"] = timestamp.to_bytes(
            JSONSerializer()
        )

    def write(self) -> None:
        """Write everything. A root counts from when it is there, so it comes just before the date.

        Raises ProposalRefusedError when an artefact is not what was reviewed any more.
        """
        for destination, source in self._artefacts.items():
            _copy(source, destination)
        for file in sorted(self.content, key=_order):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, self.content[file])

    def _add(
        self, role: str, metadata: Metadata[Root] | Metadata[Targets] | Metadata[Snapshot]
    ) -> None:
        file = self._folder / names.METADATA_FOLDER / f"{metadata.signed.version}.{role}.json"
        self.content[file] = metadata.to_bytes(JSONSerializer())

    def _add_targets(self, proposal: Proposal, targets: Targets) -> None:
        for path, target in targets.targets.items():
            source = proposal.files.get(path)
            if source is None:
                continue
            sha256 = target.hashes["sha256"]
            file = self._folder / names.TARGETS_FOLDER / names.stored_as(path, sha256)
            if path.endswith(".json"):
                self.content[file] = source.read_bytes()
                target.verify_length_and_hashes(self.content[file])
            elif not file.exists() or sha256_of_file(file) != sha256:
                self._artefacts[file] = source


def _order(file: Path) -> tuple[bool, bool, str]:
    is_root = file.name.endswith(f".{names.ROOT}.json")
    return file.name == "timestamp.json", is_root, str(file)


def _copy(source: Path, destination: Path) -> None:
    """Copy an artefact to its place, holding it to the hash that its name begins with."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".arriving-") as temporary:
        arrived = Path(temporary, "artefact")
        shutil.copyfile(source, arrived)
        if sha256_of_file(arrived) != destination.name.partition(".")[0]:
            raise ProposalRefusedError(f"{source} changed while it was published")
        keep(arrived, destination)


def _refuse_wrong(proposal: Proposal, found: Review) -> None:
    if found.problems:
        reasons = "\n".join(f"  - {problem}" for problem in found.problems)
        raise ProposalRefusedError(f"{proposal.folder} cannot be accepted:\n{reasons}")


def _refuse_unsigned(proposal: Proposal, found: Review) -> None:
    if found.missing:
        reasons = "\n".join(
            f"  - {role}: {count} more of {', '.join(who) or 'keys that nobody has'}"
            for role, (count, who) in found.missing.items()
        )
        raise ProposalRefusedError(
            f"{proposal.folder} lacks signatures:\n{reasons}",
            hint=f"owc-deploy catalogue sign {proposal.folder} --key KEY, by each of them",
        )


def _refuse_stranger(root: Root, signer: Signer) -> None:
    for role in (names.SNAPSHOT, names.TIMESTAMP):
        if all(key.keyid != signer.public_key.keyid for key in keys_of(root, role)):
            raise ProposalRefusedError(
                "that key is not the publisher's", hint="--key with the key that init named"
            )


def _counts(root: Root, snapshot: Metadata[Snapshot]) -> bool:
    """Return whether a snapshot is signed by who the root names now."""
    return bool(
        root.get_verification_result(names.SNAPSHOT, snapshot.signed_bytes, snapshot.signatures)
    )


def _described(metadata: Metadata[Targets] | Metadata[Snapshot]) -> MetaFile:
    content = metadata.to_bytes(JSONSerializer())
    return MetaFile(
        metadata.signed.version, len(content), {"sha256": hashlib.sha256(content).hexdigest()}
    )


def first_root(folder: Path) -> Path:
    """Return the file of the root that a fleet trusts to begin with."""
    first = folder / names.METADATA_FOLDER / f"1.{names.ROOT}.json"
    return first if first.exists() else newest_root(folder / names.METADATA_FOLDER)
