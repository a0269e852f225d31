"""A feed of vulnerabilities on this machine, over https, that notes what it was asked."""

from __future__ import annotations

import contextlib
import http.server
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


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


class FeedHandler(http.server.BaseHTTPRequestHandler):
    body = b"{}"
    status = 200
    etag = '"one"'
    seconds_between_bytes = 0.0
    seen: list[dict[str, str]] = []  # noqa: RUF012  of the one server of one test

    def do_GET(self) -> None:
        type(self).seen.append(dict(self.headers.items()))
        same = self.headers.get("If-None-Match") == '"one"'
        self.send_response(304 if same and self.status == 200 else self.status)
        if not same and self.status == 200:
            if self.etag:
                self.send_header("ETag", self.etag)
            self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if not same and self.status == 200:
            self._send_body()

    def _send_body(self) -> None:
        if not self.seconds_between_bytes:
            self.wfile.write(self.body)
            return
        with contextlib.suppress(OSError):
            for byte in self.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(self.seconds_between_bytes)

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


@contextlib.contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve `FeedHandler.body` and give its address, trusted by this process."""
    file = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setattr(FeedHandler, "seen", [])
    monkeypatch.setattr(FeedHandler, "status", 200)
    monkeypatch.setattr(FeedHandler, "body", json.dumps({"wf-1": record(1, "news")}).encode())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FeedHandler) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{running.server_port}/feed"
        running.shutdown()
