"""The options whose values belong to a release, kept beside it to come back to."""

from __future__ import annotations

import os
from typing import Any

from . import database, files, layout
from .transaction import TOUCHED_OPTIONS


def owned_options(specification: "dict[str, Any]") -> "list[str]":
    """Return the options whose values belong to a release."""
    return [*TOUCHED_OPTIONS, *specification["options"]]


def write_state(paths: layout.SitePaths, release_id: str, names: "list[str]") -> None:
    """Keep the present raw values of options beside a release."""
    values = database.read_options(paths.database, names)
    state = os.path.join(paths.release(release_id), "state.json")
    files.write_json(state, {"options": values}, 0o600)


def refresh_state(paths: layout.SitePaths, release_id: str) -> None:
    """Before a release is left, take over what editors changed since it was made live.

    Widgets, and options of which the manifest owns some keys only, are theirs as much as the
    release's; going back to it must not go back to theirs of months ago.
    """
    release = paths.release(release_id) if release_id else ""
    document = files.read_json(os.path.join(release, "release.json"))
    state = files.read_json(os.path.join(release, "state.json"))
    if not release or document is None or state is None:
        return
    owned = document["specification"]["options"]
    shared = ["sidebars_widgets", *(name for name in owned if isinstance(owned[name], dict))]
    state["options"].update(database.read_options(paths.database, shared))
    files.write_json(os.path.join(release, "state.json"), state, 0o600)
