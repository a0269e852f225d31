"""Whether a release of before is whole: looked at before anything is touched."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from . import files, layout
from .transaction import StepError

# Without these no WordPress answers, whatever the blocks.
TREE_FILES = (
    "public/index.php",
    "public/wp-load.php",
    "public/wp-settings.php",
    "public/wp-includes/version.php",
    "wp-config.php",
    "freeze.php",
    "wp-cli.phar",
    "nginx.conf",
    "php-fpm.conf",
)
# So many missing files are named.
NAMED = 3


class Target(NamedTuple):
    """A release that is whole: what it was built from, and the values of its options."""

    specification: "dict[str, Any]"
    state: "dict[str, Any]"


def read_target(paths: layout.SitePaths, release_id: str) -> Target:
    """Return a release; raises StepError saying what is wrong with it."""
    release = paths.release(release_id)
    if not os.path.isdir(release):
        raise StepError("release %s is not on this server any more" % release_id)
    document = files.read_json(os.path.join(release, "release.json"))
    state = files.read_json(os.path.join(release, "state.json"))
    wrong = _document_problem(document, release_id, paths.site) or _state_problem(state)
    if not wrong:
        wrong = tree_problem(release, document["specification"])
    if wrong:
        raise StepError("release %s cannot be made live again: %s" % (release_id, wrong))
    return Target(document["specification"], state)


def _document_problem(document: Any, release_id: str, site: str) -> str:
    if not isinstance(document, dict) or not isinstance(document.get("specification"), dict):
        return "its release.json is missing or damaged"
    if document.get("release_id") != release_id or document["specification"].get("site") != site:
        return "its release.json is that of another release"
    seen = files.canonical_sha256(document["specification"])
    if document.get("specification_sha256") != seen:
        return "its release.json was changed since it was built"
    return ""


def _state_problem(state: Any) -> str:
    complete = isinstance(state, dict) and isinstance(state.get("options"), dict)
    return "" if complete else "it was never made live in full (no state.json)"


def tree_problem(release: str, specification: "dict[str, Any]") -> str:
    """Return what a release's tree lacks of its specification, in words, `""` when nothing.

    The tree has hard links of its own: an artefact that left the store since is no harm to it.
    """
    missing = [path for path in TREE_FILES if not _is_file(release, path)]
    for block in [specification["theme"], *specification["blocks"]]:
        path = main_file(block)
        if not _is_file(release, path):
            missing.append("%s (of %s %s)" % (path, block["name"], block["version"]))
    if not missing:
        return ""
    more = " and %d more" % (len(missing) - NAMED) if missing[NAMED:] else ""
    return "its tree lacks %s%s" % (", ".join(missing[:NAMED]), more)


def main_file(block: "dict[str, Any]") -> str:
    """Return the path in a release's tree without which WordPress does not see a block."""
    content = "public/wp-content"
    kind = block.get("kind", "theme")
    folder = layout.checked_folder(block["folder"])
    if kind == "theme":
        return "%s/themes/%s/style.css" % (content, folder)
    if kind == "mu-plugin":
        return "%s/mu-plugins/%s" % (content, block["main_file"])
    return "%s/plugins/%s/%s" % (content, folder, block["main_file"])


def _is_file(release: str, path: str) -> bool:
    found = os.path.join(release, path)
    try:
        return os.path.getsize(found) > 0 and os.path.isfile(found)
    except OSError:
        return False
