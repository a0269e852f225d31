"""Zips and folders to offer to a catalogue, sound and hostile."""

import stat
import zipfile
from pathlib import Path

PLUGIN = "<?php\n/**\n * Plugin Name: {name}\n * Version: {version}\n */\n"


def plugin_folder(parent: Path, name: str = "cmb2", version: str = "2.11.0") -> Path:
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.php").write_text(PLUGIN.format(name=name, version=version))
    return folder


def zip_of(
    path: Path, members: dict[str, bytes | str], modes: dict[str, int] | None = None
) -> Path:
    """A zip with these members, written as they are; `modes` are whole unix modes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            # ZipInfo would make these names harmless, and the test pointless.
            entry.filename = name
            entry.orig_filename = name
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            if name.endswith("/"):
                entry.external_attr = (stat.S_IFDIR | 0o755) << 16
            archive.writestr(entry, content)
    return path


def plugin_zip(
    path: Path, extra: dict[str, bytes | str] | None = None, version: str = "2.11.0"
) -> Path:
    header = PLUGIN.format(name="cmb2", version=version)
    return zip_of(path, {"cmb2/cmb2.php": header, **(extra or {})})
