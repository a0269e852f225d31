"""When each vulnerability was seen on each site, and when the site no longer had it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from owc_deploy.store.database import Database
from owc_deploy.store.models import RecordedFinding
from owc_deploy.store.tables import findings
from owc_deploy.store.times import as_text


class Findings:
    """What `audit` found, over time. Every method raises StateError."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def seen(self, found: Iterable[RecordedFinding]) -> None:
        """Write down what is found now; what was patched before and is back counts as open.

        What was found under another of its names stays one row, under the name it has now.
        """
        now = as_text(self._clock())
        with self._database.writing() as connection:
            for each in found:
                before = [
                    known
                    for known in _all(connection, of=each)
                    if known.is_known_as(each.vulnerability, *each.names)
                ]
                for known in before:
                    connection.execute(delete(findings).where(*_is(known)))
                names = {*each.names, *(name for known in before for name in known.names)}
                connection.execute(
                    insert(findings).values(
                        site=each.site,
                        block=each.block,
                        vulnerability=each.vulnerability,
                        severity=each.severity,
                        version=each.version,
                        deal_with_by=each.deal_with_by,
                        first_seen_at=min([now, *(known.first_seen_at for known in before)]),
                        last_seen_at=now,
                        patched_at=None,
                        names=json.dumps(sorted(names)),
                        standing="",
                    )
                )

    def patched(self, finding: RecordedFinding, at: str) -> None:
        """Write down since when a site no longer has what was found."""
        self._update(finding, patched_at=at, standing="")

    def stands(self, finding: RecordedFinding, standing: str) -> None:
        """Write down why what was found is neither open nor patched; empty when it is open."""
        self._update(finding, standing=standing)

    def _update(self, finding: RecordedFinding, **values: str) -> None:
        with self._database.writing() as connection:
            connection.execute(update(findings).where(*_is(finding)).values(**values))

    def all(self) -> tuple[RecordedFinding, ...]:
        """Return everything ever found, the oldest first."""
        with self._database.reading() as connection:
            return _all(connection)


def _is(finding: RecordedFinding) -> tuple[ColumnElement[bool], ...]:
    return (
        findings.c.site == finding.site,
        findings.c.block == finding.block,
        findings.c.vulnerability == finding.vulnerability,
    )


def _all(connection: Connection, of: RecordedFinding | None = None) -> tuple[RecordedFinding, ...]:
    """Return what was ever found, the oldest first; of the site and block of one only."""
    query = select(findings).order_by(findings.c.first_seen_at, findings.c.site)
    if of is not None:
        query = query.where(*_is(of)[:2])
    return tuple(
        RecordedFinding(
            **{
                **row,
                "patched_at": row["patched_at"] or "",
                "names": tuple(json.loads(row["names"])),
            }
        )
        for row in connection.execute(query).mappings()
    )
