"""Good documents become the values they describe; bad files never crash the reader."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.fleet.fleet_folder import MANIFEST, manifest, write_fleet
from unit.fleet.test_locks import LOCK

from owc_deploy.fleet.load import check_fleet, load_fleet
from owc_deploy.fleet.locks import lock_file, render_lock
from owc_deploy.fleet.models import (
    Administrator,
    BlockChoice,
    Municipality,
    Page,
    Redirect,
    Ring,
    SiteServers,
    ThemeChoice,
    Tls,
)

FULL = (
    MANIFEST
    + """\
title: Voorbeeld
aliases: [voorbeeld.example]
locale: nl_NL_formal
dependencies: refuse
blocks:
  cmb2: ^2.11
  openwoo:
    version: ^4.3
    settings:
      openwoo_options: {a: 1, b: "no"}
  plain: {}
settings:
  blog_public: 1
redirects:
  - {source: /a, target: /b, status: 302}
administrators:
  - {login: beheer, email: beheer@voorbeeld.example}
pages:
  - {path: /contact, text: Contact}
releases_kept: 3
"""
)


def test_a_manifest_becomes_the_value_it_describes(tmp_path: Path) -> None:
    fleet = load_fleet(write_fleet(tmp_path, {"sites/voorbeeld.yml": FULL}))
    site = fleet.manifests["voorbeeld"]
    assert site.municipality == Municipality("Gemeente Voorbeeld")
    assert site.servers == SiteServers(("web1",), ("web1",))
    assert (site.php, site.wordpress, site.ring) == ("8.2", "^7.1", "canary")
    assert site.theme == ThemeChoice("example-theme")
    assert site.tls == Tls("internal")
    assert (site.title, site.aliases, site.locale) == (
        "Voorbeeld",
        ("voorbeeld.example",),
        "nl_NL_formal",
    )
    assert (site.dependencies, site.releases_kept) == ("refuse", 3)
    assert site.blocks == (
        BlockChoice("cmb2", "^2.11"),
        BlockChoice("openwoo", "^4.3", {"openwoo_options": {"a": 1, "b": "no"}}),
        BlockChoice("plain"),
    )
    assert site.settings == {"blog_public": 1}
    assert site.redirects == (Redirect("/a", "/b", 302),)
    assert site.administrators == (Administrator("beheer", "beheer@voorbeeld.example"),)
    assert site.pages == (Page("/contact", 200, "Contact"),)
    assert site.domain == "www.voorbeeld.example"
    assert site.source == Path("sites/voorbeeld.yml")
    assert len(site.sha256) == 64


def test_paths_of_fleet_yml_become_absolute(tmp_path: Path) -> None:
    fleet_yml = (
        "schema_version: 1\nname: voorbeeld\ncatalogue: /srv/catalogue\nrings: [{name: canary}]\n"
        "age_identity: keys/me.txt\nvault_password_file: ~/vault\n"
    )
    settings_ = load_fleet(write_fleet(tmp_path, {"fleet.yml": fleet_yml})).settings
    assert settings_.catalogue == Path("/srv/catalogue")
    assert settings_.state == tmp_path / ".owc-deploy" / "history.sqlite3"
    assert settings_.rings == (Ring("canary"),)
    assert settings_.age_identity == tmp_path / "keys" / "me.txt"
    assert settings_.vault_password_file == Path("~/vault").expanduser()


def test_locks_are_read(tmp_path: Path) -> None:
    fleet = load_fleet(write_fleet(tmp_path, {str(lock_file("voorbeeld")): render_lock(LOCK)}))
    assert fleet.locks == {"voorbeeld": LOCK}


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    first = load_fleet(write_fleet(tmp_path)).manifests["voorbeeld"].sha256
    write_fleet(tmp_path, {"sites/voorbeeld.yml": MANIFEST + "# a comment\n"})
    assert load_fleet(tmp_path).manifests["voorbeeld"].sha256 != first


@pytest.mark.parametrize("place", ["sites/anders.yml", "fleet.yml", "servers.yml"])
def test_a_link_out_of_the_fleet_is_refused(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside.yml"
    outside.write_text(MANIFEST)
    root = write_fleet(tmp_path / "fleet")
    (root / place).unlink(missing_ok=True)
    (root / place).symlink_to(outside)
    problems = check_fleet(root)[1]
    assert (Path(place), "leads-outside") in {(p.file, p.reference) for p in problems}


def test_a_linked_folder_out_of_the_fleet_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "sites"
    outside.mkdir()
    (outside / "anders.yml").write_text(MANIFEST)
    root = write_fleet(tmp_path / "fleet")
    (root / "locks").symlink_to(outside)
    (outside / "voorbeeld.lock.yml").write_text("x: 1\n")
    problems = check_fleet(root)[1]
    assert "leads-outside" in {p.reference for p in problems}


def test_a_link_within_the_fleet_is_followed(tmp_path: Path) -> None:
    root = write_fleet(tmp_path)
    (root / "real.yml").write_text(manifest())
    (root / "sites" / "voorbeeld.yml").unlink()
    (root / "sites" / "voorbeeld.yml").symlink_to("../real.yml")
    assert set(load_fleet(root).manifests) == {"voorbeeld"}


def test_a_folder_in_a_files_place_is_a_problem(tmp_path: Path) -> None:
    root = write_fleet(tmp_path)
    (root / "sites" / "anders.yml").mkdir()
    (problem,) = check_fleet(root)[1]
    assert problem.reference == "not-a-file"


def test_a_document_cannot_steer_the_terminal(tmp_path: Path) -> None:
    text = manifest(title='title: "\\e[2Jx"', **{'"\\e]0;x"': '"\\e]0;x\\a": 1'})
    problems = check_fleet(write_fleet(tmp_path, {"sites/voorbeeld.yml": text}))[1]
    assert {problem.reference for problem in problems} == {"format", "unknown-key"}
    for problem in problems:
        assert (problem.path + problem.message + problem.suggestion).isprintable()


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
KEYS = st.sampled_from(
    [
        "site",
        "municipality",
        "environment",
        "url",
        "aliases",
        "servers",
        "web",
        "database",
        "ring",
        "php",
        "theme",
        "name",
        "version",
        "blocks",
        "settings",
        "redirects",
        "source",
        "target",
        "tls",
        "policy",
        "private_key",
        "secret",
        "certificate",
        "rings",
        "hosts",
        "vars",
        "children",
        "owc_php_versions",
    ]
) | st.text(max_size=6)
GARBAGE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
PLACES = st.sampled_from(
    ["fleet.yml", "servers.yml", "sites/voorbeeld.yml", "locks/voorbeeld.lock.yml"]
)


@settings(max_examples=80, deadline=None)
@given(place=PLACES, garbage=GARBAGE)
def test_any_mapping_is_read_or_refused(place: str, garbage: object) -> None:

    with tempfile.TemporaryDirectory() as folder:
        write_fleet(Path(folder), {place: json.dumps(garbage)})
        fleet, problems = check_fleet(Path(folder))
        assert (fleet is None) == bool(problems)


@settings(max_examples=80, deadline=None)
@given(place=PLACES, data=st.data())
def test_any_damage_is_read_or_refused(place: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_fleet(
            Path(folder),
            {"sites/voorbeeld.yml": FULL, str(lock_file("voorbeeld")): render_lock(LOCK)},
        )
        raw = (root / place).read_bytes()
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(len(raw), start + 40)))
        inserted = data.draw(st.binary(max_size=6) | st.sampled_from([b": ", b"- ", b"\n  ", b"{"]))
        (root / place).write_bytes(raw[:start] + inserted + raw[end:])
        fleet, problems = check_fleet(root)
        assert (fleet is None) == bool(problems)
