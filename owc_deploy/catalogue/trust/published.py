"""The folder that is served: what is published in it now, for those who change it.

It is read here as it stands. Whoever uses a catalogue goes through `client`, which believes nothing
but signatures; so does `publish`, before what it wrote becomes current.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import RepositoryError, StorageError
from tuf.api.metadata import Key, Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from owc_deploy.catalogue.document import parse_catalogue
from owc_deploy.catalogue.models import Block
from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.errors import CatalogueUntrustedError
from owc_deploy.errors import CatalogueError

Signed = TypeVar("Signed", Root, Targets, Snapshot, Timestamp)

_VERSIONED_ROOT = re.compile(r"([1-9][0-9]*)\.root\.json")


@dataclass(frozen=True, slots=True)
class Published:
    """The current state of a published folder. `roles` are those of the blocks.

    `arriving` are files that are about to be written.
    """

    folder: Path
    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    roles: Mapping[str, Metadata[Targets]]
    arriving: Mapping[Path, bytes] = field(default_factory=dict)

    def block(self, name: str) -> Block | None:
        """Return what is published of a block, `None` when nothing is.

        Raises CatalogueError when the file is missing or damaged.
        """
        role = self.roles.get(names.role_of(name))
        if role is None:
            return None
        path = names.document_path(name)
        target = role.signed.targets[path]
        file = self.folder / names.TARGETS_FOLDER / names.stored_as(path, target.hashes["sha256"])
        try:
            content = self.arriving.get(file) or file.read_bytes()
            target.verify_length_and_hashes(content)
        except (OSError, RepositoryError) as error:
            raise CatalogueError(f"{file} is missing or damaged: {error}") from error
        return parse_catalogue(content, file).blocks[name]

    def other_blocks(self, name: str) -> tuple[Block, ...]:
        """Return every published block but one. Raises CatalogueError as `block` does."""
        others = [names.block_of(role) for role in self.roles]
        found = [self.block(other) for other in others if other and other != name]
        return tuple(block for block in found if block is not None)


def verify(published: Published, trusted_root: bytes) -> None:
    """Hold what is published to a root that is trusted, whatever its dates say.

    A copy may be out of date, as when a role that ran out is to be signed again; it may not be
    anything but what was signed. Files of blocks are held to the roles when they are read.

    Raises CatalogueUntrustedError.
    """
    metadata = published.folder / names.METADATA_FOLDER
    try:
        root: Metadata[Root] = Metadata.from_bytes(trusted_root)
        _must_be_signed(root.signed, names.ROOT, root)
        for version in range(root.signed.version + 1, published.root.signed.version + 1):
            following: Metadata[Root] = _read(metadata / f"{version}.{names.ROOT}.json")
            _must_be_signed(root.signed, names.ROOT, following)
            _must_be_signed(following.signed, names.ROOT, following)
            root = following
        _must_be_signed(root.signed, names.TARGETS, published.targets)
        for role, signed in published.roles.items():
            _must_be_signed(published.targets.signed, role, signed)
    except (RepositoryError, DeserializationError, ValueError) as error:
        raise CatalogueUntrustedError(
            f"{published.folder} is not what was signed: {error}",
            hint="take a copy anew, from the publisher",
        ) from error


def _must_be_signed(
    delegator: Root | Targets, role: str, metadata: Metadata[Root] | Metadata[Targets]
) -> None:
    delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)


def read_published(folder: Path) -> Published | None:
    """Read what is current in a folder, `None` when nothing was ever published in it.

    Raises CatalogueError when the folder is damaged.
    """
    metadata = folder / names.METADATA_FOLDER
    if not (metadata / "timestamp.json").exists():
        return None
    timestamp: Metadata[Timestamp] = _read(metadata / "timestamp.json")
    root: Metadata[Root] = _read(newest_root(metadata))
    version = timestamp.signed.snapshot_meta.version
    snapshot: Metadata[Snapshot] = _read(metadata / f"{version}.{names.SNAPSHOT}.json")
    roles: dict[str, Metadata[Targets]] = {
        name.removesuffix(".json"): _read(metadata / f"{file.version}.{name}")
        for name, file in snapshot.signed.meta.items()
    }
    targets = roles.pop(names.TARGETS)
    return Published(folder, root, targets, snapshot, timestamp, roles)


def must_be_published(folder: Path) -> Published:
    """Read what is current in a folder. Raises CatalogueError when nothing is published in it."""
    published = read_published(folder)
    if published is None:
        raise CatalogueError(
            f"nothing is published in {folder} yet", hint="owc-deploy catalogue init --help"
        )
    return published


def newest_root(metadata: Path) -> Path:
    """Return the file of the newest root that follows on the first.

    Raises CatalogueError when there is none.
    """
    found = (_VERSIONED_ROOT.fullmatch(file.name) for file in metadata.iterdir())
    versions = {int(match[1]) for match in found if match}
    if not versions:
        raise CatalogueError(f"{metadata} holds no root")
    newest = min(versions)
    while newest + 1 in versions:
        newest += 1
    return metadata / f"{newest}.root.json"


def keys_of(delegator: Root | Targets, role: str) -> tuple[Key, ...]:
    """Return the keys that may sign for a role; none when it is not delegated."""
    try:
        keyids: Iterable[str] = delegator.get_delegated_role(role).keyids
    except ValueError:
        return ()
    return tuple(delegator.get_key(keyid) for keyid in keyids)


def _read(file: Path) -> Metadata[Signed]:
    try:
        return Metadata.from_file(str(file))
    except (StorageError, DeserializationError) as error:
        raise CatalogueError(f"{file} is missing or damaged: {error}") from error
