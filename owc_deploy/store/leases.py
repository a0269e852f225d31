"""Who may change what: one owner of each name at a time, and never for ever."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select, update

from owc_deploy.errors import Holder, LeaseHeldError, StateError
from owc_deploy.plan.models import Fence
from owc_deploy.store.audit import AuditLog, NewEntry
from owc_deploy.store.database import Database
from owc_deploy.store.holders import Process, judge, refusal, told
from owc_deploy.store.models import TakenOver
from owc_deploy.store.tables import leases, store
from owc_deploy.store.times import as_text
from owc_deploy.store.values import storable_text

LOGGER = logging.getLogger(__name__)

EXPIRY_SECONDS = 90.0
LEASE_TAKEN = "lease-taken"
LEASE_TAKEN_OVER = "lease-taken-over"
LEASE_RELEASED = "lease-released"
_HEARTBEAT_SECONDS = 20.0
# Until then the lease of a controller that died still tells what it was doing.
_FORGOTTEN_AFTER = timedelta(days=30)


class Claim:
    """The right of one process to change what many names stand for, inside the `with` block.

    Names are `KIND/NAME`, such as `site/heusden`. They are taken together, renewed together in the
    background and given back at the end; more can be taken, and some given back, while it runs. A
    controller that is killed loses them after ninety seconds, and at once on the machine it ran on.

    Each taking has a fencing token, higher than every token that this store gave before; servers
    refuse whoever comes with a lower one than they have seen (`fences`).

    Entering takes `names`, all or none: see `take`. Every method raises StateError.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        names: Iterable[str] = (),
        *,
        reason: str,
        clock: Callable[[], datetime],
        rollout_id: str = "",
        take_over: bool = False,
        narrate: Callable[[str], None] = LOGGER.warning,
    ) -> None:
        process = Process.this()
        self.owner = process.owner
        self.taken_over: tuple[TakenOver, ...] = ()
        self._database = database
        self._audit = audit
        self._names = tuple(names)
        self._reason = storable_text(reason)
        self._clock = clock
        self._rollout_id = rollout_id
        self._take_over = take_over
        self._narrate = narrate
        self._who = {
            "owner": process.owner,
            "host": process.host,
            "boot": process.boot,
            "process_id": process.process_id,
            "process_started": process.process_started,
            "reason": self._reason,
        }
        self._store_id = ""
        self._first_token: int | None = None
        # One at a time writes to the store; whoever only asks what is held does not wait for that.
        self._writing = threading.Lock()
        # What is held, or was until it was lost, and under which token; replaced, never changed.
        self._tokens: Mapping[str, int] = {}
        self._lost: frozenset[str] = frozenset()
        self._renewed_at = clock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="owc-lease", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.take(self._names)
            self._thread.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._end()
        except KeyboardInterrupt:
            # CI sends one signal after another; none of them may leave others waiting.
            self._end()
            raise

    def _end(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self.give(*self._tokens)
        except StateError as error:
            LOGGER.warning("leases were not given back, and lapse by themselves: %s", error)

    @property
    def first_token(self) -> int | None:
        """The token of the first taking, by which the history knows runs; `None` before it."""
        return self._first_token

    @property
    def _are_ours(self) -> ColumnElement[bool]:
        return leases.c.first_token == (self._first_token or 0)

    @property
    def held(self) -> frozenset[str]:
        """The names that are held, as far as is known."""
        return frozenset(self._tokens) - self._lost

    @property
    def lost(self) -> frozenset[str]:
        """The names that somebody took over, or that could not be renewed in time."""
        return self._lost

    def fences(self, kind: str = "site") -> dict[str, Fence]:
        """Return what to show servers, for each name of this kind without the kind.

        Those that were lost are among them: a server that has seen their new owner refuses them.
        """
        prefix = f"{kind}/"
        return {
            name.removeprefix(prefix): Fence(self._store_id, token, self.owner)
            for name, token in self._tokens.items()
            if name.startswith(prefix)
        }

    def take(self, names: Iterable[str]) -> None:
        """Take these names too, all or none.

        Raises LeaseHeldError, which names each that somebody else holds, when there is one.
        """
        self._take(names, partly=False)

    def take_free(self, names: Iterable[str]) -> tuple[Holder, ...]:
        """Take those of these names that are free and return who holds the others."""
        return self._take(names, partly=True)

    def give(self, *names: str) -> None:
        """Give names back; those that were lost, or never held, are left as they are."""
        with self._writing:
            given = {name: self._tokens[name] for name in names if name in self._tokens}
            if not given:
                return
            with self._database.writing() as connection:
                gone = connection.execute(
                    delete(leases)
                    .where(self._are_ours, leases.c.name.in_(given))
                    .returning(leases.c.name)
                )
                released = sorted(row.name for row in gone)
                if released:
                    tokens = sorted({given[name] for name in released})
                    self._note(connection, LEASE_RELEASED, released, fencing_tokens=tokens)
            self._lost -= given.keys()
            self._tokens = {n: t for n, t in self._tokens.items() if n not in given}

    def require(self) -> None:
        """Raise LeaseHeldError when a name was taken over, or could not be renewed in time."""
        lost = sorted(self._lost)
        if not lost and self._clock() < self._renewed_at + timedelta(seconds=EXPIRY_SECONDS):
            return
        raise LeaseHeldError(
            f"the lease on {told(lost or sorted(self.held))} was lost while working",
            context="another controller took it over, or it could not be renewed in time",
            hint="owc-deploy history",
        )

    def renew(self) -> bool:
        """Move the end of every name held; return whether all are held still."""
        with self._writing:
            return self._renew(self._clock())

    def _renew(self, now: datetime) -> bool:
        expected = self.held
        with self._database.writing() as connection:
            present = connection.execute(
                update(leases)
                .where(self._are_ours)
                .values(heartbeat_at=as_text(now), expires_at=_end_of_lease(now))
            ).rowcount
            if present < len(expected):
                query = select(leases.c.name).where(self._are_ours)
                kept = {row.name for row in connection.execute(query)}
                self._lost |= expected - kept
        self._renewed_at = now
        return not self._lost

    def raise_tokens(self, above: int) -> None:
        """Give everything held a token higher than `above` too.

        For a store that was put back from an older copy: its servers remember higher tokens than it
        does. Names that were lost keep theirs.
        """
        with self._writing:
            with self._database.writing() as connection:
                token = self._next_token(connection, above=above)
                raised = connection.execute(
                    update(leases)
                    .where(self._are_ours)
                    .values(fencing_token=token)
                    .returning(leases.c.name)
                )
                held = [row.name for row in raised]
            self._tokens = {**self._tokens, **dict.fromkeys(held, token)}

    def _take(self, names: Iterable[str], *, partly: bool) -> tuple[Holder, ...]:
        with self._writing:
            present = self.held
            wanted = tuple(dict.fromkeys(name for name in names if name not in present))
            held, taken_over = self._take_wanted(wanted, partly=partly) if wanted else ((), ())
        for names_told, first in _by_holder(taken_over):
            who = f"{first.owner} ({first.reason}, since {first.since[:19]}Z)"
            self._narrate(f"taking over {told(names_told)} from {who}: {first.why}")
        return held

    def _take_wanted(
        self, wanted: tuple[str, ...], *, partly: bool
    ) -> tuple[tuple[Holder, ...], tuple[TakenOver, ...]]:
        now = self._clock()
        with self._database.writing() as connection:
            query = select(leases).where(leases.c.name.in_(wanted)).order_by(leases.c.name)
            rows = connection.execute(query).mappings().all()
            held, taken_over = judge(rows, now, take_over=partial(self._takes_over, partly=partly))
            if held and not partly:
                raise refusal(held, now)
            busy = {holder.name for holder in held}
            free = [name for name in wanted if name not in busy]
            if free:
                token = self._next_token(connection)
                self._write(connection, free, {row["name"] for row in rows}, token, now)
                self._note_taking(connection, free, taken_over, token)
        if free:
            self._tokens = {**self._tokens, **dict.fromkeys(free, token)}
            self._lost -= frozenset(free)
            self._first_token = self._first_token or token
            self.taken_over += taken_over
        return held, taken_over

    def _takes_over(self, row: RowMapping, *, partly: bool) -> bool:
        """Return whether a lease is taken from who has it: those that were asked for at first.

        Of what is taken later, bit by bit, only what is left of the same work: a colleague may have
        come in between.
        """
        return self._take_over and (not partly or row["reason"] == self._reason)

    def _next_token(self, connection: Connection, *, above: int = 0) -> int:
        row = connection.execute(select(store)).one()
        self._store_id = row.id or uuid.uuid4().hex
        token = int(max(row.fencing_token, above)) + 1
        connection.execute(update(store).values(id=self._store_id, fencing_token=token))
        return token

    def _write(
        self, connection: Connection, names: list[str], present: set[str], token: int, now: datetime
    ) -> None:
        values = {
            **self._who,
            "fencing_token": token,
            "first_token": self._first_token or token,
            "acquired_at": as_text(now),
            "heartbeat_at": as_text(now),
            "expires_at": _end_of_lease(now),
        }
        there = [name for name in names if name in present]
        if there:
            connection.execute(update(leases).where(leases.c.name.in_(there)).values(**values))
        new = [{"name": name, **values} for name in names if name not in present]
        if new:
            connection.execute(insert(leases), new)
        forgotten = leases.c.expires_at < as_text(now - _FORGOTTEN_AFTER)
        connection.execute(delete(leases).where(forgotten))

    def _note_taking(
        self,
        connection: Connection,
        names: list[str],
        taken_over: Iterable[TakenOver],
        token: int,
    ) -> None:
        self._note(connection, LEASE_TAKEN, names, reason=self._reason, fencing_token=token)
        for names_told, first in _by_holder(taken_over):
            before = {
                "owner": first.owner,
                "reason": first.reason,
                "since": first.since,
                "fencing_token": first.fencing_token,
            }
            more = {"fencing_token": token, "taken_from": before, "why": first.why}
            self._note(connection, LEASE_TAKEN_OVER, names_told, **more)

    def _note(self, connection: Connection, kind: str, names: list[str], **more: Any) -> None:
        body = {"names": names, "owner": self.owner, **more}
        entry = NewEntry(kind, body, rollout_id=self._rollout_id)
        self._audit.append_within(connection, entry)

    def _keep(self) -> None:
        while not self._stopped.wait(_HEARTBEAT_SECONDS):
            try:
                self.renew()
            except StateError as error:
                LOGGER.warning("leases could not be renewed: %s", error)


def _end_of_lease(now: datetime) -> str:
    return as_text(now + timedelta(seconds=EXPIRY_SECONDS))


def _by_holder(taken_over: Iterable[TakenOver]) -> list[tuple[list[str], TakenOver]]:
    """Return what was taken over, the names of each earlier taking together."""
    groups: dict[tuple[int, str], list[TakenOver]] = {}
    for each in taken_over:
        groups.setdefault((each.fencing_token, each.why), []).append(each)
    return [([each.name for each in group], group[0]) for group in groups.values()]


def holder_of(database: Database, name: str, now: datetime) -> Holder | None:
    """Return who holds a name at this time, `None` when nobody does."""
    with database.reading() as connection:
        query = select(leases).where(leases.c.name == name)
        rows = connection.execute(query).mappings().all()
    held, _ = judge(rows, now, take_over=lambda _: False)
    return held[0] if held else None
