"""Between the text of `catalogue.json` and the frozen models, in both directions.

Reading is strict and reports everything at once. Writing is canonical (sorted blocks, newest
release first, defaults left out), so that a change of the catalogue reads well in a review.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

from owc_deploy.catalogue.models import (
    Advisory,
    Block,
    BlockRelease,
    Catalogue,
    Conflict,
    Gate,
    GatePage,
    Guarantee,
    Migration,
    Requirement,
)
from owc_deploy.errors import DocumentsInvalidError, Problem
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.documents import path_text
from owc_deploy.fleet.schema_check import violations

SCHEMA_VERSION = 1


def parse_catalogue(content: bytes, file: Path) -> Catalogue:
    """Read the bytes of `catalogue.json`; `file` is only named in problems.

    Raises DocumentsInvalidError with every problem: what is no JSON, what the schema does not know,
    versions and constraints that cannot be read, releases listed twice.
    """
    document = _json(content, file)
    broken = violations("catalogue", document)
    problems = [
        Problem(file, 0, 0, path_text(found.path), found.reference, found.message, found.suggestion)
        for found in broken
    ]
    # What keeps to the schema is read for its meaning even where something else does not.
    sound = _Sound(frozenset(found.path[:depth] for found in broken for depth in range(6)))
    problems += _meaning_problems(document, file, sound)
    if problems:
        raise DocumentsInvalidError(tuple(problems))
    blocks = {name: _block(name, value) for name, value in document["blocks"].items()}
    return Catalogue(blocks=blocks, sha256=hashlib.sha256(content).hexdigest())


def render_catalogue(blocks: Iterable[Block]) -> bytes:
    """Return the canonical bytes of `catalogue.json` for these blocks."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "blocks": {
            block.name: block_document(block) for block in sorted(blocks, key=lambda b: b.name)
        },
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def block_document(block: Block) -> dict[str, Any]:
    """Return a block as it stands in `catalogue.json`, without its name."""
    document = _model_document(block)
    del document["name"]
    document["releases"] = [
        _model_document(release)
        for release in sorted(block.releases, key=lambda r: parse_version(r.version), reverse=True)
    ]
    return document


def release_document(release: BlockRelease) -> dict[str, Any]:
    """Return a release as it stands in `catalogue.json`."""
    return _model_document(release)


