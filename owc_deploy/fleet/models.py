"""What the fleet's documents say, as frozen values. Reading them is `owc_deploy.fleet.load`'s work.

Field names are the schema's keys, spelled the same (see `schemas/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any, Literal

Environment = Literal["production", "acceptance", "test"]
DependencyPolicy = Literal["add", "refuse"]
Channel = Literal["stable", "beta"]
TlsPolicy = Literal["acme", "supplied", "internal"]
NotificationEvent = Literal[
    "rollout-started",
    "ring-ended",
    "rollout-paused",
    "rollout-halted",
    "rollout-ended",
    "rollout-incomplete",
    "rollout-aborted",
    "site-failed",
    "apply-failed",
    "audit-finding",
]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

DEFAULT_TIER = "default"
DEFAULT_PLACE = "default"
DEFAULT_TIME_ZONE = "Europe/Amsterdam"
# The others only tell how far a rollout is.
NEEDS_A_PERSON: tuple[NotificationEvent, ...] = (
    "rollout-paused",
    "rollout-halted",
    "rollout-incomplete",
    "site-failed",
    "apply-failed",
    "audit-finding",
)


@dataclass(frozen=True, slots=True)
class Municipality:
    """The municipality whose site this is; `code` is its CBS code, such as `gm0344`."""

    name: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class SiteServers:
    """Inventory names of the servers that carry the site."""

    web: tuple[str, ...]
    database: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a block may not move for now, and the last day of that, ISO 8601; `None`: no end."""

    reason: str
    until: str | None = None

    def is_over(self, today: date) -> bool:
        """Say whether it ran out before `today`."""
        return self.until is not None and date.fromisoformat(self.until) < today

    def __str__(self) -> str:
        return f"until {self.until}: {self.reason}" if self.until else self.reason


@dataclass(frozen=True, slots=True)
class BlockChoice:
    """A block the site wants: its catalogue name, a Composer constraint, and owned settings.

    `channel` says whether betas may be taken; `None`: as the manifest says for everything.

    `settings` maps a WordPress option name to its value. Where the value is a mapping only the keys
    named are owned; the option's other keys are left as an editor set them.
    """

    name: str
    version: str = "*"
    settings: Mapping[str, Any] = field(default_factory=dict)
    channel: Channel | None = None
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class ThemeChoice:
    """The theme to activate: its catalogue name, a Composer constraint, and as for a block."""

    name: str
    version: str = "*"
    channel: Channel | None = None
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """A path that answers with a redirect to another path or an https URL."""

    source: str
    target: str
    status: int = 301


@dataclass(frozen=True, slots=True)
class Administrator:
    """A WordPress administrator who must exist; access is handed out with `owc-deploy access`."""

    login: str
    email: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page the gate asks for: its path, the status it must answer, a text it must contain."""

    path: str
    status: int = 200
    text: str | None = None


@dataclass(frozen=True, slots=True)
class SecretReference:
    """The name of a file in the fleet's `secrets/` folder, never its value."""

    secret: str


@dataclass(frozen=True, slots=True)
class Tls:
    """Where the site's certificate comes from.

    `acme`: asked for on the server, `email` is told of expiry. `supplied`: `certificate` is a PEM
    file (leaf first, then intermediates) relative to the fleet, `private_key` a secret. `internal`:
    the fleet's own authority signs it.
    """

    policy: TlsPolicy
    email: str | None = None
    certificate: str | None = None
    private_key: SecretReference | None = None


