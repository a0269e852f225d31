"""Zips that were offered: judged without unpacking, and made from folders in one exact way.

Whatever the archive, nothing in it is ever written to a path it names. The same limits are kept
again on the server, by code that trusts neither this nor the network.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from owc_deploy.catalogue.errors import ArtefactRefusedError

MAXIMUM_ARCHIVE_BYTES = 512 << 20
MAXIMUM_UNPACKED_BYTES = 1 << 30
MAXIMUM_ENTRIES = 50_000
# Text packs to a tenth at best; deflate itself can go to a thousandth, which only bombs do.
MAXIMUM_RATIO = 100
MAXIMUM_DEPTH = 32
MAXIMUM_NAME_BYTES = 255
MAXIMUM_PATH_BYTES = 1024

_RATIO_FLOOR_BYTES = 64 << 10
_CHUNK_BYTES = 1 << 20
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1
# The earliest date a zip can carry: a folder packs to the same bytes on any day.
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_DRIVE = re.compile(r"[A-Za-z]:")
_LEFT_OUT = frozenset({".git", ".svn", ".hg", ".DS_Store"})
_REFUSALS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Contents:
    """What a zip that passed holds.

    `folder` is its one top folder; `files` the paths below that folder.
    """

    folder: str
    files: frozenset[str]


def inspect_archive(path: Path) -> Contents:
    """Judge a zip whole: its names, its kinds of files, its sizes, and every byte's checksum.

    Raises ArtefactRefusedError with everything that is wrong with it.
    """
    size_bytes = path.stat().st_size
    if size_bytes > MAXIMUM_ARCHIVE_BYTES:
        raise ArtefactRefusedError(
            f"{path.name} is {size_bytes >> 20} MB; an artefact is at most "
            f"{MAXIMUM_ARCHIVE_BYTES >> 20} MB"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _refuse(path, list(_wrong_with_entries(entries)))
            _read_everything(archive, entries)
            return _contents(path, entries)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ArtefactRefusedError(f"{path.name} is not a sound zip: {error}") from error
    except UnicodeDecodeError:
        raise ArtefactRefusedError(f"{path.name} holds file names that are not UTF-8") from None


def read_head(path: Path, member: str, size_bytes: int) -> bytes:
    """Return the first bytes of one file of an archive that passed `inspect_archive`."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        return stream.read(size_bytes)


