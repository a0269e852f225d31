"""What differs between two specifications of one site, for a person who has to approve it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from owc_deploy.fleet.models import Lock
from owc_deploy.plan.migrations import plugin_file
from owc_deploy.plan.models import Change

_MANIFEST = "the manifest says so"
_LOCK = "the lock says so"


def difference(
    before: Mapping[str, Any], after: Mapping[str, Any], lock: Lock
) -> tuple[Change, ...]:
    """Return every change from the live specification to the desired one, with its reason."""
    return (
        *_artefacts(before, after),
        *_blocks(before, after, lock),
        *_options(before["options"], after["options"]),
        *_plain(before, after),
        *_files(before["files"], after["files"]),
    )


def drift_changes(observed: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return what was changed behind the tool's back, as changes that put it right."""
    return tuple(
        Change(item["what"], item["after"], item["before"], "it was changed on the server")
        for item in observed.get("drift", ())
    )


def _artefacts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    names = {"wordpress": "WordPress", "wp_cli": "WP-CLI", "language": "language files"}
    for key, name in names.items():
        old, new = before.get(key) or {}, after.get(key) or {}
        if old != new:
            yield Change(name, _version(old, new), _version(new, old), _LOCK)
    if before["php"] != after["php"]:
        yield Change("PHP", before["php"], after["php"], _LOCK)


def _blocks(before: Mapping[str, Any], after: Mapping[str, Any], lock: Lock) -> Iterator[Change]:
    reasons = {block.name: block.reason for block in (lock.theme, *lock.blocks)}
    old = {block["name"]: block for block in (before["theme"], *before["blocks"])}
    new = {block["name"]: block for block in (after["theme"], *after["blocks"])}
    for name in sorted({*old, *new}):
        was, will = old.get(name), new.get(name)
        if was == will:
            continue
        what = f"{(will or was or {})['kind']} {name}"
        if will is None:
            yield Change(what, _version(was or {}, {}), None, "no longer chosen or required")
        elif was is None:
            yield Change(what, None, _version(will, {}), reasons.get(name, _LOCK))
        elif was["kind"] == "plugin" and plugin_file(was) != plugin_file(will):
            yield Change(f"{what} renamed", _with_file(was), _with_file(will), _LOCK)
        else:
            yield Change(what, _version(was, will), _version(will, was), _LOCK)
    order_before = [block["name"] for block in before["blocks"] if block["name"] in new]
    order_after = [block["name"] for block in after["blocks"] if block["name"] in old]
    if order_before != order_after:
        yield Change("activation order", " ".join(order_before), " ".join(order_after), _LOCK)


def _with_file(block: Mapping[str, Any]) -> str:
    return f"{block['version']} in {plugin_file(block)}"


def _version(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return a version to show; with the hash beside it where only that differs."""
    if not one:
        return None
    version = str(one["version"])
    return f"{version} ({one['sha256'][:8]})" if other.get("version") == version else version


def _options(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        if name not in after:
            yield Change(
                f"option {name}", str(before[name]), None, "no longer owned, left as it is"
            )
        elif name not in before or before[name] != after[name]:
            was = str(before[name]) if name in before else None
            yield Change(f"option {name}", was, str(after[name]), _MANIFEST)


def _plain(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    keys = ("url", "domains", "environment", "locale", "title", "administrators", "tls", "gate")
    for key in (*keys, "releases_kept"):
        if before.get(key) != after.get(key):
            yield Change(key, _words(before.get(key)), _words(after.get(key)), _MANIFEST)


def _files(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Change(f"file {name}", "present", "rewritten", "it follows from the manifest")


def _words(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(_words(item) or "" for item in value)
    if isinstance(value, Mapping):
        return " ".join(f"{key}={item}" for key, item in value.items() if item not in (None, []))
    return None if value is None else str(value)
