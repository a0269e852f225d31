from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from owc_agent import fastcgi


def record(kind: int, content: bytes, padding: int = 0) -> bytes:
    header = struct.pack("!BBHHBx", 1, kind, 1, len(content), padding)
    return header + content + b"\0" * padding


def received(connection: socket.socket) -> dict[int, bytes]:
    """Read one request to the end of its input; return the content of each stream."""
    streams: dict[int, bytes] = {}
    with connection.makefile("rb") as stream:
        while True:
            _, kind, _, length, padding = struct.unpack("!BBHHBx", stream.read(8))
            content = stream.read(length + padding)[:length]
            streams[kind] = streams.get(kind, b"") + content
            if kind == 5 and not length:
                return streams


@pytest.fixture
def served(tmp_path: Path) -> Callable[[bytes], tuple[str, dict[int, bytes]]]:
    """Return a function that serves one answer; the request is in what it returns, afterwards."""

    def serve(answer: bytes) -> tuple[str, dict[int, bytes]]:
        path = str(tmp_path / "socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        request: dict[int, bytes] = {}

        def run() -> None:
            connection, _ = listener.accept()
            with listener, connection:
                request.update(received(connection))
                connection.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        return path, request

    return serve


END = record(3, b"\0" * 8)


def test_a_question_and_its_answer(
    served: Callable[[bytes], tuple[str, dict[int, bytes]]],
) -> None:
    answer = record(6, b"Status: 200\r\n\r\n", 3) + record(7, b"noise") + record(6, b"hi") + END
    path, request = served(answer)
    stdin = b"x" * 200_000
    parameters = {"SCRIPT_FILENAME": "/a.php", "LONG": "v" * 300}
    assert fastcgi.ask(path, parameters, stdin, 5) == b"Status: 200\r\n\r\nhi"
    assert request[5] == stdin
    assert request[4].startswith(b"\x0f\x06SCRIPT_FILENAME/a.php\x04\x80\x00\x01\x2cLONGvvv")


def test_an_answer_that_is_cut_short_is_none(
    served: Callable[[bytes], tuple[str, dict[int, bytes]]],
) -> None:
    path, _ = served(record(6, b"half"))
    with pytest.raises(fastcgi.FastCgiError, match="without an answer"):
        fastcgi.ask(path, {}, b"", 5)


def test_no_server_is_said(tmp_path: Path) -> None:
    with pytest.raises(fastcgi.FastCgiError, match="No such file"):
        fastcgi.ask(str(tmp_path / "socket"), {}, b"", 5)
