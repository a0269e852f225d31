"""One site's WordPress, spoken to as the site's own user: the driver, and WP-CLI for migrations."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from . import commands, fastcgi, layout

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
    *,
    warm: bool = False,
) -> "dict[str, Any]":
    """Run one action of the driver inside one release and return its report.

    With `warm` it is run by the site's own PHP-FPM, which compiles the release's code for the
    visitors to come; that needs one that runs, of the same version and with the same settings.
    Raises WordPressError when PHP stopped, a plugin ended the request early or the action failed.
    """
    marker = secrets.token_hex(16)
    document = {**request, "action": action, "marker": marker, "public": paths.public(release_id)}
    driver = os.path.join(layout.AGENT_ROOT, "current", "owc_agent", DRIVER_NAME)
    stdin = json.dumps(document).encode()
    if warm:
        printed, words = _by_fpm(paths, driver, stdin, timeout_seconds), "see the PHP log"
    else:
        result = _by_command_line(paths, release_id, driver, stdin, timeout_seconds)
        printed, words = result.stdout, commands.last_words(result)
    _before, found, text = printed.rpartition(b"\n" + marker.encode())
    if not found:
        raise WordPressError("PHP gave no report: %s" % words)
    report: "dict[str, Any]" = json.loads(text)
    if report["errors"]:
        raise WordPressError("; ".join(report["errors"]))
    return report


def _by_command_line(
    paths: layout.SitePaths, release_id: str, driver: str, stdin: bytes, timeout_seconds: float
) -> "subprocess.CompletedProcess[bytes]":
    return commands.run(
        [os.path.join(paths.release(release_id), "php"), *PHP_SETTINGS, driver],
        stdin=stdin,
        timeout_seconds=timeout_seconds,
        user=paths.user,
        check=False,
        cwd=paths.public(release_id),
    )


def _by_fpm(paths: layout.SitePaths, driver: str, stdin: bytes, timeout_seconds: float) -> bytes:
    parameters = {
        "SCRIPT_FILENAME": os.path.realpath(driver),
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "application/octet-stream",
        "CONTENT_LENGTH": str(len(stdin)),
    }
    try:
        return fastcgi.ask(paths.php_fpm_socket, parameters, stdin, timeout_seconds)
    except fastcgi.FastCgiError as error:
        raise WordPressError(str(error)) from error


def rehearse(
    paths: layout.SitePaths, release_id: str, request: "dict[str, Any]", *, warm: bool
) -> "dict[str, Any]":
    """Load one release in every way it will be loaded: a block may be broken in one of them only.

    `warm`: see `drive`. Returns what WordPress reports of itself; raises WordPressError naming
    every way that does not work.
    """
    problems: "list[str]" = []

    def attempt(way: str, load: "Callable[[], Any]") -> Any:
        try:
            return load()
        except (WordPressError, commands.CommandError) as error:
            problems.append("%s: %s" % (way, error))
            return None

    def driven(action: str) -> "Callable[[], Any]":
        return lambda: drive(paths, release_id, action, request, warm=warm)

    # First and alone: what it schedules the others would otherwise overwrite.
    report = attempt("as a visitor", driven("rehearse"))
    with ThreadPoolExecutor(max_workers=2) as pool:
        pool.submit(attempt, "in wp-admin", driven("admin"))
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
