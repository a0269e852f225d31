"""Every run and how it ended for every site."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from owc_deploy import __version__
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.plan.specification import canonical_sha256
from owc_deploy.store.audit import OUTCOME, RUN_BEGUN, RUN_ENDED, AuditLog, NewEntry
from owc_deploy.store.database import Database
from owc_deploy.store.models import INTERRUPTED, RUNNING, Intent, RecordedOutcome, Run
from owc_deploy.store.tables import leases, runs, site_outcomes
from owc_deploy.store.times import as_text
from owc_deploy.store.values import storable_json, storable_text

_GOOD = ("ok", "changed")


class History:
    """What was done, by whom and how it ended.

    A run is written down before it acts. One that never said how it ended is `running` as long as
    the lease it began under is held, and `interrupted` afterwards. The audit log gets an entry of
    everything written down, in the same transaction. Every method raises StateError.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], audit: AuditLog) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit

    def begin_run(
        self,
        *,
        verb: str,
        operator: str,
        plan_id: str = "",
        reason: str = "",
        intents: Iterable[Intent] = (),
        fencing_token: int | None = None,
        rollout_id: str = "",
    ) -> int:
        """Write down what is about to be done and return the run's number."""
        begun = {
            "verb": verb,
            "plan_id": plan_id,
            "operator": operator,
            "reason": storable_text(reason),
            "tool_version": __version__,
            "fencing_token": fencing_token,
        }
        intended = [asdict(intent) for intent in intents]
        with self._database.writing() as connection:
            highest = connection.execute(select(func.max(runs.c.id))).scalar()
            run_id = int(highest or 0) + 1
            connection.execute(
                insert(runs).values(
                    id=run_id,
                    **begun,
                    started_at=as_text(self._clock()),
                    rollout_id=rollout_id,
                )
            )
            if intended:
                rows = [{"run_id": run_id, **intent} for intent in intended]
                connection.execute(insert(site_outcomes), rows)
            body = {"run_id": run_id, **begun, "intents": intended}
            self._audit.append_within(connection, NewEntry(RUN_BEGUN, body, rollout_id=rollout_id))
        return run_id

    def record_outcome(self, run_id: int, outcome: SiteOutcome) -> None:
        """Write down how a run ended for one site.

        The audit log gets only the hash of `details`, which may be large: see `details_sha256`.
        """
        with self._database.writing() as connection:
            query = select(runs.c.rollout_id).where(runs.c.id == run_id)
            # The database itself refuses the outcome of a run that is not there.
            rollout_id = connection.execute(query).scalar() or ""
            entry = self._record_within(connection, run_id, rollout_id, outcome)
            self._audit.append_within(connection, entry)

    def finish_run(self, run_id: int, outcome: str, *outcomes: SiteOutcome) -> None:
        """Write down that a run has ended; `outcome` is `ok`, `changed` or `failed`.

        `outcomes` are those of its sites that were not written down before: all at once, as every
        writing has to reach the disk.
        """
        with self._database.writing() as connection:
            statement = (
                update(runs)
                .where(runs.c.id == run_id)
                .values(finished_at=as_text(self._clock()), outcome=outcome)
            )
            rollout_id = connection.execute(statement.returning(runs.c.rollout_id)).scalar_one()
            entries = [
                self._record_within(connection, run_id, rollout_id, each) for each in outcomes
            ]
            body = {"run_id": run_id, "outcome": outcome}
            ended = NewEntry(RUN_ENDED, body, rollout_id=rollout_id)
            self._audit.append_within(connection, *entries, ended)

    def _record_within(
        self, connection: Connection, run_id: int, rollout_id: str, outcome: SiteOutcome
    ) -> NewEntry:
        """Write down how it ended for one site, and return what the audit log is told."""
        details = storable_json(outcome.details)
        facts = {
            "server": outcome.server,
            "outcome": outcome.outcome,
            "message": storable_text(outcome.message),
            "release_id": outcome.release_id,
            "previous_release_id": outcome.previous_release_id,
            "seconds": outcome.seconds,
        }
        values = {**facts, "details": json.dumps(details, sort_keys=True)}
        statement = self._database.insert(site_outcomes).values(
            run_id=run_id, site=outcome.site, ring="", **values
        )
        connection.execute(
            statement.on_conflict_do_update(index_elements=["run_id", "site"], set_=values)
        )
        body = {"run_id": run_id, **facts, "details_sha256": details_sha256(details)}
        return NewEntry(OUTCOME, body, outcome.site, rollout_id)

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

    def unfinished(self, first_tokens: Iterable[int]) -> tuple[RecordedOutcome, ...]:
        """Return what runs that did not end had done, of those begun under these claims."""
        query = (
            select(*_LABELLED, runs, self._alive())
            .join(runs, runs.c.id == site_outcomes.c.run_id)
            .where(runs.c.fencing_token.in_(set(first_tokens)), runs.c.finished_at.is_(None))
            .order_by(runs.c.id, site_outcomes.c.site)
        )
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
            leases.c.first_token == runs.c.fencing_token,
            leases.c.expires_at > as_text(self._clock()),
        )
        return select(func.count()).select_from(leases).where(held).scalar_subquery().label("alive")


def details_sha256(details: Mapping[str, Any]) -> str:
    """Return the hash by which the audit log knows the details of an outcome."""
    return canonical_sha256(storable_json(details))


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
