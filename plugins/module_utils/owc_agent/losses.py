"""What going back to an earlier database would lose: the present one compared with the snapshot.

Both databases are on this server, so the server compares them, row by row of the same key, and
only numbers and a few titles come out. Nothing is locked and nothing of the site is written:
visitors and editors go on meanwhile, and what they do shows in a later answer.
"""

from __future__ import annotations

import gzip
import os
import stat
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, NamedTuple

from . import commands, database, tables

# A site can lock its own tables or fill them; neither may hold up for ever who asks.
LOCK_SECONDS = 5
STATEMENT_SECONDS = 120
BUDGET_SECONDS = 600
UPLOADS_SECONDS = 60
EXAMPLES = 5
TITLE_LENGTH = 80
# So many tables or kinds of content are named in an answer; what is more than that is added up.
NAMED = 100

# What WordPress writes for itself, which nobody misses.
INTERNAL_POST_TYPES = (
    "revision",
    "nav_menu_item",
    "customize_changeset",
    "oembed_cache",
    "wp_global_styles",
    "wp_navigation",
    "wp_template",
    "wp_template_part",
    "wp_font_family",
    "wp_font_face",
)
HOUSEKEEPING_OPTIONS = (
    "cron",
    "db_version",
    "db_upgraded",
    "fresh_site",
    "recently_activated",
    "recovery_keys",
    "uninstall_plugins",
    "auto_core_update_notified",
    "auto_updater.lock",
    "core_updater.lock",
    "action_scheduler_migration_status",
)
HOUSEKEEPING_PREFIXES = ("_transient_", "_site_transient_", "action_scheduler_lock_")

POSTS, COMMENTS, USERS = "wp_posts", "wp_comments", "wp_users"
ENTRIES = ("wp_gf_entry", "wp_rg_lead")
KINDS = {POSTS: "posts", COMMENTS: "comments", USERS: "users", database.OPTIONS_TABLE: "options"}
KINDS.update(dict.fromkeys(ENTRIES, "entries"))


class Upload(NamedTuple):
    """A file below shared/uploads; `at_seconds` is when it was written or put there."""

    path: str
    size_bytes: int
    at_seconds: float


class UploadsError(Exception):
    """The uploads could not be looked through to the end."""


def snapshot_seconds(snapshot: str) -> float:
    """Return when a snapshot was begun, in Unix seconds.

    gzip's header has it; the file's own time is when it was finished, perhaps an hour later.
    """
    with open(snapshot, "rb") as stream:
        header = stream.read(8)
    begun = int.from_bytes(header[4:8], "little")
    return float(begun) if begun else os.stat(snapshot).st_mtime


def tested_size(snapshot: str) -> int:
    """Read a snapshot to its end and return its size unpacked.

    Raises CommandError when it is missing, damaged or ends early.
    """
    size, tail = 0, b""
    try:
        with gzip.open(snapshot, "rb") as packed:
            for chunk in iter(lambda: packed.read(1 << 20), b""):
                size += len(chunk)
                tail = (tail + chunk)[-200:]
    except (OSError, EOFError) as error:
        words = "it is gone" if isinstance(error, FileNotFoundError) else str(error)
        raise commands.CommandError("the snapshot %s: %s" % (snapshot, words)) from None
    if b"-- Dump completed" not in tail:
        raise commands.CommandError("the snapshot %s ends early" % snapshot)
    return size


