"""Which releases, snapshots and journals of a site are kept, and taking away the others."""

from __future__ import annotations

import os
import shutil
from typing import Any

from . import files, layout
from .transaction import activations, crossed_change

# Snapshots that belong to no release that is kept: of rollbacks, decommissions, interruptions.
LOOSE_SNAPSHOTS_KEPT = 5
# What transactions did, for whoever looks into an incident.
JOURNALS_KEPT = 50


def prune(paths: layout.SitePaths, kept: int) -> None:
    """Remove releases past keeping, with snapshots and journals that nothing needs any more."""
    entries = activations(paths)
    present = frozenset(name for name in os.listdir(paths.releases) if layout.is_release(name))
    keep = kept_releases(entries, present, paths.current_release(), kept)
    for name in os.listdir(paths.releases):
        if name not in keep:
            shutil.rmtree(os.path.join(paths.releases, name))
    needed = keep | needed_snapshots(entries, keep)
    _prune_files(paths.snapshots, ".sql.gz", needed, LOOSE_SNAPSHOTS_KEPT)
    _prune_files(paths.journal, ".jsonl", keep, JOURNALS_KEPT)


def kept_releases(
    entries: "list[dict[str, Any]]", present: "frozenset[str]", live: str, kept: int
) -> "frozenset[str]":
    """Return the releases to keep: the live one, the good one before it, the last `kept`; pure.

    `entries` are the activations, oldest first: only what was made live and stayed is good.
    """
    order = dict.fromkeys(entry["release_id"] for entry in reversed(entries))
    good = [release_id for release_id in order if release_id in present]
    return frozenset([live, *good[: max(kept, 2)]]) & (present | {live})


def needed_snapshots(entries: "list[dict[str, Any]]", keep: "frozenset[str]") -> "frozenset[str]":
    """Return the snapshots that going back to a kept release would bring back; pure."""
    live = {entry["release_id"] for entry in entries}
    return frozenset(crossed_change(entries, release_id) for release_id in keep & live) - {""}


def _prune_files(folder: str, ending: str, needed: "frozenset[str]", loose: int) -> None:
    """Remove the files of a folder that are not `needed`, but for the newest `loose`."""
    if not os.path.isdir(folder):
        return
    others = [
        entry
        for entry in os.scandir(folder)
        if entry.name.endswith(ending) and entry.name[: -len(ending)] not in needed
    ]
    others.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in others[loose:]:
        files.remove_file(entry.path)
