"""Writing so that a crash leaves the old content or the new, never a mixture."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any, Optional


@contextlib.contextmanager
def locked(path: str) -> "Iterator[None]":
    """Let one process at a time into the block; the file at `path` stays."""
    with open(path, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def write_atomic(
    path: str, content: bytes, mode: int = 0o644, owner: "Optional[tuple[int, int]]" = None
) -> None:
    """Write `content` to `path` through a temporary file, fsync and rename(2)."""
    temporary = path + ".partial"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if owner is not None:
                os.fchown(stream.fileno(), owner[0], owner[1])
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_file(temporary)
        raise
    sync_folder(os.path.dirname(path))


def write_json(path: str, document: Any, mode: int = 0o644) -> None:
    """Write a JSON document atomically."""
    write_atomic(path, json_bytes(document), mode)


def json_bytes(document: Any) -> bytes:
    """Return a JSON document as it is written."""
    return json.dumps(document, indent=1, sort_keys=True).encode()


def read_json(path: str) -> Any:
    """Return the JSON document in `path`, `None` when the file is missing or is not JSON."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def point_link(path: str, target: str) -> None:
    """Make `path` a symlink to `target` with rename(2): readers see the old target or the new."""
    temporary = path + ".partial"
    remove_file(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: str) -> None:
    """Remove a file or link; it is no error when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: str) -> None:
    """Remove a folder and what is in it; it is no error when it is not there."""
    shutil.rmtree(path, ignore_errors=False) if os.path.isdir(path) else remove_file(path)


def link_tree(
    source: str, destination: str, skip: "frozenset[str]" = frozenset()
) -> "dict[str, os.stat_result]":
    """Rebuild `source` under `destination` with hard links; `skip` are paths relative to `source`.

    Both must be on one file system. Folders are made anew, mode 0755; existing ones are merged.
    Returns what was linked, by its path relative to `source`.
    """
    linked: "dict[str, os.stat_result]" = {}
    stack = [""]
    while stack:
        relative = stack.pop()
        here = os.path.join(source, relative) if relative else source
        there = os.path.join(destination, relative) if relative else destination
        os.makedirs(there, mode=0o755, exist_ok=True)
        with os.scandir(here) as entries:
            for entry in entries:
                path = os.path.join(relative, entry.name) if relative else entry.name
                if path in skip:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    stack.append(path)
                else:
                    os.link(entry.path, os.path.join(there, entry.name), follow_symlinks=False)
                    linked[path] = entry.stat(follow_symlinks=False)
    return linked


def canonical_sha256(document: Any) -> str:
    """Return the SHA-256 of a document's canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_file(path: str) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
