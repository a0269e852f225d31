"""One site's database, from outside WordPress: MariaDB's own programs over the local socket.

Identifiers come from `layout` and are checked there; values travel in hexadecimal, so no text of a
site can become SQL. A statement that holds a site's own names travels in hexadecimal as a whole.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, Optional

from . import commands, files, layout

CLIENT = ["mariadb", "--protocol=socket", "--batch", "--raw", "--skip-column-names"]
DUMP = [
    "mariadb-dump",
    "--protocol=socket",
    "--single-transaction",
    "--quick",
    "--skip-dump-date",
    "--order-by-primary",
    "--hex-blob",
    "--triggers",
    "--routines",
]
OPTIONS_TABLE = "wp_options"

# What WordPress and its plugins need, and nothing that lets a site leave code in its database:
# root reads and writes there too, and a view, routine or trigger would run with root's rights.
PRIVILEGES = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES,"
    " CREATE TEMPORARY TABLES, LOCK TABLES"
)
PRIVILEGES_WITHHELD = (
    "CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, EVENT, TRIGGER,"
    " DELETE HISTORY, GRANT OPTION"
)
# Decoding is quick; a value made to be slow or deep may not hold up what waits for it.
DECODE_TIMEOUT_SECONDS = 30
DATA_FOLDER = "/var/lib/mysql"
# MariaDB ends, for all sites at once, when a table has to grow and cannot.
SPARE_BYTES = 4 << 20


def execute(sql: str, database: str = "", timeout_seconds: float = 60) -> "list[list[str]]":
    """Run SQL as root and return the rows; raises CommandError with the server's own words."""
    arguments = CLIENT + (["--database", database] if database else [])
    result = commands.run(
        arguments, stdin=sql.encode(), timeout_seconds=timeout_seconds, check=False
    )
    if result.returncode != 0:
        raise commands.CommandError("MariaDB: " + server_error(commands.last_words(result)))
    lines = result.stdout.decode("utf-8", "replace").splitlines()
    return [line.split("\t") for line in lines]


def immediate(sql: str) -> str:
    """Return a statement that runs `sql`, with nothing in it that the client could misread.

    For names that a site chose itself: quoted, the server reads them as they are, but the client
    has commands of its own, and its own idea of where a quoted name ends.
    """
    return "EXECUTE IMMEDIATE CONVERT(X'%s' USING utf8mb4);" % sql.encode().hex()


def stream_rows(sql: str, timeout_seconds: float) -> "Iterator[list[str]]":
    """Run SQL and give its rows one at a time, however many there are.

    Raises CommandError with the server's own words, also when it has given rows already.
    """
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as statement:
        statement.write(sql.encode())
        statement.seek(0)
        process = subprocess.Popen(
            [*CLIENT, "--quick"],
            stdin=statement,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=commands.ENVIRONMENT,
        )
        # The server stops what takes too long; this is for a server that does not.
        guard = threading.Timer(timeout_seconds, process.kill)
        guard.start()
        try:
            for line in process.stdout:  # type: ignore[union-attr]
                yield line.decode("ascii", "replace").rstrip("\n").split("\t")
            code = process.wait()
        finally:
            guard.cancel()
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]
        if code != 0:
            errors.seek(0)
            words = errors.read().decode("utf-8", "replace").strip()[-600:]
            raise commands.CommandError("MariaDB: " + (server_error(words) or "it was stopped"))


def server_error(words: str) -> str:
    """Return the error of what the client printed, without the statement that it repeats."""
    errors = [line for line in words.splitlines() if line.startswith("ERROR ")]
    return errors[-1] if errors else words


def exists(database: str) -> bool:
    """Return whether the database is there."""
    return bool(
        execute("SELECT 1 FROM information_schema.schemata WHERE schema_name='%s'" % database)
    )


def create(paths: layout.SitePaths) -> None:
    """Make the site's database and its user, who logs in over the socket as the unix user.

    Both may be there already; a wider grant of before is narrowed without a moment in which the
    site can do less than it needs.
    """
    execute(
        "CREATE DATABASE IF NOT EXISTS `{d}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;"
        "CREATE USER IF NOT EXISTS `{u}`@localhost IDENTIFIED VIA unix_socket;"
        "GRANT {p} ON `{e}`.* TO `{u}`@localhost;"
        "REVOKE {w} ON `{e}`.* FROM `{u}`@localhost;".format(
            d=paths.database,
            u=paths.user,
            e=paths.database.replace("_", "\\_"),
            p=PRIVILEGES,
            w=PRIVILEGES_WITHHELD,
        )
    )


def drop(paths: layout.SitePaths) -> None:
    """Remove the site's database; only for one that the same transaction made."""
    execute("DROP DATABASE IF EXISTS `%s`" % paths.database)


