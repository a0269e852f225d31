"""What is mounted on this machine, and the overlays that lab servers run on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from owc_deploy.errors import LabError
from owc_deploy.lab.commands import run_command


def mount_root(folder: Path, layers: Sequence[Path]) -> Path:
    """Mount `folder/root`: the layers (uppermost first), read-only, below `folder/upper`."""
    root, upper, work = folder / "root", folder / "upper", folder / "work"
    for path in (root, upper, work):
        path.mkdir(parents=True, exist_ok=True)
    if not is_mounted(root):
        lower = ":".join(_escape(path) for path in layers)
        options = f"lowerdir={lower},upperdir={_escape(upper)},workdir={_escape(work)}"
        run_command(
            ["mount", "-t", "overlay", "owc-lab", "-o", options, str(root)],
            context=f"mounting the disk of {folder.name}",
        )
    return root


def unmount_below(folder: Path) -> bool:
    """Unmount everything below `folder`, deepest first; return whether there was anything."""
    found = [path for path in mount_points() if path == folder or folder in path.parents]
    for path in sorted(found, key=lambda item: len(item.parts), reverse=True):
        run_command(["umount", "--lazy", str(path)], context=f"unmounting {path}")
    return bool(found)


def is_mounted(path: Path) -> bool:
    """Return whether `path` is a mount point."""
    return path in mount_points()


def mount_points() -> tuple[Path, ...]:
    """Return every mount point of this machine, in the order of mounting."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return tuple(Path(_unescape(line.split(" ")[1])) for line in lines)


def remove_tree(folder: Path) -> None:
    """Remove a folder that is no mount point and holds none; nothing happens when it is absent.

    Raises LabError when something is still mounted inside: removing would reach through it.
    """
    if not folder.is_dir():
        return
    for path in mount_points():
        if path == folder or folder in path.parents:
            raise LabError(f"{path} is still mounted", hint=f"umount --lazy {path}")
    shutil.rmtree(folder)


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
