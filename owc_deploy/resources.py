"""Where the playbooks, roles, plugins, schemas, example fleets and catalogue sources are.

In a checkout they stand beside the package; in an installed wheel they are inside it. Nothing else
in the package may guess.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_resources"


def resource_folder(name: str) -> Path:
    """Return `playbooks`, `roles`, `plugins`, `schemas`, `inventories` or `catalogues`.

    Raises FileNotFoundError when the installation is damaged.
    """
    root = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
    folder = root / name
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    return folder
