"""The artefacts a server lacks, packed as one file to send."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from owc_deploy.errors import CatalogueError


@contextlib.contextmanager
def packed(
    catalogue: Path, wanted: Mapping[str, tuple[str, ...]]
) -> Iterator[Mapping[str, Path | None]]:
    """Give the path of an uncompressed tar per server, `None` where nothing is to be sent.

    `wanted` maps a server to hashes; servers that lack the same artefacts share one tar. Its
    members are named `<sha256>.zip`. Deleted afterwards. Raises CatalogueError when the catalogue
    lacks one.
    """
    sets = {server: tuple(sorted(set(hashes))) for server, hashes in wanted.items()}
    with tempfile.TemporaryDirectory(prefix="owc-artefacts-") as folder:
        tars = {
            hashes: _pack(catalogue, hashes, Path(folder, f"{number}.tar"))
            for number, hashes in enumerate(sorted(set(sets.values())))
            if hashes
        }
        yield {server: tars.get(hashes) for server, hashes in sets.items()}


def _pack(catalogue: Path, hashes: Iterable[str], target: Path) -> Path:
    with tarfile.open(target, "w") as archive:
        for sha256 in hashes:
            source = catalogue / "artefacts" / f"{sha256}.zip"
            member = tarfile.TarInfo(source.name)
            try:
                member.size = source.stat().st_size
                with source.open("rb") as content:
                    archive.addfile(member, content)
            except FileNotFoundError as error:
                raise CatalogueError(
                    f"the catalogue has no artefact {sha256}",
                    context=f"expected at {source}",
                    hint="owc-deploy catalogue add",
                ) from error
    return target
