"""Who may change a fleet: one process at a time, and never for ever."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Row, func, insert, select, update

from owc_deploy.errors import LeaseHeldError, StateError
from owc_deploy.store.database import Database
from owc_deploy.store.tables import leases
from owc_deploy.store.times import as_text

LOGGER = logging.getLogger(__name__)

EXPIRY_SECONDS = 90.0
_HEARTBEAT_SECONDS = 20.0


class Lease:
    """The right to change what `name` stands for, held while inside the `with` block.

    Renewed in the background; a controller that is killed loses it after ninety seconds, and at
    once on the machine it ran on. `fencing_token` is higher than that of every holder before.
    Entering raises LeaseHeldError when somebody else has it, unless `take_over`.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        reason: str,
        clock: Callable[[], datetime],
        take_over: bool = False,
        narrate: Callable[[str], None] = LOGGER.warning,
    ) -> None:
        self.fencing_token = 0
        self.owner = f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"
        self._database = database
        self._name = name
        self._reason = reason
        self._clock = clock
        self._take_over = take_over
        self._narrate = narrate
        self._stopped = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="owc-lease", daemon=True)

    def __enter__(self) -> Self:
        with self._database.writing() as connection:
            row = connection.execute(select(leases).where(leases.c.name == self._name)).first()
            taken_from = self._why_free(row)
            self._write(connection, row)
        if taken_from:
            self._narrate(taken_from)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        with self._database.writing() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.name == self._name, leases.c.fencing_token == self.fencing_token)
                .values(owner=None, expires_at=None)
            )

    def require(self) -> None:
        """Raise LeaseHeldError when somebody took the lease over, or it could not be renewed."""
        if self._lost.is_set():
            raise LeaseHeldError(
                f"the lease on {self._name} was lost while working",
                context="another controller took it over, or it could not be renewed in time",
                hint="owc-deploy history",
            )

    def _why_free(self, row: Row[Any] | None) -> str:
        """Return words on whom it is taken over from, `""` when it was free.

        Raises LeaseHeldError when it is not to be had.
        """
        if row is None or row.owner is None:
            return ""
        now = self._clock()
        who = f"{row.owner} ({row.reason}, since {row.acquired_at[:19]}Z)"
        if _is_gone(row):
            return f"taking over from {who}: that process is gone"
        if row.expires_at <= as_text(now):
            return f"taking over from {who}: last heard of at {row.heartbeat_at[:19]}Z"
        if self._take_over:
            return f"taking over from {who}, as asked"
        left = datetime.fromisoformat(row.expires_at) - now
        raise LeaseHeldError(
            f"{row.owner} is changing {self._name} since {row.acquired_at[:19]}Z: {row.reason}",
            context=f"its lease lapses in {left.total_seconds():.0f} seconds unless it is renewed",
            hint="wait for it; or, when you know it has stopped, run this again with --take-over",
        )

    def _write(self, connection: Connection, row: Row[Any] | None) -> None:
        now = self._clock()
        # Of all leases: runs know the one they began under by its token alone.
        highest = connection.execute(select(func.max(leases.c.fencing_token))).scalar()
        self.fencing_token = (highest or 0) + 1
        values = {
            "fencing_token": self.fencing_token,
            "owner": self.owner,
            "host": socket.gethostname(),
            "boot": _boot(),
            "process_id": os.getpid(),
            "process_started": _process_started(os.getpid()),
            "reason": self._reason,
            "acquired_at": as_text(now),
            "heartbeat_at": as_text(now),
            "expires_at": as_text(now + timedelta(seconds=EXPIRY_SECONDS)),
        }
        if row is None:
            connection.execute(insert(leases).values(name=self._name, **values))
        else:
            connection.execute(update(leases).where(leases.c.name == self._name).values(**values))

    def _keep(self) -> None:
        while not self._stopped.wait(_HEARTBEAT_SECONDS):
            try:
                if not self.renew():
                    return
            except StateError as error:
                LOGGER.warning("the lease on %s could not be renewed: %s", self._name, error)

    def renew(self) -> bool:
        """Move the lease's end; return whether it is held still."""
        now = self._clock()
        mine = (leases.c.name == self._name, leases.c.fencing_token == self.fencing_token)
        with self._database.writing() as connection:
            count = connection.execute(
                update(leases)
                .where(*mine, leases.c.owner.is_not(None))
                .values(
                    heartbeat_at=as_text(now),
                    expires_at=as_text(now + timedelta(seconds=EXPIRY_SECONDS)),
                )
            ).rowcount
        if count == 0:
            self._lost.set()
        return count > 0


def _is_gone(row: Row[Any]) -> bool:
    """Whether the holder ran on this machine and does so no more."""
    if row.host != socket.gethostname():
        return False
    if row.boot != _boot():
        return True
    return bool(row.process_started != _process_started(row.process_id))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _process_started(process_id: int) -> str:
    """Return when a process began, in ticks, `""` when it is gone; tells reused numbers apart."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name, between parentheses, may hold spaces; the start time is the 20th field after it.
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]
