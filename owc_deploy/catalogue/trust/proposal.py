"""A proposal: a folder with a change that goes from hand to hand until enough have signed it.

    metadata/ROLE.json       what is to be signed, with the signatures it has so far
    targets/blocks/...       what comes with it

It may come from anybody, so nothing in it is believed: see `review`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from owc_deploy.catalogue.archive import MAXIMUM_ARCHIVE_BYTES
from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.changes import Change
from owc_deploy.catalogue.trust.errors import ProposalRefusedError
from owc_deploy.catalogue.write import write_atomically

MAXIMUM_METADATA_BYTES = 5 << 20


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal as it lies in `folder`: its roles by name, its targets by path."""

    folder: Path
    roles: Mapping[str, Metadata[Root] | Metadata[Targets]]
    files: Mapping[str, Path]

    @property
    def root(self) -> Root | None:
        """The root that is proposed, `None` when it stays."""
        role = self.roles.get(names.ROOT)
        return role.signed if role is not None and isinstance(role.signed, Root) else None

    @property
    def targets(self) -> Targets | None:
        """The delegations that are proposed, `None` when they stay."""
        role = self.roles.get(names.TARGETS)
        return role.signed if role is not None and isinstance(role.signed, Targets) else None


def write_proposal(folder: Path, change: Change) -> Proposal:
    """Write a change into a new folder. Raises ProposalRefusedError when the folder is there."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ProposalRefusedError(
            f"{folder} is there already", hint="name another with --proposal"
        ) from None
    (folder / names.METADATA_FOLDER).mkdir()
    for path, content in change.files.items():
        file = folder / names.TARGETS_FOLDER / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            shutil.copyfile(content, file)
    for role, metadata in change.roles.items():
        write_role(folder, role, metadata)
    return read_proposal(folder)


def write_role(folder: Path, role: str, metadata: Metadata[Root] | Metadata[Targets]) -> None:
    """Write the metadata of a role of a proposal, whole or not at all."""
    content = metadata.to_bytes(JSONSerializer(compact=False))
    write_atomically(folder / names.METADATA_FOLDER / f"{role}.json", content)


def read_proposal(folder: Path) -> Proposal:
    """Read a proposal.

    Raises ProposalRefusedError when it is none, or holds links, or files that are too large.
    """
    roles: dict[str, Metadata[Root] | Metadata[Targets]] = {}
    for path, file in _files(folder / names.METADATA_FOLDER, MAXIMUM_METADATA_BYTES):
        role, _, ending = path.rpartition(".")
        known = role in {names.ROOT, names.TARGETS} or names.block_of(role) is not None
        if ending != "json" or not known:
            raise ProposalRefusedError(f"{file} belongs in no proposal")
        roles[role] = _read(file, role)
    if not roles:
        raise ProposalRefusedError(
            f"{folder} is no proposal", hint="name a folder that owc-deploy catalogue deliver wrote"
        )
    files = dict(_files(folder / names.TARGETS_FOLDER, MAXIMUM_ARCHIVE_BYTES))
    return Proposal(folder, dict(sorted(roles.items())), files)


def _read(file: Path, role: str) -> Metadata[Root] | Metadata[Targets]:
    try:
        metadata: Metadata[Root] | Metadata[Targets] = Metadata.from_bytes(file.read_bytes())
    except DeserializationError as error:
        raise ProposalRefusedError(f"{file} cannot be read: {error}") from error
    expected = Root.type if role == names.ROOT else Targets.type
    if metadata.signed.type != expected:
        raise ProposalRefusedError(f"{file} says that it is {metadata.signed.type}")
    return metadata


def _files(folder: Path, maximum_bytes: int) -> Iterator[tuple[str, Path]]:
    """Yield the regular files below a folder with their paths in it, refusing everything else."""
    if folder.is_symlink():
        raise ProposalRefusedError(f"{folder} is a link")
    for entry in sorted(folder.rglob("*")):
        if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
            raise ProposalRefusedError(f"{entry} is neither a file nor a folder")
        if entry.is_file():
            if entry.stat().st_size > maximum_bytes:
                raise ProposalRefusedError(f"{entry} is larger than {maximum_bytes >> 20} MB")
            yield entry.relative_to(folder).as_posix(), entry
