"""`owc-deploy lock`, `outdated` and `audit` on a fleet in a folder."""

import json
from pathlib import Path

import pytest
from unit.catalogue.catalogues import advisory, block, catalogue, function, needs, release

from owc_deploy.catalogue.document import render_catalogue
from owc_deploy.cli.main import run

MANIFEST = """\
schema_version: 1
site: {site}
municipality: {{name: Gemeente Voorbeeld}}
environment: production
url: https://{site}.example
servers: {{web: [web1], database: [web1]}}
ring: alles
php: "8.2"
wordpress: "^7.1"
theme: {{name: thema}}
tls: {{policy: internal}}
blocks:
  {blocks}
"""
OFFERED = [
    block("cmb2", "2.10.1", "2.11.0", advisories=(advisory("<2.11"),)),
    block("openwoo", release("4.3.0", requires=(needs("cmb2"), function("register")))),
    block("openpub-base", release("3.9.3", provides=("register",))),
    block("pdc-base", release("3.18.1", provides=("register",))),
]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    (tmp_path / "fleet.yml").write_text(
        "schema_version: 1\nname: vloot\ncatalogue: catalogue\nrings: [{name: alles}]\n"
    )
    (tmp_path / "servers.yml").write_text(
        "all:\n  children:\n    web: {hosts: {web1: {ansible_host: 198.51.100.10}}}\n"
        "    database: {hosts: {web1: {}}}\n"
        '  vars: {owc_php_versions: ["8.2"]}\n'
    )
    (tmp_path / "sites").mkdir()
    site(tmp_path, "goed", 'cmb2: "2.10.*"')
    (tmp_path / "catalogue").mkdir()
    offer(tmp_path)
    return tmp_path


def site(fleet: Path, name: str, blocks: str) -> None:
    (fleet / "sites" / f"{name}.yml").write_text(MANIFEST.format(site=name, blocks=blocks))


def offer(fleet: Path) -> None:
    content = render_catalogue(catalogue(*OFFERED).blocks.values())
    (fleet / "catalogue" / "catalogue.json").write_bytes(content)


def typed(fleet: Path, *words: str) -> int:
    return run([*words, "--fleet", str(fleet)])