def iso(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(text: str) -> str:
    """Return a text of a site for a person: on one line, short, without what a terminal obeys."""
    clean = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return (
        clean
        if len(clean) <= TITLE_LENGTH
        else clean[: TITLE_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def count() -> "dict[str, Any]":
    """Return a count of nothing: rows added, changed and deleted since, and some of them."""
    return {"new": 0, "changed": 0, "deleted": 0, "examples": []}


def tell(
    left_database: str, kept_database: str, uploads: str, since: float, owned: "list[str]"
) -> "dict[str, Any]":
    """Return what would be lost by leaving one database for the other (docs/architecture.md).

    `uploads` is the folder of uploads, `since` when the other database was current, `owned` are
    options that belong to releases and are brought back by themselves.
    """
    found: "dict[str, Any]" = {
        "snapshot_at": iso(since),
        "posts": {},
        "internal": count(),
        "comments": count(),
        "entries": count(),
        "users": count(),
        "options": count(),
        "uploads": count(),
        "tables": {},
        "not_compared": [],
    }
    ends = time.monotonic() + BUDGET_SECONDS
    for pair in pairs(left_database, kept_database):
        if time.monotonic() > ends:
            _not_compared(found, pair.name, "there was no time left")
            continue
        try:
            _compare(pair, found, owned)
        except commands.CommandError as error:
            _not_compared(found, pair.name, str(error))
    _tell_uploads(found, uploads, since)
    _bound(found)
    return found


def pairs(left_database: str, kept_database: str) -> "list[tables.Pair]":
    """Return every table that either database has, by name."""
    left, kept = tables.read(left_database), tables.read(kept_database)
    found = []
    for name in sorted({*left, *kept}):
        one, other = left.get(name), kept.get(name)
        preferred = ("option_name",) if name == database.OPTIONS_TABLE else ()
        # WordPress counts the comments of a post in the post; nobody edited it.
        ignored = ("comment_count",) if name == POSTS else ()
        key = tables.common_key(one, other, preferred) if one and other else ()
        found.append(tables.Pair(name, left_database, kept_database, one, other, key, ignored))
    return found


def condition(pair: tables.Pair, row: str, owned: "list[str]") -> str:
    """Return which rows of a table count: all, but for options that nobody set."""
    table = pair.left or pair.kept
    if pair.name != database.OPTIONS_TABLE or table is None or not table.has("option_name"):
        return "TRUE"
    names = [name for name in (*HOUSEKEEPING_OPTIONS, *owned) if "'" not in name]
    parts = ["%s.option_name NOT IN (%s)" % (row, ",".join("'%s'" % name for name in names))]
    for prefix in HOUSEKEEPING_PREFIXES:
        parts.append("LEFT(%s.option_name, %d) <> '%s'" % (row, len(prefix), prefix))
    return "(%s)" % " AND ".join(parts)


def _group(pair: tables.Pair, row: str) -> str:
    """Return what rows of a table are counted by: posts by their type, `''` for internal ones."""
    known = [table for table in (pair.left, pair.kept) if table is not None]
    if pair.name != POSTS or not all(table.has("post_type", "post_status") for table in known):
        return "'-'"
    types = ",".join("'%s'" % name for name in INTERNAL_POST_TYPES)
    return "IF({r}.post_type IN ({t}) OR {r}.post_status = 'auto-draft', '', {r}.post_type)".format(
        r=row, t=types
    )


def _title(pair: tables.Pair, row: str) -> str:
    """Return what a row is called for a person: never what somebody filled in in a form."""
    table = pair.left if row == "l" else pair.kept
    if table is None:
        return "''"
    if pair.name == POSTS and table.has("post_title"):
        return "%s.post_title" % row
    if pair.name == USERS and table.has("user_login"):
        return "%s.user_login" % row
    if pair.name == database.OPTIONS_TABLE and table.has("option_name"):
        return "%s.option_name" % row
    parts = ["'#'"] + [
        "%s.%s" % (row, tables.quoted(name)) for name in pair.key or _first_key(table)
    ]
    if pair.name in ENTRIES and table.has("form_id"):
        parts += ["', form '", "COALESCE(%s.form_id, '')" % row]
    for name in ("date_created", "comment_date"):
        if pair.name in (*ENTRIES, COMMENTS) and table.has(name):
            parts += ["', '", "COALESCE(%s.%s, '')" % (row, name)]
    return "CONCAT(%s)" % ", ".join(parts)


def _first_key(table: tables.Table) -> "tuple[str, ...]":
    return table.keys.get(tables.PRIMARY, ())


def session() -> str:
    """Return what every look begins with: limits, and one moment for all that is read."""
    return (
        "SET SESSION lock_wait_timeout=%d, innodb_lock_wait_timeout=%d, max_statement_time=%d;"
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;"
        % (LOCK_SECONDS, LOCK_SECONDS, STATEMENT_SECONDS)
    )


def _compare(pair: tables.Pair, found: "dict[str, Any]", owned: "list[str]") -> None:
    if not pair.can_be_compared:
        _compare_whole(pair, found)
        return
    statements = list(_statements(pair, owned))
    sql = session() + "".join(database.immediate(statement) for statement in statements)
    for row in database.execute(sql, timeout_seconds=STATEMENT_SECONDS * 5):
        what, group = row[1], database.unhex(row[2])
        counted = _counted(found, pair.name, group)
        if row[0] == "count":
            counted[what] += int(row[3])
        elif group and len(counted["examples"]) < EXAMPLES:
            title = shown(database.unhex(row[3] if row[3:] else ""))
            counted["examples"].append({"what": what, "title": title})


def _statements(pair: tables.Pair, owned: "list[str]") -> "Iterator[str]":
    """Give the queries for the rows of one table that are lost, and for those that come back."""
    looks = []
    if pair.left is not None:
        what = "IF(%s, 'new', 'changed')" % pair.is_new
        looks.append(("l", what, pair.both, pair.is_lost))
    if pair.kept is not None:
        looks.append(("k", "'deleted'", pair.returning, pair.is_deleted))
    for row, what, source, lost in looks:
        which = "%s AND %s" % (lost, condition(pair, row, owned))
        group = _group(pair, row)
        yield (
            "SELECT 'count', {w} AS w, HEX({g}) AS g, COUNT(*) FROM {s} WHERE {c}"
            " GROUP BY w, g".format(w=what, g=group, s=source, c=which)
        )
        if pair.name not in KINDS:
            continue
        order = ", ".join("%s.%s DESC" % (row, tables.quoted(name)) for name in pair.key) or "1"
        yield (
            "SELECT 'example', w, HEX(g), HEX(t) FROM (SELECT {w} AS w, {g} AS g, LEFT({t}, {n}) AS"
            " t, ROW_NUMBER() OVER (PARTITION BY {g} ORDER BY {w} DESC, {o}) AS n FROM {s}"
            " WHERE {c}) AS e WHERE n <= {e} AND g <> '' ORDER BY g, n LIMIT {m}".format(
                w=what,
                g=group,
                t=_title(pair, row),
                n=TITLE_LENGTH * 2,
                o=order,
                s=source,
                c=which,
                e=EXAMPLES,
                m=EXAMPLES * NAMED,
            )
        )


def _counted(found: "dict[str, Any]", table: str, group: str) -> "dict[str, Any]":
    """Return the count that a row of a table belongs to."""
    kind = KINDS.get(table)
    if kind == "posts":
        counted = found["posts"].setdefault(shown(group), count()) if group else found["internal"]
    elif kind:
        counted = found[kind]
    else:
        counted = found["tables"].setdefault(shown(table), count())
    result: "dict[str, Any]" = counted
    return result


def _compare_whole(pair: tables.Pair, found: "dict[str, Any]") -> None:
    """Compare a table whose rows cannot be told apart: the same or not, and how many."""
    numbers = []
    for name, table in ((pair.left_database, pair.left), (pair.kept_database, pair.kept)):
        if table is not None:
            sql = session() + database.immediate(tables.fingerprint(name, table))
            numbers.append(tuple(database.execute(sql, timeout_seconds=STATEMENT_SECONDS * 2)[0]))
    now, then = numbers
    if now != then:
        words = "its rows cannot be told apart: %s now, %s then" % (now[0], then[0])
        _not_compared(found, pair.name, words)


def _not_compared(found: "dict[str, Any]", table: str, reason: str) -> None:
    found["not_compared"].append({"table": shown(table), "reason": shown(reason)})


def _tell_uploads(found: "dict[str, Any]", folder: str, since: float) -> None:
    counted = found["uploads"]
    try:
        for upload in uploads_since(folder, since, UPLOADS_SECONDS):
            counted["new"] += 1
            if len(counted["examples"]) < EXAMPLES:
                counted["examples"].append({"what": "new", "title": shown(upload.path)})
    except UploadsError as error:
        _not_compared(found, "uploads", str(error))


def uploads_since(folder: str, since: float, seconds: float) -> "Iterator[Upload]":
    """Give the files below a folder that were written, or put there, since; links are not followed.

    Raises UploadsError when that takes longer than `seconds`.
    """
    if not os.path.isdir(folder):
        return
    ends = time.monotonic() + seconds
    # The site owns this tree and may turn a folder into a link while it is walked: hence by handle.
    for place, folders, names, handle in os.fwalk(folder, follow_symlinks=False):
        if time.monotonic() > ends:
            raise UploadsError("there are too many files to look at all of them")
        folders.sort()
        for name in sorted(names):
            try:
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue
            at = max(status.st_mtime, status.st_ctime)
            if stat.S_ISREG(status.st_mode) and at >= since:
                path = os.path.relpath(os.path.join(place, name), folder)
                yield Upload(os.fsencode(path).decode("utf-8", "replace"), status.st_size, at)


def _bound(found: "dict[str, Any]") -> None:
    """Keep the answer short, however many tables and kinds of content a site has."""
    for kind in ("posts", "tables"):
        counted = {
            name: numbers
            for name, numbers in found[kind].items()
            if numbers["new"] or numbers["changed"] or numbers["deleted"]
        }
        others = count()
        for name in sorted(counted)[NAMED:]:
            numbers = counted.pop(name)
            for what in ("new", "changed", "deleted"):
                others[what] += numbers[what]
            counted["others"] = others
        found[kind] = counted
    del found["not_compared"][NAMED:]
