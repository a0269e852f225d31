"""What could be newer, what holds it back, what a lock changes, and what `validate` says."""

import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from unit.catalogue.catalogues import (
    SERVER,
    advisory,
    block,
    catalogue,
    conflict,
    manifest,
    needs,
    release,
)

from owc_deploy.catalogue.check import problems_of
from owc_deploy.catalogue.outdated import Standing, newest_of, standings_of
from owc_deploy.catalogue.relock import LockChange, lock_changes, relock, write_lock
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.fleet.locks import parse_lock
from owc_deploy.fleet.models import BlockChoice, Fleet, FleetSettings, Hold, Lock, Manifest, Ring

BEFORE = catalogue(block("cmb2", "2.10.1"), block("a", "1.0"), block("b", "1.0"))
NOW = catalogue(
    block("cmb2", "2.10.1", "2.11.0", "2.12.0", "3.0-beta1", advisories=(advisory("<2.11"),)),
    block("a", "1.0", release("2.0", requires=(needs("cmb2", version="2.11.*"),))),
    block("b", "1.0", release("2.0", conflicts=(conflict("a", reason="same routes"),))),
)


def standings(asked: Manifest, lock: Lock | None) -> dict[str, Standing]:
    return {item.name: item for item in standings_of(asked, SERVER, NOW, lock)}


def test_standings() -> None:
    asked = manifest("a", "b", ("cmb2", "^2.10"))
    lock = resolve(asked, SERVER, BEFORE)
    found = standings(asked, lock)
    cmb2 = found["cmb2"]
    assert (cmb2.locked, cmb2.allowed, cmb2.newest) == ("2.10.1", "2.11.0", "2.12.0")
    assert cmb2.held_back == "a would have to be 1.0 instead of 2.0"
    assert [found.identifier for found in cmb2.advisories] == ["CVE-2026-1"]
    assert (found["a"].allowed, found["a"].held_back) == ("2.0", "")
    assert (found["b"].allowed, found["b"].newest) == ("1.0", "2.0")
    assert "same routes" in found["b"].held_back
    assert not found["wordpress"].is_outdated
    assert found["b"].is_outdated


@pytest.mark.parametrize(
    ("asked", "name", "held_back"),
    [
        (manifest(("cmb2", "2.10.*")), "cmb2", "the manifest asks 2.10.*"),
        (manifest(wordpress="^6"), "wordpress", "the manifest asks ^6"),
        (manifest(wordpress="^6"), "language-nl_NL", "it follows the version of WordPress"),
        (manifest("cmb2"), "cmb2", ""),
        (manifest("cmb2"), "wp-cli", ""),
    ],
)
def test_what_holds_back(asked: Manifest, name: str, held_back: str) -> None:
    assert standings(asked, resolve(asked, SERVER, NOW))[name].held_back == held_back


def test_a_site_without_a_lock_and_one_that_cannot_be_locked() -> None:
    assert standings(manifest("a"), None)["a"].locked is None
    lock = resolve(manifest("a"), SERVER, BEFORE)
    broken = standings(manifest("a", php="9.0"), lock)["a"]
    assert (broken.locked, broken.allowed) == ("1.0", None)
    assert "asks PHP 9.0" in broken.held_back
    assert standings(manifest("b"), lock)["a"].held_back == "it is not needed any more"


def test_the_newest_is_a_release_before_it_is_a_prerelease() -> None:
    assert newest_of(NOW, "cmb2") == "2.12.0"
    assert newest_of(catalogue(block("x", "1.0-beta1", "1.0-RC1")), "x") == "1.0-RC1"
    assert newest_of(catalogue(block("x", release("1.0", withdrawn="y"))), "x") is None
    assert newest_of(NOW, "nothing") is None


def test_changes_between_locks() -> None:
    old = resolve(manifest("cmb2", "b"), SERVER, BEFORE)
    new = resolve(manifest("cmb2", ("a", "1.0"), php="8.4"), SERVER, NOW)
    assert lock_changes(old, new) == (
        LockChange("php", "8.2", "8.4"),
        LockChange("a", None, "1.0", "chosen"),
        LockChange("cmb2", "2.10.1", "2.12.0", "chosen"),
        LockChange("b", "1.0", None),
    )
    assert lock_changes(new, new) == ()
    rebuilt = dataclasses.replace(new, theme=dataclasses.replace(new.theme, sha256="f" * 64))
    assert lock_changes(new, rebuilt) == (
        LockChange("thema", "1.0.0", "1.0.0", "chosen", rebuilt=True),
    )
    assert lock_changes(None, new)[0] == LockChange("php", None, "8.4")


def fleet(root: Path, *manifests: Manifest, locks: Any = ()) -> Fleet:
    return Fleet(
        root=root,
        settings=FleetSettings("vloot", root / "catalogue", root / "state", (Ring("alles"),)),
        servers={"web1": SERVER},
        manifests={item.site: item for item in manifests},
        locks={item.site: item for item in locks},
    )


