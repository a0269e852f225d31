"""What must hold between the documents of a fleet; pure.

The rules see documents from which broken parts were taken out, so every key is optional to them:
a rule says nothing about what is absent, the schema already did.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from owc_deploy.fleet import engine_rules, ring_rules, state_rules, window_rules
from owc_deploy.fleet.constraints import parse_constraint
from owc_deploy.fleet.documents import Document, Finding, closest
from owc_deploy.fleet.models import Server
from owc_deploy.fleet.yaml_reader import PathKeys

# Options that the manifest already says elsewhere, and where.
OWNED_OPTIONS: Mapping[str, str] = {
    "siteurl": "url",
    "home": "url",
    "blogname": "title",
    "WPLANG": "locale",
    "active_plugins": "blocks",
    "active_sitewide_plugins": "blocks",
    "recently_activated": "blocks",
    "template": "theme",
    "stylesheet": "theme",
    "current_theme": "theme",
}
# Options that WordPress or this tool keeps for itself; nothing in a manifest may set them.
INTERNAL_OPTIONS = frozenset(
    {
        "auth_key",
        "auth_salt",
        "auto_core_update_notified",
        "auto_update_plugins",
        "auto_update_themes",
        "cron",
        "db_upgraded",
        "db_version",
        "fresh_site",
        "initial_db_version",
        "logged_in_key",
        "logged_in_salt",
        "nonce_key",
        "nonce_salt",
        "recovery_keys",
        "rewrite_rules",
        "secure_auth_key",
        "secure_auth_salt",
        "uninstall_plugins",
        "upload_path",
        "upload_url_path",
        "user_roles",
        "wp_user_roles",
    }
)
_INTERNAL_PREFIXES = ("_transient_", "_site_transient_")

_PHP_BRANCH = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\Z")
_TLS_KEYS: Mapping[str, tuple[str, ...]] = {
    "acme": ("email",),
    "supplied": ("certificate", "private_key"),
    "internal": (),
}
_TLS_EXAMPLES = {
    "email": "email: webbeheer@voorbeeld.example",
    "certificate": "certificate: certificates/voorbeeld.pem",
    "private_key": "private_key: {secret: voorbeeld-tls}",
}


@dataclass(frozen=True)
class Documents:
    """Everything that was read; `None` where a file could not be read at all.

    `site_names` are the sites that have a manifest file, readable or not.
    """

    fleet: Document | None
    servers: Mapping[str, Server] | None
    sites: tuple[Document, ...]
    locks: tuple[Document, ...]
    site_names: frozenset[str]


def findings(documents: Documents) -> Iterator[Finding]:
    """Hold every rule against the documents."""
    if documents.fleet is not None:
        yield from ring_rules.findings(documents.fleet)
        yield from ring_rules.site_findings(documents.sites, documents.fleet)
        yield from _named_once(documents.fleet, "notifications", "channel")
        yield from window_rules.findings(documents.fleet)
        yield from state_rules.findings(documents.fleet)
        yield from engine_rules.findings(documents.fleet)
    for site in documents.sites:
        for rule in _SITE_RULES:
            for path, reference, message, suggestion in rule(site, documents):
                yield Finding(site.file, path, reference, message, suggestion)
    yield from _domains(documents.sites)
    for lock in documents.locks:
        yield from _lock(lock, documents.site_names)


Wrong = tuple[PathKeys, str, str, str]


def _named_once(fleet: Document, key: str, kind: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, item in enumerate(fleet.data.get(key, ())):
        name = (item or {}).get("name")
        if name in seen:
            yield Finding(
                fleet.file,
                (key, number, "name"),
                f"duplicate-{kind}",
                f"the {kind} `{name}` is listed twice",
                "list it once",
            )
        if name:
            seen.add(name)


def _file_name(site: Document, _: Documents) -> Iterator[Wrong]:
    name = site.data.get("site")
    if name is not None and name != site.file.stem:
        yield (
            ("site",),
            "site-name",
            f"the file is called {site.file.name}, the site `{name}`",
            f"site: {site.file.stem}, or rename the file to {name}.yml",
        )


def _sla_tier(site: Document, documents: Documents) -> Iterator[Wrong]:
    tier = site.data.get("sla_tier")
    known = window_rules.tier_names(documents.fleet) if documents.fleet is not None else ()
    if tier is not None and known and tier not in known:
        yield (
            ("sla_tier",),
            "unknown-tier",
            f"`{tier}` is not a tier in sla_tiers of fleet.yml",
            closest(tier, known),
        )


def _servers(site: Document, documents: Documents) -> Iterator[Wrong]:
    known = documents.servers
    if known is None:
        return
    for group in ("web", "database"):
        members = [name for name, server in known.items() if group in server.groups]
        for number, name in enumerate(site.data.get("servers", {}).get(group, ())):
            path = ("servers", group, number)
            if name is not None and name not in known:
                yield (
                    path,
                    "unknown-server",
                    f"`{name}` is not a server of servers.yml",
                    closest(name, members),
                )
            elif name is not None and name not in members:
                others = f", or one of: {', '.join(members)}" if members else ""
                yield (
                    path,
                    "wrong-group",
                    f"`{name}` is not in the group `{group}` of servers.yml",
                    f"{group}: {{hosts: {{{name}: }}}} in servers.yml{others}",
                )


def _one_server(site: Document, documents: Documents) -> Iterator[Wrong]:
    named = site.data.get("servers", {})
    web, database = named.get("web", ()), named.get("database", ())
    if len(web) > 1:
        message = (
            "a site runs on one web server for now; several would have to share uploads, which"
            " owc-deploy does not set up yet"
        )
        yield (("servers", "web"), "several-web-servers", message, f"web: [{web[0]}]")
    if len(database) > 1:
        message = "a site has one database server"
        suggestion = f"database: [{database[0]}]"
        yield (("servers", "database"), "several-database-servers", message, suggestion)
    known = {*web, *database} <= (documents.servers or {}).keys()
    if len(web) == len(database) == 1 and web != database and known:
        message = (
            "for now the database must be on the web server itself: it is reached without a"
            " password, which only works on one machine"
        )
        suggestion = f"database: [{web[0]}]"
        yield (("servers", "database"), "other-database-server", message, suggestion)


def _constraints(site: Document, _: Documents) -> Iterator[Wrong]:
    theme, blocks = site.data.get("theme", {}), site.data.get("blocks", {})
    php = site.data.get("php")
    candidates: list[tuple[PathKeys, str | None]] = [
        (("php",), None if php and _PHP_BRANCH.match(php) else php),
        (("wordpress",), site.data.get("wordpress")),
        (("theme", "version"), theme.get("version")),
    ]
    for name, block in blocks.items():
        if isinstance(block, str):
            candidates.append((("blocks", name), block))
        else:
            candidates.append((("blocks", name, "version"), block.get("version")))
    for path, text in candidates:
        message = constraint_message(text) if text is not None else None
        if message is not None:
            what, _colon, instead = message.partition(": write ")
            yield (path, "constraint", what, instead)


@functools.lru_cache(maxsize=4096)
def constraint_message(text: str) -> str | None:
    """Say what is wrong with a Composer constraint, `None` when nothing is."""
    try:
        parse_constraint(text)
    except ValueError as error:
        return str(error)
    return None


def _blocks(site: Document, _: Documents) -> Iterator[Wrong]:
    theme = site.data.get("theme", {}).get("name")
    if theme is not None and theme in site.data.get("blocks", {}):
        yield (
            ("blocks", theme),
            "theme-as-block",
            f"`{theme}` is the site's theme already",
            "leave it out of blocks",
        )


def _holds(site: Document, _: Documents) -> Iterator[Wrong]:
    places: list[tuple[PathKeys, Any]] = [(("theme",), site.data.get("theme", {}))]
    places += [(("blocks", name), block) for name, block in site.data.get("blocks", {}).items()]
    for path, choice in places:
        hold = choice.get("hold", {}) if isinstance(choice, dict) else {}
        try:
            date.fromisoformat(hold.get("until", "2026-12-31"))
        except ValueError:
            yield (
                (*path, "hold", "until"),
                "date",
                f"`{hold['until']}` is no day of the calendar",
                "a date such as 2026-12-31",
            )


def _settings(site: Document, _: Documents) -> Iterator[Wrong]:
    places: list[tuple[PathKeys, str]] = [
        (("settings", option), option) for option in site.data.get("settings", {})
    ]
    for name, block in site.data.get("blocks", {}).items():
        if not isinstance(block, str):
            places += [
                (("blocks", name, "settings", option), option)
                for option in block.get("settings", {})
            ]
    first: dict[str, PathKeys] = {}
    for path, option in places:
        if option in OWNED_OPTIONS:
            yield (
                path,
                "owned-option",
                f"`{option}` follows from the manifest's own key `{OWNED_OPTIONS[option]}`",
                f"leave it out and write `{OWNED_OPTIONS[option]}:`",
            )
        elif option in INTERNAL_OPTIONS or option.startswith(_INTERNAL_PREFIXES):
            yield (
                path,
                "internal-option",
                f"`{option}` is kept by WordPress itself; setting it breaks the site",
                "leave it out",
            )
        if option in first:
            yield (
                path,
                "setting-twice",
                f"`{option}` is set here and under `{'.'.join(map(str, first[option][:-1]))}`",
                "keep one of the two",
            )
        first.setdefault(option, path)


def _aliases(site: Document, _: Documents) -> Iterator[Wrong]:
    domain = domain_of(site.data.get("url"))
    for number, alias in enumerate(site.data.get("aliases", ())):
        if alias is not None and alias == domain:
            yield (
                ("aliases", number),
                "alias-is-url",
                f"`{alias}` is the site's own address already",
                "leave it out of aliases",
            )


def _redirects(site: Document, _: Documents) -> Iterator[Wrong]:
    domain = domain_of(site.data.get("url"))
    targets: dict[str, str] = {}
    for number, redirect in enumerate(site.data.get("redirects", ())):
        source, target = (redirect or {}).get("source"), (redirect or {}).get("target")
        if source is None:
            continue
        if source in targets:
            yield (
                ("redirects", number, "source"),
                "duplicate-redirect",
                f"`{source}` is redirected twice",
                "keep one of the two",
            )
        elif target is not None:
            targets[source] = _own_path(target, domain)
    reported: set[str] = set()
    for number, redirect in enumerate(site.data.get("redirects", ())):
        source = (redirect or {}).get("source")
        if source is None or source in reported:
            continue
        walk = _loop_from(source, targets)
        if walk:
            reported.update(walk)
            yield (
                ("redirects", number, "target"),
                "redirect-loop",
                f"these redirects go round in a circle: {' -> '.join([*walk, source])}",
                "a target that is a page",
            )


def _loop_from(source: str, targets: Mapping[str, str]) -> list[str]:
    walk = [source]
    while (following := targets.get(walk[-1])) is not None:
        if following == source:
            return walk
        if following in walk:
            return []
        walk.append(following)
    return []


def _own_path(target: str, domain: str | None) -> str:
    parts = urlsplit(target)
    if parts.netloc and parts.netloc != domain:
        return target
    return parts.path or "/"


def _administrators(site: Document, _: Documents) -> Iterator[Wrong]:
    for key in ("login", "email"):
        seen: set[str] = set()
        for number, administrator in enumerate(site.data.get("administrators", ())):
            value = (administrator or {}).get(key)
            if value is None:
                continue
            if value.lower() in seen:
                yield (
                    ("administrators", number, key),
                    "duplicate-administrator",
                    f"two administrators have the {key} `{value}`; WordPress allows one",
                    "one entry per person",
                )
            seen.add(value.lower())


def _tls(site: Document, _: Documents) -> Iterator[Wrong]:
    tls = site.data.get("tls", {})
    policy = tls.get("policy")
    if policy is None:
        return
    for key in _TLS_KEYS[policy]:
        if key not in tls:
            yield (
                ("tls",),
                "tls-incomplete",
                f"the policy `{policy}` needs `{key}`",
                _TLS_EXAMPLES[key],
            )
    for key in sorted(tls.keys() - {"policy", *_TLS_KEYS[policy]}):
        owner = next(name for name, keys in _TLS_KEYS.items() if key in keys)
        yield (
            ("tls", key),
            "tls-surplus",
            f"`{key}` means nothing with the policy `{policy}`",
            f"leave it out, or policy: {owner}",
        )


_SITE_RULES: tuple[Callable[[Document, Documents], Iterable[Wrong]], ...] = (
    _file_name,
    _sla_tier,
    _servers,
    _one_server,
    _constraints,
    _blocks,
    _holds,
    _settings,
    _aliases,
    _redirects,
    _administrators,
    _tls,
)


def _domains(sites: Iterable[Document]) -> Iterator[Finding]:
    owners: dict[str, Path] = {}
    for site in sites:
        places: list[tuple[str | None, PathKeys]] = [(domain_of(site.data.get("url")), ("url",))]
        places += [(a, ("aliases", n)) for n, a in enumerate(site.data.get("aliases", ()))]
        for domain, path in places:
            if domain is None:
                continue
            owner = owners.setdefault(domain, site.file)
            if owner != site.file:
                yield Finding(
                    site.file,
                    path,
                    "duplicate-domain",
                    f"`{domain}` belongs to {owner} already",
                    "a domain of one site only",
                )


def _lock(lock: Document, site_names: Collection[str]) -> Iterator[Finding]:
    name = lock.file.name.removesuffix(".lock.yml")
    if name not in site_names:
        yield Finding(
            lock.file,
            (),
            "orphan-lock",
            f"there is no sites/{name}.yml that this lock belongs to",
            f"git rm {shlex.quote(str(lock.file))}",
        )
    elif lock.data.get("site", name) != name:
        yield Finding(
            lock.file,
            ("site",),
            "site-name",
            f"the file is called {lock.file.name}, the site `{lock.data['site']}`",
            f"rm {shlex.quote(str(lock.file))} && owc-deploy lock {shlex.quote(name)}",
        )


def domain_of(url: Any) -> str | None:
    """Return the host name of a manifest's `url`, `None` when there is none."""
    return url.removeprefix("https://").rstrip("/") if isinstance(url, str) else None
