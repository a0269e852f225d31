"""The one who uses a signed catalogue: everything is verified before anybody sees it.

A mirror is a folder of the operator's own with what was verified last: `metadata/` (TUF's, and the
memory against replays), `blocks/` (what is said of each), and `catalogue.json` with `artefacts/` as
every other catalogue has, so that the rest of the tool reads one form only.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater

from owc_deploy.catalogue.document import parse_catalogue, render_catalogue
from owc_deploy.catalogue.models import Block, BlockRelease
from owc_deploy.catalogue.read import (
    CATALOGUE_FILE,
    artefact_path,
    read_catalogue,
    sha256_of_file,
)
from owc_deploy.catalogue.trust import names
from owc_deploy.catalogue.trust.errors import (
    CatalogueStaleError,
    CatalogueUnreachableError,
    CatalogueUntrustedError,
)
from owc_deploy.catalogue.trust.fetcher import Fetcher
from owc_deploy.catalogue.write import incoming_file, keep, locked, write_atomically
from owc_deploy.errors import DocumentsInvalidError

_BLOCKS_FOLDER = "blocks"
_SOON_DAYS = 60


@dataclass(frozen=True, slots=True)
class Verified:
    """What a refresh found. `until` is when the publisher's word runs out; `notes` are in words."""

    version: int
    until: datetime
    notes: tuple[str, ...] = ()


def refresh(
    mirror: Path, source: str, trusted_root: bytes, *, fetcher: Fetcher | None = None
) -> Verified:
    """Verify what `source` (an address or a folder) publishes, and bring the mirror up to it.

    A block whose role has expired stays as it was last verified, and that is noted.

    Raises CatalogueUnreachableError, CatalogueStaleError or CatalogueUntrustedError; the mirror is
    then as it was.
    """
    metadata = mirror / names.METADATA_FOLDER
    with _explained(source):
        metadata.mkdir(parents=True, exist_ok=True)
    with _explained(source), locked(mirror):
        updater = Updater(
            str(metadata),
            f"{source}/{names.METADATA_FOLDER}",
            target_base_url=f"{source}/{names.TARGETS_FOLDER}",
            fetcher=fetcher or Fetcher(),
            bootstrap=trusted_root,
        )
        updater.refresh()
        targets: Metadata[Targets] = Metadata.from_file(str(metadata / "targets.json"))
        snapshot: Metadata[Snapshot] = Metadata.from_file(str(metadata / "snapshot.json"))
        timestamp: Metadata[Timestamp] = Metadata.from_file(str(metadata / "timestamp.json"))
        root: Metadata[Root] = Metadata.from_file(str(metadata / "root.json"))
        blocks = []
        notes = [
            note
            for role, expires in (
                (names.ROOT, root.signed.expires),
                (names.TARGETS, targets.signed.expires),
            )
            if (note := _ends_soon(role, expires))
        ]
        for role in sorted(
            (targets.signed.delegations.roles if targets.signed.delegations else None) or {}
        ):
            if f"{role}.json" not in snapshot.signed.meta:
                continue
            block, note = _block(updater, mirror, role)
            if block is not None:
                blocks.append(block)
            if note:
                notes.append(note)
        content = render_catalogue(blocks)
        file = mirror / CATALOGUE_FILE
        if not file.exists() or file.read_bytes() != content:
            write_atomically(file, content)
    return Verified(timestamp.signed.version, timestamp.signed.expires, tuple(notes))


def fetch_artefact(mirror: Path, source: str, block: str, release: BlockRelease) -> Path:
    """Return the mirror's copy of an artefact that a verified catalogue lists, fetching it first.

    Raises CatalogueUnreachableError or CatalogueUntrustedError.
    """
    destination = artefact_path(mirror, release.sha256)
    if _is_at_hand(destination, release):
        return destination
    path = names.stored_as(names.artefact_path_of(block, release.version), release.sha256)
    address = f"{source}/{names.TARGETS_FOLDER}/{path}"
    with incoming_file(mirror) as incoming:
        with (
            _explained(source),
            Fetcher().download_file(address, release.size_bytes) as stream,
            incoming.open("wb") as target,
        ):
            shutil.copyfileobj(stream, target)
        if sha256_of_file(incoming) != release.sha256:
            raise CatalogueUntrustedError(
                f"the artefact of {block} {release.version} at {source} is not the one signed",
                hint="tell the publisher; nothing was changed here",
            )
        keep(incoming, destination)
    return destination


def _is_at_hand(artefact: Path, release: BlockRelease) -> bool:
    """Return whether an artefact is there whole, by its size: servers hash what they are sent."""
    try:
        return artefact.stat().st_size == release.size_bytes
    except OSError:
        return False


