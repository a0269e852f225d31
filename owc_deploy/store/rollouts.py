"""Rollouts: what each was started with, and its events, which are entries of the audit log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from owc_deploy.plan.specification import canonical_json
from owc_deploy.store.audit import AuditEntry, AuditLog, NewEntry
from owc_deploy.store.database import Database
from owc_deploy.store.tables import audit_log, rollout_sites, rollouts
from owc_deploy.store.times import as_text


class Rollouts:
    """Every method raises StateError. An event that was appended survives a power cut."""

    def __init__(self, database: Database, clock: Callable[[], datetime], audit: AuditLog) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit

    def add(
        self,
        rollout_id: str,
        document: Mapping[str, Any],
        sites: Iterable[str],
        *entries: NewEntry,
        ending: Mapping[str, Iterable[NewEntry]] | None = None,
    ) -> dict[str, str]:
        """Write a rollout down with its first entries, if no other holds any of its sites.

        `ending` are the last entries of rollouts that are aborted for it, by their identifiers.
        Returns the sites that are part of another rollout that is not over, with its identifier;
        then nothing was written.
        """
        wanted = sorted(set(sites))
        ending = ending or {}
        with self._database.writing() as connection:
            held = _taken(connection, wanted)
            taken = {site: other for site, other in held.items() if other not in ending}
            if taken:
                return taken
            for other, last in ending.items():
                ends = update(rollouts).where(
                    rollouts.c.rollout_id == other, rollouts.c.ended.is_(None)
                )
                # One that came to its end meanwhile keeps it.
                if connection.execute(ends.values(ended="aborted")).rowcount:
                    self._audit.append_within(connection, *last)
            connection.execute(
                insert(rollouts).values(
                    rollout_id=rollout_id,
                    started_at=as_text(self._clock()),
                    document=canonical_json(document),
                )
            )
            rows = [{"rollout_id": rollout_id, "site": site} for site in wanted]
            connection.execute(insert(rollout_sites), rows)
            self._audit.append_within(connection, *entries)
        return {}

    def taken(self, sites: Iterable[str]) -> dict[str, str]:
        """Return those of these sites that are part of a rollout that is not over, with which."""
        with self._database.reading() as connection:
            return _taken(connection, sites)

    def append(
        self, rollout_id: str, *entries: NewEntry, ended: str = "", newest: int | None = None
    ) -> bool:
        """Add events, all or none; `ended` says that the rollout is over with them.

        With `newest` they are added only while the rollout's newest event has that number: what was
        decided from the events up to it is then still so. Returns whether they were added.
        """
        with self._database.writing() as connection:
            if newest is not None and newest != _newest(connection, rollout_id):
                return False
            self._audit.append_within(connection, *entries)
            if ended:
                connection.execute(
                    update(rollouts).where(rollouts.c.rollout_id == rollout_id).values(ended=ended)
                )
        return True

    def entries(self, rollout_id: str, *, after: int = 0) -> Iterator[AuditEntry]:
        """Yield the events of a rollout, oldest first."""
        return self._audit.entries(rollout_id=rollout_id, after=after)

    def document(self, rollout_id: str) -> dict[str, Any] | None:
        """Return what a rollout was started with, `None` when there is no such rollout."""
        query = select(rollouts.c.document).where(rollouts.c.rollout_id == rollout_id)
        with self._database.reading() as connection:
            text = connection.execute(query).scalar()
        return json.loads(text) if text is not None else None

    def identifiers(self, *, unfinished: bool = False, limit: int | None = None) -> tuple[str, ...]:
        """Return the identifiers of rollouts, the newest first."""
        query = select(rollouts.c.rollout_id).limit(limit)
        query = query.order_by(rollouts.c.started_at.desc(), rollouts.c.rollout_id.desc())
        if unfinished:
            query = query.where(rollouts.c.ended.is_(None))
        with self._database.reading() as connection:
            return tuple(connection.execute(query).scalars())


def _newest(connection: Connection, rollout_id: str) -> int:
    query = select(func.max(audit_log.c.number)).where(audit_log.c.rollout_id == rollout_id)
    return int(connection.execute(query).scalar() or 0)


def _taken(connection: Connection, sites: Iterable[str]) -> dict[str, str]:
    query = (
        select(rollout_sites.c.site, rollouts.c.rollout_id)
        .join(rollouts, rollouts.c.rollout_id == rollout_sites.c.rollout_id)
        .where(rollouts.c.ended.is_(None))
    )
    held = {row.site: row.rollout_id for row in connection.execute(query)}
    return {site: held[site] for site in sites if site in held}
