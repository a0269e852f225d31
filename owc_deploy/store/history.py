"""Every run and how it ended for every site."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from owc_deploy import __version__
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.store.database import Database
from owc_deploy.store.models import INTERRUPTED, RUNNING, Intent, RecordedOutcome, Run
from owc_deploy.store.tables import leases, runs, site_outcomes
from owc_deploy.store.times import as_text

_GOOD = ("ok", "changed")


class History:
    """What was done, by whom and how it ended.

    A run is written down before it acts. One that never said how it ended is `running` as long as
    the lease it began under is held, and `interrupted` afterwards. Every method raises StateError.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def begin_run(
        self,
        *,
        verb: str,
        operator: str,
        plan_id: str = "",
        reason: str = "",
        intents: Iterable[Intent] = (),
        fencing_token: int | None = None,
    ) -> int:
        """Write down what is about to be done and return the run's number."""
        with self._database.writing() as connection:
            statement = insert(runs).values(
                verb=verb,
                plan_id=plan_id,
                operator=operator,
                reason=reason,
                started_at=as_text(self._clock()),
                tool_version=__version__,
                fencing_token=fencing_token,
            )
            run_id = int(connection.execute(statement.returning(runs.c.id)).scalar_one())
            rows = [
                {"run_id": run_id, "site": item.site, "server": item.server, "ring": item.ring}
                for item in intents
            ]
            if rows:
                connection.execute(insert(site_outcomes), rows)
        return run_id

    def record_outcome(self, run_id: int, outcome: SiteOutcome) -> None:
        """Write down how a run ended for one site."""
        values = {
            "server": outcome.server,
            "outcome": outcome.outcome,
            "message": outcome.message,
            "release_id": outcome.release_id,
            "previous_release_id": outcome.previous_release_id,
            "seconds": outcome.seconds,
            "details": json.dumps(dict(outcome.details), sort_keys=True, default=str),
        }
        statement = insert_or_update(site_outcomes).values(
            run_id=run_id, site=outcome.site, ring="", **values
        )
        with self._database.writing() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["run_id", "site"], set_=values)
            )

    def finish_run(self, run_id: int, outcome: str) -> None:
        """Write down that a run has ended; `outcome` is `ok`, `changed` or `failed`."""
        with self._database.writing() as connection:
            connection.execute(
                update(runs)
                .where(runs.c.id == run_id)
                .values(finished_at=as_text(self._clock()), outcome=outcome)
            )

    def runs(self, *, limit: int = 50) -> tuple[Run, ...]:
        """Return the newest runs, newest first."""
        query = select(runs, self._alive()).order_by(runs.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return tuple(_run(row) for row in connection.execute(query))

    def outcomes(
        self, *sites: str, limit: int = 50, verbs: Sequence[str] = ()
    ) -> tuple[RecordedOutcome, ...]:
        """Return the newest outcomes of these sites, or of all, newest first; of `verbs` only."""
        query = (
            select(*_LABELLED, runs, self._alive())
            .join(runs, runs.c.id == site_outcomes.c.run_id)
            .order_by(runs.c.id.desc(), site_outcomes.c.site)
            .limit(limit)
        )
        if sites:
            query = query.where(site_outcomes.c.site.in_(sites))
        if verbs:
            query = query.where(runs.c.verb.in_(verbs))
        with self._database.reading() as connection:
            return tuple(_recorded(row) for row in connection.execute(query))

    def last_good(self, site: str) -> RecordedOutcome | None:
        """Return the newest run after which this site was live on a release that works."""
        query = (
            select(*_LABELLED, runs, self._alive())
            .join(runs, runs.c.id == site_outcomes.c.run_id)
            .where(site_outcomes.c.site == site, site_outcomes.c.outcome.in_(_GOOD))
            .where(site_outcomes.c.release_id != "")
            .order_by(runs.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return _recorded(row) if row is not None else None

    def _alive(self) -> Any:
        """Whether the lease a run began under is held still."""
        held = and_(
            leases.c.fencing_token == runs.c.fencing_token,
            leases.c.owner.is_not(None),
            leases.c.expires_at > as_text(self._clock()),
        )
        return select(func.count()).select_from(leases).where(held).scalar_subquery().label("alive")


_LABELLED: Sequence[Any] = tuple(column.label(f"site_{column.name}") for column in site_outcomes.c)


def _run(row: Any) -> Run:
    unfinished = RUNNING if row.alive else INTERRUPTED
    return Run(
        run_id=row.id,
        verb=row.verb,
        plan_id=row.plan_id,
        operator=row.operator,
        reason=row.reason,
        started_at=row.started_at,
        finished_at=row.finished_at or "",
        outcome=row.outcome or unfinished,
        tool_version=row.tool_version,
    )


def _recorded(row: Any) -> RecordedOutcome:
    run = _run(row)
    return RecordedOutcome(
        run=run,
        site=row.site_site,
        server=row.site_server,
        ring=row.site_ring,
        outcome=row.site_outcome or (run.outcome if run.outcome == RUNNING else INTERRUPTED),
        message=row.site_message,
        release_id=row.site_release_id,
        previous_release_id=row.site_previous_release_id,
        seconds=row.site_seconds,
        details=json.loads(row.site_details),
    )
