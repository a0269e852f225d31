"""A beta release that proved itself becomes stable: its channel changes, its artefact does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from owc_deploy.catalogue.models import Block
from owc_deploy.catalogue.write import rewrite
from owc_deploy.errors import CatalogueError
from owc_deploy.fleet.constraints import parse_version


def promote(folder: Path, name: str, version: str) -> bool:
    """Make one beta release stable; return false when it was stable already.

    Raises CatalogueError when the catalogue does not hold it, or holds it as withdrawn.
    """
    return rewrite(folder, lambda blocks: _promoted(blocks, name, version))


def _promoted(blocks: Mapping[str, Block], name: str, version: str) -> Block | None:
    try:
        asked = parse_version(version)
    except ValueError as error:
        raise CatalogueError(str(error), hint=f"owc-deploy catalogue show {name}") from error
    block = blocks.get(name)
    releases = block.releases if block else ()
    found = next((item for item in releases if parse_version(item.version) == asked), None)
    if block is None or found is None:
        raise CatalogueError(
            f"the catalogue holds no {name} {version}", hint="owc-deploy catalogue list"
        )
    if found.withdrawn is not None:
        raise CatalogueError(
            f"{name} {version} was withdrawn ({found.withdrawn}); it cannot become stable",
            hint="release what was mended under a new version",
        )
    if found.channel == "stable":
        return None
    stable = replace(found, channel="stable")
    return replace(block, releases=tuple(stable if r is found else r for r in block.releases))
