"""Changing a catalogue: one writer at a time, and every file whole or not there."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from owc_deploy.catalogue.document import parse_catalogue, render_catalogue
from owc_deploy.catalogue.models import Block
from owc_deploy.catalogue.read import (
    ARTEFACTS_FOLDER,
    CATALOGUE_FILE,
    artefact_path,
    read_catalogue,
)

LOCK_FILE = ".lock"


@contextmanager
def incoming_file(folder: Path) -> Iterator[Path]:
    """Give a path in the catalogue for an artefact on its way in; what is left there is removed."""
    artefacts = folder / ARTEFACTS_FOLDER
    artefacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=artefacts) as temporary:
        yield Path(temporary) / "artefact.zip"


def record(
    folder: Path, incoming: Path, sha256: str, change: Callable[[Mapping[str, Block]], Block | None]
) -> bool:
    """Let `change` answer with the block to list, and keep its artefact; say whether anything did.

    `change` is called while no one else can write. It returns `None` when all is there already. The
    artefact is in its place before the catalogue names it.

    Raises whatever `change` raises, with nothing changed.
    """
    with locked(folder):
        file = folder / CATALOGUE_FILE
        blocks = dict(parse_catalogue(file.read_bytes(), file).blocks) if file.exists() else {}
        block = change(blocks)
        destination = artefact_path(folder, sha256)
        if block is None and destination.exists():
            return False
        keep(incoming, destination)
        if block is not None:
            blocks[block.name] = block
            write_atomically(file, render_catalogue(blocks.values()))
        return True


def rewrite(folder: Path, change: Callable[[Mapping[str, Block]], Block | None]) -> bool:
    """Let `change` answer with a block as it must be listed, without any artefact; see `record`.

    Raises CatalogueError when the folder holds no catalogue.
    """
    read_catalogue(folder)
    with locked(folder):
        blocks = dict(read_catalogue(folder).blocks)
        block = change(blocks)
        if block is not None:
            blocks[block.name] = block
            write_atomically(folder / CATALOGUE_FILE, render_catalogue(blocks.values()))
        return block is not None


def write_atomically(file: Path, content: bytes) -> None:
    """Replace a file in one step; after a crash the old one or the new one is there, whole."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def keep(incoming: Path, destination: Path) -> None:
    """Put a file in its place, whole even after a power cut."""
    with incoming.open("rb") as stream:
        os.fsync(stream.fileno())
    incoming.chmod(0o644)
    incoming.replace(destination)
    _sync_folder(destination.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change what is in a folder."""
    with (folder / LOCK_FILE).open("a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
