"""Whether the live versions can become the locked ones in one release, and what to do if not. Pure.

Up, a release may ask that no major is skipped, since each brings the data only one step further.
Down, a version that cannot read the data is no update: the way back is an earlier release, with the
database as it was then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue, Migration
from owc_deploy.fleet.constraints import Version, parse_constraint, parse_version
from owc_deploy.fleet.models import Lock, LockedArtefact, Manifest


def hindrance(manifest: Manifest, lock: Lock, catalogue: Catalogue, seen: Mapping[str, Any]) -> str:
    """Return why a live site cannot go to its lock in one release, `""` when it can.

    `seen` is what the probe says of the site. The reason ends with what to type instead.
    """
    live = seen.get("specification")
    if not live:
        return ""
    installed = {block["name"]: block["version"] for block in (live["theme"], *live["blocks"])}
    installed[lock.wordpress.name] = live["wordpress"]["version"]
    up: list[str] = []
    back: list[str] = []
    for artefact in (lock.wordpress, lock.theme, *lock.blocks):
        was = installed.get(artefact.name)
        if was is None or parse_version(was) == parse_version(artefact.version):
            continue
        if parse_version(was) < parse_version(artefact.version):
            up.append(_too_far(manifest, artefact, was, catalogue))
        elif artefact == lock.wordpress:
            at = int(seen.get("database_version", 0))
            back.append(_older_wordpress(artefact, was, catalogue, at))
        else:
            back.append(_no_way_back(artefact, was, catalogue))
    if any(back):
        back.append(f"to go back: owc-deploy rollback {manifest.site}")
    return "; ".join(filter(None, (*up, *back)))


def way_up(block: Block, was: str, target: BlockRelease) -> tuple[str, ...]:
    """Return the versions to go by, in order, from `was` to a release; empty where there is no way.

    Each is the newest that the one before it may be updated to, and from which one can go on.
    """
    final = parse_version(target.version)
    between = sorted(
        (
            release
            for release in block.releases
            if release.withdrawn is None and parse_version(was) < parse_version(release.version)
            if parse_version(release.version) < final
        ),
        key=_newness,
        reverse=True,
    )
    onward = [target]
    for release in sorted(between, key=lambda item: parse_version(item.version), reverse=True):
        if any(_may_follow(later, release.version) for later in onward):
            onward.append(release)
    way: list[str] = []
    at = was
    while not _may_follow(target, at):
        step = next((item for item in between if item in onward and _may_follow(item, at)), None)
        if step is None:
            return ()
        way.append(step.version)
        at = step.version
    return tuple(way)


def _newness(release: BlockRelease) -> tuple[bool, Version]:
    version = parse_version(release.version)
    return (not version.is_prerelease, version)


def _may_follow(release: BlockRelease, version: str) -> bool:
    """Say whether a release is newer than a version and may be installed over it."""
    was = parse_version(version)
    return was < parse_version(release.version) and parse_constraint(release.updates_from).allows(
        was
    )


def _too_far(manifest: Manifest, artefact: LockedArtefact, was: str, catalogue: Catalogue) -> str:
    name, site = artefact.name, manifest.site
    release = catalogue.release_of(name, artefact.sha256)
    if release is None or _may_follow(release, was):
        return ""
    why = (
        f"{name} {artefact.version} cannot be installed over {was} in one step: it updates from "
        f"{release.updates_from}"
    )
    way = way_up(catalogue.blocks[name], was, release)
    if not way:
        return (
            f"{why}, and the catalogue holds no release to go by; first add one that updates from "
            f"{was}: owc-deploy catalogue add SOURCE --name {name}"
        )
    by = ", then ".join(way)
    return (
        f"{why}, so it goes by {by}; first: set {name} to {way[0]} in {manifest.source.name}, then "
        f"owc-deploy update {name} --site {site} && owc-deploy apply {site}"
    )


def _older_wordpress(artefact: LockedArtefact, was: str, catalogue: Catalogue, live: int) -> str:
    release = catalogue.release_of(artefact.name, artefact.sha256)
    able = release.database_version if release is not None else 0
    if not able:
        return (
            f"WordPress {artefact.version} is older than the live {was}, and the catalogue does not"
            " say which database it works with"
        )
    if able < live:
        return (
            f"WordPress {artefact.version} cannot take the place of {was}: the database is at "
            f"{live}, and it works with {able}"
        )
    return ""


def _no_way_back(artefact: LockedArtefact, was: str, catalogue: Catalogue) -> str:
    """Return why an older version could not read the data, as far as the catalogue knows.

    By which releases the site came is not known, so every migration on the way counts.
    """
    block = catalogue.blocks.get(artefact.name)
    new, old = parse_version(artefact.version), parse_version(was)
    on_the_way = {
        parse_version(release.version): release
        for release in (block.releases if block else ())
        if new < parse_version(release.version) <= old
    }
    versions = {new, old, *on_the_way}
    for _, release in sorted(on_the_way.items()):
        if any(_is_one_way(migration, versions, new, old) for migration in release.migrations):
            return (
                f"{artefact.name} {artefact.version} cannot take the place of {was}: it cannot "
                f"read the data since the migration of {release.version}"
            )
    return ""


def _is_one_way(migration: Migration, versions: set[Version], new: Version, old: Version) -> bool:
    begins, ends = parse_constraint(migration.from_version), parse_constraint(migration.to_version)
    return (
        not migration.reversible
        and any(begins.allows(version) for version in versions - {old})
        and any(ends.allows(version) for version in versions - {new})
    )
