"""A forge's comments on this machine, as GitHub, Forgejo and GitLab let programs write them."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PER_PAGE = 3
_OURS, _OTHER = 9, 5


@dataclass
class Forge:
    """Comments by their id; `asked` are the methods and paths, `tokens` what came with each.

    The token's user wrote them but for `others`. `job_user` is who a job's own token writes as,
    which may not ask who it is; without one the token is that of an account.
    """

    comments: dict[int, str] = field(default_factory=dict)
    others: set[int] = field(default_factory=set)
    job_user: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    status: int = 0
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Forge]:
        forge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _work(self) -> None:
                parts = urlsplit(self.path)
                forge.asked.append((self.command, parts.path))
                forge.tokens.add(
                    self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization", "")
                )
                length = int(self.headers.get("Content-Length") or 0)
                document = json.loads(self.rfile.read(length)) if length else None
                status, answer = forge.answer(self.command, parts.path, parts.query, document)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_PUT = _work  # noqa: N815  http.server's names

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, method: str, path: str, query: str, document: Any) -> tuple[int, Any]:
        if self.status:
            return (self.status, {"message": "no"})
        ours = self.job_user or {"id": _OURS, "type": "User"}
        if path == "/user":
            return (403, {"message": "no"}) if self.job_user else (200, ours)
        if method == "GET":
            author = "author" if "/notes" in path else "user"
            other = {"id": _OTHER, "type": "User"}
            page = int(parse_qs(query)["page"][0])
            every = [
                {"id": number, "body": body, author: other if number in self.others else ours}
                for number, body in self.comments.items()
            ]
            return (200, every[(page - 1) * _PER_PAGE : page * _PER_PAGE])
        if method == "POST":
            number = max(self.comments, default=0) + 1
            self.comments[number] = document["body"]
            return (201, {"id": number})
        found = re.search(r"/([0-9]+)\Z", path)
        assert found is not None
        assert int(found[1]) in self.comments
        self.comments[int(found[1])] = document["body"]
        return (200, {"id": int(found[1])})
