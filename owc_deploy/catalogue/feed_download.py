"""Fetching feeds of vulnerabilities over https, kept on disk for when they cannot be had.

A feed of all of WordPress is 158 MB; none is ever in memory whole: it goes to a file, and
`read_large_feed` picks the records of what the catalogue has out of that file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import ijson
import urllib3

from owc_deploy.catalogue.feeds import UNREADABLE, Told, read_feed, together
from owc_deploy.fleet.models import AdvisoryFeed
from owc_deploy.fleet.secrets import Sensitive

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0
TOTAL_SECONDS = 300.0
MAXIMUM_BYTES = 500 << 20
# Wordfence's own has 6; the work of reading grows with the square of the depth.
MAXIMUM_LEVELS = 50

_CHUNK_BYTES = 1 << 18
_OK = 200
_NOT_MODIFIED = 304
_OPENING = frozenset({"start_map", "start_array"})
_CLOSING = frozenset({"end_map", "end_array"})
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
        answered = _fetch(feed, key, known, file)
    except (FeedError, urllib3.exceptions.HTTPError, OSError) as error:
        words = _without(str(error), key)
        if not known:
            # Not chained: what a library says may quote the request, and so the key.
            raise FeedError(f"{feed.url} cannot be fetched: {words}") from None
        return KeptFeed(file, known["fetched_at"], words)
    known = {**answered, "fetched_at": now.isoformat(timespec="seconds")}
    about.write_text(json.dumps({"url": feed.url, **known}), encoding="utf-8")
    return KeptFeed(file, known["fetched_at"])


def _known(file: Path, about: Path) -> dict[str, str]:
    try:
        known = json.loads(about.read_text(encoding="utf-8"))
        datetime.fromisoformat(known["fetched_at"])
        return {str(name): str(value) for name, value in known.items()} if file.exists() else {}
    except (OSError, *UNREADABLE):
        return {}


def _fetch(
    feed: AdvisoryFeed, key: Sensitive | None, known: Mapping[str, str], file: Path
) -> dict[str, str]:
    """Return what names the present copy to the server, for the next time."""
    parts = urlsplit(feed.url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
        raise FeedError("only https is spoken, without a login or key in the address")
    headers = {sent: known[name] for name, sent in _VALIDATORS if name in known}
    if key is not None:
        headers["Authorization"] = f"Bearer {_token(key)}"
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
    with (
        urllib3.PoolManager(timeout=timeout, retries=False) as pool,
        # No redirect is followed: the key is for this server only.
        pool.request(
            "GET", feed.url, headers=headers, preload_content=False, redirect=False
        ) as answer,
    ):
        if answer.status == _NOT_MODIFIED and known:
            return {name: known[name] for name, _ in _VALIDATORS if name in known}
        if answer.status != _OK:
            raise FeedError(f"it answers {answer.status}")
        _receive(answer, file, feed)
        return {name: answer.headers[name] for name, _ in _VALIDATORS if name in answer.headers}


def _token(key: Sensitive) -> str:
    """Return the key as a header can hold it; http.client's own refusal would quote it."""
    token = key.reveal().strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise FeedError("its key is not one line of plain letters; look into the secret")
    return token


def _receive(answer: urllib3.BaseHTTPResponse, file: Path, feed: AdvisoryFeed) -> None:
    deadline = time.monotonic() + TOTAL_SECONDS
    partial = file.with_suffix(".partial")
    received = 0
    try:
        with partial.open("wb") as target:
            # `stream` would wait for a whole chunk, past the deadline.
            while chunk := answer.read1(_CHUNK_BYTES, decode_content=False):
                received += len(chunk)
                if received > MAXIMUM_BYTES:
                    raise FeedError(f"it is larger than {MAXIMUM_BYTES >> 20} MB")
                if time.monotonic() > deadline:
                    raise FeedError(f"it took longer than {TOTAL_SECONDS:.0f} seconds")
                target.write(chunk)
        # What cannot be read to the end must not take the place of a copy that can.
        read_large_feed(partial, feed.form, frozenset(), "what it sent")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _without(words: str, key: Sensitive | None) -> str:
    return words.replace(key.reveal().strip(), "***") if key is not None else words


def read_large_feed(file: Path, form: str, names: frozenset[str], source: str) -> Told:
    """Return what a feed tells of the packages in `names`, a record at a time in memory.

    Raises FeedError when it is not what `form` says, and so none of its records can be read.
    """
    told: list[Told] = []
    records = unreadable = 0
    try:
        with file.open("rb") as stream:
            _check_whole(stream, source)
            stream.seek(0)
            for record in _records(stream, form, source):
                records += 1
                try:
                    if not names.isdisjoint(_packages(record, form)):
                        document = {"record": record} if form == "wordfence" else record
                        told.append(_only(names, read_feed(document, source)))
                        unreadable += told[-1].unreadable
                except UNREADABLE:
                    told.append(Told(unreadable=1))
                    unreadable += 1
    except ijson.JSONError:
        raise FeedError(f"{source} is not whole, or not JSON") from None
    if records == unreadable and records:
        raise FeedError(f"{source} is not a feed in the form `{form}`")
    return together(told)


def _check_whole(stream: BinaryIO, source: str) -> None:
    """Raise FeedError for what is too deep, ijson.JSONError for what is no JSON to the end."""
    levels = 0
    for event, _ in ijson.basic_parse(stream, use_float=True):
        levels += (event in _OPENING) - (event in _CLOSING)
        if levels > MAXIMUM_LEVELS:
            raise FeedError(f"{source} is more than {MAXIMUM_LEVELS} levels deep")


def _only(names: frozenset[str], told: Told) -> Told:
    wanted = tuple(each for each in told.vulnerabilities if each.package in names)
    return replace(told, vulnerabilities=wanted)


def _records(stream: BinaryIO, form: str, source: str) -> Iterator[Any]:
    beginning = stream.read(64).lstrip()[:1]
    stream.seek(0)
    if form == "wordfence":
        if beginning != b"{":
            raise FeedError(f"{source} is not a feed in the form `{form}`")
        for _, record in ijson.kvitems(stream, "", use_float=True):
            yield record
    else:
        yield from ijson.items(stream, "item" if beginning == b"[" else "", use_float=True)


def _packages(record: Mapping[str, Any], form: str) -> Iterable[str]:
    if form == "wordfence":
        for part in record["software"]:
            yield "wordpress" if part.get("type") == "core" else str(part["slug"])
    else:
        for part in record["affected"]:
            yield str(part["package"]["name"]).rpartition("/")[2]
