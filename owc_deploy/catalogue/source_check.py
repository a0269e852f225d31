"""Whether the files of a catalogue's source are sound together: names, providers, trains, lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from owc_deploy.catalogue.models import BlockRelease
from owc_deploy.catalogue.source import ENDING, BlockSource
from owc_deploy.errors import Problem
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.documents import Finding, to_problem
from owc_deploy.fleet.yaml_reader import PathKeys

# These are not unpacked in a folder of their own choice.
_WITHOUT_FOLDER = frozenset({"core", "tool", "language"})


def problems_between(sources: Sequence[BlockSource]) -> tuple[Problem, ...]:
    """Return everything that the files say of one another and that is not so, sorted."""
    known = {source.block.name: source for source in sources if source.is_block}
    functions = {
        function
        for source in known.values()
        for r in source.block.releases
        for function in r.provides
    }
    trains = Counter(
        train
        for source in known.values()
        for train in {release.train or "" for release in source.block.releases}
    )
    return tuple(
        sorted(
            to_problem(finding, source.document.raw)
            for source in sources
            for finding in (
                *_of_the_file(source),
                *_of_its_lines(source),
                *_of_its_folder(source, known),
                *_of_its_names(source, known),
                *_of_its_releases(source, functions, trains),
            )
        )
    )


def unbuildable(source: BlockSource) -> tuple[str, ...]:
    """Return the versions that have a recipe, and neither a tag nor a commit to follow it from."""
    if source.recipe is None:
        return ()
    return tuple(
        version for version, place in source.places.items() if not (place.tag or place.commit)
    )


def _finding(
    source: BlockSource, path: PathKeys, reference: str, message: str, suggestion: str = ""
) -> Finding:
    return Finding(source.document.file, path, reference, message, suggestion)


def _of_the_file(source: BlockSource) -> Iterator[Finding]:
    name, file = source.block.name, source.document.file
    if file.name != name + ENDING:
        yield _finding(
            source, ("name",), "file-name", f"{name} stands in {file.name}", f"{name}{ENDING}"
        )
    if source.recipe is not None and not source.repository:
        yield _finding(
            source, ("recipe",), "no-repository", "there is a recipe and nothing to build from",
            "repository: https://...",
        )  # fmt: skip
    versions = Counter(parse_version(release.version) for release in source.block.releases)
    for version, count in versions.items():
        if count > 1:
            yield _finding(
                source, ("releases",), "release-twice", f"{version} is listed {count} times"
            )


def _of_its_lines(source: BlockSource) -> Iterator[Finding]:
    if not source.lines:
        return
    lines = {name: parse_constraint(text) for name, text in source.lines.items()}
    empty = set(lines)
    for release in source.block.releases:
        version = parse_version(release.version)
        found = [name for name, constraint in lines.items() if constraint.allows(version)]
        empty -= set(found)
        if len(found) != 1:
            where = " and ".join(found) or "none of its lines"
            yield _finding(
                source, ("lines",), "line", f"{release.version} is in {where}; it must be in one"
            )
    for name in sorted(empty):
        yield _finding(source, ("lines", name), "line", f"no release is in the line {name}")


def _of_its_folder(source: BlockSource, known: Mapping[str, BlockSource]) -> Iterator[Finding]:
    block = source.block
    if not source.is_block or block.kind in _WITHOUT_FOLDER:
        return
    if block.releases and not block.folder:
        yield _finding(
            source, ("releases",), "no-folder",
            "a release is offered and its folder is not known", f"folder: {block.name}",
        )  # fmt: skip
    for name, other in known.items():
        same = other.block.kind == block.kind and other.block.folder == block.folder
        if block.folder and same and name < block.name:
            yield _finding(
                source, ("folder",), "folder-twice", f"{block.folder} is the folder of {name} too"
            )


def _of_its_names(source: BlockSource, known: Mapping[str, BlockSource]) -> Iterator[Finding]:
    block = source.block
    if block.successor and block.successor not in known:
        yield _unknown(source, ("successor",), block.successor)
    seen = set()
    for release in block.releases:
        for requirement in release.requires:
            for name in requirement.any_of:
                if (name, requirement.version) not in seen:
                    seen.add((name, requirement.version))
                    yield from _of_one_need(source, known, name, requirement.version)
        for conflict in release.conflicts:
            if conflict.block not in known and (conflict.block, "") not in seen:
                seen.add((conflict.block, ""))
                yield _unknown(source, ("releases",), conflict.block)


def _of_one_need(
    source: BlockSource, known: Mapping[str, BlockSource], name: str, version: str
) -> Iterator[Finding]:
    if name == source.block.name:
        yield _finding(source, ("releases",), "names-itself", f"{name} needs itself")
    elif name not in known:
        yield _unknown(source, ("releases",), name)
    # What an operator brings is in a folder of their own; only what is built here must be here.
    elif known[name].recipe is not None and not any(
        parse_constraint(version).allows(parse_version(release.version))
        for release in known[name].block.releases
    ):
        yield _finding(
            source, ("releases",), "no-release", f"no release of {name} that is listed is {version}"
        )


def _unknown(source: BlockSource, path: PathKeys, name: str) -> Finding:
    return _finding(
        source, path, "unknown-block", f"no file says what {name} is", f"add {name}{ENDING}"
    )


def _of_its_releases(
    source: BlockSource, functions: set[str], trains: Mapping[str, int]
) -> Iterator[Finding]:
    reported: set[str] = set()
    for index, release in enumerate(source.document.data["releases"]):
        version = release["version"]
        listed = next(r for r in source.block.releases if r.version == version)
        for requirement in listed.requires:
            function = requirement.function
            if function is not None and function not in functions | reported:
                reported.add(function)
                yield _finding(
                    source, ("releases", index), "no-provider", f"nothing provides {function}()"
                )
        if listed.train is not None and trains[listed.train] == 1 and listed.train not in reported:
            reported.add(listed.train)
            yield _finding(
                source,
                ("releases", index),
                "train",
                f"no other block is on the train {listed.train}",
            )
        yield from _of_its_migrations(source, index, listed)


def _of_its_migrations(source: BlockSource, index: int, release: BlockRelease) -> Iterator[Finding]:
    version = parse_version(release.version)
    for migration in release.migrations:
        if not parse_constraint(migration.to_version).allows(version):
            yield _finding(
                source, ("releases", index), "migration",
                f"{release.version} carries a migration to {migration.to_version}",
                "migrations: []",
            )  # fmt: skip
