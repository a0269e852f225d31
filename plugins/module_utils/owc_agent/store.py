"""The store of unpacked artefacts: what is in it, whether it is whole, and linking from it.

Every site's code is linked from here, so a file that was damaged, changed or lost in the store
would be in each release built since. Beside every artefact is a listing of what its zip held; what
is linked is compared with that. An artefact without a listing counts as absent and is sent again.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Optional

from . import files, layout

LISTING = ".files.json"
DAMAGED = ".damaged"


class DamagedError(Exception):
    """An artefact is not in the store as its zip was; the message names the file and the harm.

    `inode` is that of the folder that was looked at: another one may have taken its place since.
    """

    def __init__(self, message: str, inode: int) -> None:
        super().__init__(message)
        self.inode = inode


class AbsentError(Exception):
    """An artefact is not in the store, or was taken out of it while it was being linked."""


class Entry(NamedTuple):
    """What the zip says of one file."""

    size: int
    crc32: int


def artefacts() -> "list[str]":
    """Return the hashes of the artefacts in the store, sorted."""
    try:
        names = frozenset(os.listdir(layout.STORE))
    except FileNotFoundError:
        return []
    return sorted(name for name in names if layout.is_sha256(name) and name + LISTING in names)


def holds(sha256: str) -> bool:
    """Return whether an artefact is in the store, with its listing."""
    folder = layout.stored(sha256)
    return os.path.isdir(folder) and os.path.isfile(folder + LISTING)


def put(partial: str, sha256: str, listing: "dict[str, Entry]") -> None:
    """Give an unpacked artefact its place in the store, instead of a damaged one."""
    folder = layout.stored(sha256)
    set_aside(sha256)
    files.write_json(folder + LISTING, listing)
    # One call for the thousands of files: after a power cut a name in the store must mean that the
    # content is there.
    os.sync()
    os.rename(partial, folder)
    files.sync_folder(layout.STORE)
    files.remove_tree(folder + DAMAGED)


def set_aside(sha256: str) -> None:
    """Take an artefact out of the store, so that it is sent anew; it is kept until it was.

    Releases that were built from it keep what they linked. Whoever calls this holds the store.
    """
    folder = layout.stored(sha256)
    if os.path.isdir(folder):
        files.remove_tree(folder + DAMAGED)
        os.rename(folder, folder + DAMAGED)
    files.remove_file(folder + LISTING)


def set_aside_damaged(sha256: str, inode: int) -> None:
    """Set an artefact aside that was found damaged, unless it was sent anew since."""
    with held():
        if _inode(sha256) == inode:
            set_aside(sha256)


@contextlib.contextmanager
def held() -> "Iterator[None]":
    """Let one process at a time take artefacts in or set them aside."""
    with files.locked(os.path.join(layout.INCOMING, "lock")):
        yield


def _inode(sha256: str) -> int:
    try:
        return os.stat(layout.stored(sha256)).st_ino
    except FileNotFoundError:
        return 0


def link(
    sha256: str,
    folder: str,
    destination: str,
    *,
    skip: "frozenset[str]" = frozenset(),
    read: bool = True,
) -> None:
    """Rebuild a folder of an artefact under `destination`; `skip` are paths relative to it.

    Names and sizes are compared with the listing, and with `read` the content too. Raises
    DamagedError where they differ, AbsentError when there is no such artefact.
    """
    inode = _inode(sha256)
    listing = _listing(sha256, inode)
    wanted = {
        path[len(folder) + 1 :]: entry
        for path, entry in listing.items()
        if path.startswith(folder + "/")
    }
    try:
        linked = files.link_tree(os.path.join(layout.stored(sha256), folder), destination, skip)
    except FileNotFoundError:
        if not holds(sha256):
            raise AbsentError from None
        raise DamagedError("%s is missing" % folder, inode) from None
    wrong = _first_difference(wanted, linked, destination, skip, read=read)
    if wrong:
        raise DamagedError(wrong, inode)


def link_file(sha256: str, path: str, destination: str, *, read: bool = True) -> None:
    """Link one file of an artefact to `destination`, compared as `link` does."""
    inode = _inode(sha256)
    entry = _listing(sha256, inode).get(path)
    try:
        os.link(os.path.join(layout.stored(sha256), path), destination, follow_symlinks=False)
    except FileNotFoundError:
        if not holds(sha256):
            raise AbsentError from None
        raise DamagedError("%s is missing" % path, inode) from None
    wrong = _difference(entry, os.lstat(destination), destination, read=read)
    if wrong:
        raise DamagedError("%s %s" % (path, wrong), inode)


def _listing(sha256: str, inode: int) -> "dict[str, Entry]":
    document = files.read_json(layout.stored(sha256) + LISTING)
    try:
        return {path: Entry(*entry) for path, entry in document.items()}
    except (AttributeError, TypeError):
        if not holds(sha256):
            raise AbsentError from None
        raise DamagedError("its listing", inode) from None


def _first_difference(
    wanted: "dict[str, Entry]",
    linked: "dict[str, os.stat_result]",
    destination: str,
    skip: "frozenset[str]",
    *,
    read: bool,
) -> str:
    """Return in words how a tree differs from what was wanted of it, `""` when it does not."""
    for path in wanted:
        if path not in linked and not _is_skipped(path, skip):
            return "%s is missing" % path
    for path, found in linked.items():
        wrong = _difference(wanted.get(path), found, os.path.join(destination, path), read=read)
        if wrong:
            return "%s %s" % (path, wrong)
    return ""


def _is_skipped(path: str, skip: "frozenset[str]") -> bool:
    return any(path == each or path.startswith(each + "/") for each in skip)


def _difference(entry: "Optional[Entry]", found: os.stat_result, path: str, *, read: bool) -> str:
    """Return in words how a file differs from its entry in the listing, `""` when it does not."""
    if entry is None:
        return "does not belong to it"
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    if found.st_size != entry.size:
        return "has %d bytes instead of %d" % (found.st_size, entry.size)
    if read and _crc32(path) != entry.crc32:
        return "has another content"
    return ""


def _crc32(path: str) -> int:
    value = 0
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            value = zlib.crc32(chunk, value)
    return value
