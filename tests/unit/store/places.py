"""Where a store of a test is kept, in words that a child process understands too."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from owc_deploy.fleet.models import Fleet, FleetSettings, PostgresqlState
from owc_deploy.store import Store, open_fleet_store
from owc_deploy.store.times import utc_now

TESTS = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """A file, or a database of a PostgreSQL server."""

    settings: FleetSettings

    def open(self, *, clock: Callable[[], datetime] = utc_now, actor: str | None = None) -> Store:
        fleet = Fleet(self.settings.state.parent, self.settings, {}, {}, {})
        return open_fleet_store(fleet, clock=clock, actor=actor)

    @property
    def words(self) -> str:
        """What a child gives to `open_place`."""
        database = self.settings.state_database
        kept = dataclasses.asdict(database) if database else None
        return json.dumps({"path": str(self.settings.state), "database": kept})


def place_at(path: Path, database: PostgresqlState | None = None) -> Place:
    return Place(FleetSettings("x", path.parent, path, (), state_database=database))


def open_place(words: str) -> Store:
    """Open a place in a child process, which has `child_environment`."""
    document = json.loads(words)
    database = PostgresqlState(**document["database"]) if document["database"] else None
    return place_at(Path(document["path"]), database).open()


def child_environment() -> Mapping[str, str]:
    """Return the environment in which a child can import this module."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}