def dump(database: str, destination: str, timeout_seconds: float = 3600) -> int:
    """Write a compressed dump to `destination` (0600) and return its size in bytes.

    The dump counts only when mariadb-dump ended well and wrote its closing line; until then nothing
    stands under the final name. Raises CommandError, too, for a database that `restore` could not
    bring back.
    """
    _refuse_triggers(database)
    os.makedirs(os.path.dirname(destination), mode=0o700, exist_ok=True)
    partial = destination + ".partial"
    try:
        _dump_to(partial, database, timeout_seconds)
        os.replace(partial, destination)
    except BaseException:
        files.remove_file(partial)
        raise
    files.sync_folder(os.path.dirname(destination))
    return os.path.getsize(destination)


def _refuse_triggers(database: str) -> None:
    # MariaDB moves no table that has a trigger to another database, which is how `restore` works.
    rows = execute(
        "SELECT HEX(trigger_name), HEX(event_object_table) FROM information_schema.triggers"
        " WHERE trigger_schema='%s' LIMIT 5" % database
    )
    if rows:
        names = ["%s on %s" % (unhex(row[0]), unhex(row[1])) for row in rows]
        raise commands.CommandError(
            "the database %s cannot be brought back from a snapshot while it has triggers (%s);"
            " remove them first" % (database, ", ".join(names))
        )


def _dump_to(path: str, database: str, timeout_seconds: float) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as raw, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*DUMP, database], stdout=subprocess.PIPE, stderr=errors, env=commands.ENVIRONMENT
        )
        tail = _compress(process.stdout, raw)
        code = process.wait(timeout=timeout_seconds)
        raw.flush()
        os.fsync(raw.fileno())
        if code != 0 or b"-- Dump completed" not in tail:
            errors.seek(0)
            words = errors.read().decode("utf-8", "replace").strip()[-400:]
            raise commands.CommandError("mariadb-dump failed: %s" % words)


def _compress(stream: Any, raw: Any) -> bytes:
    tail = b""
    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as packed:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            packed.write(chunk)
            tail = (tail + chunk)[-200:]
    return tail


def restore(paths: layout.SitePaths, snapshot: str, timeout_seconds: float = 3600) -> None:
    """Bring the database back to a snapshot, or leave it exactly as it is.

    The snapshot is read into a database of its own first. Only when all of it is there do its
    tables take the place of the present ones, in one RENAME, so a snapshot that turns out to be
    damaged, or a full disk, costs nothing.
    """
    load_scratch(paths, snapshot, timeout_seconds)
    try:
        exchange(paths, timeout_seconds)
    finally:
        drop_scratch(paths)


def load_scratch(paths: layout.SitePaths, snapshot: str, timeout_seconds: float = 3600) -> str:
    """Read a snapshot into a database of its own and return its name; see `drop_scratch`."""
    refuse_without_room(size_bytes(paths.database) + SPARE_BYTES)
    scratch, aside = restore_databases(paths)
    drop_scratch(paths)
    execute(
        "CREATE DATABASE `{s}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;"
        "CREATE DATABASE `{a}`;".format(s=scratch, a=aside)
    )
    try:
        _load(snapshot, scratch, timeout_seconds)
        _refuse_empty(snapshot, scratch)
    except BaseException:
        drop_scratch(paths)
        raise
    return scratch


def _refuse_empty(snapshot: str, database: str) -> None:
    if not _tables(database):
        raise commands.CommandError("the snapshot %s holds no tables" % snapshot)


def exchange(paths: layout.SitePaths, timeout_seconds: float = 3600) -> str:
    """Put the tables of `load_scratch` in the place of the present ones, in one RENAME.

    Returns the database that holds the ones that were there; nobody writes to them any more.
    """
    scratch, aside = restore_databases(paths)
    moves = _moves(paths.database, aside) + _moves(scratch, paths.database)
    execute(immediate("RENAME TABLE " + ", ".join(moves)), timeout_seconds=timeout_seconds)
    return aside


def _moves(source: str, destination: str) -> "list[str]":
    quoted = [name.replace("`", "``") for name in _tables(source)]
    return ["`%s`.`%s` TO `%s`.`%s`" % (source, name, destination, name) for name in quoted]


def drop_scratch(paths: layout.SitePaths) -> None:
    """Remove the databases that `load_scratch` made."""
    databases = restore_databases(paths)
    execute("".join("DROP DATABASE IF EXISTS `%s`;" % name for name in databases))


def refuse_without_room(needed: int) -> None:
    """Raise CommandError when MariaDB's disk has less than so many bytes free."""
    room = os.statvfs(DATA_FOLDER)
    free = room.f_bavail * room.f_frsize
    if free < needed:
        raise commands.CommandError(
            "%s has %d MB free, %d MB are needed" % (DATA_FOLDER, free >> 20, needed >> 20)
        )


def restore_databases(paths: layout.SitePaths) -> "tuple[str, str]":
    """Return the two databases that `restore` makes and removes; no site's can be called so."""
    suffix = paths.database[len("owc") :]
    return "owcrestore" + suffix, "owcaside" + suffix


