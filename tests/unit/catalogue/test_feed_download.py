"""Feeds over https: bounded, kept for when they cannot be had, and their key never told."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.feed import FeedHandler, record, serving

from owc_deploy.catalogue import feed_download
from owc_deploy.catalogue.feed_download import FeedError, fetch_feed, read_large_feed
from owc_deploy.catalogue.feeds import Told
from owc_deploy.fleet.models import AdvisoryFeed
from owc_deploy.fleet.secrets import Sensitive

CANARY = "sleutel-kanarie-91c4"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AdvisoryFeed]:
    with serving(tmp_path, monkeypatch) as url:
        yield AdvisoryFeed(url, "wordfence")


def test_it_is_sent_once_and_kept(feed: AdvisoryFeed, tmp_path: Path) -> None:
    key = Sensitive(CANARY + "\n")
    first = fetch_feed(feed, key, tmp_path / "kept", NOW)
    again = fetch_feed(feed, key, tmp_path / "kept", NOW + timedelta(days=1))
    assert (first.trouble, again.trouble) == ("", "")
    assert again.fetched_at == "2026-11-25T12:00:00+00:00"
    assert [headers["Authorization"] for headers in FeedHandler.seen] == [f"Bearer {CANARY}"] * 2
    assert "If-None-Match" in FeedHandler.seen[1]
    told = read_large_feed(again.file, "wordfence", frozenset({"news"}), feed.url).vulnerabilities
    assert [(each.names, each.package) for each in told] == [(("CVE-2026-1", "wf-1"), "news")]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "kept").iterdir())
    assert CANARY.encode() not in kept


@pytest.mark.parametrize("status", [401, 500, 302])
def test_without_it_the_copy_kept_does_and_says_how_old_it_is(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    fetch_feed(feed, None, tmp_path / "kept", NOW)
    monkeypatch.setattr(FeedHandler, "status", status)
    kept = fetch_feed(feed, Sensitive(CANARY), tmp_path / "kept", NOW + timedelta(days=3))
    assert kept.fetched_at == "2026-11-24T12:00:00+00:00"
    assert f"answers {status}" in kept.trouble
    assert CANARY not in kept.trouble
    assert read_large_feed(kept.file, "wordfence", frozenset({"news"}), feed.url).vulnerabilities


def test_without_it_and_without_a_copy_it_is_an_error_without_the_key(tmp_path: Path) -> None:
    nobody = AdvisoryFeed("https://127.0.0.1:9/feed", "wordfence")
    with pytest.raises(FeedError) as raised:
        fetch_feed(nobody, Sensitive(CANARY), tmp_path, NOW)
    assert "cannot be fetched" in str(raised.value)
    assert CANARY not in f"{raised.value!r} {raised.value.__cause__!r}"


def test_a_key_that_no_header_can_hold_is_not_told(feed: AdvisoryFeed, tmp_path: Path) -> None:
    with pytest.raises(FeedError) as raised:
        fetch_feed(feed, Sensitive(CANARY + "\nX-Other: 1"), tmp_path / "kept", NOW)
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/feed", "https://me:key@127.0.0.1/", "https://127.0.0.1/?key=x"]
)
def test_only_https_without_secrets_in_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="only https"):
        fetch_feed(AdvisoryFeed(url, "osv"), None, tmp_path, NOW)


@pytest.mark.parametrize("body", [b'{"wf-1": {"soft', b"<html>", b""])
def test_what_is_not_whole_does_not_take_the_place_of_what_is(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    good = fetch_feed(feed, None, tmp_path / "kept", NOW).file.read_bytes()
    about = next((tmp_path / "kept").glob("*.about"))
    about.write_text(json.dumps({"fetched_at": NOW.isoformat()}))
    monkeypatch.setattr(FeedHandler, "body", body)
    kept = fetch_feed(feed, None, tmp_path / "kept", NOW)
    assert "not whole" in kept.trouble
    assert kept.file.read_bytes() == good
    assert not list((tmp_path / "kept").glob("*.partial"))


def test_endless_data_is_cut_off(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_download, "MAXIMUM_BYTES", 1 << 20)
    monkeypatch.setattr(FeedHandler, "body", b" " * (2 << 20))
    with pytest.raises(FeedError, match="larger than 1 MB"):
        fetch_feed(feed, None, tmp_path / "kept", NOW)


def test_a_feed_of_everything_takes_little_memory(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = 40_000
    parts = [
        f'"wf-{n}": {json.dumps(record(n, "news" if n % 10_000 == 0 else f"other-{n}"))}'
        for n in range(records)
    ]
    monkeypatch.setattr(FeedHandler, "body", ("{" + ",".join(parts) + "}").encode())
    del parts
    assert len(FeedHandler.body) > 70 << 20
    tracemalloc.start()
    try:
        kept = fetch_feed(feed, None, tmp_path / "kept", NOW)
        told = read_large_feed(
            kept.file, "wordfence", frozenset({"news"}), feed.url
        ).vulnerabilities
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(told) == records // 10_000
    assert peak < 8 << 20


@pytest.mark.parametrize("many", [False, True])
def test_osv_is_one_record_or_a_list(tmp_path: Path, many: bool) -> None:
    entry = {
        "id": "OWC-1",
        "affected": [
            {
                "package": {"name": "open-webconcept/news"},
                "ranges": [{"events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
            }
        ],
    }
    file = tmp_path / "osv.json"
    file.write_text(json.dumps([entry, {**entry, "id": "OWC-2"}] if many else entry))
    told = read_large_feed(file, "osv", frozenset({"news"}), "osv").vulnerabilities
    assert len(told) == 1 + many
    assert read_large_feed(file, "osv", frozenset({"other"}), "osv") == Told()


def test_another_form_than_said_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "feed.json"
    file.write_text('{"a": 1}')
    with pytest.raises(FeedError, match="form `wordfence`"):
        read_large_feed(file, "wordfence", frozenset({"news"}), "feed")


def test_a_bad_record_hides_no_other_of_a_large_feed(tmp_path: Path) -> None:
    file = tmp_path / "feed.json"
    bad = {**record(2, "news"), "id": None, "cve": None}
    records = {"a": 5, "b": {"software": None}, "c": bad, "d": record(1, "news")}
    file.write_text(json.dumps(records))
    told = read_large_feed(file, "wordfence", frozenset({"news"}), "feed")
    assert [each.names for each in told.vulnerabilities] == [("CVE-2026-1", "wf-1")]
    assert told.unreadable == 3


@pytest.mark.parametrize("body", [b'{"a": 5}', b"[]", b"5", b"[" * 100 + b"]" * 100])
def test_what_cannot_be_read_through_does_not_take_the_place_of_what_can(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    good = fetch_feed(feed, None, tmp_path / "kept", NOW).file.read_bytes()
    next((tmp_path / "kept").glob("*.about")).write_text(json.dumps({"fetched_at": str(NOW)}))
    monkeypatch.setattr(FeedHandler, "body", body)
    kept = fetch_feed(feed, None, tmp_path / "kept", NOW)
    assert kept.trouble
    assert kept.file.read_bytes() == good


def test_not_modified_without_a_copy_is_an_error(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeedHandler, "status", 304)
    with pytest.raises(FeedError, match="answers 304"):
        fetch_feed(feed, None, tmp_path / "kept", NOW)


def test_the_name_of_an_earlier_copy_is_not_kept(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_feed(feed, None, tmp_path / "kept", NOW)
    about = next((tmp_path / "kept").glob("*.about"))
    about.write_text(about.read_text().replace('\\"one\\"', '\\"older\\"'))
    monkeypatch.setattr(FeedHandler, "etag", "")
    fetch_feed(feed, None, tmp_path / "kept", NOW)
    assert "etag" not in json.loads(about.read_text())


def test_a_slow_feed_is_cut_off_in_time(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_download, "TOTAL_SECONDS", 0.3)
    monkeypatch.setattr(FeedHandler, "body", b" " * 40)
    monkeypatch.setattr(FeedHandler, "seconds_between_bytes", 0.1)
    began = time.monotonic()
    with pytest.raises(FeedError, match="longer than"):
        fetch_feed(feed, None, tmp_path / "kept", NOW)
    assert time.monotonic() - began < 2


def test_a_deep_feed_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "feed.json"
    file.write_text('{"a":' * 60_000 + "1" + "}" * 60_000)
    began = time.monotonic()
    with pytest.raises(FeedError, match="more than 50 levels"):
        read_large_feed(file, "wordfence", frozenset({"news"}), "feed")
    assert time.monotonic() - began < 2