def test_one_refusal_leaves_the_others_alone(tmp_path: Path) -> None:
    good, bad = manifest("a", site="goed"), manifest("nothing", site="fout")
    found = fleet(tmp_path, good, bad)
    first, second = relock(found, NOW, ["fout", "goed"])
    assert (first.site, first.lock) == ("fout", None)
    assert first.refusals
    assert second.lock is not None
    assert not second.is_written
    write_lock(found, second.lock)
    file = tmp_path / "locks" / "goed.lock.yml"
    assert parse_lock(file.read_text(), file) == second.lock


def test_relocking_keeps_updates_and_upgrades(tmp_path: Path) -> None:
    asked = manifest("a", "b")
    lock = resolve(asked, SERVER, BEFORE)
    found = fleet(tmp_path, asked, locks=(lock,))
    (kept,) = relock(found, NOW, ["voorbeeld"])
    assert kept.is_written
    assert kept.changes == ()
    (updated,) = relock(found, NOW, ["voorbeeld"], only=frozenset({"a"}))
    assert {change.name: change.after for change in updated.changes} == {
        "a": "2.0",
        "cmb2": "2.11.0",
    }
    (upgraded,) = relock(found, NOW, ["voorbeeld"], upgrade=True)
    assert {change.name for change in upgraded.changes} == {"a", "cmb2"}


def test_warnings_come_with_the_lock(tmp_path: Path) -> None:
    found = fleet(tmp_path, manifest(("cmb2", "2.10.*")))
    (item,) = relock(found, NOW, ["voorbeeld"])
    assert [advisory.identifier for _, advisory in item.warnings] == ["CVE-2026-1"]


def test_validate_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "voorbeeld.yml").write_text(
        "site: voorbeeld\ntheme:\n  name: thema\nblocks:\n  b: '*'\n  opnwoo: ^4\n  cmb2: ^9\n"
    )
    asked = manifest("b", ("bb", "^4"), ("cmb2", "^9"))
    lock = resolve(manifest("b"), SERVER, BEFORE)
    gone = dataclasses.replace(lock, blocks=(dataclasses.replace(lock.blocks[0], sha256="f" * 64),))
    problems = problems_of(fleet(tmp_path, asked, locks=(gone,)), NOW)
    assert [(str(p.file), p.line, p.path, p.reference) for p in problems] == [
        ("locks/voorbeeld.lock.yml", 1, "blocks[0]", "not-in-catalogue"),
        ("sites/voorbeeld.yml", 4, "blocks.bb", "unknown-block"),
        ("sites/voorbeeld.yml", 7, "blocks.cmb2", "no-release"),
    ]
    assert problems[2].suggestion.startswith("`^2.12`")
    assert problems_of(fleet(tmp_path, manifest("b"), locks=(lock,)), NOW) == ()


def test_holds_are_told(tmp_path: Path) -> None:
    hold = Hold("the portal is tested", "2026-12-31")
    asked = manifest(blocks=(BlockChoice("cmb2", hold=hold),))
    lock = resolve(asked, SERVER, BEFORE)
    found = fleet(tmp_path, asked, locks=(lock,))
    for more in ({}, {"only": frozenset({"cmb2"})}, {"upgrade": True}):
        (item,) = relock(found, NOW, ["voorbeeld"], today=date(2026, 12, 31), **more)
        assert {change.name for change in item.changes} == set()
        assert [str(held) for held in item.holds] == [
            (
                "WARNING: cmb2 is held at 2.10.1 until 2026-12-31, which has a known "
                "vulnerability, "
                "CVE-2026-1 (high): leaks credentials; the hold says: the portal is tested"
            )
        ]
    (over,) = relock(found, NOW, ["voorbeeld"], upgrade=True, today=date(2027, 1, 1))
    assert {change.name: change.after for change in over.changes} == {"cmb2": "2.12.0"}
    assert [str(held) for held in over.holds] == [
        "the hold on cmb2 ran out on 2026-12-31; it may move (the portal is tested)"
    ]
    (new,) = relock(fleet(tmp_path, asked), NOW, ["voorbeeld"], today=date(2026, 1, 1))
    assert [str(held) for held in new.holds] == [
        "cmb2 is not locked yet; its hold begins then (the portal is tested)"
    ]
    withdrawn = catalogue(block("cmb2", release("2.10.1", withdrawn="broken"), "2.12.0"))
    (loud,) = relock(found, withdrawn, ["voorbeeld"], today=date(2026, 1, 1))
    assert "held at 2.10.1 until 2026-12-31, which was withdrawn (broken)" in str(loud.holds[0])


def test_outdated_shows_holds() -> None:
    asked = manifest(blocks=(BlockChoice("b", hold=Hold("tested")),))
    offered = catalogue(block("b", "1.0", "2.0"))
    lock = resolve(manifest(("b", "1.0")), SERVER, offered)
    (held,) = (item for item in standings_of(asked, SERVER, offered, lock) if item.name == "b")
    assert (held.allowed, held.newest, held.held_back) == ("1.0", "2.0", "held: tested")
    assert held.hold is not None
    assert str(held.hold) == "b stays at 1.0: held (tested)"
