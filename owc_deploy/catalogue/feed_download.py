"""Fetching feeds of vulnerabilities over https, kept on disk for when they cannot be had.

A feed of all of WordPress is 158 MB; none is ever in memory whole: it goes to a file, and
`read_large_feed` picks the records of what the catalogue has out of that file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import ijson
import urllib3

from owc_deploy.catalogue.feeds import Statement, Vulnerability, read_feed
from owc_deploy.fleet.models import AdvisoryFeed
from owc_deploy.fleet.secrets import Sensitive

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0
TOTAL_SECONDS = 300.0
MAXIMUM_BYTES = 500 << 20

_CHUNK_BYTES = 1 << 18
_OK = 200
_NOT_MODIFIED = 304
_VALIDATORS = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))


class FeedError(Exception):
    """A feed cannot be had or read; the message never holds its key."""


@dataclass(frozen=True, slots=True)
class KeptFeed:
    """A feed on disk: when it was last known to be the present one (ISO 8601).

    `trouble` says why it could not be asked for now, empty when it could.
    """

    file: Path
    fetched_at: str
    trouble: str = ""


def fetch_feed(feed: AdvisoryFeed, key: Sensitive | None, folder: Path, now: datetime) -> KeptFeed:
    """Bring the copy of a feed in `folder` up to date and return it.

    What did not change is not sent again. Where the feed cannot be had, the copy kept is returned
    with the reason. Raises FeedError when there is no copy either.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"{hashlib.sha256(feed.url.encode()).hexdigest()[:16]}.json"
    about = file.with_suffix(".about")
    known = _known(file, about)
    try:
        answered = _fetch(feed.url, key, known, file)
    except (FeedError, urllib3.exceptions.HTTPError, OSError) as error:
        words = _without(str(error), key)
        if not known:
            # Not chained: what a library says may quote the request, and so the key.
            raise FeedError(f"{feed.url} cannot be fetched: {words}") from None
        return KeptFeed(file, known["fetched_at"], words)
    known = {**known, **answered, "fetched_at": now.isoformat(timespec="seconds")}
    about.write_text(json.dumps({"url": feed.url, **known}), encoding="utf-8")
    return KeptFeed(file, known["fetched_at"])


def _known(file: Path, about: Path) -> dict[str, str]:
    try:
        known = json.loads(about.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in known.items()} if file.exists() else {}
    except (OSError, ValueError, AttributeError):
        return {}


def _fetch(url: str, key: Sensitive | None, known: Mapping[str, str], file: Path) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
        raise FeedError("only https is spoken, without a login or key in the address")
    headers = {sent: known[name] for name, sent in _VALIDATORS if name in known}
    if key is not None:
        headers["Authorization"] = f"Bearer {_token(key)}"
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
    with (
        urllib3.PoolManager(timeout=timeout, retries=False) as pool,
        # No redirect is followed: the key is for this server only.
        pool.request("GET", url, headers=headers, preload_content=False, redirect=False) as answer,
    ):
        if answer.status == _NOT_MODIFIED:
            return {}
        if answer.status != _OK:
            raise FeedError(f"it answers {answer.status}")
        _receive(answer, file)
        return {name: answer.headers[name] for name, _ in _VALIDATORS if name in answer.headers}


def _token(key: Sensitive) -> str:
    """Return the key as a header can hold it; http.client's own refusal would quote it."""
    token = key.reveal().strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise FeedError("its key is not one line of plain letters; look into the secret")
    return token


def _receive(answer: urllib3.BaseHTTPResponse, file: Path) -> None:
    deadline = time.monotonic() + TOTAL_SECONDS
    partial = file.with_suffix(".partial")
    received = 0
    try:
        with partial.open("wb") as target:
            for chunk in answer.stream(_CHUNK_BYTES, decode_content=False):
                received += len(chunk)
                if received > MAXIMUM_BYTES:
                    raise FeedError(f"it is larger than {MAXIMUM_BYTES >> 20} MB")
                if time.monotonic() > deadline:
                    raise FeedError(f"it took longer than {TOTAL_SECONDS:.0f} seconds")
                target.write(chunk)
        with partial.open("rb") as received_file:
            # What is no JSON to the end must not take the place of a copy that is.
            for _ in ijson.basic_parse(received_file, use_float=True):
                pass
        partial.replace(file)
    except ijson.JSONError:
        raise FeedError("what it sent is not whole, or not JSON") from None
    finally:
        partial.unlink(missing_ok=True)


def _without(words: str, key: Sensitive | None) -> str:
    return words.replace(key.reveal().strip(), "***") if key is not None else words


def read_large_feed(
    file: Path, form: str, names: frozenset[str], source: str
) -> tuple[tuple[Vulnerability, ...], tuple[Statement, ...]]:
    """Return what a feed tells of the packages in `names`, a record at a time in memory.

    Raises FeedError when it is not what `form` says.
    """
    vulnerabilities: list[Vulnerability] = []
    statements: list[Statement] = []
    try:
        with file.open("rb") as stream:
            for record in _records(stream, form):
                if names.isdisjoint(_packages(record)):
                    continue
                document = {"record": record} if form == "wordfence" else record
                told = read_feed(document, source)
                vulnerabilities += (each for each in told[0] if each.package in names)
                statements += told[1]
    except (ijson.JSONError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeedError(f"{source} is not a feed in the form `{form}`: {error}") from error
    return tuple(vulnerabilities), tuple(statements)


def _records(stream: BinaryIO, form: str) -> Iterator[Any]:
    if form == "wordfence":
        for _, record in ijson.kvitems(stream, "", use_float=True):
            yield record
        return
    if stream.read(64).lstrip().startswith(b"["):
        stream.seek(0)
        yield from ijson.items(stream, "item", use_float=True)
    else:
        stream.seek(0)
        yield from ijson.items(stream, "", use_float=True)


def _packages(record: Mapping[str, Any]) -> Iterable[str]:
    for part in record.get("software", ()):
        yield "wordpress" if part.get("type") == "core" else str(part.get("slug"))
    for part in record.get("affected", ()):
        yield str(part["package"]["name"]).rpartition("/")[2]
