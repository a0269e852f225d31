"""A rollout in the history store: as a document, and its events as entries of the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from owc_deploy.errors import OwcError, UsageError
from owc_deploy.fleet.models import RolloutLimits
from owc_deploy.plan.specification import canonical_sha256
from owc_deploy.rollout.models import (
    Emergency,
    Event,
    EventKind,
    NewEvent,
    Rollout,
    RolloutRing,
    RolloutSite,
)
from owc_deploy.rollout.standing import Standing
from owc_deploy.store import Store
from owc_deploy.store.audit import AuditEntry, NewEntry

SCHEMA_VERSION = 1
# What a rollout that is over is called in the list of rollouts.
_ENDING = frozenset({"rollout-ended"})


class RolloutAlteredError(OwcError):
    """What a rollout was started with was changed in the database since."""

    reference = "rollout-altered"


class StoreJournal:
    """Implements `Journal` on the history store."""

    def __init__(self, store: Store, rollout_id: str) -> None:
        self._store = store
        self._rollout_id = rollout_id

    def append(self, *events: NewEvent) -> None:
        """See `Journal.append`."""
        self._append(events, None)

    def append_after(self, newest: int, *events: NewEvent) -> bool:
        """Append if the newest event has this number still; return whether it had."""
        return self._append(events, newest)

    def _append(self, events: Sequence[NewEvent], newest: int | None) -> bool:
        ended = next((str(e.body["word"]) for e in events if e.kind in _ENDING), "")
        entries = (_entry(event, self._rollout_id) for event in events)
        return self._store.rollouts.append(self._rollout_id, *entries, ended=ended, newest=newest)

    def events(self, *, after: int = 0) -> Sequence[Event]:
        """See `Journal.events`."""
        entries = self._store.rollouts.entries(self._rollout_id, after=after)
        return tuple(_event(entry) for entry in entries)


def begin(
    store: Store,
    rollout: Rollout,
    *events: NewEvent,
    ending: Mapping[str, Sequence[NewEvent]] | None = None,
) -> None:
    """Write a new rollout down, with what is known of it already.

    `ending` are the last events of rollouts that are aborted for it, by their identifiers.
    Raises UsageError when some of its sites are part of another that is not over.
    """
    document = rollout_to_document(rollout)
    started = NewEvent("rollout-started", body=_started(rollout, document))
    taken = store.rollouts.add(
        rollout.rollout_id,
        document,
        (site.site for site in rollout.sites),
        *(_entry(event, rollout.rollout_id) for event in (started, *events)),
        ending={
            other: [_entry(event, other) for event in last]
            for other, last in (ending or {}).items()
        },
    )
    _refuse(taken)


def refuse_taken(store: Store, rollout: Rollout) -> None:
    """Raise UsageError when some of a rollout's sites are part of another that is not over."""
    _refuse(store.rollouts.taken(site.site for site in rollout.sites))


def _refuse(taken: Mapping[str, str]) -> None:
    if taken:
        other = min(taken.values())
        raise UsageError(
            f"{len(taken)} of its sites ({min(taken)} ...) are in rollout {other}",
            context="it is not over, and a site is in one rollout at a time",
            hint=f"owc-deploy rollout status {other}; or the same command with --supersede",
        )


def read(store: Store, rollout_id: str) -> Standing:
    """Return how far a rollout is.

    Raises UsageError when there is no such rollout, and RolloutAlteredError when it is not the one
    that the audit log says was started.
    """
    document = store.rollouts.document(rollout_id)
    if document is None:
        raise UsageError(f"there is no rollout {rollout_id}", hint="owc-deploy rollout list")
    events = StoreJournal(store, rollout_id).events()
    _refuse_altered(rollout_id, document, events)
    standing = Standing(rollout_from_document(document))
    standing.learn(events)
    return standing


def _refuse_altered(rollout_id: str, document: Mapping[str, Any], events: Sequence[Event]) -> None:
    """Raise RolloutAlteredError unless a document is the one that its first event tells of.

    Its budgets, limits and hashes stand in a table that, unlike the log, a database lets be
    changed. A rollout of before the event told its hash is believed.
    """
    expected = next(
        (e.body.get("document_sha256") for e in events if e.kind == "rollout-started"), None
    )
    if expected is not None and expected != canonical_sha256(document):
        raise RolloutAlteredError(
            f"rollout {rollout_id} is not as it was started: the table rollouts of the history was"
            " altered since",
            context="the audit log has another SHA-256 of it",
            hint="owc-deploy audit-log verify, and bring the table back from a backup",
        )


def rollout_to_document(rollout: Rollout) -> dict[str, Any]:
    """Return a rollout as a JSON document."""
    return {"schema_version": SCHEMA_VERSION, **asdict(rollout)}


def rollout_from_document(document: Mapping[str, Any]) -> Rollout:
    """Return the rollout that a document holds.

    Raises UsageError when this version does not know its form.
    """
    fields = dict(document)
    version = fields.pop("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"rollout {fields.get('rollout_id')} has schema_version {version}; this version of"
            f" owc-deploy reads {SCHEMA_VERSION}",
            hint="pip install --upgrade owc-deploy",
        )
    emergency = fields["emergency"]
    return Rollout(
        **{
            **fields,
            "rings": tuple(_ring(ring) for ring in fields["rings"]),
            "limits": RolloutLimits(**fields["limits"]),
            "emergency": Emergency(**emergency) if emergency else None,
        }
    )


def _ring(document: Mapping[str, Any]) -> RolloutRing:
    sites = tuple(RolloutSite(**site) for site in document["sites"])
    return RolloutRing(**{**document, "sites": sites, "wave_sizes": tuple(document["wave_sizes"])})


def _started(rollout: Rollout, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the audit log tells of the start; the whole is in the document, by its hash."""
    return {
        "document_sha256": canonical_sha256(document),
        "cause": rollout.cause,
        "operator": rollout.operator,
        "reason": rollout.reason,
        "emergency": asdict(rollout.emergency) if rollout.emergency else None,
        "rings": [
            {"ring": ring.name, "sites": [site.site for site in ring.sites]}
            for ring in rollout.rings
        ],
    }


def _entry(event: NewEvent, rollout_id: str) -> NewEntry:
    return NewEntry(event.kind, event.body, event.site, rollout_id)


def _event(entry: AuditEntry) -> Event:
    return Event(
        kind=cast(EventKind, entry.kind),
        site=entry.site,
        body=entry.body,
        at=datetime.fromisoformat(entry.at),
        actor=entry.actor,
        number=entry.number,
    )
