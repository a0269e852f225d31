"""One document: read from the fleet's folder, held against its schema, its problems collected.

Where a document breaks its schema only the broken part is taken out, so that the rules can still
look at the rest and one run reports everything.
"""

from __future__ import annotations

import copy
import difflib
import functools
import hashlib
import shlex
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from owc_deploy.errors import Problem
from owc_deploy.fleet import schema_check, yaml_reader
from owc_deploy.fleet.schema_check import SchemaName, Violation
from owc_deploy.fleet.yaml_reader import Dialect, PathKeys

MODELINE = "# yaml-language-server: $schema="


@dataclass(frozen=True, slots=True)
class Document:
    """A document that could be parsed.

    `file` is relative to the fleet's folder; `data` holds only what keeps to the schema: a broken
    value of a mapping is absent, a broken item of a list is `None`. `broken` are the places where
    it does not keep to the schema.
    """

    file: Path
    raw: bytes
    data: dict[str, Any]
    broken: frozenset[PathKeys] = frozenset()

    @property
    def sha256(self) -> str:
        """The hash of the file's bytes."""
        return hashlib.sha256(self.raw).hexdigest()

    def is_whole(self, *path: str | int) -> bool:
        """Return whether everything at and below a place keeps to the schema."""
        return not any(place[: len(path)] == path for place in self.broken)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a place in a document; its line is looked up only when it is reported."""

    file: Path
    path: PathKeys
    reference: str
    message: str
    suggestion: str = ""
    at_key: bool = False


def read_bytes(root: Path, file: Path) -> bytes | Problem:
    """Read one file of the fleet, or say why it is not read.

    Links that lead out of the fleet's folder are refused: a fleet comes from others by Git.
    """
    path = root / file
    try:
        resolved = path.resolve(strict=True)
        if not resolved.is_relative_to(root.resolve()):
            return Problem(
                file,
                0,
                0,
                "",
                "leads-outside",
                "this is a link to a file outside the fleet's folder",
                "copy the file itself into the fleet",
            )
        if not stat.S_ISREG(resolved.stat().st_mode):
            return Problem(file, 0, 0, "", "not-a-file", "this is not an ordinary file", "")
        with resolved.open("rb") as stream:
            return stream.read(yaml_reader.MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        return Problem(file, 0, 0, "", "missing-file", "this file does not exist", "")
    except OSError as error:
        return Problem(file, 0, 0, "", "unreadable", f"cannot be read: {error.strerror}", "")


def parse_document(
    file: Path, raw: bytes, name: SchemaName, dialect: Dialect = "strict"
) -> tuple[Document | None, tuple[Problem, ...]]:
    """Parse one document and hold it against its schema; both the rest and the problems return."""
    reading = yaml_reader.read(raw, schema_check.shape(name), dialect)
    problems = [
        _problem(
            Finding(file, flaw.path, flaw.reference, flaw.message, flaw.suggestion),
            flaw.line,
            flaw.column,
        )
        for flaw in reading.flaws
    ]
    if reading.data is None:
        if not problems and name not in {"servers", "variables"}:
            problems.append(Problem(file, 1, 1, "", "empty", "nothing is written in this file"))
        return (None, tuple(problems))
    broken = schema_check.violations(name, reading.data)
    if not broken:
        return (Document(file, raw, reading.data), tuple(problems))
    flawed = {flaw.path for flaw in reading.flaws}
    problems += [
        to_problem(_finding(file, violation), raw)
        for violation in broken
        if violation.path not in flawed
    ]
    if not isinstance(reading.data, dict):
        return (None, tuple(problems))
    places = frozenset(violation.path for violation in broken)
    return (Document(file, raw, _without(reading.data, broken), places), tuple(problems))


def to_problem(finding: Finding, raw: bytes) -> Problem:
    """Look up the line and column of a finding."""
    line, column = _locate(raw, finding.path, finding.at_key)
    return _problem(finding, line, column)


def _problem(finding: Finding, line: int, column: int) -> Problem:
    return Problem(
        finding.file,
        line,
        column,
        printable(path_text(finding.path)),
        finding.reference,
        printable(finding.message),
        printable(finding.suggestion),
    )


def printable(text: str) -> str:
    """Write control characters as escapes: a document may not steer the terminal it is shown on."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


@functools.lru_cache(maxsize=64)
def _locate(raw: bytes, path: PathKeys, at_key: bool) -> tuple[int, int]:
    return yaml_reader.locate(raw, path, key=at_key)


def path_text(path: Iterable[str | int]) -> str:
    """Write a path as a person reads it: `redirects[0].source`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def _finding(file: Path, violation: Violation) -> Finding:
    return Finding(
        file,
        violation.path,
        violation.reference,
        violation.message,
        violation.suggestion,
        at_key=violation.at_key,
    )


def _without(data: dict[str, Any], broken: Iterable[Violation]) -> dict[str, Any]:
    """Take out what is broken: keys from mappings; items of lists become `None`."""
    rest = copy.deepcopy(data)
    for violation in broken:
        if violation.reference == "missing-key":
            continue
        _remove(rest, violation.path)
    return rest


def _remove(rest: Any, path: PathKeys) -> None:
    for part in path[:-1]:
        try:
            rest = rest[part]
        except (KeyError, TypeError):
            return  # taken out already, with what it stood in
    last = path[-1] if path else None
    if isinstance(rest, dict):
        rest.pop(last, None)
    elif isinstance(rest, list) and isinstance(last, int):
        rest[last] = None


def closest(word: str, known: Collection[str]) -> str:
    """Suggest the nearest of the known words, or all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return close[0]
    return f"one of: {', '.join(known)}" if known else ""


def yaml_files(root: Path, folder: str, ending: str) -> Iterator[tuple[Path, Problem | None]]:
    """Give the documents of a folder in order of name, hidden files and other endings left out.

    A document whose ending is nearly right comes with its problem: ignored silently, its site
    would silently not exist.
    """
    here = root / folder
    if not here.is_dir():
        return
    for path in sorted(here.iterdir()):
        file = Path(folder) / path.name
        if path.name.startswith("."):
            continue
        if path.name.endswith(ending):
            yield (file, None)
        elif path.suffix.lower() in {".yaml", ".yml"}:
            wanted = path.name.split(".")[0] + ending
            yield (
                file,
                Problem(
                    file,
                    0,
                    0,
                    "",
                    "file-name",
                    f"files in {folder}/ end in {ending}; this one would be overlooked",
                    f"mv {shlex.quote(str(file))} {shlex.quote(f'{folder}/{wanted}')}",
                ),
            )
