from __future__ import annotations

import pytest

from owc_agent import database, tables


def table(name: str, *columns: tables.Column, **keys: tuple[str, ...]) -> tables.Table:
    return tables.Table(name, columns, keys)


ID = tables.Column("id", "bigint", "")
TITLE = tables.Column("ti`tle", "text", "utf8mb4_unicode_ci")
NAME = tables.Column("name", "varchar", "utf8mb4_unicode_ci")
OTHER_NAME = tables.Column("name", "varchar", "utf8mb4_bin")
BOTH = table("t", ID, TITLE, PRIMARY=("id",))


def pair(
    left: tables.Table | None, kept: tables.Table | None, key: tuple[str, ...] = ("id",)
) -> tables.Pair:
    return tables.Pair("t`t", "owc_x", "owcrestore_x", left, kept, key)


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("wp_posts", "`wp_posts`"),
        ("a`b", "`a``b`"),
        ("`; DROP TABLE x; --", "```; DROP TABLE x; --`"),
        ("a\\", "`a\\`"),
    ],
)
def test_any_name_is_one_identifier(name: str, quoted: str) -> None:
    assert tables.quoted(name) == quoted


@pytest.mark.parametrize("text", ["a\\", "\\! id", "';--", "é`\n"])
def test_a_statement_is_sent_without_anything_to_misread(text: str) -> None:
    sql = "DROP TABLE " + tables.quoted(text)
    sent = database.immediate(sql)
    assert sent.startswith("EXECUTE IMMEDIATE CONVERT(X'")
    assert text not in sent
    inside = sent.partition("X'")[2].partition("'")[0]
    assert bytes.fromhex(inside).decode() == sql


def test_rows_are_compared_by_key_and_to_the_byte() -> None:
    found = pair(BOTH, BOTH)
    assert found.both == (
        "`owc_x`.`t``t` AS l LEFT JOIN `owcrestore_x`.`t``t` AS k ON l.`id` = k.`id`"
    )
    assert found.is_new == "(k.`id` IS NULL)"
    assert found.is_deleted == "(l.`id` IS NULL)"
    text = "CAST(CONVERT(%s.`ti``tle` USING utf8mb4) AS BINARY)"
    assert found.is_lost == f"((k.`id` IS NULL) OR NOT ({text % 'l'} <=> {text % 'k'}))"


def test_a_column_of_one_side_and_one_left_aside_say_nothing() -> None:
    assert "NOT (TRUE)" in pair(BOTH, table("t", ID, PRIMARY=("id",))).is_lost
    ignored = pair(BOTH, BOTH)._replace(ignored=("ti`tle",))
    assert "NOT (TRUE)" in ignored.is_lost


def test_a_table_of_one_side_is_all_new_or_all_back() -> None:
    added = pair(BOTH, None, ())
    assert (added.both, added.is_new, added.is_lost) == ("`owc_x`.`t``t` AS l", "TRUE", "TRUE")
    assert added.can_be_compared
    dropped = pair(None, BOTH, ())
    assert (dropped.returning, dropped.is_deleted) == ("`owcrestore_x`.`t``t` AS k", "TRUE")
    assert not pair(BOTH, BOTH, ()).can_be_compared


@pytest.mark.parametrize(
    ("left", "kept", "preferred", "key"),
    [
        (BOTH, BOTH, (), ("id",)),
        (table("t", ID), BOTH, (), ()),
        (table("t", ID), table("t", ID), (), ()),
        (table("t", ID, PRIMARY=("id",)), table("t", NAME, PRIMARY=("name",)), (), ()),
        (table("t", NAME, PRIMARY=("name",)), table("t", OTHER_NAME, PRIMARY=("name",)), (), ()),
        (
            table("t", ID, NAME, PRIMARY=("id",), n=("name",)),
            table("t", ID, NAME, PRIMARY=("id",), n=("name",)),
            ("name",),
            ("name",),
        ),
        (
            table("t", ID, NAME, PRIMARY=("id",)),
            table("t", ID, NAME, PRIMARY=("id",), n=("name",)),
            ("name",),
            ("id",),
        ),
    ],
    ids=["both", "one side", "neither", "another", "another collation", "preferred", "no index"],
)
def test_what_tells_rows_apart(
    left: tables.Table, kept: tables.Table, preferred: tuple[str, ...], key: tuple[str, ...]
) -> None:
    assert tables.common_key(left, kept, preferred) == key
