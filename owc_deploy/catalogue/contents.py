"""What an archive holds, judged by the kind it is offered as: its folder, main file and version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from owc_deploy.catalogue.archive import Contents, read_head
from owc_deploy.catalogue.errors import ArtefactRefusedError
from owc_deploy.catalogue.headers import (
    HEADER_BYTES,
    plugin_header,
    wordpress_database_version,
    wordpress_version,
)
from owc_deploy.catalogue.models import Kind

# Kinds that always unpack to the same folder.
FIXED_FOLDERS: dict[Kind, str] = {"core": "wordpress", "language": "languages", "tool": "wp-cli"}

_WP_CLI_FILE = "wp-cli.phar"
_VERSION_FILE = "wp-includes/version.php"
_LANGUAGE_ENDINGS = (".mo", ".l10n.php")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in an archive.

    `header_version` is `None` where nothing states one, and where the kind has no such statement.
    `database_version` is WordPress' own, 0 of everything else.
    """

    folder: str
    main_file: str
    header_version: str | None
    title: str = ""
    database_version: int = 0


def find_block(
    archive: Path, contents: Contents, kind: Kind, folder: str | None, main_file: str | None
) -> Found:
    """Say what an archive that passed `inspect_archive` holds as this kind.

    `folder` and `main_file` are what was claimed, `None` for no claim.

    Raises ArtefactRefusedError when that kind cannot be found in it.
    """
    expected = FIXED_FOLDERS.get(kind, folder)
    if expected is not None and contents.folder != expected:
        raise ArtefactRefusedError(
            f"the one folder in the archive is called {contents.folder!a} and must be {expected}: "
            "other blocks look for it under that name",
            hint="unpack it, rename the folder, and add the folder itself",
        )

    def head(name: str) -> bytes:
        return read_head(archive, f"{contents.folder}/{name}", HEADER_BYTES)

    if kind == "core":
        return _core(contents, head)
    if kind == "tool":
        return _with_file(contents, _WP_CLI_FILE)
    if kind == "language":
        return _language(contents)
    _refuse_nested_content(contents)
    if kind == "theme":
        found = _with_file(contents, "style.css")
        return _described(found, head("style.css"), "Theme Name")
    return _plugin(contents, head, main_file)


def _core(contents: Contents, head: Callable[[str], bytes]) -> Found:
    _with_file(contents, _VERSION_FILE)
    stated = head(_VERSION_FILE)
    version = wordpress_version(stated)
    if version is None:
        raise ArtefactRefusedError(f"{_VERSION_FILE} in the archive states no $wp_version")
    return Found(contents.folder, "", version, "WordPress", wordpress_database_version(stated))


def _language(contents: Contents) -> Found:
    if not any(name.endswith(_LANGUAGE_ENDINGS) for name in contents.files):
        raise ArtefactRefusedError("the archive holds no language files (.mo or .l10n.php)")
    return Found(contents.folder, "", None)


def _plugin(contents: Contents, head: Callable[[str], bytes], main_file: str | None) -> Found:
    if main_file is not None:
        found = _with_file(contents, main_file)
        return _described(found, head(main_file), "Plugin Name")
    candidates = [
        name
        for name in sorted(contents.files)
        if name.endswith(".php") and "/" not in name and plugin_header(head(name), "Plugin Name")
    ]
    if len(candidates) != 1:
        seen = "none has" if not candidates else f"{', '.join(candidates)} have"
        raise ArtefactRefusedError(
            f"one file in {contents.folder}/ must begin with a plugin header; {seen} one",
            hint="name it with --main-file" if candidates else None,
        )
    return _described(Found(contents.folder, candidates[0], None), head(candidates[0]), "")


def _described(found: Found, head: bytes, required: str) -> Found:
    if required and not plugin_header(head, required):
        raise ArtefactRefusedError(
            f"{found.main_file} in the archive has no `{required}:` header, so WordPress would not "
            "see it"
        )
    title = plugin_header(head, "Plugin Name") or plugin_header(head, "Theme Name") or ""
    return Found(found.folder, found.main_file, plugin_header(head, "Version"), title)


def _with_file(contents: Contents, name: str) -> Found:
    if name not in contents.files:
        raise ArtefactRefusedError(f"{contents.folder}/{name} is not in the archive")
    return Found(contents.folder, name, None)


def _refuse_nested_content(contents: Contents) -> None:
    nested = sorted(
        name for name in contents.files if "wp-content" in PurePosixPath(name).parts[:-1]
    )
    if nested:
        raise ArtefactRefusedError(
            f"the archive carries copies of other blocks ({contents.folder}/{nested[0]}): a build "
            "with `composer install` inside the block leaves a wp-content folder whose classes "
            "would hide those of the real blocks",
            hint="remove that wp-content folder, and require the other blocks with --requires",
        )
