"""Reading a catalogue that is trusted, and the one seam where trust is decided.

A `TrustedReader` hands out bytes that may be believed. `FolderReader` believes the folder's
`catalogue.json` as it stands and holds every artefact to the hash written there: it finds damage
and mix-ups, but whoever can write the folder can change both. A reader that verifies signatures
takes its place behind the same protocol, and nothing else changes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from owc_deploy.catalogue.document import parse_catalogue
from owc_deploy.catalogue.models import Catalogue
from owc_deploy.errors import CatalogueError

CATALOGUE_FILE = "catalogue.json"
ARTEFACTS_FOLDER = "artefacts"

_CHUNK_BYTES = 1 << 20


class TrustedReader(Protocol):
    """Where verified bytes come from; whatever it returns has been checked."""

    def catalogue_document(self) -> tuple[Path, bytes]:
        """Return the path and the bytes of `catalogue.json`.

        Raises CatalogueError when there is none that can be trusted.
        """

    def artefact(self, sha256: str) -> Path:
        """Return a local file with exactly this hash.

        Raises CatalogueError when it is missing or damaged.
        """


class FolderReader:
    """A catalogue in a local folder, held to its hashes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def catalogue_document(self) -> tuple[Path, bytes]:
        """See `TrustedReader`."""
        file = self._folder / CATALOGUE_FILE
        try:
            return file, file.read_bytes()
        except FileNotFoundError:
            raise CatalogueError(
                f"there is no catalogue in {self._folder}",
                hint="owc-deploy catalogue add, or set `catalogue` in fleet.yml",
            ) from None
        except OSError as error:
            raise CatalogueError(f"{file} cannot be read: {error.strerror}") from error

    def artefact(self, sha256: str) -> Path:
        """See `TrustedReader`."""
        path = artefact_path(self._folder, sha256)
        verify_artefact(path, sha256)
        return path


def read_catalogue(folder: Path, *, reader: TrustedReader | None = None) -> Catalogue:
    """Read the catalogue in `folder`, by default as `FolderReader` does.

    Raises CatalogueError when there is none, DocumentsInvalidError with every problem it holds.
    """
    file, content = (reader or FolderReader(folder)).catalogue_document()
    return parse_catalogue(content, file)


def artefact_path(folder: Path, sha256: str) -> Path:
    """Return where the catalogue in `folder` keeps the artefact with this hash."""
    return folder / ARTEFACTS_FOLDER / f"{sha256}.zip"


def verify_artefact(path: Path, sha256: str) -> None:
    """Hash a file and compare.

    Raises CatalogueError when it is missing or has another hash.
    """
    try:
        found = sha256_of_file(path)
    except FileNotFoundError:
        raise CatalogueError(
            f"the artefact {sha256} is missing: {path} does not exist",
            hint="owc-deploy catalogue verify",
        ) from None
    if found != sha256:
        raise CatalogueError(
            f"the artefact {path} is damaged: its hash is {found}",
            hint="owc-deploy catalogue verify",
        )


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
