"""The verbs of a signed catalogue, typed by three parties in three folders of their own."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fakes.desks import Desk, signed_by
from unit.catalogue.archives import plugin_folder


@pytest.fixture
def desks(tmp_path: Path) -> dict[str, Desk]:
    """Buren (who also publishes), Heusden and Yard, after the ceremony that begins a catalogue."""
    desks = {
        name: Desk(tmp_path, name, holder)
        for name, holder in (
            ("buren", "Gemeente Buren"),
            ("heusden", "Gemeente Heusden"),
            ("yard", "Yard"),
            ("publisher", "Publicatie"),
        )
    }
    buren, heusden, yard, publisher = desks.values()
    keys = [word for desk in (buren, heusden) for word in ("--key", publisher.public_key(desk))]
    publisher("init", "--catalogue", "published", *keys, "--publisher-key", "keys/publisher")
    signed_by("init", publisher, buren, heusden)
    publisher.publishes("init")
    speakers = [word for desk in (buren, yard) for word in ("--key", publisher.public_key(desk))]
    publisher("delegate", "cmb2", "--catalogue", "published", *speakers)
    signed_by("delegate-cmb2", publisher, buren, heusden)
    publisher.publishes("delegate-cmb2")
    yard.copies_published(publisher)
    buren.copies_published(publisher)
    return desks


def delivered(desks: dict[str, Desk], version: str) -> None:
    buren, _, yard, publisher = desks.values()
    yard.copies_published(publisher)
    source = plugin_folder(yard.root / "source" / version, "cmb2", version)
    words = ("--name", "cmb2", "--kind", "plugin", "--catalogue", "working")
    yard("add", str(source), *words)
    yard("deliver", "cmb2", "--from", "working", "--catalogue", "published")
    yard.signs("deliver-cmb2")
    yard.hands("deliver-cmb2", buren)
    buren.copies_published(publisher)
    buren.signs("deliver-cmb2")
    buren.hands("deliver-cmb2", publisher)
    publisher.publishes("deliver-cmb2")
    shutil.rmtree(yard.root / "proposals")


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return document


def test_a_release_goes_from_hand_to_hand(
    desks: dict[str, Desk], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher = desks["publisher"]
    delivered(desks, "2.11.0")
    root = tmp_path / "root.json"
    shutil.copy(publisher.root / "published/metadata/1.root.json", root)
    capsys.readouterr()
    words = ("verify", "--catalogue", "published", "--root", str(root), "--format", "json")
    publisher(*words)
    assert as_json(capsys)["artefacts"] == 1
    publisher("roles", "--catalogue", "published", "--format", "json")
    rows = {row["name"]: row for row in as_json(capsys)["roles"]}
    assert [key["holder"] for key in rows["block-cmb2"]["keys"]] == ["Gemeente Buren", "Yard"]
    assert rows["block-cmb2"]["threshold"] == 2


def test_a_guarantee_a_withdrawal_and_a_stolen_key(desks: dict[str, Desk], tmp_path: Path) -> None:
    buren, heusden, yard, publisher = desks.values()
    delivered(desks, "2.11.0")
    promise = ("--by", "Gemeente Buren", "--from-date", "2026-01-01", "--until-date", "2027-01-01")
    publisher("guarantee", "cmb2", *promise, "--catalogue", "published")
    publisher("withdraw", "cmb2", "2.11.0", "--reason", "x", "--catalogue", "published")
    signed_by("guarantee-cmb2", publisher, buren, yard)
    publisher.publishes("guarantee-cmb2")
    publisher.publishes("withdraw-cmb2-2.11.0", exit_code=1)  # made before the guarantee
    fresh = Desk(tmp_path, "yard-2", "Yard")
    stolen = publisher.public_key(yard)
    new = publisher.public_key(fresh)
    publisher(
        "revoke", stolen, "--by", new, "--catalogue", "published", "--proposal", "proposals/r"
    )
    signed_by("r", publisher, buren, heusden, fresh)
    yard.copies_published(publisher)
    publisher.hands("r", yard)
    yard.signs("r", exit_code=1)
    publisher.publishes("r")


def test_a_signed_catalogue_is_not_added_to_behind_its_signatures(
    desks: dict[str, Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    publisher = desks["publisher"]
    source = plugin_folder(publisher.root / "source", "cmb2", "2.11.0")
    words = ("--name", "cmb2", "--kind", "plugin", "--catalogue", "published")
    publisher("add", str(source), *words, exit_code=2)
    assert "catalogue deliver" in capsys.readouterr().err


def test_a_signed_catalogue_is_not_verified_by_its_own_word(
    desks: dict[str, Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    desks["publisher"]("verify", "--catalogue", "published", exit_code=2)
    assert "--root" in capsys.readouterr().err


def test_no_passphrase_is_ever_written(desks: dict[str, Desk], tmp_path: Path) -> None:
    delivered(desks, "2.11.0")
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name != "passphrase":
            assert b"canary-passphrase" not in file.read_bytes(), file


def test_nobody_signs_without_being_asked(
    desks: dict[str, Desk], capsys: pytest.CaptureFixture[str]
) -> None:
    publisher = desks["publisher"]
    publisher("renew", "root", "--catalogue", "published")
    words = ("sign", "proposals/renew-root", "--key", "keys/publisher", "--catalogue", "published")
    publisher(*words, exit_code=2)
    assert "there is no root keys/root.json to trust" in capsys.readouterr().err
    publisher(*words, "--root", "published/metadata/1.root.json", exit_code=2)
    assert "--yes" in capsys.readouterr().err
