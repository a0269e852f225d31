"""Fetching one artefact over https, with a bound on everything."""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import urllib3

from owc_deploy.catalogue.archive import MAXIMUM_ARCHIVE_BYTES
from owc_deploy.catalogue.errors import ArtefactRefusedError, NotThereError

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0
TOTAL_SECONDS = 900.0
MAXIMUM_REDIRECTS = 5

_CHUNK_BYTES = 1 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200


def download(url: str, destination: Path, *, sha256: str) -> None:
    """Fetch `url` into `destination` and hold it to its hash.

    Raises ArtefactRefusedError when it cannot be fetched whole or is another file.
    """
    digest = hashlib.sha256()
    received = 0
    with connections() as pool, destination.open("wb") as target:
        for chunk in chunks_of(url, pool):
            received += len(chunk)
            if received > MAXIMUM_ARCHIVE_BYTES:
                raise ArtefactRefusedError(f"{url} is larger than {MAXIMUM_ARCHIVE_BYTES >> 20} MB")
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != sha256:
        raise ArtefactRefusedError(
            f"{url} is another file than was named: its hash is {digest.hexdigest()}",
            hint="check the hash with whoever published it; do not copy it from the download",
        )


def connections() -> urllib3.PoolManager:
    """Return connections that wait no longer than they should, for `chunks_of`."""
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
    return urllib3.PoolManager(timeout=timeout, retries=False)


def chunks_of(url: str, pool: urllib3.PoolManager) -> Iterator[bytes]:
    """Yield what an address answers. The caller bounds the size.

    Only https is spoken, to the last redirect; http is for an address of this machine itself.

    Raises NotThereError when it answers with anything but a file, ArtefactRefusedError when it
    cannot be fetched whole in time.
    """
    local = _is_loopback(url)
    deadline = time.monotonic() + TOTAL_SECONDS
    address = url
    for _ in range(MAXIMUM_REDIRECTS + 1):
        _refuse_insecure(address, local=local)
        try:
            response = pool.request("GET", address, preload_content=False, redirect=False)
            with response:
                if response.status not in _REDIRECTS:
                    yield from _received(response, address, deadline)
                    return
                address = urljoin(address, response.headers.get("location", ""))
        except urllib3.exceptions.HTTPError as error:
            raise ArtefactRefusedError(f"{address} cannot be fetched: {error}") from error
    raise ArtefactRefusedError(f"{url} redirects more than {MAXIMUM_REDIRECTS} times")


def _received(response: urllib3.BaseHTTPResponse, url: str, deadline: float) -> Iterator[bytes]:
    if response.status != _OK:
        raise NotThereError(url, response.status)
    while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
        if time.monotonic() > deadline:
            raise ArtefactRefusedError(f"{url} took longer than {TOTAL_SECONDS:.0f} seconds")
        yield chunk


def _refuse_insecure(url: str, *, local: bool) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise ArtefactRefusedError(f"{url!r} is no address") from None
    if parts.scheme == "https" and host and "@" not in parts.netloc:
        return
    if local and parts.scheme == "http" and _is_loopback(url):
        return
    raise ArtefactRefusedError(
        f"{url} is not an https address", hint="use https://, without a login"
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
