"""Reading a fleet: documents to frozen models, and every problem of every file at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, Literal, TypeVar

from owc_deploy.errors import DocumentsInvalidError, Problem, UsageError
from owc_deploy.fleet import attachments, documents, inventory, locks, mitigations, rules
from owc_deploy.fleet.documents import Document
from owc_deploy.fleet.models import (
    Administrator,
    AdvisoryFeed,
    BlockChoice,
    FailureBudget,
    Fleet,
    FleetSettings,
    FreezeDays,
    Hold,
    Manifest,
    Municipality,
    NotificationChannel,
    Page,
    PostgresqlState,
    Redirect,
    Ring,
    RolloutLimits,
    SecretReference,
    Share,
    SignedCatalogue,
    SiteGate,
    SiteServers,
    SlaTier,
    TemporalCluster,
    TemporalTls,
    ThemeChoice,
    Tls,
    Window,
)
from owc_deploy.fleet.rings import rings_of
from owc_deploy.fleet.schema_check import SchemaName

FLEET_FILE = Path("fleet.yml")
SITES_FOLDER = "sites"
SITE_ENDING = ".yml"
Record = TypeVar("Record")

DEFAULT_STATE = ".owc-deploy/history.sqlite3"


def load_fleet(root: Path) -> Fleet:
    """Read the fleet in a folder.

    Raises DocumentsInvalidError with every problem of every file, and UsageError when the folder
    holds no fleet.
    """
    fleet, problems = check_fleet(root)
    if fleet is None or problems:
        raise DocumentsInvalidError(problems)
    return fleet


def check_fleet(root: Path) -> tuple[Fleet | None, tuple[Problem, ...]]:
    """Read the fleet in a folder; it is `None` when there are problems, which are sorted.

    Problems name files relative to the folder. Raises UsageError when the folder holds no fleet.
    """
    root = root.absolute()
    if not (root / FLEET_FILE).exists():
        raise UsageError(
            f"{root} is not a fleet: it has no fleet.yml",
            hint=f"owc-deploy init {root}, or name the right folder with --fleet",
        )
    settings, problems = _read(root, FLEET_FILE, "fleet")
    servers, found = inventory.read_servers(root)
    problems += found
    sites, names, found = _read_folder(root, SITES_FOLDER, SITE_ENDING, "site")
    problems += found
    locked, _, found = _read_folder(root, locks.FOLDER, locks.ENDING, "lock")
    problems += found
    closed, found = mitigations.read_mitigations(root)
    problems += found
    everything = rules.Documents(settings, servers, sites, locked, names)
    raw = {document.file: document.raw for document in (*sites, *locked)}
    if settings is not None:
        raw[settings.file] = settings.raw
    if closed is not None:
        raw[closed.file] = closed.raw
    for finding in (
        *rules.findings(everything),
        *attachments.attachment_findings(root, sites),
        *attachments.channel_findings(root, settings),
        *mitigations.findings(closed, names),
    ):
        problems += (documents.to_problem(finding, raw[finding.file]),)
    if problems or settings is None or servers is None:
        return (None, tuple(sorted(problems)))
    built = build_settings(settings.data, root)
    fleet = Fleet(
        root=root,
        settings=built,
        servers=servers,
        manifests={site.data["site"]: build_manifest(site, built.rings) for site in sites},
        locks={lock.data["site"]: locks.build_lock(lock.data) for lock in locked},
        mitigations=mitigations.build_mitigations(closed),
    )
    return (fleet, ())


def _read(root: Path, file: Path, name: SchemaName) -> tuple[Document | None, tuple[Problem, ...]]:
    raw = documents.read_bytes(root, file)
    if isinstance(raw, Problem):
        return (None, (raw,))
    if name == "lock":
        return locks.read_lock(file, raw)
    return documents.parse_document(file, raw, name)


def _read_folder(
    root: Path, folder: str, ending: str, name: SchemaName
) -> tuple[tuple[Document, ...], frozenset[str], tuple[Problem, ...]]:
    """Read the documents of a folder; also return the names their files carry."""
    read: list[Document] = []
    names: set[str] = set()
    problems: list[Problem] = []
    for file, problem in documents.yaml_files(root, folder, ending):
        if problem is not None:
            problems.append(problem)
            continue
        names.add(file.name.removesuffix(ending))
        document, found = _read(root, file, name)
        problems += found
        if document is not None:
            read.append(document)
    return (tuple(read), frozenset(names), tuple(problems))


def build_settings(data: Mapping[str, Any], root: Path) -> FleetSettings:
    """Make the settings from data that keeps to the schema; paths become absolute."""
    written = data.get("state", DEFAULT_STATE)
    state = _absolute(root, written if isinstance(written, str) else DEFAULT_STATE)
    signed = _signed_catalogue(data["catalogue"], root)
    return FleetSettings(
        name=data["name"],
        catalogue=_mirror(data["catalogue"]["source"], state)
        if signed
        else _absolute(root, data["catalogue"]),
        signed_catalogue=signed,
        state=state,
        state_database=None if isinstance(written, str) else _state_database(written, root),
        engine=_engine(data.get("engine", "embedded"), root),
        rings=tuple(map(_ring, data["rings"])),
        age_identity=_absolute(root, data["age_identity"]) if "age_identity" in data else None,
        vault_password_file=_absolute(root, data["vault_password_file"])
        if "vault_password_file" in data
        else None,
        advisories=tuple(
            AdvisoryFeed(
                url=feed["url"],
                form=feed["form"],
                key=SecretReference(**feed["key"]) if "key" in feed else None,
            )
            for feed in data.get("advisories", ())
        ),
        sla_tiers={name: _tier(name, tier) for name, tier in data.get("sla_tiers", {}).items()},
        freeze_days=tuple(
            FreezeDays(
                from_date=date.fromisoformat(days["from_date"]),
                until_date=date.fromisoformat(days["until_date"]),
                reason=days["reason"],
                sla_tiers=tuple(days.get("sla_tiers", ())),
            )
            for days in data.get("freeze_days", ())
        ),
        rollouts=RolloutLimits(**data.get("rollouts", {})),
        notifications=tuple(_channel(channel) for channel in data.get("notifications", ())),
    )


def _engine(
    engine: str | Mapping[str, Mapping[str, Any]], root: Path
) -> Literal["embedded"] | TemporalCluster:
    if isinstance(engine, str):
        return "embedded"
    data = dict(engine["temporal"])
    if "api_key" in data:
        data["api_key"] = SecretReference(**data["api_key"])
    if "tls" in data:
        tls = dict(data["tls"])
        for name in {"root_certificate", "client_certificate"} & tls.keys():
            tls[name] = _absolute(root, tls[name])
        if "client_key" in tls:
            tls["client_key"] = SecretReference(**tls["client_key"])
        data["tls"] = TemporalTls(**tls)
    return TemporalCluster(**data)


def _ring(ring: Mapping[str, Any]) -> Ring:
    budget = {what: _share(allowed) for what, allowed in ring.get("failure_budget", {}).items()}
    return Ring(
        **{
            **ring,
            "waves": tuple(map(_share, ring.get("waves", ()))),
            "failure_budget": FailureBudget(**budget),
        }
    )


def _share(written: int | str) -> Share:
    if isinstance(written, int):
        return Share(written)
    return Share(int(written.removesuffix("%")), is_percentage=True)


def _channel(channel: Mapping[str, Any]) -> NotificationChannel:
    # Without `events` the model's own default holds.
    events = {"events": tuple(channel["events"])} if "events" in channel else {}
    return NotificationChannel(channel["name"], SecretReference(**channel["address"]), **events)


def _tier(name: str, tier: Mapping[str, Any]) -> SlaTier:
    windows = tuple(
        Window(
            days=tuple(window["days"]),
            from_time=time.fromisoformat(window["from_time"]),
            until_time=time.fromisoformat(window["until_time"]),
        )
        for window in tier.get("windows", ())
    )
    return SlaTier(name, **{**tier, "windows": windows})


def _signed_catalogue(catalogue: str | Mapping[str, str], root: Path) -> SignedCatalogue | None:
    if isinstance(catalogue, str):
        return None
    source = catalogue["source"].rstrip("/")
    return SignedCatalogue(
        source=source if "://" in source else str(_absolute(root, source)),
        root=_absolute(root, catalogue["root"]),
    )


def _state_database(state: Mapping[str, Mapping[str, Any]], root: Path) -> PostgresqlState:
    data = dict(state["postgresql"])
    if "password" in data:
        data["password"] = SecretReference(**data["password"])
    if "root_certificate" in data:
        data["root_certificate"] = _absolute(root, data["root_certificate"])
    return PostgresqlState(**data)


def _mirror(source: str, state: Path) -> Path:
    """Return the folder for what was verified, one for each source as fleet.yml writes it.

    A fleet that moves takes it along, and with it the memory of what was published already.
    """
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    return state.parent / "catalogues" / name


def _absolute(root: Path, text: str) -> Path:
    return root / Path(text).expanduser()


def build_manifest(document: Document, rings: Iterable[Ring]) -> Manifest:
    """Make a manifest from a document that keeps to the schema and to the rules."""
    # Absent keys take the model's own defaults, so that each default stands in one place only.
    optional = {
        key: document.data[key]
        for key in (
            "labels",
            "sla_tier",
            "title",
            "locale",
            "dependencies",
            "channel",
            "without_guarantee",
            "settings",
            "releases_kept",
        )
        if key in document.data
    }
    data = document.data
    tls = data["tls"]
    return Manifest(
        site=data["site"],
        municipality=Municipality(**data["municipality"]),
        environment=data["environment"],
        url=data["url"].rstrip("/"),
        servers=SiteServers(tuple(data["servers"]["web"]), tuple(data["servers"]["database"])),
        # There is one at most: the rules refuse a site in two.
        ring=next(iter(rings_of(data.get("ring", ""), data.get("labels", {}), rings)), ""),
        php=data["php"],
        wordpress=data["wordpress"],
        theme=ThemeChoice(**_with_hold(data["theme"])),
        tls=Tls(
            policy=tls["policy"],
            email=tls.get("email"),
            certificate=tls.get("certificate"),
            private_key=SecretReference(**tls["private_key"]) if "private_key" in tls else None,
        ),
        source=document.file,
        sha256=document.sha256,
        aliases=tuple(data.get("aliases", ())),
        blocks=tuple(_block(name, block) for name, block in data.get("blocks", {}).items()),
        redirects=_records(Redirect, data.get("redirects", ())),
        administrators=_records(Administrator, data.get("administrators", ())),
        pages=_records(Page, data.get("pages", ())),
        gate=SiteGate(**{key: tuple(names) for key, names in data.get("gate", {}).items()}),
        **optional,
    )


def _block(name: str, block: str | Mapping[str, Any]) -> BlockChoice:
    if isinstance(block, str):
        return BlockChoice(name, block)
    return BlockChoice(name, **_with_hold(block))


def _with_hold(choice: Mapping[str, Any]) -> dict[str, Any]:
    hold = {"hold": Hold(**choice["hold"])} if "hold" in choice else {}
    return {**choice, **hold}


def _records(kind: type[Record], items: Iterable[Mapping[str, Any]]) -> tuple[Record, ...]:
    return tuple(kind(**item) for item in items)
