"""The folder that is served: what is published in it now, for those who change it.

It is read here as it stands. Whoever uses a catalogue goes through `client`, which believes nothing
but signatures; so does `publish`, before what it wrote becomes current.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import RepositoryError, StorageError
from tuf.api.metadata import Key, Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from owc_deploy.catalogue.document import parse_catalogue
from owc_deploy.catalogue.models import Block
from owc_deploy.catalogue.trust import names
from owc_deploy.errors import CatalogueError

Signed = TypeVar("Signed", Root, Targets, Snapshot, Timestamp)

_VERSIONED_ROOT = re.compile(r"([1-9][0-9]*)\.root\.json")


@dataclass(frozen=True, slots=True)
class Published:
    """The current state of a published folder. `roles` are those of the blocks."""

    folder: Path
    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    roles: Mapping[str, Metadata[Targets]]

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
            content = file.read_bytes()
            target.verify_length_and_hashes(content)
        except (OSError, RepositoryError) as error:
            raise CatalogueError(f"{file} is missing or damaged: {error}") from error
        return parse_catalogue(content, file).blocks[name]


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
    """Return the file of the newest root. Raises CatalogueError when there is none."""
    versions = [int(m[1]) for file in metadata.iterdir() if (m := _VERSIONED_ROOT.match(file.name))]
    if not versions:
        raise CatalogueError(f"{metadata} holds no root")
    return metadata / f"{max(versions)}.root.json"


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
