"""Feeds over https: bounded, kept for when they cannot be had, and their key never told."""

from __future__ import annotations

import http.server
import ipaddress
import json
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from owc_deploy.catalogue import feed_download
from owc_deploy.catalogue.feed_download import FeedError, fetch_feed, read_large_feed
from owc_deploy.fleet.models import AdvisoryFeed
from owc_deploy.fleet.secrets import Sensitive

CANARY = "sleutel-kanarie-91c4"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def record(number: int, slug: str) -> dict[str, object]:
    return {
        "id": f"wf-{number}",
        "title": f"{slug} shows what it should not " + "x" * 1500,
        "cve": f"CVE-2026-{number}",
        "published": "2026-11-20 10:00:00",
        "cvss": {"score": 8.1, "rating": "High"},
        "software": [
            {
                "type": "plugin",
                "slug": slug,
                "affected_versions": {"* - 1.9": {"from_version": "*", "to_version": "1.9"}},
                "patched_versions": ["2.0"],
            }
        ],
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    body = b"{}"
    status = 200
    seen: list[dict[str, str]] = []  # noqa: RUF012  of the one server of one test

    def do_GET(self) -> None:
        type(self).seen.append(dict(self.headers.items()))
        same = self.headers.get("If-None-Match") == '"one"'
        self.send_response(304 if same and self.status == 200 else self.status)
        if not same and self.status == 200:
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if not same and self.status == 200:
            self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "feed")])
    # By the clock, which the library's own check of the certificate goes by.
    today = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AdvisoryFeed]:
    file = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setattr(_Handler, "seen", [])
    monkeypatch.setattr(_Handler, "status", 200)
    monkeypatch.setattr(_Handler, "body", json.dumps({"wf-1": record(1, "news")}).encode())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield AdvisoryFeed(f"https://127.0.0.1:{running.server_port}/feed", "wordfence")
        running.shutdown()


def test_it_is_sent_once_and_kept(feed: AdvisoryFeed, tmp_path: Path) -> None:
    key = Sensitive(CANARY + "\n")
    first = fetch_feed(feed, key, tmp_path / "kept", NOW)
    again = fetch_feed(feed, key, tmp_path / "kept", NOW + timedelta(days=1))
    assert (first.trouble, again.trouble) == ("", "")
    assert again.fetched_at == "2026-11-25T12:00:00+00:00"
    assert [headers["Authorization"] for headers in _Handler.seen] == [f"Bearer {CANARY}"] * 2
    assert "If-None-Match" in _Handler.seen[1]
    told, _ = read_large_feed(again.file, "wordfence", frozenset({"news"}), feed.url)
    assert [(each.names, each.package) for each in told] == [(("CVE-2026-1", "wf-1"), "news")]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "kept").iterdir())
    assert CANARY.encode() not in kept


@pytest.mark.parametrize("status", [401, 500, 302])
def test_without_it_the_copy_kept_does_and_says_how_old_it_is(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    fetch_feed(feed, None, tmp_path / "kept", NOW)
    monkeypatch.setattr(_Handler, "status", status)
    kept = fetch_feed(feed, Sensitive(CANARY), tmp_path / "kept", NOW + timedelta(days=3))
    assert kept.fetched_at == "2026-11-24T12:00:00+00:00"
    assert f"answers {status}" in kept.trouble
    assert CANARY not in kept.trouble
    assert read_large_feed(kept.file, "wordfence", frozenset({"news"}), feed.url)[0]


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
    monkeypatch.setattr(_Handler, "body", body)
    kept = fetch_feed(feed, None, tmp_path / "kept", NOW)
    assert "not whole" in kept.trouble
    assert kept.file.read_bytes() == good
    assert not list((tmp_path / "kept").glob("*.partial"))


def test_endless_data_is_cut_off(
    feed: AdvisoryFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_download, "MAXIMUM_BYTES", 1 << 20)
    monkeypatch.setattr(_Handler, "body", b" " * (2 << 20))
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
    monkeypatch.setattr(_Handler, "body", ("{" + ",".join(parts) + "}").encode())
    del parts
    assert len(_Handler.body) > 70 << 20
    tracemalloc.start()
    try:
        kept = fetch_feed(feed, None, tmp_path / "kept", NOW)
        told, _ = read_large_feed(kept.file, "wordfence", frozenset({"news"}), feed.url)
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
    told, _ = read_large_feed(file, "osv", frozenset({"news"}), "osv")
    assert len(told) == 1 + many
    assert read_large_feed(file, "osv", frozenset({"other"}), "osv") == ((), ())


def test_another_form_than_said_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "feed.json"
    file.write_text('{"a": 1}')
    with pytest.raises(FeedError, match="form `wordfence`"):
        read_large_feed(file, "wordfence", frozenset({"news"}), "feed")