@dataclass(frozen=True, slots=True)
class SiteGate:
    """What must be seen of the running site, beside what its blocks declare."""

    rest_namespaces: tuple[str, ...] = ()
    rest_routes: tuple[str, ...] = ()
    cron_hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one site should be.

    `source` is the file it was read from and `sha256` the hash of that file's bytes. `settings`
    maps WordPress option names to values that the manifest owns, as for a block.
    `without_guarantee` maps blocks that are taken although their guarantee lapsed to the reason.
    `ring` is the ring the site is in, by its own word or by its labels; empty: in none.
    """

    site: str
    municipality: Municipality
    environment: Environment
    url: str
    servers: SiteServers
    php: str
    wordpress: str
    theme: ThemeChoice
    tls: Tls
    source: Path
    sha256: str
    ring: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    sla_tier: str | None = None
    title: str | None = None
    aliases: tuple[str, ...] = ()
    locale: str = "nl_NL"
    dependencies: DependencyPolicy = "add"
    channel: Channel = "stable"
    blocks: tuple[BlockChoice, ...] = ()
    without_guarantee: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    redirects: tuple[Redirect, ...] = ()
    administrators: tuple[Administrator, ...] = ()
    pages: tuple[Page, ...] = ()
    gate: SiteGate = field(default_factory=SiteGate)
    releases_kept: int = 5

    @property
    def domain(self) -> str:
        """The host name in `url`."""
        return self.url.removeprefix("https://").rstrip("/")


@dataclass(frozen=True, slots=True)
class Share:
    """A number of sites, or a percentage of a ring's sites."""

    number: int
    is_percentage: bool = False

    def rounded_up(self, sites: int) -> int:
        """Return how many of a ring's sites make a wave: at least one, at most all of them."""
        wanted = -(-sites * self.number // 100) if self.is_percentage else self.number
        return max(1, min(wanted, sites))

    def rounded_down(self, sites: int) -> int:
        """Return how many of a ring's sites are allowed: at least none, at most all of them."""
        allowed = sites * self.number // 100 if self.is_percentage else self.number
        return max(0, min(allowed, sites))

    def __str__(self) -> str:
        return f"{self.number}%" if self.is_percentage else str(self.number)


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """How many of a ring's sites may end badly before the rollout halts, by how they ended.

    `failed`: failed, and rolled back. `inconclusive`: not known. `unreachable`: unreachable, busy
    and not attempted, once they were tried often enough.
    """

    failed: Share = Share(0)
    inconclusive: Share = Share(0)
    unreachable: Share = Share(25, is_percentage=True)


@dataclass(frozen=True, slots=True)
class Ring:
    """A named group of sites, and how a rollout goes through them.

    Rings are walked in the order of fleet.yml. Sites that have all of `labels` are in the ring
    without naming it. `waves` are the sizes of the waves; the last repeats until every site had its
    turn, and without any the ring is one wave. `undo_since` is this ring or an earlier one: when
    the failure budget is exceeded, everything that the rollout changed since that ring is rolled
    back. `None`: only the failing sites, which their own transactions undid.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    waves: tuple[Share, ...] = ()
    soak_minutes: int = 0
    failure_budget: FailureBudget = field(default_factory=FailureBudget)
    undo_since: str | None = None


@dataclass(frozen=True, slots=True)
class RolloutLimits:
    """How much a rollout does at once, and how often it tries a site that cannot be reached.

    `attempts` counts the first. Suppliers are those of `Server.supplier`; `None`: no limit.
    """

    sites_at_once: int = 8
    sites_at_once_per_server: int = 2
    sites_at_once_per_supplier: int | None = None
    attempts: int = 3
    pause_between_attempts_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Window:
    """When sites may be changed: it begins on each of `days`, at `from_time` of the local clock.

    It ends at `until_time`; when that is not later in the day, on the day after. The keys are not
    called `from` and `until`, as `from` cannot be a name in Python.
    """

    days: tuple[Weekday, ...]
    from_time: time
    until_time: time

    def __str__(self) -> str:
        return f"{', '.join(self.days)} {self.from_time:%H:%M}-{self.until_time:%H:%M}"


@dataclass(frozen=True, slots=True)
class SlaTier:
    """When the sites of one service level may be changed; without windows at any time.

    It is named for what was agreed with the municipality, not `windows`: several windows make one
    agreement, and manifests name the agreement. `time_zone` is an IANA name.
    """

    name: str
    time_zone: str = DEFAULT_TIME_ZONE
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class FreezeDays:
    """Whole local days, the last included, on which sites of these tiers may not be changed.

    Without `sla_tiers` no site may be.
    """

    from_date: date
    until_date: date
    reason: str
    sla_tiers: tuple[str, ...] = ()

    def concerns(self, sla_tier: str) -> bool:
        """Return whether they hold for a tier."""
        return not self.sla_tiers or sla_tier in self.sla_tiers

    def __str__(self) -> str:
        days = f"{self.from_date} to {self.until_date}"
        return f"{self.from_date if self.from_date == self.until_date else days} ({self.reason})"


@dataclass(frozen=True, slots=True)
class SignedCatalogue:
    """Where a signed catalogue is published, and the root that is trusted to begin with.

    `source` is an https address or the absolute path of a folder.
    """

    source: str
    root: Path


@dataclass(frozen=True, slots=True)
class AdvisoryFeed:
    """A feed of vulnerabilities at an https address; `key` is sent as a bearer token."""

    url: str
    form: Literal["osv", "wordfence"]
    key: SecretReference | None = None


def is_this_machine(host: str) -> bool:
    """Return whether what is sent to a host, or a Unix socket's folder, stays on this machine."""
    return host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class PostgresqlState:
    """The PostgreSQL database that keeps history, leases and audit log of a team.

    `host` is a name, an address, or the absolute path of the folder of a Unix socket.
    `root_certificate` is a PEM file; with it the server must prove with TLS that it is `host`.
    Without `password` the client library finds its own way in: peer, or ~/.pgpass.
    """

    host: str
    database: str
    user: str
    port: int = 5432
    password: SecretReference | None = None
    root_certificate: Path | None = None


@dataclass(frozen=True, slots=True)
class NotificationChannel:
    """Who is told of which events; `address` is an Apprise address, which holds tokens."""

    name: str
    address: SecretReference
    events: tuple[NotificationEvent, ...] = NEEDS_A_PERSON


@dataclass(frozen=True, slots=True)
class TemporalTls:
    """TLS to a Temporal cluster, believed as `root_certificate` says, or else this machine.

    With `client_certificate` and its key the cluster knows who we are.
    """

    root_certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: SecretReference | None = None


@dataclass(frozen=True, slots=True)
class TemporalCluster:
    """The Temporal cluster on which rollouts run; `address` is host and port."""

    address: str
    namespace: str = "default"
    tls: TemporalTls | None = None
    api_key: SecretReference | None = None

    @property
    def host(self) -> str:
        """The host of `address`, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """fleet.yml. Paths are absolute once loaded.

    `catalogue` is the folder with `catalogue.json` and the artefacts; of a signed catalogue that is
    the mirror of what was verified, kept beside `state`.
    `state` is the file with history, leases and audit log. With `state_database` they are there
    instead; the folder of `state` is then still where this machine keeps what is its own.
    `engine` is what walks rollouts: the process that was started, or a Temporal cluster.
    `age_identity` is the operator's age or SSH private key file that opens `secrets/*.age`;
    `vault_password_file` opens `secrets/*.vault` (ansible-vault).
    """

    name: str
    catalogue: Path
    state: Path
    rings: tuple[Ring, ...]
    age_identity: Path | None = None
    vault_password_file: Path | None = None
    signed_catalogue: SignedCatalogue | None = None
    state_database: PostgresqlState | None = None
    engine: Literal["embedded"] | TemporalCluster = "embedded"
    advisories: tuple[AdvisoryFeed, ...] = ()
    sla_tiers: Mapping[str, SlaTier] = field(default_factory=dict)
    freeze_days: tuple[FreezeDays, ...] = ()
    rollouts: RolloutLimits = field(default_factory=RolloutLimits)
    notifications: tuple[NotificationChannel, ...] = ()

    def tier_of(self, manifest: Manifest) -> SlaTier:
        """Return the tier of a site: the one it names, or `default`, which need not be written."""
        name = manifest.sla_tier or DEFAULT_TIER
        return self.sla_tiers.get(name) or SlaTier(name)


@dataclass(frozen=True, slots=True)
class Server:
    """A machine of servers.yml, with the variables that this tool reads.

    `php_versions` are the PHP branches the server offers (`owc_php_versions`), such as `8.2`.
    `variables` are all its Ansible variables, group variables included. `supplier` is who hosts it
    (`owc_supplier`), empty when that is not said; `place` near which workers it is (`owc_place`).
    """

    name: str
    groups: tuple[str, ...]
    php_versions: tuple[str, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)
    supplier: str = ""
    place: str = DEFAULT_PLACE


@dataclass(frozen=True, slots=True)
class LockedArtefact:
    """One artefact a site is made of, exactly.

    `kind` is `core`, `tool`, `language`, `theme`, `plugin` or `mu-plugin`; `folder` is its folder
    under `wp-content/plugins` or `themes`; `main_file` the plugin's file in that folder. `reason`
    says why it is there: `chosen`, or `required by openwoo`.
    """

    name: str
    kind: str
    version: str
    header_version: str
    sha256: str
    folder: str = ""
    main_file: str = ""
    reason: str = "chosen"


@dataclass(frozen=True, slots=True)
class Lock:
    """A manifest resolved to exact artefacts.

    `blocks` stand in activation order: what is required before what requires it.
    `manifest_sha256` is the hash of the manifest it was made from.
    """

    site: str
    manifest_sha256: str
    php: str
    wordpress: LockedArtefact
    wp_cli: LockedArtefact
    language: LockedArtefact | None
    theme: LockedArtefact
    blocks: tuple[LockedArtefact, ...]

    @property
    def artefacts(self) -> tuple[LockedArtefact, ...]:
        """Everything that must be on the server."""
        language = (self.language,) if self.language else ()
        return (self.wordpress, self.wp_cli, *language, self.theme, *self.blocks)


@dataclass(frozen=True, slots=True)
class Mitigation:
    """What is closed until a vulnerability is fixed: a REST route, a block, actions of admin-ajax.

    `since` is ISO 8601; `sites` are those on which it is closed, all of them when empty.
    """

    identifier: str
    reason: str
    by: str
    since: str
    route: str = ""
    block: str = ""
    ajax_actions: tuple[str, ...] = ()
    advisory: str = ""
    sites: tuple[str, ...] = ()

    def concerns(self, site: str) -> bool:
        """Return whether it is to be closed on a site."""
        return not self.sites or site in self.sites


@dataclass(frozen=True, slots=True)
class Fleet:
    """A folder of documents that hold no problem.

    `manifests` and `locks` are keyed by site name; `locks` lacks the sites not locked yet.
    """

    root: Path
    settings: FleetSettings
    servers: Mapping[str, Server]
    manifests: Mapping[str, Manifest]
    locks: Mapping[str, Lock]
    mitigations: tuple[Mitigation, ...] = ()