def details_from(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return schema-valid block and release details as model values, keyed by field name."""
    read: dict[str, Callable[[Any], Any]] = {
        "requires": lambda value: tuple(_requirement(item) for item in value),
        "conflicts": lambda value: tuple(Conflict(**item) for item in value),
        "migrations": lambda value: tuple(_migration(item) for item in value),
        "advisories": lambda value: tuple(Advisory(**item) for item in value),
        "gate": _gate,
        "guarantee": lambda value: Guarantee(**value),
        "post_steps": lambda value: tuple(tuple(words) for words in value),
    }
    return {
        key: read[key](value) if key in read else tuple(value) if isinstance(value, list) else value
        for key, value in document.items()
    }


def _gate(document: Mapping[str, Any]) -> Gate:
    pages = tuple(GatePage(**page) for page in document.get("pages", ()))
    names = {key: tuple(value) for key, value in document.items() if key != "pages"}
    return Gate(**names, pages=pages)


def meaning_problems(document: Mapping[str, Any], place: str, file: Path) -> Iterator[Problem]:
    """Yield the versions and constraints of schema-valid details that cannot be read.

    `place` is the JSON path of the details themselves.
    """
    for path, text in _constraints_in(document, place):
        try:
            parse_constraint(text)
        except ValueError as error:
            yield Problem(file, 0, 0, path, "constraint", str(error))
    for index, requirement in enumerate(document.get("requires", ())):
        if ("any_of" in requirement) == ("function" in requirement) or (
            "function" in requirement and "version" in requirement
        ):
            yield Problem(
                file,
                0,
                0,
                f"{place}.requires[{index}]",
                "requirement",
                "a requirement names blocks or a function, one of the two",
                "{any_of: [cmb2], version: '>=2.10.1'} or {function: register_extended_post_type}",
            )
    for key, text in document.get("guarantee", {}).items():
        if key != "by":
            try:
                date.fromisoformat(text)
            except ValueError as error:
                yield Problem(file, 0, 0, f"{place}.guarantee.{key}", "date", str(error))
    if "version" in document:
        try:
            parse_version(document["version"])
        except ValueError as error:
            yield Problem(file, 0, 0, f"{place}.version", "version", str(error))


def named_by(details: Mapping[str, Any]) -> frozenset[str]:
    """Return the blocks that a release's details name, as needed or as unwelcome."""
    needed = {name for wanted in details.get("requires", ()) for name in wanted.any_of}
    return frozenset(needed | {conflict.block for conflict in details.get("conflicts", ())})


def _json(content: bytes, file: Path) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise ValueError(f"the key `{repeated[0]}` stands there twice")
        return dict(items)

    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        problem = Problem(file, error.lineno, error.colno, "$", "syntax", error.msg)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        problem = Problem(file, 0, 0, "$", "syntax", str(error))
    raise DocumentsInvalidError((problem,))


@dataclass(frozen=True, slots=True)
class _Sound:
    """Tells which parts of a document keep to the schema."""

    broken: frozenset[tuple[str | int, ...]]

    def __call__(self, *path: str | int) -> bool:
        return path not in self.broken


def _meaning_problems(document: Any, file: Path, sound: _Sound) -> Iterator[Problem]:
    if not isinstance(document, dict) or not isinstance(document.get("blocks"), dict):
        return
    for name, block in document["blocks"].items():
        if sound("blocks", name):
            details = {key: value for key, value in block.items() if key != "releases"}
            yield from meaning_problems(details, f"blocks.{name}", file)
        releases = block.get("releases") if isinstance(block, dict) else None
        if isinstance(releases, list):
            listed = [
                (index, release)
                for index, release in enumerate(releases)
                if sound("blocks", name, "releases", index)
            ]
            yield from _release_problems(name, listed, f"blocks.{name}.releases", file)


def _release_problems(
    name: str, listed: Iterable[tuple[int, dict[str, Any]]], place: str, file: Path
) -> Iterator[Problem]:
    seen: dict[Any, int] = {}
    for index, release in listed:
        unread = list(meaning_problems(release, f"{place}[{index}]", file))
        yield from unread
        if name in named_by(details_from(release)):
            yield Problem(
                file,
                0,
                0,
                f"{place}[{index}]",
                "names-itself",
                f"{name} {release['version']} needs, or cannot stand beside, {name} itself",
                "leave that out: a site has one release of a block",
            )
        if any(problem.reference == "version" for problem in unread):
            continue
        first = seen.setdefault(parse_version(release["version"]), index)
        if first != index:
            yield Problem(
                file,
                0,
                0,
                f"{place}[{index}].version",
                "release-twice",
                f"version {release['version']} is listed twice",
                f"see {place}[{first}]",
            )


def _constraints_in(document: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for key in ("php", "wordpress", "updates_from"):
        if key in document:
            yield f"{place}.{key}", document[key]
    nested = {
        "requires": ("version",),
        "conflicts": ("version",),
        "migrations": ("from_version", "to_version"),
        "advisories": ("affected",),
    }
    for group, keys in nested.items():
        for index, item in enumerate(document.get(group, ())):
            for key in keys:
                if key in item:
                    yield f"{place}.{group}[{index}].{key}", item[key]


def _block(name: str, document: Mapping[str, Any]) -> Block:
    releases = sorted(
        (BlockRelease(**details_from(release)) for release in document["releases"]),
        key=lambda release: parse_version(release.version),
        reverse=True,
    )
    details = details_from({key: value for key, value in document.items() if key != "releases"})
    return Block(name=name, releases=tuple(releases), **details)


def _requirement(document: Mapping[str, Any]) -> Requirement:
    return Requirement(
        any_of=tuple(document.get("any_of", ())),
        function=document.get("function"),
        version=document.get("version", "*"),
    )


def _migration(document: Mapping[str, Any]) -> Migration:
    commands = tuple(tuple(words) for words in document["commands"])
    return Migration(**{**document, "commands": commands})


def _model_document(model: Any) -> dict[str, Any]:
    """Return a model as JSON values, leaving out what stands at its default."""
    document: dict[str, Any] = {}
    for field in fields(model):
        held = getattr(model, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if held != default:
            document[field.name] = _plain(held)
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _model_document(value) if is_dataclass(value) else value
