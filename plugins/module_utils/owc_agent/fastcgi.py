"""Asking PHP-FPM directly, past the web server: one request, one answer.

The protocol is FastCGI 1.0: a record is version, type, request id, content length, padding length
and a reserved byte, then content and padding. One request, with id 1, per connection.
"""

from __future__ import annotations

import socket
import struct

_VERSION = 1
_BEGIN, _END, _PARAMS, _STDIN, _STDOUT, _STDERR = 1, 3, 4, 5, 6, 7
_RESPONDER = 1
_CONTENT_BYTES = 65_528
_HEADER = struct.Struct("!BBHHBx")
_SHORT_LENGTH = 127


class FastCgiError(Exception):
    """PHP-FPM did not answer, or not in full."""


def ask(path: str, parameters: "dict[str, str]", stdin: bytes, timeout_seconds: float) -> bytes:
    """Send one request to the socket at `path` and return what was printed, headers included.

    Raises FastCgiError when there is no answer in `timeout_seconds` or it is cut short.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(path)
            connection.sendall(_request(parameters, stdin))
            return _response(connection)
        except OSError as error:
            raise FastCgiError("PHP-FPM: %s" % (error.strerror or error)) from error


def _request(parameters: "dict[str, str]", stdin: bytes) -> bytes:
    begin = struct.pack("!HB5x", _RESPONDER, 0)
    pairs = b"".join(_pair(name.encode(), value.encode()) for name, value in parameters.items())
    return (
        _records(_BEGIN, begin)[: -_HEADER.size]
        + _records(_PARAMS, pairs)
        + _records(_STDIN, stdin)
    )


def _records(kind: int, content: bytes) -> bytes:
    """Return the records of one stream, with the empty one that ends it."""
    parts = [content[i : i + _CONTENT_BYTES] for i in range(0, len(content), _CONTENT_BYTES)]
    return b"".join(_HEADER.pack(_VERSION, kind, 1, len(part), 0) + part for part in (*parts, b""))


def _pair(name: bytes, value: bytes) -> bytes:
    return _length(name) + _length(value) + name + value


def _length(text: bytes) -> bytes:
    size = len(text)
    return bytes([size]) if size <= _SHORT_LENGTH else struct.pack("!I", size | 0x8000_0000)


def _response(connection: socket.socket) -> bytes:
    printed = []
    with connection.makefile("rb") as stream:
        while True:
            header = stream.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise FastCgiError("PHP-FPM ended the request without an answer")
            _version, kind, _request_id, length, padding = _HEADER.unpack(header)
            content = stream.read(length + padding)[:length]
            if kind == _STDOUT:
                printed.append(content)
            elif kind == _END:
                return b"".join(printed)