def verify_everything(source: str, trusted_root: bytes) -> tuple[Verified, int]:
    """Verify a catalogue from its root on, with every artefact, as a stranger; count the artefacts.

    Raises the errors of `refresh` and `fetch_artefact`, for the first thing that is wrong.
    """
    count = 0
    with tempfile.TemporaryDirectory(prefix="owc-catalogue-") as temporary:
        mirror = Path(temporary)
        verified = refresh(mirror, source, trusted_root)
        for name, block in read_catalogue(mirror).blocks.items():
            for release in block.releases:
                fetch_artefact(mirror, source, name, release).unlink(missing_ok=True)
                count += 1
    return verified, count


def _block(updater: Updater, mirror: Path, role: str) -> tuple[Block | None, str]:
    """Return what is said of the block that a role speaks for, and what is to be told of it."""
    name = names.block_of(role)
    if name is None:
        raise CatalogueUntrustedError(f"the catalogue delegates {role}, which is no block")
    path = names.document_path(name)
    kept = mirror / _BLOCKS_FOLDER / f"{name}.json"
    try:
        target = updater.get_targetinfo(path)
    except ExpiredMetadataError:
        note = (
            f"what is said of {name} has expired; its steward and supplier must sign it again "
            f"(owc-deploy catalogue renew {role})"
        )
        return (_parsed(kept, name) if kept.exists() else None), note
    if target is None:
        raise CatalogueUntrustedError(f"{role} says nothing of {name}")
    try:
        block = _document(updater, target, mirror, kept, name)
    except DocumentsInvalidError as error:
        note = (
            f"what is said of {name} cannot be read by this version of owc-deploy: "
            f"{error.problems[0].path}: {error.problems[0].message}"
        )
        return (_parsed(kept, name) if kept.exists() else None), note
    # Its role was verified for the document just now, and lies where the updater keeps it.
    file = mirror / names.METADATA_FOLDER / f"{quote(role, '')}.json"
    signed: Metadata[Targets] = Metadata.from_file(str(file))
    for release in block.releases:
        listed = signed.signed.targets.get(names.artefact_path_of(name, release.version))
        if listed is None or (listed.hashes.get("sha256"), listed.length) != (
            release.sha256,
            release.size_bytes,
        ):
            raise CatalogueUntrustedError(
                f"{name} {release.version} is listed with another artefact than was signed"
            )
    return block, ""


def _document(updater: Updater, target: TargetFile, mirror: Path, kept: Path, name: str) -> Block:
    """Return what is said of a block, fetched where it is not kept already."""
    if updater.find_cached_target(target, str(kept)) is None:
        with tempfile.TemporaryDirectory(dir=mirror) as folder:
            arrived = Path(updater.download_target(target, str(Path(folder, "block.json"))))
            _parsed(arrived, name)
            kept.parent.mkdir(exist_ok=True)
            arrived.replace(kept)
    return _parsed(kept, name)


def _ends_soon(role: str, expires: datetime) -> str:
    if expires - datetime.now(UTC) > timedelta(days=_SOON_DAYS):
        return ""
    return (
        f"{role} of the catalogue is good until {expires:%Y-%m-%d} only; those who govern it must "
        f"sign it again (owc-deploy catalogue renew {role})"
    )


def _parsed(file: Path, name: str) -> Block:
    blocks = parse_catalogue(file.read_bytes(), file).blocks
    if set(blocks) != {name}:
        raise CatalogueUntrustedError(f"what is said of {name} speaks of {', '.join(blocks)}")
    return blocks[name]


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Say in our own words what TUF found wrong."""
    try:
        yield
    except ExpiredMetadataError as error:
        raise CatalogueStaleError(
            f"the catalogue at {source} is out of date: {error}",
            context="somebody may be holding back newer releases, or nobody published for a while",
            hint=_renewing(str(error)),
        ) from error
    except BadVersionNumberError as error:
        raise CatalogueUntrustedError(
            f"the catalogue at {source} is older than what was seen before, or mixed: {error}",
            context="somebody may be replaying an earlier state",
            hint="nothing was changed here; tell the publisher",
        ) from error
    except DownloadLengthMismatchError as error:
        raise CatalogueUntrustedError(
            f"{source} sends more than it should: {error}",
            hint="nothing was kept; tell the publisher",
        ) from error
    except DownloadError as error:
        raise CatalogueUnreachableError(
            f"the catalogue at {source} cannot be fetched: {error}",
            hint="a rollback works meanwhile, and so does looking",
        ) from error
    except (RepositoryError, DeserializationError, ValueError) as error:
        raise CatalogueUntrustedError(
            f"the catalogue at {source} is not what was signed: {error}",
            hint="nothing was changed here; tell the publisher",
        ) from error
    except OSError as error:
        raise CatalogueUnreachableError(
            f"what the catalogue at {source} says cannot be kept: {error}",
            hint="look at the disk, and at who may write in the folder of the fleet's history",
        ) from error


def _renewing(found: str) -> str:
    """Return what to type for a role that has expired; python-tuf names it in its words."""
    for role in (names.ROOT, names.TARGETS):
        if role in found:
            return (
                f"those who govern it: owc-deploy catalogue renew {role}; "
                "a rollback works meanwhile"
            )
    return "ask the publisher for owc-deploy catalogue publish; a rollback works meanwhile"
