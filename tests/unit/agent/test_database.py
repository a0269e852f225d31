from __future__ import annotations

from pathlib import Path

import pytest

from owc_agent import commands, database, layout

SITES = ["xx", "x--restore", "x-restore", "restore", "caside-x", "voorbeeld", "a" * 27]


@pytest.mark.parametrize("site", SITES)
def test_what_restore_removes_can_be_no_database_of_a_site(site: str) -> None:
    databases = database.restore_databases(layout.SitePaths(site))
    assert len(set(databases)) == 2
    for name in databases:
        assert not name.startswith("owc_")
        assert len(name) <= 64
    assert layout.SitePaths(site).database.startswith("owc_")


def test_two_sites_are_restored_side_by_side() -> None:
    names = [name for site in SITES for name in database.restore_databases(layout.SitePaths(site))]
    assert len(set(names)) == len(names)


def test_a_full_disk_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(database, "DATA_FOLDER", str(tmp_path))
    monkeypatch.setattr(database, "execute", lambda sql, *_, **__: asked.append(sql) or [["0"]])
    monkeypatch.setattr(database, "SPARE_BYTES", 1 << 60)
    with pytest.raises(commands.CommandError, match="MB are needed"):
        database.write_options("owc_x", {"blogname": "41"})
    with pytest.raises(commands.CommandError, match="MB are needed"):
        database.restore(layout.SitePaths("xx"), "/nowhere.sql.gz")
    assert not [sql for sql in asked if not sql.startswith("SELECT")]
    monkeypatch.setattr(database, "SPARE_BYTES", 0)
    database.write_options("owc_x", {"blogname": "41"})
    assert asked[-1].startswith("START TRANSACTION")


def test_an_option_row_is_read_from_hexadecimal() -> None:
    assert database.option_row([b"blogname".hex(), "4142"]) == ("blogname", "4142")
    assert database.option_row([b"blogname".hex(), ""]) == ("blogname", "")
    assert database.option_row([b"blog\x0bname".hex()]) == ("blog\x0bname", "")
    assert database.option_row(["FF", "41"]) == ("\N{REPLACEMENT CHARACTER}", "41")


def test_a_site_may_leave_no_code_in_its_database() -> None:
    granted = {word.strip() for word in database.PRIVILEGES.split(",")}
    withheld = {word.strip() for word in database.PRIVILEGES_WITHHELD.split(",")}
    assert not granted & withheld
    code = {"CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE", "EVENT", "TRIGGER"}
    assert code < withheld


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            "--------------\nSELECT x\n--------------\n\nERROR 1054 (42S22) at line 1: Unknown",
            "ERROR 1054 (42S22) at line 1: Unknown",
        ),
        ("ERROR 2002 (HY000): Can't connect", "ERROR 2002 (HY000): Can't connect"),
        ("mariadb: unknown option", "mariadb: unknown option"),
        ("", ""),
    ],
)
def test_an_error_is_told_without_the_statement(words: str, error: str) -> None:
    assert database.server_error(words) == error


@pytest.mark.parametrize(
    ("serialized", "texts"),
    [
        (b"a:0:{}", []),
        (b'a:2:{i:0;s:3:"a/b";i:5;s:4:"\xc3\xa9;}";}', ["a/b", "é;}"]),
        (b'a:1:{i:0;s:9:"a/b";}', None),
        (b'a:1:{i:0;s:3:"a/b";}x', None),
        (b"a:1:{i:0;i:3;}", None),
        (b'a:2:{i:0;s:3:"a/b";}', None),
        (b"", None),
    ],
)
def test_a_serialised_list_is_read_strictly(serialized: bytes, texts: list[str] | None) -> None:
    assert database.parse_list(serialized) == texts


@pytest.mark.parametrize("texts", [[], ["a/b.php"], ["é", 'x";i:1;s:1:"y']])
def test_a_list_comes_back_from_its_serialised_form(texts: list[str]) -> None:
    assert database.parse_list(database.serialized_list(texts).encode()) == texts
