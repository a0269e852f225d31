"""What things are called inside a published catalogue: roles, files, paths of targets."""

from __future__ import annotations

import re

METADATA_FOLDER = "metadata"
TARGETS_FOLDER = "targets"
ROOT = "root"
TARGETS = "targets"
SNAPSHOT = "snapshot"
TIMESTAMP = "timestamp"

# As in schemas/catalogue.schema.json; a name is part of paths and of web addresses.
_BLOCK = r"[a-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
_ROLE = re.compile(rf"block-({_BLOCK})")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,63}")


def role_of(block: str) -> str:
    """Return the name of the role that speaks for a block."""
    return f"block-{block}"


def block_of(role: str) -> str | None:
    """Return the block that a role speaks for, `None` for any other role."""
    match = _ROLE.fullmatch(role)
    return match[1] if match else None


def paths_of(block: str) -> str:
    """Return the pattern of the paths that the role of a block may list."""
    return f"blocks/{block}/*"


def document_path(block: str) -> str:
    """Return the path of what is said of a block and its releases."""
    return f"blocks/{block}/block.json"


def artefact_path_of(block: str, version: str) -> str:
    """Return the path of the artefact of a release."""
    return f"blocks/{block}/{version}.zip"


def is_plain_version(version: str) -> bool:
    """Return whether a version can stand in a path and a web address as it is."""
    return _VERSION.fullmatch(version) is not None


def stored_as(path: str, sha256: str) -> str:
    """Return where a target lies below the folder of targets: its hash is part of the name.

    So a published file is never written over (TUF's "consistent snapshots").
    """
    folder, _, name = path.rpartition("/")
    return f"{folder}/{sha256}.{name}"
