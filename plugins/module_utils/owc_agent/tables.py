"""The tables of one site in two databases, and the SQL that compares them on the server itself.

Names of tables and columns are the site's own text. They are quoted here, and a statement that
holds them is sent with `database.immediate`, so that neither the client nor the server can take
them for anything else.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from . import database

TEXT_KINDS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"})
TEXT_KINDS |= {"set", "json"}
WHOLE_KINDS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
BINARY_KINDS = frozenset(
    {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit"}
)
SHAPE_KINDS = frozenset({"geometry", "point", "linestring", "polygon", "multipoint"})
SHAPE_KINDS |= {"multilinestring", "multipolygon", "geometrycollection"}
PRIMARY = "PRIMARY"


class Column(NamedTuple):
    """A column: its name, its kind (`bigint`) and its collation, `""` where it has none."""

    name: str
    kind: str
    collation: str


class Table(NamedTuple):
    """A table: `keys` maps an index to its columns, for indexes that name one row for certain."""

    name: str
    columns: "tuple[Column, ...]"
    keys: "dict[str, tuple[str, ...]]"

    def column(self, name: str) -> "Optional[Column]":
        """Return the column of that name, `None` when there is none."""
        return next((column for column in self.columns if column.name == name), None)

    def has(self, *names: str) -> bool:
        """Return whether there are columns of all these names."""
        return all(self.column(name) for name in names)


class Pair(NamedTuple):
    """One table in the database that is left and in the one that is gone back to.

    In SQL a row of the first is called `l`, of the second `k`. Either may have no such table
    (`None`). `key` are the columns that tell rows apart, `()` when both have it and nothing does.
    """

    name: str
    left_database: str
    kept_database: str
    left: "Optional[Table]"
    kept: "Optional[Table]"
    key: "tuple[str, ...]" = ()
    ignored: "tuple[str, ...]" = ()

    @property
    def both(self) -> str:
        """Every row that is left, with the row of the same key that is gone back to, if any."""
        if self.kept is None:
            return "%s AS l" % self._left
        return "%s AS l LEFT JOIN %s AS k ON %s" % (self._left, self._kept, self._same_key)

    @property
    def returning(self) -> str:
        """Every row that is gone back to, with the row of the same key that is left, if any."""
        if self.left is None:
            return "%s AS k" % self._kept
        return "%s AS k LEFT JOIN %s AS l ON %s" % (self._kept, self._left, self._same_key)

    @property
    def is_new(self) -> str:
        """Whether a row of `both` was added since."""
        return "(k.%s IS NULL)" % quoted(self.key[0]) if self.kept else "TRUE"

    @property
    def is_deleted(self) -> str:
        """Whether a row of `returning` was deleted since."""
        return "(l.%s IS NULL)" % quoted(self.key[0]) if self.left else "TRUE"

    @property
    def is_lost(self) -> str:
        """Whether a row of `both` was added or changed since."""
        if self.left is None or self.kept is None:
            return "TRUE"
        same = [
            "%s <=> %s" % (comparable(left, "l"), comparable(kept, "k"))
            for left in self.left.columns
            for kept in [self.kept.column(left.name)]
            if kept and left.name not in self.key and left.name not in self.ignored
        ]
        return "(%s OR NOT (%s))" % (self.is_new, " AND ".join(same) or "TRUE")

    @property
    def can_be_compared(self) -> bool:
        """Whether rows can be told apart, or need not be since one side has none."""
        return bool(self.key) or self.left is None or self.kept is None

    @property
    def _left(self) -> str:
        return qualified(self.left_database, self.name)

    @property
    def _kept(self) -> str:
        return qualified(self.kept_database, self.name)

    @property
    def _same_key(self) -> str:
        return " AND ".join("l.%s = k.%s" % (quoted(name), quoted(name)) for name in self.key)


def quoted(name: str) -> str:
    """Return any name as an SQL identifier."""
    return "`%s`" % name.replace("`", "``")


def qualified(database_name: str, table: str) -> str:
    """Return a table of a database as an SQL identifier."""
    return "%s.%s" % (quoted(database_name), quoted(table))


def comparable(column: Column, alias: str) -> str:
    """Return an expression for a value that is equal only when it is the same to the byte.

    The alphabet of a column may have become another; the same text in both is no change.
    """
    value = "%s.%s" % (alias, quoted(column.name)) if alias else quoted(column.name)
    if column.kind in SHAPE_KINDS:
        return "ST_AsBinary(%s)" % value
    if column.kind in TEXT_KINDS:
        return "CAST(CONVERT(%s USING utf8mb4) AS BINARY)" % value
    return "CAST(%s AS BINARY)" % value


def common_key(left: Table, kept: Table, preferred: "tuple[str, ...]" = ()) -> "tuple[str, ...]":
    """Return the columns that tell the rows of both apart, `()` when there are none.

    `preferred` are columns to tell them apart by, where an index allows it; otherwise the primary
    key does. Text of different collations is not compared: that could not use an index.
    """
    wanted = (preferred, left.keys.get(PRIMARY, ()))
    for key in wanted:
        if key and key in left.keys.values() and key in kept.keys.values():
            pairs = [(left.column(name), kept.column(name)) for name in key]
            if all(one and other and one.collation == other.collation for one, other in pairs):
                return key
    return ()


def fingerprint(database_name: str, table: Table) -> str:
    """Return a query for the number of rows and a checksum of them, whatever their order."""
    values = [
        "COALESCE(CONCAT('+', HEX(%s)), '-')" % comparable(column, "") for column in table.columns
    ]
    return "SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT_WS(',', %s))), 0) FROM %s" % (
        ", ".join(values),
        qualified(database_name, table.name),
    )


def read_one(database_name: str, name: str) -> "Optional[Table]":
    """Return the table of that name, `None` when there is none."""
    return read(database_name, name).get(name)


def read(database_name: str, name: str = "") -> "dict[str, Table]":
    """Return the tables of a database, or one of them, with what is needed to compare them."""
    columns: "dict[str, list[Column]]" = {}
    for row in database.execute(
        "SELECT HEX(c.table_name), HEX(c.column_name), HEX(c.data_type),"
        " HEX(COALESCE(c.collation_name, '')) FROM information_schema.columns AS c"
        " JOIN information_schema.tables AS t"
        " ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
        " WHERE c.table_schema='%s' AND t.table_type='BASE TABLE'%s"
        " ORDER BY c.table_name, c.ordinal_position" % (database_name, _only("c", name))
    ):
        table, column, kind, collation = (database.unhex(cell) for cell in (*row, "")[:4])
        columns.setdefault(table, []).append(Column(column, kind.lower(), collation))
    keys = _keys(database_name, name)
    return {
        table: Table(table, tuple(found), keys.get(table, {})) for table, found in columns.items()
    }


def _only(row: str, name: str) -> str:
    return (
        " AND %s.table_name=CONVERT(X'%s' USING utf8mb4)" % (row, name.encode().hex())
        if name
        else ""
    )


def _keys(database_name: str, name: str) -> "dict[str, dict[str, tuple[str, ...]]]":
    found: "dict[str, dict[str, tuple[str, ...]]]" = {}
    loose = set()
    for row in database.execute(
        "SELECT HEX(table_name), HEX(index_name), HEX(column_name),"
        " nullable = 'YES' OR sub_part IS NOT NULL FROM information_schema.statistics AS s"
        " WHERE table_schema='%s' AND non_unique=0%s"
        " ORDER BY table_name, index_name, seq_in_index" % (database_name, _only("s", name))
    ):
        table, index, column = (database.unhex(cell) for cell in row[:3])
        indexes = found.setdefault(table, {})
        indexes[index] = (*indexes.get(index, ()), column)
        if row[3] == "1":
            loose.add((table, index))
    for table, index in loose:
        del found[table][index]
    return found
