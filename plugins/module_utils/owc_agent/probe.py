"""Everything about this server and its sites, read in one go and without starting WordPress."""

from __future__ import annotations

import html
import os
import platform
import re
from collections.abc import Callable
from typing import Any

from . import commands, database, files, gate, jobs, layout, mitigations, services, store
from .owned import owned_options
from .transaction import activations, active_plugins

# A site can lock its own tables or fill them; neither may hold up the probe of all others.
LIMITS = "SET SESSION lock_wait_timeout=5, max_statement_time=20;"


def observe(known: "dict[str, str]") -> "dict[str, Any]":
    """Return the observed state of this server (docs/architecture.md).

    `known` maps a site to the hash of the specification that the asker holds already; where the
    live release was built from that one, the specification itself is left out of the answer.
    """
    names = layout.site_names()
    options, unreadable = _options_of(names)
    states = services.unit_states(
        [unit for name in names for unit in _units(layout.SitePaths(name))]
    )
    return {
        "schema_version": 1,
        "provisioned": (files.read_json(layout.PROVISIONED) or {}).get("fingerprint", ""),
        "store": store.artefacts(),
        "facts": _facts(),
        "sites": {
            name: observe_site(
                layout.SitePaths(name),
                options.get(name, {}),
                unreadable.get(name, ""),
                states,
                known.get(name, ""),
            )
            for name in names
        },
    }


def _units(paths: layout.SitePaths) -> "list[str]":
    return [paths.php_fpm_unit, paths.cron_timer, paths.transaction_unit]


def observe_site(
    paths: layout.SitePaths,
    options: "dict[str, Any]",
    unreadable: str,
    states: "dict[str, str]",
    known: str,
) -> "dict[str, Any]":
    """Return the observed state of one site; whatever is wrong with it stays with it."""
    try:
        return _observe(paths, options, unreadable, states, known)
    except Exception as error:
        return unreadable_site(paths, "%s: %s" % (type(error).__name__, error))


def unreadable_site(paths: layout.SitePaths, reason: str) -> "dict[str, Any]":
    """Return the record of a site of which only the link and the reason can be told."""
    return {
        "release_id": paths.current_release(),
        "specification_sha256": "",
        "specification": None,
        "releases": [],
        "active_plugins": [],
        "theme": "",
        "database_version": 0,
        "certificate": "",
        "php_fpm": "unknown",
        "cron": "unknown",
        "decommissioned": os.path.exists(paths.decommissioned),
        "interrupted": os.path.exists(os.path.join(paths.journal, "transaction.jsonl")),
        "transaction": "",
        "mitigations": mitigations.read(paths),
        "drift": [_drift("probe", "readable", _short(reason))],
    }


def _observe(
    paths: layout.SitePaths,
    options: "dict[str, Any]",
    unreadable: str,
    states: "dict[str, str]",
    known: str,
) -> "dict[str, Any]":
    release_id = paths.current_release()
    document = _release_document(paths, release_id) if release_id else None
    specification = (document or {}).get("specification")
    specification_sha256 = (document or {}).get("specification_sha256", "")
    observed: "dict[str, Any]" = {
        "release_id": release_id,
        "specification_sha256": specification_sha256,
        "specification": None if specification_sha256 == known else specification,
        "releases": _releases(paths),
        "active_plugins": active_plugins(options.get("active_plugins")),
        "theme": _string(options.get("stylesheet")),
        "database_version": whole_number(options.get("db_version")),
        "certificate": _text(os.path.join(paths.tls, "fullchain.pem")),
        "php_fpm": states.get(paths.php_fpm_unit, "unknown"),
        "cron": states.get(paths.cron_timer, "unknown"),
        "decommissioned": os.path.exists(paths.decommissioned),
        "interrupted": os.path.exists(os.path.join(paths.journal, "transaction.jsonl")),
        "transaction": jobs.transaction_of(paths, states),
        "mitigations": mitigations.read(paths),
        "drift": [],
    }
    if unreadable:
        observed["drift"] = [_drift("probe", "readable", _short(unreadable))]
    elif specification is not None:
        observed["drift"] = find_drift(specification, options, observed)
    return observed


def find_drift(
    specification: "dict[str, Any]", options: "dict[str, Any]", observed: "dict[str, Any]"
) -> "list[dict[str, Any]]":
    """Compare what a live release was built to be with what is seen; pure."""
    drift = []
    expected = list(gate.expected_plugins(specification))
    active = observed["active_plugins"]
    for plugin in expected:
        if plugin not in active:
            drift.append(_drift("plugin " + plugin, "active", "inactive"))
    for plugin in active:
        if plugin not in expected:
            drift.append(_drift("plugin " + plugin, "not in the lock", "active"))
    theme = specification["theme"]["folder"]
    if observed["theme"] != theme:
        drift.append(_drift("theme", theme, observed["theme"]))
    for name, value in sorted(specification["options"].items()):
        seen = options.get(name)
        if not same_value(value, seen):
            drift.append(_drift("option " + name, _short(value), _short(seen)))
    for what in ("php_fpm", "cron"):
        if observed[what] != "active":
            drift.append(_drift(what, "active", observed[what]))
    return drift


