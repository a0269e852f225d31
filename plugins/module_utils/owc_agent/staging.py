"""Building the tree of one release from the store, compared with what arrived there."""

from __future__ import annotations

import os
from typing import Any, Union

from . import files, layout, store
from .transaction import StepError, now, specification_of

CORE_EXTRAS = ("wp-content/plugins", "wp-content/themes")


def build(
    paths: layout.SitePaths, release_id: str, previous: str, specification: "dict[str, Any]"
) -> None:
    """Build a release under its id, whole or not at all.

    Raises StepError saying which artefact is damaged in the store; it is set aside then, so that
    the next plan sends it anew.
    """
    release = paths.release(release_id)
    partial = release + ".partial"
    files.remove_tree(partial)
    os.makedirs(partial, mode=0o755)
    _Tree(partial, specification, hashes_of(paths, previous)).link()
    os.symlink(paths.uploads, os.path.join(partial, "public", "wp-content", "uploads"))
    php = layout.checked_php(specification["php"])
    os.symlink("/usr/bin/php" + php, os.path.join(partial, "php"))
    os.symlink("/usr/sbin/php-fpm" + php, os.path.join(partial, "php-fpm"))
    for name, text in specification["files"].items():
        path = os.path.join(partial, layout.checked_folder(name))
        files.write_atomic(path, text.encode(), 0o440 if name.endswith(".php") else 0o644)
    files.write_json(
        os.path.join(partial, "release.json"),
        {
            "schema_version": 1,
            "release_id": release_id,
            "site": paths.site,
            "created_at": now(),
            "previous_release_id": previous,
            "specification": specification,
            "specification_sha256": files.canonical_sha256(specification),
        },
        0o640,
    )
    os.rename(partial, release)
    files.sync_folder(paths.releases)


class _Tree:
    """The code of a release; what is in `live` already is compared by names and sizes only.

    Linking again what visitors are served makes nothing worse, and reading all of it would cost
    every update a fifth of a second.
    """

    def __init__(
        self, folder: str, specification: "dict[str, Any]", live: "frozenset[str]"
    ) -> None:
        self.folder = folder
        self.content = os.path.join(folder, "public", "wp-content")
        self.specification = specification
        self.live = live

    def link(self) -> None:
        specification = self.specification
        public = os.path.join(self.folder, "public")
        core = {"name": "WordPress", **specification["wordpress"]}
        self._folder(core, "wordpress", public, frozenset(CORE_EXTRAS))
        for kind in ("plugins", "themes", "mu-plugins"):
            os.makedirs(os.path.join(self.content, kind), mode=0o755, exist_ok=True)
        for block in [specification["theme"], *specification["blocks"]]:
            self._folder(block, layout.checked_folder(block["folder"]), self._place(block))
        if specification["language"]:
            language = {"name": "the translation of WordPress", **specification["language"]}
            self._folder(language, "languages", os.path.join(self.content, "languages"))
        files.remove_tree(os.path.join(self.content, "uploads"))
        self._tool({"name": "WP-CLI", **specification["wp_cli"]}, "wp-cli.phar")

    def _place(self, block: "dict[str, Any]") -> str:
        folder = layout.checked_folder(block["folder"])
        kind = block.get("kind", "theme")
        if kind == "mu-plugin":
            return os.path.join(self.content, "mu-plugins")
        return os.path.join(self.content, "themes" if kind == "theme" else "plugins", folder)

    def _folder(
        self,
        artefact: "dict[str, Any]",
        folder: str,
        destination: str,
        skip: "frozenset[str]" = frozenset(),
    ) -> None:
        sha256 = artefact["sha256"]
        read = sha256 not in self.live
        try:
            store.link(sha256, folder, destination, skip=skip, read=read)
        except (store.AbsentError, store.DamagedError) as error:
            raise refusal(artefact, error) from None

    def _tool(self, artefact: "dict[str, Any]", name: str) -> None:
        sha256 = artefact["sha256"]
        destination = os.path.join(self.folder, name)
        try:
            store.link_file(sha256, "wp-cli/" + name, destination, read=sha256 not in self.live)
        except (store.AbsentError, store.DamagedError) as error:
            raise refusal(artefact, error) from None


def refusal(
    artefact: "dict[str, Any]", error: "Union[store.AbsentError, store.DamagedError]"
) -> StepError:
    """Set a damaged artefact aside; return what is to be said, for either."""
    what = "%s %s" % (artefact["name"], artefact["version"])
    if isinstance(error, store.AbsentError):
        return StepError(
            "%s is not in this server's store any more; run this again and it is sent anew" % what
        )
    store.set_aside_damaged(artefact["sha256"], error.inode)
    return StepError(
        "%s is damaged in this server's store (%s); it was set aside; run this again and it is"
        " sent anew" % (what, error)
    )


def hashes_of(paths: layout.SitePaths, release_id: str) -> "frozenset[str]":
    """Return the artefacts that a release was built from; none when that cannot be told."""
    specification = specification_of(paths, release_id)
    if specification is None:
        return frozenset()
    parts = [specification.get(name) for name in ("wordpress", "wp_cli", "language", "theme")]
    parts += specification.get("blocks") or []
    return frozenset(part["sha256"] for part in parts if isinstance(part, dict))
