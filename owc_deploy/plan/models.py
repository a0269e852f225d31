"""A plan, and the observed state it is made from, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ServerAction = Literal["none", "provision", "unreachable"]
SiteAction = Literal["none", "create", "update", "repair", "decommission", "held", "not-attempted"]
OutcomeWord = Literal[
    "ok",
    "changed",
    "failed",
    "rolled-back",
    "unreachable",
    "busy",
    "inconclusive",
    "not-attempted",
]


# What a change is of that undoes what somebody had begun, or waits for it.
TRANSACTION = "transaction"


@dataclass(frozen=True, slots=True)
class ObservedServer:
    """What one probe call saw on one server.

    `sites` maps a site's name to what `owc_agent.probe` says of it; `store` are the hashes of the
    artefacts already there; `provisioned` the fingerprint of the last finished provisioning, `""`
    when there was none. When `unreachable` is set it holds the reason and nothing else is known.
    """

    server: str
    unreachable: str = ""
    provisioned: str = ""
    store: frozenset[str] = frozenset()
    sites: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would become different, and why.

    `what` is a place such as `block openwoo` or `option blogname`; `before` and `after` are shown
    to a person (`None`: absent).
    """

    what: str
    before: str | None
    after: str | None
    why: str


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What one server needs before its sites; `artefacts` are hashes to be sent, sorted."""

    server: str
    action: ServerAction
    reason: str = ""
    artefacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedMigration:
    """A data migration that is part of a release, as it is sent to the server.

    `from_version` is live and `to_version` will be. `commands` are WP-CLI argument lists, each of
    which may take `timeout_seconds`.
    `reversible` says whether the earlier version can read the data afterwards: when not, the way
    back is a restore of the database.
    """

    block: str
    from_version: str
    to_version: str
    commands: tuple[tuple[str, ...], ...]
    reversible: bool
    timeout_seconds: int = 600


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What one site needs.

    `specification` is what is sent to the server (see docs/architecture.md), `None` for `none`,
    `decommission`, `held` and `not-attempted`. `observed_release` is the release the plan saw live
    (`""` when none); the server refuses when it is another by then. `migrations` are what this
    change of versions asks for, `renamed` the plugins that go on as `{block, from, to}` under
    another file, `post_steps` the WP-CLI commands for after the release; all in activation order.
    `new_certificate` says that the controller has to supply one. `reason` explains `held` and
    `not-attempted`. `warnings` tell of guarantees that end and of releases that were withdrawn.
    `mitigations` are what is to be closed on it; a release adds those that its site lacks.
    """

    site: str
    server: str
    ring: str
    action: SiteAction
    changes: tuple[Change, ...] = ()
    specification: Mapping[str, Any] | None = None
    observed_release: str = ""
    migrations: tuple[PlannedMigration, ...] = ()
    renamed: tuple[Mapping[str, str], ...] = ()
    post_steps: tuple[tuple[str, ...], ...] = ()
    new_certificate: bool = False
    reason: str = ""
    warnings: tuple[str, ...] = ()
    mitigations: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_interrupted(self) -> bool:
        """Whether a change had been begun on it, and not ended."""
        return any(change.what == TRANSACTION for change in self.changes)


@dataclass(frozen=True, slots=True)
class Plan:
    """A saved plan; `plan_id` is the hash of everything else in it.

    `bound_to` maps `manifest/SITE`, `lock/SITE`, `observed/SERVER/SITE` and `catalogue` to the
    hashes the plan was made from. `created_at` is ISO 8601 in UTC.
    """

    plan_id: str
    created_at: str
    fleet: str
    bound_to: Mapping[str, str]
    servers: tuple[ServerPlan, ...]
    sites: tuple[SitePlan, ...]

    @property
    def has_changes(self) -> bool:
        """Whether applying it would do anything."""
        return any(s.action == "provision" for s in self.servers) or any(
            s.action in {"create", "update", "repair", "decommission"} for s in self.sites
        )

    @property
    def is_incomplete(self) -> bool:
        """Whether there is a site for which could not be said what it needs."""
        return any(s.action == "not-attempted" for s in self.sites)


@dataclass(frozen=True, slots=True)
class Fence:
    """What a controller shows servers, so that they refuse whoever came before it to a site.

    `token` is higher than that of every earlier owner of the site in the same `store`; `owner` says
    in words who it is.
    """

    store: str
    token: int
    owner: str


@dataclass(frozen=True, slots=True)
class SiteOutcome:
    """How it ended for one site. `steps` are the transaction's steps with seconds each."""

    site: str
    server: str
    outcome: OutcomeWord
    message: str = ""
    release_id: str = ""
    previous_release_id: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
