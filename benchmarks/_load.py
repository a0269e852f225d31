"""A steady load on one site: visitors who read, and numbered writes whose fate can be looked up.

Requests are sent at fixed moments, whatever became of those before, so that a site that stands
still is not asked less. Every request is kept as a reading; none is sent again.
"""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from typing import Literal, Self
from urllib.parse import urlencode

Kind = Literal["page", "entry", "comment"]
Fate = Literal["good", "refused", "failed"]

# How many requests may be waiting for an answer at once; more than a site has PHP workers.
WORKERS = 32
TIMEOUT_SECONDS = 60.0
# Every so many writes one goes as a comment, through WordPress' own door for them.
COMMENT_EVERY = 4
COMMENT_WORDS = "lab-load number "


@dataclass(frozen=True)
class Reading:
    """One request, in seconds of the monotonic clock, and what became of it.

    A write is `good` when it was acknowledged, `refused` when it was sent away with 503 and a
    moment to come back. A page is good when it is whole. Anything else is `failed`.
    """

    kind: Kind
    number: int
    due_seconds: float
    answered_seconds: float
    fate: Fate
    said: str


class Load:
    """Visitors of one site, from entering this context until leaving it.

    `post` is the number of the post that they comment on.
    """

    def __init__(
        self,
        address: str,
        domain: str,
        authority: Path,
        post: int,
        reads_per_second: float,
        writes_per_second: float,
    ) -> None:
        self.readings: list[Reading] = []
        self._address = address
        self._domain = domain
        self._post = post
        self._context = ssl.create_default_context(cafile=str(authority))
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=WORKERS)
        paces = ((reads_per_second, self._read), (writes_per_second, self._write))
        self._threads = [
            threading.Thread(target=self._keep_pace, args=pace, daemon=True)
            for pace in paces
            if pace[0] > 0
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(wait=True)

    def _keep_pace(self, per_second: float, send: Callable[[float], None]) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            self._pool.submit(send, due)
            due += 1 / per_second

    def _read(self, due: float) -> None:
        self._send("page", 0, due, "GET", "/", "", {})

    def _write(self, due: float) -> None:
        number = next(self._numbers)
        if number % COMMENT_EVERY:
            body = json.dumps({"number": number})
            headers = {"Content-Type": "application/json"}
            self._send("entry", number, due, "POST", "/wp-json/lab/load/v1/entries", body, headers)
            return
        fields = {
            "comment_post_ID": f"{self._post}",
            "author": "Bezoeker",
            "email": "bezoeker@bezoekers.example",
            "comment": f"{COMMENT_WORDS}{number}",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        path = "/wp-comments-post.php"
        self._send("comment", number, due, "POST", path, urlencode(fields), headers)

    def _send(
        self,
        kind: Kind,
        number: int,
        due: float,
        method: str,
        path: str,
        body: str,
        headers: dict[str, str],
    ) -> None:
        fate: Fate
        try:
            status, answered, text = self._ask(method, path, body, headers)
            fate, said = judge(kind, number, status, answered, text)
        except (OSError, http.client.HTTPException) as error:
            fate, said = "failed", f"{type(error).__name__}: {error}"
        # Appending to a list is one step for Python's threads.
        self.readings.append(Reading(kind, number, due, time.monotonic(), fate, said))

    def _ask(
        self, method: str, path: str, body: str, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPSConnection(
            self._domain, context=self._context, timeout=TIMEOUT_SECONDS
        )
        try:
            plain = create_connection((self._address, 443), timeout=TIMEOUT_SECONDS)
            connection.sock = self._context.wrap_socket(plain, server_hostname=self._domain)
            connection.request(method, path, body.encode() or None, headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            answered = {name.lower(): value for name, value in response.getheaders()}
            return response.status, answered, text
        finally:
            connection.close()


def judge(
    kind: Kind, number: int, status: int, headers: dict[str, str], text: str
) -> tuple[Fate, str]:
    """Return what became of a request that was answered, and the answer in words; pure."""
    said = f"{status} {' '.join(text.split())[:200]}"
    if kind == "page":
        whole = status == http.HTTPStatus.OK and "</html>" in text and "lab-load" in text
        return ("good" if whole else "failed"), said
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return ("refused" if headers.get("retry-after", "").isdigit() else "failed"), said
    if kind == "entry":
        acknowledged = status == http.HTTPStatus.OK and _says(text, number)
    else:
        # WordPress sends the visitor on to the comment that it kept.
        acknowledged = status == http.HTTPStatus.FOUND and "#comment-" in headers.get(
            "location", ""
        )
    return ("good" if acknowledged else "failed"), said


def _says(text: str, number: int) -> bool:
    try:
        return bool(json.loads(text) == {"number": number})
    except ValueError:
        return False