def pack_folder(source: Path, destination: Path, *, folder: str) -> None:
    """Pack a folder as the top folder `folder` of a zip, the same bytes every time.

    Names sorted, times fixed, modes 0644 and 0755; version control's own folders are left out.

    Raises ArtefactRefusedError for links, devices and sockets.
    """
    files = sorted(_regular_files(source, source))
    if not files:
        raise ArtefactRefusedError(f"{source} holds no files")
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for relative in files:
            entry = zipfile.ZipInfo(f"{folder}/{relative}", _FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            executable = (source / relative).stat().st_mode & stat.S_IXUSR
            entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            with (source / relative).open("rb") as stream, archive.open(entry, "w") as target:
                while chunk := stream.read(_CHUNK_BYTES):
                    target.write(chunk)


def _regular_files(folder: Path, root: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name in _LEFT_OUT:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _regular_files(path, root)
            elif entry.is_file(follow_symlinks=False):
                yield path.relative_to(root).as_posix()
            else:
                kind = "a link" if entry.is_symlink() else "no ordinary file"
                raise ArtefactRefusedError(
                    f"{path} is {kind}: an artefact holds files and folders only",
                    hint="replace it by what it points to, or leave it out",
                )


def _refuse(path: Path, wrong: list[str]) -> None:
    if wrong:
        shown = "".join(f"\n  - {item}" for item in wrong[:_REFUSALS_SHOWN])
        more = len(wrong) - _REFUSALS_SHOWN
        rest = f"\n  - and {more} more" if more > 0 else ""
        raise ArtefactRefusedError(f"{path.name} is refused:{shown}{rest}")


def _wrong_with_entries(entries: list[zipfile.ZipInfo]) -> Iterator[str]:
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > MAXIMUM_ENTRIES:
        yield f"it holds {len(entries)} entries; at most {MAXIMUM_ENTRIES} are accepted"
        return
    if unpacked > MAXIMUM_UNPACKED_BYTES:
        yield (
            f"it would unpack to {unpacked >> 20} MB; at most "
            f"{MAXIMUM_UNPACKED_BYTES >> 20} MB is accepted"
        )
    if unpacked > MAXIMUM_RATIO * max(packed, _RATIO_FLOOR_BYTES):
        yield f"it would unpack to {unpacked // max(packed, 1)} times its size, as a zip bomb does"
    places: dict[str, str] = {}
    for entry in entries:
        yield from _wrong_with_entry(entry)
        yield from _collisions(entry, places)


def _wrong_with_entry(entry: zipfile.ZipInfo) -> Iterator[str]:
    shown = ascii(entry.orig_filename)
    name = entry.orig_filename
    for wrong in _wrong_with_name(name):
        yield f"{shown} {wrong}"
    if not entry.flag_bits & _UTF8_FLAG and not name.isascii():
        yield f"{shown} is not marked as UTF-8"
    if entry.flag_bits & _ENCRYPTED_FLAG:
        yield f"{shown} is encrypted"
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        yield f"{shown} is packed in a way other than store or deflate"
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        yield f"{shown} is a link"
    elif kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        yield f"{shown} is a device, a socket or a pipe"
    elif mode & (stat.S_ISUID | stat.S_ISGID) and kind == stat.S_IFREG:
        yield f"{shown} asks for the rights of its owner (setuid)"
    if kind and (kind == stat.S_IFDIR) != name.endswith("/"):
        yield f"{shown} calls itself both a file and a folder"


def _wrong_with_name(name: str) -> Iterator[str]:
    parts = name.removesuffix("/").split("/")
    if any(unicodedata.category(character) == "Cc" for character in name):
        yield "holds a control character"
    if "\\" in name:
        yield "holds a backslash"
    if name.startswith("/") or _DRIVE.match(name):
        yield "is an absolute path"
    elif ".." in parts:
        yield "climbs out of its folder"
    elif "" in parts or "." in parts:
        yield "holds an empty part"
    if len(parts) > MAXIMUM_DEPTH:
        yield f"lies more than {MAXIMUM_DEPTH} folders deep"
    encoded = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(encoded) > MAXIMUM_NAME_BYTES or sum(encoded) + len(parts) > MAXIMUM_PATH_BYTES:
        yield "is too long a name"


def _collisions(entry: zipfile.ZipInfo, places: dict[str, str]) -> Iterator[str]:
    """Yield names that would be one file on some disk; `places` maps folded paths to names."""
    name = entry.filename.removesuffix("/")
    parts = name.split("/")
    for depth in range(1, len(parts)):
        folder = "/".join(parts[:depth])
        held = places.setdefault(_folded(folder), f"{folder}/")
        if held != f"{folder}/":
            yield f"{entry.filename!a} and {held!a} are one place on some disks"
            return
    full = f"{name}/" if entry.is_dir() else name
    held = places.setdefault(_folded(name), full)
    if held != full:
        yield f"{entry.filename!a} and {held!a} are one place on some disks"
    elif not entry.is_dir():
        # A second entry of the same name finds this mark instead of its own name.
        places[_folded(name)] = f"{name} (again)"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _read_everything(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Unpack to nowhere: the checksums must hold and the sizes must be what they say."""
    for entry in entries:
        if entry.is_dir():
            continue
        unpacked = 0
        with archive.open(entry) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                unpacked += len(chunk)
                if unpacked > entry.file_size:
                    break
        if unpacked != entry.file_size:
            raise zipfile.BadZipFile(f"{entry.filename!a} lies about its size")


def _contents(path: Path, entries: list[zipfile.ZipInfo]) -> Contents:
    tops = sorted({entry.filename.split("/", 1)[0] for entry in entries})
    loose = [entry.filename for entry in entries if "/" not in entry.filename]
    files = frozenset(
        entry.filename.split("/", 1)[1]
        for entry in entries
        if not entry.is_dir() and "/" in entry.filename
    )
    if len(tops) != 1 or loose or not files:
        seen = ", ".join(ascii(name) for name in tops[:5]) or "nothing"
        raise ArtefactRefusedError(
            f"{path.name} must hold one folder at the top, with files in it; it holds {seen}",
            hint="unpack it, and add the one folder itself",
        )
    return Contents(tops[0], files)
