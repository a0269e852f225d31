"""Reading a catalogue that lies in a folder, and holding its artefacts to their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from owc_deploy.catalogue.document import parse_catalogue
from owc_deploy.catalogue.models import Catalogue
from owc_deploy.errors import CatalogueError

CATALOGUE_FILE = "catalogue.json"
ARTEFACTS_FOLDER = "artefacts"

_CHUNK_BYTES = 1 << 20


def read_catalogue(folder: Path) -> Catalogue:
    """Read the `catalogue.json` of a folder as it stands.

    Whoever can write the folder can change what it says: a signed catalogue is verified before it
    comes to lie there (`trust.client`). Raises CatalogueError when there is none,
    DocumentsInvalidError with every problem it holds.
    """
    file = folder / CATALOGUE_FILE
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise CatalogueError(
            f"there is no catalogue in {folder}",
            hint="owc-deploy catalogue add, or set `catalogue` in fleet.yml",
        ) from None
    except OSError as error:
        raise CatalogueError(f"{file} cannot be read: {error.strerror}") from error
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
