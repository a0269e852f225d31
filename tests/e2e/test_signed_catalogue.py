"""Two municipalities and a supplier deliver, sign and publish; a fleet trusts that and no more."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from e2e.conftest import Town
from fakes.desks import Desk, signed_by

from owc_deploy.catalogue.document import render_catalogue
from owc_deploy.catalogue.read import read_catalogue
from owc_deploy.lab.servers import Lab
from owc_deploy.resources import resource_folder

pytestmark = pytest.mark.lab

SITES = {"leerdam": "web1", "vianen": "web2"}
BLOCKS = {"lab-woo": "^4.3", "lab-news": "^1.0", "lab-form": "^1.0"}
DELIVERED = ("lab-news", "lab-form")
ENTRIES = "/wp-json/lab/form/v1/entries"
HOLE = {
    "id": "OWC-2026-7",
    "published": "2026-11-20T00:00:00Z",
    "database_specific": {"severity": "CRITICAL"},
    "affected": [
        {
            "package": {"name": "lab-form"},
            "ranges": [{"events": [{"introduced": "0"}, {"fixed": "1.1.0"}]}],
        }
    ],
}


@dataclass
class Signed:
    """A fleet that trusts a signed catalogue, and those who sign it."""

    town: Town
    buren: Desk
    heusden: Desk
    yard: Desk
    publisher: Desk

    def publish(self, proposal: str, *signers: Desk) -> None:
        signed_by(proposal, self.publisher, *signers)
        self.publisher.publishes(proposal)


@pytest.fixture(scope="module")
def signed(
    lab: Lab, town: Town, catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Signed:
    """Hold the ceremony, publish first releases, and make two sites on two servers."""
    root = tmp_path_factory.mktemp("signed")
    desks = [
        Desk(root, name, holder)
        for name, holder in (
            ("buren", "Gemeente Buren"),
            ("heusden", "Gemeente Heusden"),
            ("yard", "Yard"),
            ("publisher", "Publicatie"),
        )
    ]
    buren, heusden, yard, publisher = desks
    fleet = Signed(Town(root / "fleet", lab), buren, heusden, yard, publisher)
    governing = [
        word for desk in (buren, heusden) for word in ("--key", publisher.public_key(desk))
    ]
    publisher("init", "--catalogue", "published", *governing, "--publisher-key", "keys/publisher")
    fleet.publish("init", buren, heusden)
    blocks = sorted(read_catalogue(catalogue).blocks)
    speakers = [word for desk in (buren, yard) for word in ("--key", publisher.public_key(desk))]
    words = ("--catalogue", "published", "--proposal", "proposals/all")
    publisher("delegate", *blocks, *speakers, *words)
    fleet.publish("all", buren, heusden)
    first_releases(catalogue, publisher.root / "working")
    words = ("--catalogue", "published", "--proposal", "proposals/first")
    publisher("deliver", *blocks, "--from", "working", *words)
    fleet.publish("first", buren, yard)
    write_fleet(fleet)
    for site, server in SITES.items():
        fleet.town.write(site, server, blocks=BLOCKS)
    fleet.town.lock(*SITES)
    fleet.town.apply(*SITES)
    return fleet


def first_releases(catalogue: Path, folder: Path) -> None:
    """Copy a catalogue, without what the supplier is going to deliver."""
    shutil.copytree(catalogue / "artefacts", folder / "artefacts", copy_function=_link)
    blocks = dict(read_catalogue(catalogue).blocks)
    for name in DELIVERED:
        first = tuple(r for r in blocks[name].releases if r.version == "1.0.0")
        blocks[name] = replace(blocks[name], releases=first)
    (folder / "catalogue.json").write_bytes(render_catalogue(blocks.values()))


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def write_fleet(signed: Signed) -> None:
    root = signed.town.root
    for name in ("sites", "trust"):
        (root / name).mkdir(parents=True)
    published = signed.publisher.root / "published"
    shutil.copy(published / "metadata/1.root.json", root / "trust/root.json")
    settings = {
        "schema_version": 1,
        "name": "signed",
        "catalogue": {"source": str(published), "root": "trust/root.json"},
        "rings": [{"name": "all"}],
    }
    (root / "fleet.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    inventory = signed.town.lab.inventory_path.read_text()
    (root / "servers.yml").write_text(inventory, encoding="utf-8")


def delivered(signed: Signed, block: str) -> None:
    """Let the supplier deliver 1.1.0 of a block, its steward sign it, and the publisher publish."""
    yard, proposal = signed.yard, f"deliver-{block}"
    yard.copies_published(signed.publisher)
    source = resource_folder("inventories") / "lab/blocks" / block / "1.1.0" / block
    words = ("--name", block, "--kind", "plugin", "--catalogue", "working")
    yard("add", str(source), *words)
    yard("deliver", block, "--from", "working", "--catalogue", "published")
    yard.signs(proposal)
    yard.hands(proposal, signed.publisher)
    signed.publisher.publishes(proposal, exit_code=1)  # the supplier alone is not enough
    signed.publish(proposal, signed.buren)


def test_a_release_of_three_parties_reaches_the_fleet(signed: Signed) -> None:
    town = signed.town
    delivered(signed, "lab-news")
    town.owc("update", "lab-news")
    town.apply(*SITES)
    assert {town.status(site)["blocks"]["lab-news"] for site in SITES} == {"1.1.0"}


def test_a_guarantee_lapses_and_the_plan_says_so(signed: Signed) -> None:
    today = datetime.now(UTC).date()
    signed.publisher(
        *("guarantee", "lab-woo", "--by", "Gemeente Buren", "--catalogue", "published"),
        *("--from-date", str(today - timedelta(days=400))),
        *("--until-date", str(today - timedelta(days=1))),
    )
    signed.publish("guarantee-lab-woo", signed.buren, signed.yard)
    plan = signed.town.owc("plan", "leerdam")
    assert "Gemeente Buren" in plan.stdout + plan.stderr
    assert "lab-woo" in plan.stdout + plan.stderr
    stewards = signed.town.owc("catalogue", "stewards", "--format", "json").document["blocks"]
    woo = next(row for row in stewards if row["name"] == "lab-woo")
    assert (woo["by"], woo["lapsed"], woo["sites"]) == ("Gemeente Buren", True, sorted(SITES))


def test_a_withdrawn_release_is_told(signed: Signed) -> None:
    signed.publisher(
        *("withdraw", "lab-news", "1.1.0", "--reason", "shows drafts", "--catalogue", "published")
    )
    signed.publish("withdraw-lab-news-1.1.0", signed.buren, signed.yard)
    plan = signed.town.owc("plan", "leerdam")
    assert "lab-news 1.1.0 is withdrawn: shows drafts" in plan.stdout + plan.stderr


def test_from_an_advisory_to_a_signed_patch_on_record(signed: Signed) -> None:
    town = signed.town
    folder = town.root / "advisories"
    folder.mkdir()
    (folder / "OWC-2026-7.json").write_text(json.dumps(HOLE))
    audit = town.owc("audit", "--format", "json", check=False)
    assert [each["site"] for each in audit.document["findings"]] == sorted(SITES)
    words = ("--block", "lab-form", "--advisory", "OWC-2026-7", "--reason", "anybody reads entries")
    town.owc("mitigate", "add", *words)
    assert {town.get(site, ENTRIES, server).status for site, server in SITES.items()} == {403}
    delivered(signed, "lab-form")
    town.owc("update", "lab-form")
    town.apply(*SITES)
    assert town.owc("audit", "--format", "json").document["findings"] == []
    told = town.owc("audit", "--history", "--format", "json").document["patch_times"]
    assert [each["site"] for each in told] == sorted(SITES)
    assert all(e["first_seen_at"] < e["mitigated_at"] < e["patched_at"] for e in told)
    town.owc("mitigate", "lift", "lab-form", "--reason", "1.1.0 is everywhere")
    assert {town.get(site, ENTRIES, server).status for site, server in SITES.items()} == {200}


def test_nothing_new_is_installed_from_a_stale_or_altered_catalogue_but_a_rollback_works(
    signed: Signed,
) -> None:
    town, published = signed.town, signed.publisher.root / "published"
    timestamp = published / "metadata/timestamp.json"
    content = timestamp.read_bytes()
    try:
        timestamp.write_bytes(content.replace(b'"version":', b'"version": 1'))
        refused = town.owc("lock", "leerdam", check=False)
        assert refused.code == 1
        assert "is not what was signed" in refused.stderr
        assert town.owc("apply", "leerdam", "--yes", check=False).code == 1
        assert town.owc("rollback", "leerdam", "--yes", check=False).code == 0
        assert town.status("leerdam")["blocks"]["lab-form"] == "1.0.0"
        assert town.get("leerdam").status == 200
    finally:
        timestamp.write_bytes(content)
