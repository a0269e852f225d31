"""History, leases and audit log. `open_fleet_store` is the way in.

SQLAlchemy takes 0.3 s to import, so nothing here does until a store is opened.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from owc_deploy.errors import Holder, StateError
from owc_deploy.fleet.models import Fleet
from owc_deploy.fleet.secrets import read_secret
from owc_deploy.store.actor import this_actor
from owc_deploy.store.times import utc_now

if TYPE_CHECKING:
    from owc_deploy.store.audit import AuditLog
    from owc_deploy.store.database import Database
    from owc_deploy.store.findings import Findings
    from owc_deploy.store.history import History
    from owc_deploy.store.leases import Claim
    from owc_deploy.store.rollouts import Rollouts


@dataclass(frozen=True)
class Store:
    """An opened store."""

    history: History
    findings: Findings
    audit: AuditLog
    rollouts: Rollouts
    _database: Database
    _clock: Callable[[], datetime]

    def claim(
        self,
        *names: str,
        reason: str,
        rollout_id: str = "",
        take_over: bool = False,
        narrate: Callable[[str], None] | None = None,
    ) -> Claim:
        """Return a claim on these names, to enter with `with`.

        `narrate` is told from whom names were taken over.
        """
        from owc_deploy.store import leases  # noqa: PLC0415

        return leases.Claim(
            self._database,
            self.audit,
            names,
            reason=reason,
            clock=self._clock,
            rollout_id=rollout_id,
            take_over=take_over,
            narrate=narrate or leases.LOGGER.warning,
        )

    def holder(self, name: str) -> Holder | None:
        """Return who holds a lease now, `None` when nobody does."""
        from owc_deploy.store import leases  # noqa: PLC0415

        return leases.holder_of(self._database, name, self._clock())


def warm_up() -> None:
    """Begin to import what opening a store takes, for a verb that waits for servers meanwhile."""
    threading.Thread(
        target=importlib.import_module, args=("owc_deploy.store.history",), daemon=True
    ).start()


def open_fleet_store(
    fleet: Fleet, *, clock: Callable[[], datetime] = utc_now, actor: str | None = None
) -> Store:
    """Open the store that fleet.yml names; a file is made when it is not there.

    `actor` is who the audit log says was at work; left out, the user of this process.

    Raises StateError when it cannot be used, SecretError when its password cannot be read.
    """
    settings = fleet.settings
    if settings.state_database is None:
        return open_store(settings.state, clock=clock, actor=actor)
    try:
        from owc_deploy.store.postgresql import PostgresqlDatabase  # noqa: PLC0415
    except ImportError as error:
        raise StateError(
            "fleet.yml keeps the state in PostgreSQL, and psycopg is not there to reach it",
            context=str(error),
            hint="pip install 'owc-deploy[postgres]'",
        ) from error
    reference = settings.state_database.password
    password = read_secret(settings, fleet.root, reference) if reference else None
    return _store(PostgresqlDatabase(settings.state_database, password), clock, actor)


def open_store(
    path: Path, *, clock: Callable[[], datetime] = utc_now, actor: str | None = None
) -> Store:
    """Open the store in this file, making it when it is not there; see `open_fleet_store`."""
    from owc_deploy.store.sqlite import SqliteDatabase  # noqa: PLC0415

    return _store(SqliteDatabase(path), clock, actor)


def _store(database: Database, clock: Callable[[], datetime], actor: str | None) -> Store:
    from owc_deploy.store.audit import AuditLog  # noqa: PLC0415
    from owc_deploy.store.findings import Findings  # noqa: PLC0415
    from owc_deploy.store.history import History  # noqa: PLC0415
    from owc_deploy.store.rollouts import Rollouts  # noqa: PLC0415

    audit = AuditLog(database, clock, actor or this_actor())
    return Store(
        history=History(database, clock, audit),
        findings=Findings(database, clock),
        audit=audit,
        rollouts=Rollouts(database, clock, audit),
        _database=database,
        _clock=clock,
    )
