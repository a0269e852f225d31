"""Publishing: proposals that enough have signed become what is current, in one step.

Everything is written beside what is there, under names that carry versions and hashes; a client
then verifies all of it; the new `timestamp.json` is put in place last.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.client import LOCK_FILE, Verified, refresh
from owc_deploy.catalogue.trust.errors import ProposalRefusedError
from owc_deploy.catalogue.trust.fetcher import Fetcher
from owc_deploy.catalogue.trust.proposal import Proposal, write_role
from owc_deploy.catalogue.trust.published import (
    Published,
    keys_of,
    must_be_published,
    newest_root,
    read_published,
)
from owc_deploy.catalogue.trust.review import Review, entitled, review
from owc_deploy.catalogue.write import write_atomically

SNAPSHOT_DAYS = 365
TIMESTAMP_DAYS = 14


def sign(published: Published | None, proposal: Proposal, signer: Signer) -> tuple[str, ...]:
    """Add a signature to every role of a proposal for which the key counts; return those roles.

    Raises ProposalRefusedError when the proposal may not be made, or the key counts for nothing.
    """
    _refuse_wrong(proposal, review(published, proposal))
    keyid = signer.public_key.keyid
    signed = []
    for role, metadata in proposal.roles.items():
        if any(key.keyid == keyid for key in entitled(published, proposal, role)):
            metadata.sign(signer, append=True)
            write_role(proposal.folder, role, metadata)
            signed.append(role)
    if not signed:
        raise ProposalRefusedError(
            "that key may sign nothing in this proposal",
            hint="owc-deploy catalogue stewards --catalogue FOLDER names who may sign for a block",
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

    `signer` is the publisher's; what it says is good for `valid_days`. A crash leaves what was
    current before.

    Raises ProposalRefusedError when a proposal may not be made or lacks signatures, and the errors
    of `client.refresh` when the result would not be accepted; nothing is changed then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        published = read_published(folder)
        written: list[Path] = []
        try:
            for proposal in proposals:
                found = review(published, proposal)
                _refuse_wrong(proposal, found)
                _refuse_unsigned(proposal, found)
                published = _applied(folder, published, proposal, written)
            published = published or must_be_published(folder)
            _refuse_stranger(published.root.signed, signer)
            content = _dated(published, signer, now, valid_days, written, new=bool(proposals))
            verified = _verified(folder, content)
        except BaseException:
            for file in reversed(written):
                file.unlink(missing_ok=True)
            raise
        write_atomically(folder / names.METADATA_FOLDER / "timestamp.json", content)
    return verified


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


def _applied(
    folder: Path, published: Published | None, proposal: Proposal, written: list[Path]
) -> Published:
    """Write a proposal beside what is there, and return the state that it leads to."""
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
            _write_targets(folder, proposal, metadata.signed, written)
        _write_metadata(folder, role, metadata, written)
    if root is None or targets is None:
        raise ProposalRefusedError(
            f"{proposal.folder} begins no catalogue", hint="publish what init proposed first"
        )
    if published is not None:
        return replace(published, root=root, targets=targets, roles=roles)
    # Nothing was dated yet: `_dated` begins with the next version of both.
    snapshot, timestamp = Snapshot(version=1), Timestamp(version=1)
    snapshot.version = timestamp.version = 0
    return Published(folder, root, targets, Metadata(snapshot), Metadata(timestamp), roles)


def _write_targets(folder: Path, proposal: Proposal, targets: Targets, written: list[Path]) -> None:
    for path, target in targets.targets.items():
        file = folder / names.TARGETS_FOLDER / names.stored_as(path, target.hashes["sha256"])
        if path in proposal.files and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            written.append(file)
            with tempfile.TemporaryDirectory(dir=file.parent) as temporary:
                arrived = Path(temporary, "arriving")
                shutil.copyfile(proposal.files[path], arrived)
                # It may have changed since it was reviewed.
                with arrived.open("rb") as stream:
                    target.verify_length_and_hashes(stream)
                arrived.chmod(0o644)
                arrived.replace(file)


def _write_metadata(
    folder: Path,
    role: str,
    metadata: Metadata[Root] | Metadata[Targets] | Metadata[Snapshot],
    written: list[Path],
) -> bytes:
    content = metadata.to_bytes(JSONSerializer())
    file = folder / names.METADATA_FOLDER / f"{metadata.signed.version}.{role}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    written.append(file)
    write_atomically(file, content)
    return content


def _dated(
    published: Published,
    signer: Signer,
    now: datetime,
    valid_days: int,
    written: list[Path],
    *,
    new: bool,
) -> bytes:
    """Return the timestamp that makes the state current; write a snapshot where it needs one."""
    snapshot = published.snapshot
    last_days = snapshot.signed.expires - timedelta(days=2 * valid_days)
    if new or now >= last_days:
        listed = {names.TARGETS: published.targets, **published.roles}
        snapshot = Metadata(
            Snapshot(
                version=published.snapshot.signed.version + 1,
                expires=now.replace(microsecond=0) + timedelta(days=SNAPSHOT_DAYS),
                meta={f"{role}.json": _described(metadata) for role, metadata in listed.items()},
            )
        )
        snapshot.sign(signer)
        _write_metadata(published.folder, names.SNAPSHOT, snapshot, written)
    timestamp = Metadata(
        Timestamp(
            version=published.timestamp.signed.version + 1,
            expires=now.replace(microsecond=0) + timedelta(days=valid_days),
            snapshot_meta=_described(snapshot),
        )
    )
    timestamp.sign(signer)
    return timestamp.to_bytes(JSONSerializer())


def _described(metadata: Metadata[Targets] | Metadata[Snapshot]) -> MetaFile:
    content = metadata.to_bytes(JSONSerializer())
    return MetaFile(
        metadata.signed.version, len(content), {"sha256": hashlib.sha256(content).hexdigest()}
    )


def _verified(folder: Path, timestamp: bytes) -> Verified:
    """Look at what is about to be current as anybody will who uses it."""
    source = str(folder)
    fetcher = Fetcher({f"{source}/{names.METADATA_FOLDER}/timestamp.json": timestamp})
    root = first_root(folder).read_bytes()
    with tempfile.TemporaryDirectory(prefix="owc-catalogue-") as mirror:
        return refresh(Path(mirror), source, root, fetcher=fetcher)


def first_root(folder: Path) -> Path:
    """Return the file of the root that a fleet trusts to begin with."""
    first = folder / names.METADATA_FOLDER / "1.root.json"
    return first if first.exists() else newest_root(folder / names.METADATA_FOLDER)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK_FILE).open("a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
