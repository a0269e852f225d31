"""Adding a release: obtained, judged, compared with what was claimed, and only then recorded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from owc_deploy.catalogue.archive import MAXIMUM_ARCHIVE_BYTES, inspect_archive, pack_folder
from owc_deploy.catalogue.contents import FIXED_FOLDERS, Found, find_block
from owc_deploy.catalogue.document import named_by
from owc_deploy.catalogue.download import download
from owc_deploy.catalogue.errors import ArtefactRefusedError
from owc_deploy.catalogue.models import (
    Advisory,
    Block,
    BlockRelease,
    Conflict,
    Gate,
    Guarantee,
    Kind,
    Migration,
    Requirement,
)
from owc_deploy.catalogue.read import artefact_path, sha256_of_file
from owc_deploy.catalogue.write import incoming_file, record
from owc_deploy.errors import CatalogueError
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import Channel

# The fields that a request and a release have in common.
_RELEASE_DETAILS = (
    "channel",
    "source",
    "commit",
    "php",
    "wordpress",
    "requires",
    "provides",
    "conflicts",
    "train",
    "updates_from",
    "migrations",
    "post_steps",
    "constants",
    "gate",
    "withdrawn",
)


_BLOCK_DETAILS = (
    "title",
    "licence",
    "paid",
    "environments",
    "guarantee",
    "support",
    "successor",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRequest:
    """One release to add.

    `archive` is a zip or a folder on this machine, or an https address, for which `sha256` is
    required. Left `None`, `version` and `header_version` are what the block's own header says,
    `folder` is the archive's top folder, `main_file` the one file with a plugin header; of a block
    that is listed already `title`, `licence`, `paid`, `environments`, `guarantee`, `support` and
    `successor` stay, and `advisories` are added by identifier. `header_version` states a header
    that is not the version; empty: none. A plugin that was renamed is only accepted where `folder`,
    or `main_file`, says so itself.
    `correct` lets the details of a listed release be replaced, all of them, by these.
    """

    archive: Path | str
    name: str
    kind: Kind
    version: str | None = None
    header_version: str | None = None
    sha256: str | None = None
    folder: str | None = None
    main_file: str | None = None
    title: str | None = None
    licence: str | None = None
    paid: bool | None = None
    environments: tuple[str, ...] | None = None
    guarantee: Guarantee | None = None
    support: str | None = None
    successor: str | None = None
    advisories: tuple[Advisory, ...] = ()
    channel: Channel = "stable"
    source: str = ""
    commit: str = ""
    php: str = "*"
    wordpress: str = "*"
    requires: tuple[Requirement, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    train: str | None = None
    updates_from: str = "*"
    migrations: tuple[Migration, ...] = ()
    post_steps: tuple[tuple[str, ...], ...] = ()
    constants: tuple[str, ...] = ()
    gate: Gate = field(default_factory=Gate)
    withdrawn: str | None = None
    correct: bool = False


@dataclass(frozen=True, slots=True)
class AddResult:
    """What is in the catalogue now. `changed` is false when all of it was there already."""

    name: str
    version: str
    header_version: str
    sha256: str
    size_bytes: int
    artefact: Path
    changed: bool


def add_release(folder: Path, request: AddRequest) -> AddResult:
    """Add one release to the catalogue in `folder`, which is made when it is not there.

    The same release with the same artefact and details is left as it is.

    Raises ArtefactRefusedError when the archive is not what it must be, CatalogueError when the
    request contradicts itself or what is listed: releases never change.
    """
    _check_request(request)
    with incoming_file(folder) as incoming:
        _obtain(request, incoming)
        sha256 = sha256_of_file(incoming)
        if request.sha256 and sha256 != request.sha256:
            raise ArtefactRefusedError(
                f"{request.archive} is another file than was named: its hash is {sha256}"
            )
        found = find_block(
            incoming, inspect_archive(incoming), request.kind, request.folder, request.main_file
        )
        release = _release(request, found, sha256, incoming.stat().st_size)
        changed = record(
            folder, incoming, sha256, lambda blocks: _listed(blocks, request, found, release)
        )
    return AddResult(
        name=request.name,
        version=release.version,
        header_version=release.header_version,
        sha256=sha256,
        size_bytes=release.size_bytes,
        artefact=artefact_path(folder, sha256),
        changed=changed,
    )


def _check_request(request: AddRequest) -> None:
    if wrong := fixed_name(request.kind, request.name):
        raise CatalogueError(f"{request.name} cannot be added: {wrong}")
    if request.name in named_by({"requires": request.requires, "conflicts": request.conflicts}):
        raise CatalogueError(
            f"{request.name} needs, or cannot stand beside, itself: leave that out"
        )
    constraints = [request.php, request.wordpress, request.updates_from]
    constraints += [requirement.version for requirement in request.requires]
    constraints += [conflict.version for conflict in request.conflicts]
    constraints += [advisory.affected for advisory in request.advisories]
    for migration in request.migrations:
        constraints += [migration.from_version, migration.to_version]
    try:
        for constraint in constraints:
            parse_constraint(constraint)
        if request.version is not None:
            parse_version(request.version)
    except ValueError as error:
        raise CatalogueError(f"{request.name}: {error}") from error


def fixed_name(kind: Kind, name: str) -> str:
    """Return why a block of this kind cannot have this name, `""` when it can."""
    fixed = {"core": "wordpress", "tool": "wp-cli"}
    if kind in fixed and name != fixed[kind]:
        return f"kind {kind} is listed as {fixed[kind]}, not as {name}"
    if kind == "language" and not name.startswith("language-"):
        return f"kind language is listed as language-LOCALE, such as language-nl_NL, not as {name}"
    return ""


def _obtain(request: AddRequest, incoming: Path) -> None:
    archive = request.archive
    if isinstance(archive, str) and "://" in archive:
        if request.sha256 is None:
            raise CatalogueError(
                f"{archive} is an address: say which file is expected with its hash",
                hint="--sha256 with the 64 digits that its publisher states",
            )
        download(archive, incoming, sha256=request.sha256)
        return
    path = Path(archive)
    if path.is_dir():
        top = FIXED_FOLDERS.get(request.kind) or request.folder or path.resolve().name
        pack_folder(path, incoming, folder=top)
    elif path.is_file():
        if path.stat().st_size > MAXIMUM_ARCHIVE_BYTES:
            raise ArtefactRefusedError(
                f"{path} is larger than {MAXIMUM_ARCHIVE_BYTES >> 20} MB, the most accepted"
            )
        shutil.copyfile(path, incoming)
    else:
        raise CatalogueError(f"{path} is neither a zip nor a folder", hint="look at the path again")


def _release(request: AddRequest, found: Found, sha256: str, size_bytes: int) -> BlockRelease:
    version, header_version = _versions(request, found)
    return BlockRelease(
        version=version,
        header_version=header_version,
        sha256=sha256,
        size_bytes=size_bytes,
        database_version=found.database_version,
        **{name: getattr(request, name) for name in _RELEASE_DETAILS},
    )


def _versions(request: AddRequest, found: Found) -> tuple[str, str]:
    """Return the release's version and its header's, which differ only where that was said."""
    stated = found.header_version
    version = request.version if request.version is not None else stated
    if not version:
        raise CatalogueError(
            f"{request.name} states no version of its own", hint="say it with --version"
        )
    try:
        parse_version(version)
    except ValueError as error:
        raise CatalogueError(f"{request.name}: {error}", hint="say it with --version") from error
    if request.kind in {"language", "tool"}:
        return version, version
    expected = request.header_version if request.header_version is not None else version
    if not _same_version(stated or "", expected):
        said = f"says {stated}" if stated else "says no version"
        raise ArtefactRefusedError(
            f"{request.name} is offered as {version}, and its header {said}",
            hint=f"if that is right, say so: --header-version '{stated or ''}'",
        )
    return version, stated or ""


def _same_version(one: str, other: str) -> bool:
    try:
        return parse_version(one) == parse_version(other)
    except ValueError:
        return one == other


def _listed(
    blocks: Mapping[str, Block], request: AddRequest, found: Found, release: BlockRelease
) -> Block | None:
    """Return the block as it must be listed, `None` when it is."""
    _refuse_taken_folder(blocks, request, found)
    listed = blocks.get(request.name)
    if listed is None:
        return _new_block(request, found, release)
    version = parse_version(release.version)
    known = next((k for k in listed.releases if parse_version(k.version) == version), None)
    _refuse_other_block(listed, known, request, found)
    release = replace(
        release,
        folder=found.folder if found.folder != listed.folder else "",
        main_file=found.main_file if found.main_file != listed.main_file else "",
    )
    block = _with_details(listed, request)
    others = tuple(known for known in block.releases if parse_version(known.version) != version)
    if known is not None:
        _refuse_other_release(known, request, release)
        if not request.correct:
            release = replace(known, database_version=release.database_version)
    releases = sorted((*others, release), key=lambda r: parse_version(r.version), reverse=True)
    block = replace(block, releases=tuple(releases))
    return None if block == listed else block


def _new_block(request: AddRequest, found: Found, release: BlockRelease) -> Block:
    block = Block(
        name=request.name,
        kind=request.kind,
        title=found.title or request.name,
        folder=found.folder,
        main_file=found.main_file,
        releases=(release,),
    )
    return _with_details(block, request)


def _with_details(block: Block, request: AddRequest) -> Block:
    stated = {
        name: getattr(request, name)
        for name in _BLOCK_DETAILS
        if getattr(request, name) is not None
    }
    advisories = {advisory.identifier: advisory for advisory in block.advisories}
    advisories.update({advisory.identifier: advisory for advisory in request.advisories})
    return replace(block, advisories=tuple(advisories.values()), **stated)


def _refuse_taken_folder(blocks: Mapping[str, Block], request: AddRequest, found: Found) -> None:
    for block in blocks.values():
        if block.name == request.name:
            continue
        if block.kind == request.kind != "language" and found.folder in block.folders:
            raise CatalogueError(
                f"the folder {found.folder} is that of {block.name}, which is listed already",
                hint=f"add it as a release: --name {block.name}",
            )


def _refuse_other_block(
    listed: Block, known: BlockRelease | None, request: AddRequest, found: Found
) -> None:
    """Refuse what is not the listed block; a plugin may be elsewhere where that was said."""
    folder, main_file = listed.place_of(known) if known else (listed.folder, listed.main_file)
    for what, before, after, said in (
        ("kind", listed.kind, request.kind, False),
        ("folder", folder, found.folder, request.folder is not None),
        ("main file", main_file, found.main_file, request.main_file is not None),
    ):
        renamed = said and request.kind == "plugin"
        if before != after and not renamed:
            raise CatalogueError(
                f"{request.name} is listed with {what} {before or 'none'}; this one has "
                f"{after or 'none'}",
                hint=_rename_hint(what, after, request),
            )


def _rename_hint(what: str, after: str, request: AddRequest) -> str:
    hint = "other blocks rely on it: list this one under another name"
    if what == "kind" or request.kind != "plugin":
        return hint
    option = "--folder-name" if what == "folder" else "--main-file"
    return f"{hint}, or, where the same plugin was renamed, say so: {option} {after}"


def _refuse_other_release(known: BlockRelease, request: AddRequest, release: BlockRelease) -> None:
    if known.sha256 != release.sha256:
        raise CatalogueError(
            f"{request.name} {known.version} is listed with another artefact ({known.sha256}); "
            "a release never changes, or nobody knows what a site runs",
            hint="release it under a new version",
        )
    blank = BlockRelease(version="", header_version="", sha256="", size_bytes=0)
    different = [
        name
        for name in _RELEASE_DETAILS
        if getattr(release, name) not in (getattr(blank, name), getattr(known, name))
    ]
    if release.main_file != known.main_file:
        different.append("main_file")
    if different and not request.correct:
        raise CatalogueError(
            f"{request.name} {known.version} is listed with other details: {', '.join(different)}",
            hint="to replace all its details by these, say --correct",
        )
