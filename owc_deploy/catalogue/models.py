"""What the catalogue says, as frozen values: the shape of `catalogue.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from owc_deploy.fleet.models import Channel

Kind = Literal["plugin", "theme", "mu-plugin", "core", "language", "tool"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something a release needs, at a Composer constraint.

    Exactly one of the two is given. `any_of` names blocks, any one of which will do, best first;
    `function` names a PHP function that some block must provide.
    """

    any_of: tuple[str, ...] = ()
    function: str | None = None
    version: str = "*"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A block that must not be present at this constraint, and why, in words."""

    block: str
    version: str = "*"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Migration:
    """A data migration run with WP-CLI when the installed version crosses from `from_version`.

    `from_version` and `to_version` are Composer constraints on the installed and the new version.
    `commands` are WP-CLI argument lists without `wp`; each may take `timeout_seconds`. `reversible`
    says whether the earlier version can read the data afterwards.
    """

    from_version: str
    to_version: str
    commands: tuple[tuple[str, ...], ...]
    reversible: bool = False
    timeout_seconds: int = 600


@dataclass(frozen=True, slots=True)
class Advisory:
    """A known vulnerability in the releases that match `affected`."""

    identifier: str
    affected: str
    severity: str
    summary: str


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A steward's promise to maintain a block. Both dates are ISO 8601 and belong to it."""

    by: str
    from_date: str
    until_date: str


@dataclass(frozen=True, slots=True)
class GatePage:
    """A page that must answer: its path, the HTTP status, and a text it contains."""

    path: str
    status: int = 200
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """What must be seen of a running block: in REST, in the scheduled tasks, on pages."""

    rest_namespaces: tuple[str, ...] = ()
    cron_hooks: tuple[str, ...] = ()
    rest_routes: tuple[str, ...] = ()
    pages: tuple[GatePage, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockRelease:
    """One release of a block, with the hash of the artefact that carries it.

    `header_version` is what the plugin's own header says, which is often not the tag. `php` and
    `wordpress` are effective ranges. `provides` are PHP functions that exist once it is active.
    `train` names a group of blocks that move together. `updates_from` is a constraint on the
    installed version: from others it cannot be reached in one step. `size_bytes` is of the archive.
    `folder` and `main_file` are the release's own where a rename made them other than the block's,
    else empty. `database_version` is of WordPress itself: the version of the database that its code
    works with, 0 when not known. `channel` is `beta` where only sites that ask for it may take it;
    a beta that proved itself becomes stable by changing this, with the same artefact.
    """

    version: str
    header_version: str
    sha256: str
    size_bytes: int
    folder: str = ""
    main_file: str = ""
    database_version: int = 0
    channel: Channel = "stable"
    source: str = ""
    commit: str = ""
    php: str = "*"
    wordpress: str = "*"
    requires: tuple[Requirement, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    train: str | None = None
    updates_from: str = "*"
    migrations: tuple[Migration, ...] = ()
    post_steps: tuple[tuple[str, ...], ...] = ()
    constants: tuple[str, ...] = ()
    gate: Gate = field(default_factory=Gate)
    withdrawn: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A block with its releases, newest first. `environments` are those where it may run.

    `guarantee` is `None` where nobody is known to have promised anything. `support` is an e-mail or
    web address. `successor` names the block to choose instead, empty where there is none.

    WordPress itself (`wordpress`, kind `core`), WP-CLI (`wp-cli`, kind `tool`) and language files
    (`language-nl_NL`, kind `language`) are listed in the same way.
    """

    name: str
    kind: Kind
    title: str
    folder: str
    main_file: str
    releases: tuple[BlockRelease, ...]
    licence: str = ""
    paid: bool = False
    environments: tuple[str, ...] = ("production", "acceptance", "test")
    guarantee: Guarantee | None = None
    support: str = ""
    successor: str = ""
    advisories: tuple[Advisory, ...] = ()

    def place_of(self, release: BlockRelease) -> tuple[str, str]:
        """Return the folder and the main file of one of its releases."""
        return release.folder or self.folder, release.main_file or self.main_file

    @property
    def folders(self) -> frozenset[str]:
        """Every folder that a release of it has."""
        return frozenset(self.place_of(release)[0] for release in self.releases)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that may be installed; `sha256` is the hash of `catalogue.json`'s bytes."""

    blocks: Mapping[str, Block]
    sha256: str

    def release_of(self, name: str, sha256: str) -> BlockRelease | None:
        """Return the release of a block that an artefact carries, `None` when it is not listed."""
        block = self.blocks.get(name)
        releases = block.releases if block else ()
        return next((release for release in releases if release.sha256 == sha256), None)
