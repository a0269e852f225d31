"""Stores on every database that can keep one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from unit.store.places import Place, place_at
from unit.store.postgresql_server import Server, running_server

# How long an example takes says nothing on a machine that does other things too.
hypothesis.settings.register_profile("owc", deadline=None)
hypothesis.settings.load_profile("owc")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Somewhere new to keep a store: a file, and in another test a database."""
    path = tmp_path / "deep" / "history.sqlite3"
    if request.param == "sqlite":
        return place_at(path)
    server: Server = request.getfixturevalue("postgresql_server")
    return place_at(path, server.new_database())
