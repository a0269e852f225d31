"""Locks: manifests resolved to exact artefacts, as documents.

They are written by `owc-deploy lock` only, always in the same form, so that a review of the
difference in Git shows what changes and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from owc_deploy.errors import DocumentsInvalidError, Problem
from owc_deploy.fleet import documents
from owc_deploy.fleet.documents import Document
from owc_deploy.fleet.models import Lock, LockedArtefact

FOLDER = "locks"
ENDING = ".lock.yml"
SCHEMA_VERSION = 1

_HEADER = (
    "# Made by `owc-deploy lock`; do not edit. Change the manifest, or say `owc-deploy update`.\n"
)
# Characters that YAML readers treat in ways of their own stay out of plain scalars altogether.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./ -]*[A-Za-z0-9]\Z")
_NOT_PRINTABLE = re.compile(
    "[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NOT_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
_SINGLE = ("wordpress", "wp_cli", "language", "theme")


def lock_file(site: str) -> Path:
    """Return where a site's lock stands, relative to the fleet's folder."""
    return Path(FOLDER) / f"{site}{ENDING}"


def render_lock(lock: Lock) -> str:
    """Write a lock as YAML: the same lock always gives the same text."""
    lines = [
        f"schema_version: {SCHEMA_VERSION}",
        f"site: {_text(lock.site)}",
        f"manifest_sha256: {_text(lock.manifest_sha256)}",
        f"php: {_text(lock.php)}",
    ]
    for name in _SINGLE:
        artefact: LockedArtefact | None = getattr(lock, name)
        if artefact is not None:
            lines += [f"{name}:", *(f"  {line}" for line in _artefact(artefact))]
    lines.append("blocks:" if lock.blocks else "blocks: []")
    for artefact in lock.blocks:
        first, *rest = _artefact(artefact)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return _HEADER + "\n".join(lines) + "\n"


def read_lock(file: Path, raw: bytes) -> tuple[Document | None, tuple[Problem, ...]]:
    """Read a lock's document, and its problems; all have the same remedy: make it anew."""
    document, problems = documents.parse_document(file, raw, "lock")
    site = file.name.removesuffix(ENDING)
    remedy = f"rm {shlex.quote(str(file))} && owc-deploy lock {shlex.quote(site)}"
    return (document, tuple(replace(problem, suggestion=remedy) for problem in problems))


def parse_lock(text: str, file: Path) -> Lock:
    """Read a lock from its text; `file` is named in problems.

    Raises DocumentsInvalidError.
    """
    document, problems = read_lock(file, text.encode("utf-8"))
    if document is None or problems:
        raise DocumentsInvalidError(problems)
    return build_lock(document.data)


def build_lock(data: Mapping[str, Any]) -> Lock:
    """Make a lock from data that keeps to the schema."""
    singles = {name: LockedArtefact(**data[name]) for name in _SINGLE if name in data}
    return Lock(
        site=data["site"],
        manifest_sha256=data["manifest_sha256"],
        php=data["php"],
        wordpress=singles["wordpress"],
        wp_cli=singles["wp_cli"],
        language=singles.get("language"),
        theme=singles["theme"],
        blocks=tuple(LockedArtefact(**block) for block in data["blocks"]),
    )


def _artefact(artefact: LockedArtefact) -> Iterator[str]:
    for field in dataclasses.fields(artefact):
        value = getattr(artefact, field.name)
        if field.default is dataclasses.MISSING or value != field.default:
            yield f"{field.name}: {_text(value)}"


def _text(value: str) -> str:
    if _PLAIN.match(value) and value.lower() not in _NOT_TEXT:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _NOT_PRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
