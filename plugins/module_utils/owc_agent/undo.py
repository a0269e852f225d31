"""Undoing what a journal registered. Nothing here runs WordPress, so no broken plugin can stop it.

Every operation can be repeated: an undo that was itself cut short is simply run again.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Callable

from . import commands, database, files, freeze, held, journal, layout, services


def _remove_release(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    release_id = operation["release_id"]
    if paths.current_release() != release_id:
        files.remove_tree(paths.release(release_id))
        files.remove_tree(paths.release(release_id) + ".partial")


def _switch(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    switch(paths, operation["release_id"])


def _units(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    before, after = operation["from"], operation["to"]
    services.converge_units(paths, before, after)
    # Another site's reload may have read this one's new configuration meanwhile. What somebody else
    # broke must not keep the rest from being undone: nginx goes on with what it has read.
    if services.nginx_differs(paths, before, after):
        with contextlib.suppress(commands.CommandError):
            services.reload_nginx()


def _nginx(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    # Registered after `switch`, so undone before it; and nginx reads what the link says.
    switch(paths, operation["release_id"])
    services.reload_nginx()


def _options(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    database.write_options(paths.database, operation["values"])


def _restore_database(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    database.restore(paths, paths.snapshot(operation["snapshot_of"]))


def _drop_scratch(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    del operation
    database.drop_scratch(paths)


def _drop_database(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    del operation
    database.drop(paths)


def _remove_snapshot(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    files.remove_file(paths.snapshot(operation["release_id"]))


def _unmark(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    del operation
    files.remove_file(paths.decommissioned)


def _events(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    held.put_back_events(paths.database, operation["cron"])


def _thaw(paths: layout.SitePaths, operation: "dict[str, Any]") -> None:
    del operation
    freeze.thaw(paths)


OPERATIONS: "dict[str, Callable[[layout.SitePaths, dict[str, Any]], None]]" = {
    "remove-release": _remove_release,
    "switch": _switch,
    "units": _units,
    # As journals of the version before say it; names are only ever added.
    "services": _units,
    "nginx": _nginx,
    "options": _options,
    "restore-database": _restore_database,
    "drop-scratch": _drop_scratch,
    "drop-database": _drop_database,
    "remove-snapshot": _remove_snapshot,
    "unmark": _unmark,
    "thaw": _thaw,
    "events": _events,
}


# A site that thawed would be written to, and a restore that is tried again would take that back.
NEEDED_BY_A_RETRY = ("remove-snapshot", "remove-release", "drop-database", "thaw")
DESTRUCTIVE = ("restore-database", "drop-database")


def switch(paths: layout.SitePaths, release_id: str) -> None:
    """Make a release live with rename(2), or none with `""`."""
    if release_id:
        files.point_link(
            paths.current, os.path.join("releases", layout.checked_release(release_id))
        )
    else:
        files.remove_file(paths.current)


# A database that was killed is back within seconds; whoever filled a disk may make room.
PATIENCE_SECONDS = 90.0
_RETRY_SECONDS = 1.0


def undo_all(paths: layout.SitePaths, written: journal.Journal) -> "list[str]":
    """Undo every registered operation, the last first; return what could not be undone.

    What fails is tried again for `PATIENCE_SECONDS`. One operation's failure does not keep the
    others from being undone, but what a later attempt would need is then kept. What is undone is
    noted, so that a later attempt goes on from there.
    """
    written.free_reserve()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        failures = _undo_once(paths, written)
        if not failures or time.monotonic() > deadline:
            return failures
        time.sleep(_RETRY_SECONDS)


def _undo_once(paths: layout.SitePaths, written: journal.Journal) -> "list[str]":
    failures: "list[str]" = []
    try:
        written.abandon()
    except OSError as error:
        # Nothing may be undone while a later reader could take the transaction for committed.
        return ["abandon: %s" % error]
    for number, operation in written.undo_operations():
        if failures and operation["undo"] in NEEDED_BY_A_RETRY:
            continue
        try:
            OPERATIONS[operation["undo"]](paths, operation)
        except Exception as error:
            failures.append("%s: %s" % (operation["undo"], error))
        else:
            written.undone(number)
    return failures
