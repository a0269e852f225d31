"""Services on this machine that stand in for the ones that people are told through."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyrage
from aiosmtpd.controller import Controller
from unit.plan.examples import fleet

from owc_deploy.fleet.models import Fleet, NotificationChannel, NotificationEvent, SecretReference


@dataclass
class Webhook:
    """A web server that notes what it is sent, and answers `status`, or nothing at all."""

    status: int = 200
    hangs: bool = False
    location: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Webhook]:
        released = threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                hook.paths.append(self.path)
                hook.headers.append(dict(self.headers.items()))
                hook.seen.append(json.loads(self.rfile.read(length)))
                if hook.hangs:
                    # Bytes that keep a reader waiting, until the test is over.
                    while not released.wait(0.2):
                        with contextlib.suppress(OSError):
                            self.wfile.write(b"H")
                            self.wfile.flush()
                    return
                self.send_response(hook.status)
                if hook.location:
                    self.send_header("Location", hook.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            released.set()
            server.shutdown()
            thread.join()
            server.server_close()


@dataclass
class Mailbox:
    """A mail server that keeps what it is given: (sender, recipients, message)."""

    letters: list[tuple[str, list[str], str]] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        self.letters.append(
            (envelope.mail_from, envelope.rcpt_tos, envelope.content.decode("utf-8", "replace"))
        )
        return "250 OK"

    @contextlib.contextmanager
    def running(self) -> Iterator[Mailbox]:
        controller = Controller(self, hostname="127.0.0.1", port=free_port())
        controller.start()
        self.port = controller.port
        try:
            yield self
        finally:
            controller.stop()


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return int(server.server_address[1])


def told_fleet(
    root: Path, addresses: dict[str, str], *events: NotificationEvent, whole: Fleet | None = None
) -> Fleet:
    """Return a fleet with a channel for each address, which stands encrypted in its secrets."""
    identity = pyrage.x25519.Identity.generate()
    (root / "identity").write_text(f"{identity}\n")
    (root / "secrets").mkdir(exist_ok=True)
    for name, address in addresses.items():
        encrypted = pyrage.encrypt(f"{address}\n".encode(), [identity.to_public()])
        (root / "secrets" / f"notify-{name}.age").write_bytes(encrypted)
    wanted = {"events": tuple(events)} if events else {}
    channels = tuple(
        NotificationChannel(name, SecretReference(f"notify-{name}"), **wanted) for name in addresses
    )
    made = whole or fleet()
    settings = replace(made.settings, age_identity=root / "identity", notifications=channels)
    return replace(made, root=root, settings=settings)