def same_value(owned: Any, seen: Any) -> bool:
    """Return whether an option is as the manifest wants it.

    WordPress keeps scalars as text, so `1`, `1.0` and `"1"`, `true` and `"1"`, `false` and `""`
    are the same, and some texts, as that of `blogname`, with HTML's special characters escaped. Of
    a mapping only the owned keys count.
    """
    if isinstance(owned, dict):
        if not isinstance(seen, dict):
            return not owned and not seen
        return all(same_value(value, seen.get(key)) for key, value in owned.items())
    if isinstance(owned, list):
        return (
            isinstance(seen, list)
            and len(seen) == len(owned)
            and all(same_value(one, other) for one, other in zip(owned, seen))
        )
    return bool(_as_text(owned) == _as_text(seen))


def _as_text(value: Any) -> Any:
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (int, float)):
        return str(value)
    return html.unescape(value) if isinstance(value, str) else value


def whole_number(value: Any) -> int:
    """Return the number that an option holds, 0 when it holds something else."""
    text = str(value)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else 0


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _drift(what: str, before: str, after: str) -> "dict[str, Any]":
    return {"what": what, "before": before, "after": after}


def _short(value: Any) -> str:
    return str(value)[:200]


def _options_of(
    names: "list[str]",
) -> "tuple[dict[str, dict[str, Any]], dict[str, str]]":
    """Return the options of every site, and why they are not there for those that have trouble.

    One query and one decoding for all of them; only when that fails each site is asked by itself,
    so that what one site's database holds is that site's trouble alone.
    """
    queries: "dict[str, str]" = {}
    unreadable: "dict[str, str]" = {}
    try:
        rows = database.execute(
            "SELECT table_schema FROM information_schema.tables"
            " WHERE table_name='%s' AND table_type='BASE TABLE'" % database.OPTIONS_TABLE
        )
    except commands.CommandError as error:
        return {}, dict.fromkeys(names, str(error))
    present = {row[0] for row in rows}
    for name in names:
        site = layout.SitePaths(name)
        if site.database in present:
            try:
                queries[name] = _options_query(site)
            except Exception as error:
                unreadable[name] = "its release.json is damaged: %r" % error
    raw = ask_each(list(queries), lambda some: _rows([queries[name] for name in some]), unreadable)
    options = ask_each(
        list(raw),
        lambda some: database.decode_options({name: raw[name] for name in some}),
        unreadable,
    )
    return options, unreadable


def ask_each(
    names: "list[str]",
    ask: "Callable[[list[str]], dict[str, Any]]",
    failures: "dict[str, str]",
) -> "dict[str, Any]":
    """Ask for all sites at once, or one at a time when that fails, noting whose own fails."""
    if not names:
        return {}
    try:
        return ask(names)
    except Exception as error:
        if len(names) == 1:
            failures[names[0]] = str(error)
            return {}
    found: "dict[str, Any]" = {}
    for name in names:
        found.update(ask_each([name], ask, failures))
    return found


def _options_query(site: layout.SitePaths) -> str:
    wanted = ["active_plugins", "stylesheet", "db_version"]
    document = _release_document(site, site.current_release())
    if document:
        wanted += owned_options(document["specification"])
    quoted = ",".join("'%s'" % layout.checked_option(option) for option in wanted)
    return (
        "SELECT '%s', HEX(option_name), HEX(option_value) FROM `%s`.`%s`"
        % (
            site.site,
            site.database,
            database.OPTIONS_TABLE,
        )
        + " WHERE option_name IN (%s)" % quoted
    )


def _rows(queries: "list[str]") -> "dict[str, dict[str, str]]":
    raw: "dict[str, dict[str, str]]" = {}
    for row in database.execute(LIMITS + " UNION ALL ".join(queries)):
        name, value = database.option_row(row[1:])
        raw.setdefault(row[0], {})[name] = value
    return raw


def _release_document(paths: layout.SitePaths, release_id: str) -> "dict[str, Any] | None":
    if not release_id:
        return None
    document = files.read_json(os.path.join(paths.release(release_id), "release.json"))
    return document if isinstance(document, dict) else None


def _releases(paths: layout.SitePaths) -> "list[dict[str, Any]]":
    """Return the releases that can be made live again, newest activation first.

    `order` tells which of two was live first, whatever the clock said that named them.
    """
    seen = {}
    entries = activations(paths)
    made = list(dict.fromkeys(entry["release_id"] for entry in entries))
    for entry in reversed(entries):
        release_id = entry["release_id"]
        if release_id not in seen and os.path.isdir(paths.release(release_id)):
            seen[release_id] = {
                "release_id": release_id,
                "activated_at": entry["at"],
                "database_changed": bool(entry.get("database_changed")),
                "order": made.index(release_id),
            }
    return list(seen.values())


def _facts() -> "dict[str, Any]":
    room = os.statvfs(layout.SRV if os.path.isdir(layout.SRV) else "/")
    versions = [
        found.group(1)
        for found in (re.fullmatch(r"php-fpm(\d\.\d+)", name) for name in os.listdir("/usr/sbin"))
        if found
    ]
    return {
        "hostname": platform.node(),
        "debian": _text("/etc/debian_version").strip(),
        "python": platform.python_version(),
        "php_versions": sorted(versions),
        "disk_free_bytes": room.f_bavail * room.f_frsize,
        "inodes_free": room.f_favail,
    }


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(100_000)
    except OSError:
        return ""
