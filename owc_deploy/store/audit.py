"""The audit log: what happened, in an order that cannot be changed afterwards without a trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select

from owc_deploy.plan.specification import canonical_json
from owc_deploy.store.chain import AuditEntry, Head, as_document, entry_sha256
from owc_deploy.store.database import Database
from owc_deploy.store.tables import audit_log
from owc_deploy.store.times import as_text
from owc_deploy.store.values import storable_json, storable_text

__all__ = ["AuditEntry", "AuditLog", "NewEntry"]

RUN_BEGUN = "run-begun"
OUTCOME = "outcome"
RUN_ENDED = "run-ended"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be added: `kind` in kebab-case, `body` a JSON object without secrets."""

    kind: str
    body: Mapping[str, Any]
    site: str = ""
    rollout_id: str = ""


class AuditLog:
    """Entries numbered from 1 without gaps, each bound to the one before (owc_deploy.store.chain).

    The database refuses to change or delete them. Every method raises StateError.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], actor: str) -> None:
        self._database = database
        self._clock = clock
        self._actor = storable_text(actor)

    def append(self, *entries: NewEntry) -> tuple[AuditEntry, ...]:
        """Add entries, all of them or none, and return them as they stand in the log."""
        with self._database.writing() as connection:
            return self.append_within(connection, *entries)

    def append_within(self, connection: Connection, *entries: NewEntry) -> tuple[AuditEntry, ...]:
        """Add entries in a transaction of `Database.writing`, to be kept or lost together."""
        head = _head(connection)
        added: list[AuditEntry] = []
        for entry in entries:
            added.append(self._following(head, entry))
            head = Head(added[-1].number, added[-1].sha256)
        if added:
            rows = [{**as_document(entry), "body": canonical_json(entry.body)} for entry in added]
            connection.execute(insert(audit_log), rows)
        return tuple(added)

    def _following(self, head: Head, entry: NewEntry) -> AuditEntry:
        unsigned = AuditEntry(
            number=head.number + 1,
            at=as_text(self._clock()),
            kind=entry.kind,
            actor=self._actor,
            rollout_id=storable_text(entry.rollout_id),
            site=storable_text(entry.site),
            body=storable_json(dict(entry.body)),
            previous_sha256=head.sha256,
            sha256="",
        )
        return replace(unsigned, sha256=entry_sha256(unsigned))

    def head(self) -> Head:
        """Return the newest entry's number and hash."""
        with self._database.reading() as connection:
            return _head(connection)

    def entries(
        self, *, rollout_id: str | None = None, after: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        """Yield entries, oldest first: of one rollout, after a number, `limit` at the most.

        They are read a page at a time, so a log of any length takes little memory.
        """
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            query = select(audit_log).where(audit_log.c.number > after).limit(size)
            if rollout_id is not None:
                query = query.where(audit_log.c.rollout_id == rollout_id)
            with self._database.reading() as connection:
                rows = connection.execute(query.order_by(audit_log.c.number)).mappings().all()
            yield from map(_entry, rows)
            if len(rows) < size:
                return
            after = rows[-1]["number"]
            left = None if left is None else left - size

    def newest(
        self, *, limit: int, site: str | None = None, rollout_id: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """Return the newest entries, newest first.

        Those of a site are also the beginnings of runs that were to work on it.
        """
        query = select(audit_log).order_by(audit_log.c.number.desc()).limit(limit)
        if rollout_id is not None:
            query = query.where(audit_log.c.rollout_id == rollout_id)
        if site is not None:
            named = audit_log.c.body.contains(canonical_json({"site": site})[1:-1], autoescape=True)
            intended = and_(audit_log.c.kind == RUN_BEGUN, named)
            query = query.where(or_(audit_log.c.site == site, intended))
        with self._database.reading() as connection:
            return tuple(_entry(row) for row in connection.execute(query).mappings())


def _head(connection: Connection) -> Head:
    query = select(audit_log.c.number, audit_log.c.sha256).order_by(audit_log.c.number.desc())
    row = connection.execute(query.limit(1)).first()
    return Head(row.number, row.sha256) if row is not None else Head()


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    # Whatever somebody put there by hand must come out as an entry, to be found altered.
    fields = {name: str(value) for name, value in row.items()}
    return AuditEntry(**{**fields, "number": row["number"], "body": _body(fields["body"])})


def _body(text: str) -> Mapping[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    return body if isinstance(body, dict) else {"not a JSON object": text}