def test_lock_is_written_once(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = fleet / "locks" / "goed.lock.yml"
    assert typed(fleet, "lock", "--check") == 10
    assert not file.exists()
    assert "would write locks/goed.lock.yml" in capsys.readouterr().err
    assert typed(fleet, "lock") == 0
    shown = capsys.readouterr()
    assert "2.10.1" in shown.out
    assert "goed: cmb2 2.10.1 has a known vulnerability, CVE-2026-1 (high)" in shown.err
    before = file.stat()
    assert typed(fleet, "lock") == 0
    assert "1 unchanged" in capsys.readouterr().out
    assert file.stat().st_ino == before.st_ino
    assert typed(fleet, "lock", "--check") == 0


def test_what_is_locked_is_kept_until_upgraded(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(fleet, "lock") == 0
    site(fleet, "goed", 'cmb2: "^2"')
    assert typed(fleet, "lock") == 0
    assert "the same artefacts, for a changed manifest" in capsys.readouterr().out
    assert typed(fleet, "lock", "--upgrade", "--format", "json") == 0
    (document,) = json.loads(capsys.readouterr().out)["sites"]
    assert document["outcome"] == "changed"
    assert document["changes"] == [{"name": "cmb2", "before": "2.10.1", "after": "2.11.0"}]


def test_one_refusal_leaves_the_others(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site(fleet, "fout", 'openwoo: "^4.3"')
    assert typed(fleet, "lock") == 3
    shown = capsys.readouterr()
    assert "  - sites/fout.yml:13: openwoo 4.3.0 needs the function register" in shown.err
    assert "1 changed, 1 refused" in shown.out
    assert (fleet / "locks" / "goed.lock.yml").exists()
    assert not (fleet / "locks" / "fout.lock.yml").exists()
    assert typed(fleet, "lock", "goed") == 0
    assert typed(fleet, "lock", "fout", "--format", "json") == 3
    capsys.readouterr()
    assert typed(fleet, "lock", "nergens") == 2


def test_what_is_held_stays_and_is_told(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(fleet, "lock") == 0
    site(fleet, "goed", "cmb2: {version: '^2', hold: {until: 2999-12-31, reason: being tested}}")
    capsys.readouterr()
    assert typed(fleet, "lock", "--upgrade") == 0
    assert (
        "goed: WARNING: cmb2 is held at 2.10.1 until 2999-12-31, which has a known vulnerability"
    ) in capsys.readouterr().err
    assert typed(fleet, "outdated") == 0
    assert "held back: held until 2999-12-31: being tested" in capsys.readouterr().out
    assert typed(fleet, "lock", "--format", "json") == 0
    ((held,),) = (item["holds"] for item in json.loads(capsys.readouterr().out)["sites"])
    assert (held["name"], held["version"], held["is_over"]) == ("cmb2", "2.10.1", False)
    site(fleet, "goed", "cmb2: {version: '^2', hold: {until: 2020-12-31, reason: being tested}}")
    assert typed(fleet, "lock", "--upgrade") == 0
    shown = capsys.readouterr()
    assert "the hold on cmb2 ran out on 2020-12-31; it may move (being tested)" in shown.err
    assert "2.11.0" in shown.out


def test_a_hold_needs_a_reason_and_a_day_that_exists(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site(fleet, "goed", "cmb2: {hold: {until: 2026-12-31}}")
    site(fleet, "fout", "cmb2: {hold: {until: 2026-02-31, reason: being tested}}")
    assert typed(fleet, "lock") == 3
    said = capsys.readouterr().err
    assert "blocks.cmb2.hold: `reason` is missing" in said
    assert "sites/fout.yml:13:24: blocks.cmb2.hold.until: `2026-02-31` is no day" in said


def test_outdated(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(fleet, "lock")
    capsys.readouterr()
    assert typed(fleet, "outdated") == 0
    out = capsys.readouterr().out
    assert "vulnerable: CVE-2026-1 (high); held back: the manifest asks 2.10.*" in out
    assert "1 of 5 artefacts could be newer" in out
    assert typed(fleet, "outdated", "goed", "--format", "json") == 0
    (cmb2,) = [
        item for item in json.loads(capsys.readouterr().out)["artefacts"] if item["name"] == "cmb2"
    ]
    assert (cmb2["locked"], cmb2["allowed"], cmb2["newest"]) == ("2.10.1", "2.10.1", "2.11.0")


def test_outdated_of_a_site_that_cannot_be_locked(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site(fleet, "fout", 'openwoo: "^4.3"')
    assert typed(fleet, "outdated", "fout") == 0
    assert "fout is not locked" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["lock", "outdated"])
def test_help_shows_examples(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert run([verb, "--help"]) == 0
    assert f"owc-deploy {verb} heusden" in capsys.readouterr().out


def test_audit_names_the_sites_and_what_was_dismissed(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["lock", "--fleet", str(fleet)]) == 0
    folder = fleet / "advisories"
    folder.mkdir()
    events = [{"introduced": "0"}, {"fixed": "2.10.2"}]
    osv = {
        "id": "OWC-2026-0001",
        "published": "2020-01-01T00:00:00Z",
        "database_specific": {"severity": "CRITICAL"},
        "affected": [{"package": {"name": "cmb2"}, "ranges": [{"events": events}]}],
    }
    (folder / "cmb2.json").write_text(json.dumps(osv))
    capsys.readouterr()
    assert run(["audit", "--fleet", str(fleet), "--format", "json"]) == 1
    rows = json.loads(capsys.readouterr().out)["findings"]
    assert {row["vulnerability"]: row["overdue"] for row in rows} == {
        "OWC-2026-0001": True,
        "CVE-2026-1": False,
    }
    assert run(["audit", "--fleet", str(fleet)]) == 1
    assert "next: owc-deploy update cmb2" in capsys.readouterr().out

    statements = [
        {
            "vulnerability": {"name": name},
            "products": [{"@id": "owc:block/cmb2"}],
            "status": "not_affected",
            "impact_statement": "not reachable",
        }
        for name in ("OWC-2026-0001", "CVE-2026-1")
    ]
    vex = {"author": "Gemeente Buren", "timestamp": "2026-11-24", "statements": statements}
    (folder / "vex.json").write_text(json.dumps(vex))
    assert run(["audit", "--fleet", str(fleet)]) == 0
    assert "dismissed by Gemeente Buren, 2026-11-24: not reachable" in capsys.readouterr().out


def test_a_feed_that_cannot_be_read_is_named(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feed = fleet / "feed.json"
    for text in ("[{", "{}", '{"id": "x", "affected": [{}]}'):
        feed.write_text(text)
        assert run(["audit", "--fleet", str(fleet), "--feed", str(feed)]) == 2
        assert "feed.json cannot be read as advisories" in capsys.readouterr().err