def _load(snapshot: str, database: str, timeout_seconds: float) -> None:
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["mariadb", "--protocol=socket", "--database", database],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=commands.ENVIRONMENT,
        )
        try:
            with gzip.open(snapshot, "rb") as packed, process.stdin as client:  # type: ignore[union-attr]
                shutil.copyfileobj(packed, client, 1 << 20)
        except (OSError, EOFError) as error:
            process.kill()
            process.wait()
            raise commands.CommandError(
                "the snapshot %s is damaged: %s" % (snapshot, error)
            ) from error
        if process.wait(timeout=timeout_seconds) != 0:
            errors.seek(0)
            words = errors.read().decode("utf-8", "replace").strip()[-400:]
            raise commands.CommandError("the snapshot could not be loaded: %s" % words)


def _tables(database: str) -> "list[str]":
    rows = execute(
        "SELECT HEX(table_name) FROM information_schema.tables"
        " WHERE table_schema='%s' AND table_type='BASE TABLE'" % database
    )
    return [unhex(row[0]) for row in rows]


def read_options(database: str, names: "list[str]") -> "dict[str, Optional[str]]":
    """Return the raw values of WordPress options in hexadecimal, `None` for those not set."""
    values: "dict[str, Optional[str]]" = {layout.checked_option(name): None for name in names}
    if not values:
        return values
    rows = execute(
        "SELECT HEX(option_name), HEX(option_value) FROM `%s`.`%s` WHERE option_name IN (%s)"
        % (database, OPTIONS_TABLE, ",".join("'%s'" % name for name in values))
    )
    values.update(option_row(row) for row in rows)
    return values


def option_row(row: "list[str]") -> "tuple[str, str]":
    """Return the name and the raw value of a row `HEX(option_name), HEX(option_value)`."""
    return unhex(row[0]), row[1] if row[1:] else ""


def unhex(text: str) -> str:
    """Return the text that hexadecimal stands for, `""` for none."""
    return bytes.fromhex(text).decode("utf-8", "replace")


def write_options(database: str, values: "dict[str, Optional[str]]") -> None:
    """Set raw option values from `read_options` again; `None` removes the option."""
    statements = []
    for name, value in values.items():
        layout.checked_option(name)
        if value is None:
            statements.append("DELETE FROM `%s` WHERE option_name='%s'" % (OPTIONS_TABLE, name))
            continue
        if value.strip("0123456789ABCDEFabcdef"):
            raise layout.NameRefusedError("not hexadecimal: the value of %s" % name)
        statements.append(
            "INSERT INTO `{t}` (option_name, option_value) VALUES ('{n}', CONVERT(X'{v}' USING"
            " utf8mb4)) ON DUPLICATE KEY UPDATE option_value=VALUES(option_value)".format(
                t=OPTIONS_TABLE, n=name, v=value
            )
        )
    if statements:
        refuse_without_room(SPARE_BYTES)
        execute("START TRANSACTION;" + ";".join(statements) + ";COMMIT", database)


def decode_options(raw: Any) -> Any:
    """Return the same nested structure with PHP's serialised values decoded, by PHP itself.

    `raw` is any nesting of dictionaries whose leaves are hexadecimal or `None`. Objects are never
    brought to life (`allowed_classes` is off). What a site wrote is never unserialised as root.
    Raises CommandError when PHP or JSON cannot hold a value.
    """
    script = (
        "function d($v){if(is_array($v))return array_map('d',$v);if($v===null)return null;"
        "$t=hex2bin($v);$u=@unserialize($t,['allowed_classes'=>false]);"
        "return ($u===false&&$t!==serialize(false))?$t:$u;}"
        "echo json_encode(d(json_decode(stream_get_contents(STDIN),true)),"
        "JSON_PARTIAL_OUTPUT_ON_ERROR|JSON_INVALID_UTF8_SUBSTITUTE);"
    )
    result = commands.run(
        ["php", "-n", "-r", script],
        stdin=json.dumps(raw).encode(),
        timeout_seconds=DECODE_TIMEOUT_SECONDS,
        user="www-data",
    )
    try:
        return json.loads(result.stdout)
    except (ValueError, RecursionError) as error:
        raise commands.CommandError("an option cannot be decoded: %s" % error) from None


def serialized_list(texts: "list[str]") -> str:
    """Return a list of texts as PHP serialises it."""
    items = ['i:%d;s:%d:"%s";' % (n, len(t.encode()), t) for n, t in enumerate(texts)]
    return "a:%d:{%s}" % (len(texts), "".join(items))


def parse_list(serialized: bytes) -> "Optional[list[str]]":
    """Return a list of texts that PHP serialised; `None` when it is anything else.

    For what is read in every step: asking PHP to decode takes longer than the query does.
    """
    found = re.match(rb"a:(\d+):\{", serialized)
    if not found:
        return None
    texts, position = [], found.end()
    for _ in range(int(found.group(1))):
        item = re.compile(rb'i:\d+;s:(\d+):"').match(serialized, position)
        if not item:
            return None
        end = item.end() + int(item.group(1))
        if serialized[end : end + 2] != b'";':
            return None
        texts.append(serialized[item.end() : end].decode("utf-8", "replace"))
        position = end + 2
    return texts if serialized[position:] == b"}" else None


def size_bytes(database: str) -> int:
    """Return what the database's tables and indexes take, 0 when there are none."""
    rows = execute(
        "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables"
        " WHERE table_schema='%s'" % database
    )
    return int(float(rows[0][0]))
