"""When each vulnerability was seen on each site, and when the site no longer had it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert

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
        """Write down what is found now; what was patched before and is back counts as open."""
        now = as_text(self._clock())
        with self._database.writing() as connection:
            for each in found:
                again = {
                    "severity": each.severity,
                    "version": each.version,
                    "deal_with_by": each.deal_with_by,
                    "last_seen_at": now,
                    "patched_at": None,
                }
                statement = insert(findings).values(
                    site=each.site,
                    block=each.block,
                    vulnerability=each.vulnerability,
                    first_seen_at=now,
                    **again,
                )
                keys = ["site", "block", "vulnerability"]
                connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=again))

    def patched(self, finding: RecordedFinding, at: str) -> None:
        """Write down since when a site no longer has what was found."""
        with self._database.writing() as connection:
            connection.execute(
                update(findings)
                .where(
                    findings.c.site == finding.site,
                    findings.c.block == finding.block,
                    findings.c.vulnerability == finding.vulnerability,
                )
                .values(patched_at=at)
            )

    def all(self) -> tuple[RecordedFinding, ...]:
        """Return everything ever found, the oldest first."""
        query = select(findings).order_by(findings.c.first_seen_at, findings.c.site)
        with self._database.reading() as connection:
            return tuple(
                RecordedFinding(**{**row, "patched_at": row["patched_at"] or ""})
                for row in connection.execute(query).mappings()
            )
