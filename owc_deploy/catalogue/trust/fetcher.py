"""How the files of a published catalogue are fetched: over https, or from a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from owc_deploy.catalogue.download import chunks_of, connections
from owc_deploy.catalogue.errors import ArtefactRefusedError, NotThereError

_CHUNK_BYTES = 1 << 20
_NOT_FOUND = 404


class Fetcher(FetcherInterface):
    """Fetches from an https address or a folder. Sizes are bounded by whoever asks.

    `instead` maps addresses to bytes that take the place of what is there: what is about to be
    published is looked at before it is.
    """

    def __init__(self, instead: Mapping[str, bytes] | None = None) -> None:
        self._instead = instead or {}
        self._pool = connections()

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url in self._instead:
            return iter((self._instead[url],))
        if is_address(url):
            return self._from_address(url)
        return _from_file(Path(url))

    def _from_address(self, url: str) -> Iterator[bytes]:
        try:
            yield from chunks_of(url, self._pool)
        except NotThereError as error:
            raise DownloadHTTPError(error.message, error.status) from error
        except ArtefactRefusedError as error:
            raise DownloadError(error.message) from error


def is_address(source: str) -> bool:
    """Return whether a source is a web address; if not, it is a folder."""
    return "://" in source


def _from_file(file: Path) -> Iterator[bytes]:
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        raise DownloadHTTPError(f"{file} is not there", _NOT_FOUND) from None
    except OSError as error:
        raise DownloadError(f"{file} cannot be read: {error.strerror}") from error
    return _chunks(stream)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
