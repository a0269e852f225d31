"""Artefacts on their way into the store: checked by hash, unpacked without trust, read-only."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator

from . import files, layout, store

MAXIMUM_BYTES = 1 << 30
MAXIMUM_ENTRIES = 60_000
MAXIMUM_RATIO = 200


class ArtefactRefusedError(Exception):
    """An artefact that is not what its hash says, or would write where it may not."""


def receive(bundle: str) -> "list[str]":
    """Unpack every artefact of a bundle into the store and return their hashes.

    The bundle is a tar whose members are called `<sha256>.zip`. Those already stored are passed
    over. Raises ArtefactRefusedError naming the artefact, and leaves the store as it was.
    """
    received = []
    # Two operators may send the same artefact at once.
    with store.held(), _opened(bundle) as tar:
        for member in tar:
            name = member.name
            if not member.isreg() or not name.endswith(".zip"):
                raise ArtefactRefusedError("unexpected %r in the bundle" % name)
            sha256 = layout.checked_sha256(name[: -len(".zip")])
            received.append(sha256)
            if store.holds(sha256):
                continue
            source = tar.extractfile(member)
            if source is None:
                raise ArtefactRefusedError("unexpected %r in the bundle" % name)
            archive = os.path.join(layout.INCOMING, sha256 + ".zip")
            try:
                with open(archive, "wb") as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
                unpack(archive, sha256)
            finally:
                files.remove_file(archive)
    return received


@contextlib.contextmanager
def _opened(bundle: str) -> "Iterator[tarfile.TarFile]":
    """Open a bundle; what is no bundle, or not all of one, is refused like any other artefact."""
    try:
        with tarfile.open(bundle, "r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise ArtefactRefusedError("the bundle arrived damaged: %s" % error) from error


def unpack(archive: str, sha256: str) -> None:
    """Unpack one zip into the store under its hash, if that is its hash."""
    if files.sha256_of_file(archive) != sha256:
        raise ArtefactRefusedError("artefact %s arrived with another content" % sha256)
    partial = layout.stored(sha256) + ".partial"
    files.remove_tree(partial)
    # Sites' users read the store, whatever the umask of who deploys.
    umask = os.umask(0o022)
    try:
        os.mkdir(partial, 0o755)
        with zipfile.ZipFile(archive) as bundle:
            _unpack(bundle, partial, sha256)
            listing = {
                entry.filename: store.Entry(entry.file_size, entry.CRC)
                for entry in bundle.infolist()
                if not entry.is_dir()
            }
        store.put(partial, sha256, listing)
    except BaseException:
        files.remove_tree(partial)
        raise
    finally:
        os.umask(umask)


def _unpack(bundle: zipfile.ZipFile, destination: str, sha256: str) -> None:
    entries = bundle.infolist()
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > MAXIMUM_ENTRIES or total > MAXIMUM_BYTES:
        raise ArtefactRefusedError("artefact %s is too large" % sha256)
    if total > MAXIMUM_RATIO * max(packed, 1 << 16):
        raise ArtefactRefusedError("artefact %s unpacks to suspiciously much" % sha256)
    for entry in entries:
        _unpack_entry(bundle, entry, destination, sha256)


def _unpack_entry(
    bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, destination: str, sha256: str
) -> None:
    parts = entry.filename.rstrip("/").split("/")
    unsafe = any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if unsafe or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArtefactRefusedError("artefact %s holds the unsafe %r" % (sha256, entry.filename))
    path = os.path.join(destination, *parts)
    if entry.is_dir():
        os.makedirs(path, mode=0o755, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    written = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with bundle.open(entry) as source, os.fdopen(descriptor, "wb") as target:
        for chunk in iter(lambda: source.read(1 << 20), b""):
            written += len(chunk)
            if written > entry.file_size:
                raise ArtefactRefusedError("artefact %s lies about its size" % sha256)
            target.write(chunk)
        os.fchmod(target.fileno(), 0o644)
