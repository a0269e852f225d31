"""One site's WordPress, spoken to as the site's own user: the driver, and WP-CLI for migrations."""

from __future__ import annotations

import json
import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from . import commands, layout

DRIVER_NAME = "driver.php"
PHP_SETTINGS = [
    "-d",
    "display_errors=0",
    "-d",
    "log_errors=0",
    "-d",
    "memory_limit=512M",
    "-d",
    "error_reporting=E_ALL",
]


class WordPressError(Exception):
    """WordPress, a plugin or a theme did not do what was asked; the message names which."""


def drive(
    paths: layout.SitePaths,
    release_id: str,
    action: str,
    request: "dict[str, Any]",
    timeout_seconds: float = 120,
) -> "dict[str, Any]":
    """Run one action of the driver inside one release and return its report.

    Raises WordPressError when PHP stopped, a plugin ended the request early or the action failed.
    """
    marker = secrets.token_hex(16)
    release = paths.release(release_id)
    document = {**request, "action": action, "marker": marker, "public": paths.public(release_id)}
    driver = os.path.join(layout.AGENT_ROOT, "current", "owc_agent", DRIVER_NAME)
    result = commands.run(
        [os.path.join(release, "php"), *PHP_SETTINGS, driver],
        stdin=json.dumps(document).encode(),
        timeout_seconds=timeout_seconds,
        user=paths.user,
        check=False,
        cwd=paths.public(release_id),
    )
    _before, found, text = result.stdout.rpartition(b"\n" + marker.encode())
    if not found:
        raise WordPressError("PHP gave no report: %s" % commands.last_words(result))
    report: "dict[str, Any]" = json.loads(text)
    if report["errors"]:
        raise WordPressError("; ".join(report["errors"]))
    return report


def rehearse(
    paths: layout.SitePaths, release_id: str, request: "dict[str, Any]"
) -> "dict[str, Any]":
    """Load one release in every way it will be loaded: a block may be broken in one of them only.

    Returns what WordPress reports of itself; raises WordPressError naming every way that does not
    work.
    """
    problems: "list[str]" = []

    def attempt(way: str, load: "Callable[[], Any]") -> Any:
        try:
            return load()
        except (WordPressError, commands.CommandError) as error:
            problems.append("%s: %s" % (way, error))
            return None

    # First and alone: what it schedules the others would otherwise overwrite.
    report = attempt("as a visitor", lambda: drive(paths, release_id, "rehearse", request))
    with ThreadPoolExecutor(max_workers=2) as pool:
        pool.submit(attempt, "in wp-admin", lambda: drive(paths, release_id, "admin", request))
        pool.submit(
            attempt,
            "under WP-CLI as a scheduled task",
            lambda: _rehearse_wp_cli(paths, release_id),
        )
    if problems:
        raise WordPressError("; ".join(problems))
    return dict(report)


def _rehearse_wp_cli(paths: layout.SitePaths, release_id: str) -> None:
    marker = secrets.token_hex(16)
    prepared = "--exec=define('DOING_CRON', true); define('OWC_RELEASING', true);"
    said = wp_cli(paths, release_id, [prepared, "eval", "echo '%s';" % marker], 120)
    if marker not in said:
        raise WordPressError("it ended early: %s" % said.strip()[-300:])


def wp_cli(
    paths: layout.SitePaths, release_id: str, arguments: "list[str]", timeout_seconds: float
) -> str:
    """Run one WP-CLI command inside one release and return what it printed."""
    release = paths.release(release_id)
    result = commands.run(
        [
            os.path.join(release, "php"),
            *PHP_SETTINGS,
            os.path.join(release, "wp-cli.phar"),
            "--path=" + paths.public(release_id),
            "--no-color",
            *arguments,
        ],
        timeout_seconds=timeout_seconds,
        user=paths.user,
        cwd=paths.public(release_id),
    )
    return result.stdout.decode("utf-8", "replace")


def code_database_version(public: str) -> int:
    """Return the database version that a tree's WordPress code wants."""
    with open(os.path.join(public, "wp-includes", "version.php"), encoding="utf-8") as stream:
        found = re.search(r"\$wp_db_version\s*=\s*(\d+)", stream.read())
    if not found:
        raise WordPressError("wp-includes/version.php names no database version")
    return int(found.group(1))


def make_salts() -> bytes:
    """Return a PHP file with new keys and salts; made once per site and kept for good."""
    names = [
        "%s%s" % (name, kind)
        for kind in ("_KEY", "_SALT")
        for name in ("AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE")
    ]
    lines = ["define('%s', '%s');" % (name, secrets.token_urlsafe(48)) for name in names]
    return ("<?php\n" + "\n".join(lines) + "\n").encode()
