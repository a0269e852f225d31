"""Sources of a catalogue: one YAML file per block, with what is known of it and how it is built.

A folder of such files is read into the same models as a catalogue, so that manifests are resolved
before anything is built. A release that is not built has no hash; `catalogue.json` and locks, which
require one, cannot hold it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from owc_deploy.catalogue.document import details_from, meaning_problems
from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue, Kind
from owc_deploy.errors import DocumentsInvalidError, Problem, UsageError
from owc_deploy.fleet.constraints import parse_version
from owc_deploy.fleet.documents import Document, parse_document, read_bytes, yaml_files

ENDING = ".yml"

_NOT_BUILT = {"sha256": "", "size_bytes": 0}
_BLOCK_KEYS = (
    "title",
    "folder",
    "main_file",
    "licence",
    "paid",
    "environments",
    "guarantee",
    "support",
    "successor",
    "advisories",
)


class SourceInvalidError(DocumentsInvalidError):
    """Block files hold problems, each by itself or together."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.message = self.message.replace("the fleet's documents", "the block files")
        self.hint = "owc-deploy catalogue lint, after changing them"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an artefact is made from a commit: see schemas/block-source.schema.json."""

    subfolder: str = ""
    composer: bool = False
    commands: tuple[tuple[str, ...], ...] = ()
    packages: tuple[str, ...] = ()
    prune: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a release is in its repository; either may be empty when it is not known."""

    tag: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class BlockSource:
    """One file. `block` has releases without hashes; `places` is keyed by their version.

    `is_block` is false for libraries and whole projects, which no site can choose. `lines` maps the
    names of lines to constraints. Without a `recipe` the operator brings the artefact.
    """

    document: Document
    block: Block
    is_block: bool
    repository: str
    lines: Mapping[str, str]
    places: Mapping[str, Place]
    recipe: Recipe | None = None
    secrets: tuple[str, ...] = field(default=())


def read_sources(folders: Iterable[Path]) -> tuple[BlockSource, ...]:
    """Read folders of block files, sorted by name; a later folder's file replaces an earlier one's.

    So an operator lists what only they have, such as paid plugins, in a folder of their own.

    Raises SourceInvalidError with every problem of every file, and UsageError for a folder that
    holds none.
    """
    sources: dict[str, BlockSource] = {}
    problems: list[Problem] = []
    for folder in folders:
        documents = list(_documents(folder, problems))
        if not documents and not problems:
            raise UsageError(f"{folder} holds no block files", hint="name the folder with --source")
        for document in documents:
            source = source_of(document)
            sources[source.block.name] = source
    if problems:
        raise SourceInvalidError(tuple(problems))
    return tuple(sources[name] for name in sorted(sources))


def read_source(file: Path) -> BlockSource:
    """Read one block file. Raises SourceInvalidError with every problem."""
    problems: list[Problem] = []
    document = _document(file.parent, file, problems)
    if document is None or problems:
        raise SourceInvalidError(tuple(problems))
    return source_of(document)


def catalogue_of(sources: Iterable[BlockSource]) -> Catalogue:
    """Return a catalogue in which nothing is built, to resolve with."""
    digest = hashlib.sha256()
    blocks = {}
    for source in sources:
        digest.update(source.document.raw)
        if source.is_block:
            blocks[source.block.name] = source.block
    return Catalogue(blocks, digest.hexdigest())


def source_of(document: Document) -> BlockSource:
    """Make the models from a document that keeps to the schema."""
    data = document.data
    is_block = data["kind"] in get_args(Kind)
    details = details_from({key: data[key] for key in _BLOCK_KEYS if key in data})
    recipe = data.get("recipe")
    return BlockSource(
        document=document,
        block=Block(
            name=data["name"],
            kind=data["kind"],
            releases=_releases(data),
            **{"folder": "", "main_file": "", **details},
        ),
        is_block=is_block,
        repository=data.get("repository", ""),
        lines=data.get("lines", {}),
        places={
            release["version"]: Place(release.get("tag", ""), release.get("commit", ""))
            for release in data["releases"]
        },
        recipe=None if recipe is None else _recipe(recipe),
        secrets=tuple(data.get("secrets", ())),
    )


def _releases(data: Mapping[str, Any]) -> tuple[BlockRelease, ...]:
    releases = (
        _release({**data.get("every_release", {}), **release}, data.get("repository", ""))
        for release in data["releases"]
    )
    return tuple(sorted(releases, key=lambda one: parse_version(one.version), reverse=True))


def _release(data: Mapping[str, Any], repository: str) -> BlockRelease:
    details = details_from({key: value for key, value in data.items() if key != "tag"})
    return BlockRelease(
        **{"header_version": data["version"], "source": repository, **_NOT_BUILT, **details}
    )


def _recipe(data: Mapping[str, Any]) -> Recipe:
    lists = {key: tuple(data.get(key, ())) for key in ("packages", "prune")}
    return Recipe(
        subfolder=data.get("subfolder", ""),
        composer=data.get("composer", False),
        commands=tuple(tuple(words) for words in data.get("commands", ())),
        **lists,
    )


def _documents(folder: Path, problems: list[Problem]) -> Iterator[Document]:
    for name, problem in yaml_files(folder, "", ENDING):
        if problem is not None:
            problems.append(problem)
            continue
        document = _document(folder, folder / name, problems)
        if document is not None:
            yield document


def _document(folder: Path, file: Path, problems: list[Problem]) -> Document | None:
    """Read one file; return it only when nothing is wrong with it, which `problems` then holds."""
    raw = read_bytes(folder, Path(file.name))
    if isinstance(raw, Problem):
        problems.append(raw)
        return None
    document, found = parse_document(file, raw, "block-source")
    wrong = [*found]
    if document is not None and not wrong:
        wrong += _meaning_problems(document)
    problems += wrong
    return None if wrong else document


def _meaning_problems(document: Document) -> Iterator[Problem]:
    data, file = document.data, document.file
    block = {key: value for key, value in data.items() if key in {"advisories", "guarantee"}}
    yield from meaning_problems(block, "", file)
    yield from meaning_problems(data.get("every_release", {}), "every_release", file)
    for index, release in enumerate(data["releases"]):
        yield from meaning_problems(release, f"releases[{index}]", file)
