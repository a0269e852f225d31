"""What a change of versions asks of the data, beside the files that are replaced. Pure.

`before` is the specification of the live release, `None` or empty for a new site: that one has no
data to migrate, and all of its blocks are new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from owc_deploy.catalogue.models import BlockRelease, Catalogue
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import Lock, LockedArtefact
from owc_deploy.plan.models import PlannedMigration

# Every release flushes the rewrite rules, once, after everything else.
_EVERY_RELEASE_DOES = ("rewrite", "flush")


def migrations(
    before: Mapping[str, Any] | None, lock: Lock, catalogue: Catalogue
) -> tuple[PlannedMigration, ...]:
    """Return the data migrations that the change of versions asks for, in activation order."""
    planned: list[PlannedMigration] = []
    for artefact, was, release in _changed(before, lock, catalogue):
        if was is None:
            continue
        for migration in release.migrations:
            crosses_from = parse_constraint(migration.from_version).allows(parse_version(was))
            crosses_to = parse_constraint(migration.to_version).allows(
                parse_version(artefact.version)
            )
            if crosses_from and crosses_to:
                planned.append(
                    PlannedMigration(
                        block=artefact.name,
                        from_version=was,
                        to_version=artefact.version,
                        commands=migration.commands,
                        reversible=migration.reversible,
                        timeout_seconds=migration.timeout_seconds,
                    )
                )
    return tuple(planned)


def renamed(before: Mapping[str, Any] | None, lock: Lock) -> tuple[Mapping[str, str], ...]:
    """Return the plugins whose file is another one than it was, in activation order.

    Each is `{block, from, to}`, with the files as WordPress lists active plugins. To WordPress the
    old file is another plugin: switching it off would run its deactivation hook, which may throw
    away the settings that the renamed plugin goes on with.
    """
    old = {
        block["name"]: plugin_file(block)
        for block in (before or {}).get("blocks", ())
        if block["kind"] == "plugin"
    }
    return tuple(
        {"block": block.name, "from": old[block.name], "to": file}
        for block in lock.blocks
        if block.kind == "plugin" and block.name in old
        for file in [f"{block.folder}/{block.main_file}"]
        if old[block.name] != file
    )


def plugin_file(block: Mapping[str, Any]) -> str:
    """Return the file of a specification's block as WordPress lists active plugins."""
    return f"{block['folder']}/{block['main_file']}"


def post_steps(
    before: Mapping[str, Any] | None, lock: Lock, catalogue: Catalogue
) -> tuple[tuple[str, ...], ...]:
    """Return the WP-CLI commands for after the release, of what is new or changed version.

    In activation order, each once.
    """
    commands = dict.fromkeys(
        command
        for _, _, release in _changed(before, lock, catalogue)
        for command in release.post_steps
        if command != _EVERY_RELEASE_DOES
    )
    return tuple(commands)


def _changed(
    before: Mapping[str, Any] | None, lock: Lock, catalogue: Catalogue
) -> Iterator[tuple[LockedArtefact, str | None, BlockRelease]]:
    """Yield what has another version than is live, with that version (`None`: it is new)."""
    live = [*(before or {}).get("blocks", ())]
    if before:
        live.append(before["theme"])
    installed = {block["name"]: block["version"] for block in live}
    for artefact in (lock.theme, *lock.blocks):
        was = installed.get(artefact.name)
        release = catalogue.release_of(artefact.name, artefact.sha256)
        if was != artefact.version and release is not None:
            yield artefact, was, release
