"""One decision at a time for an engine that does several things at once, elsewhere. Pure.

`decide` says what a rollout does next; here that becomes a `Step` that such an engine can take
without knowing what it means: begin these batches, wait until then, go into a ring, leave it. A
batch is the work on the sites of one server, so that a slow server holds nobody up but itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from owc_deploy.rollout.decide import Calendar, decide
from owc_deploy.rollout.models import (
    CheckRing,
    Decision,
    NewEvent,
    RolloutSite,
    Stand,
    Start,
    Undo,
    Wait,
)
from owc_deploy.rollout.progress import EndedKind
from owc_deploy.rollout.standing import Standing

Doing = Literal["change", "undo", "check"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Work on sites of one server, for one worker of its place.

    `after` is the number of the newest event when it was decided: a site whose turn ended with a
    later one has had it.
    """

    doing: Doing
    ring: str
    server: str
    place: str
    sites: tuple[str, ...]
    after: int


@dataclass(frozen=True, slots=True)
class Work:
    """Begin these batches, side by side, and look again."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class EnterRing:
    """Walk this ring until it is to be left."""

    ring: str


@dataclass(frozen=True, slots=True)
class LeaveRing:
    """Nothing more is to be done in the ring for now."""


@dataclass(frozen=True, slots=True)
class Note:
    """Write this decision down, unless something happened meanwhile, and look again."""

    decision: Decision


Step = Work | Wait | Stand | EnterRing | LeaveRing | Note


def next_step(standing: Standing, calendar: Calendar, moment: datetime, ring: str) -> Step:
    """Return what to do next for whoever walks `ring`, or the rings as a whole for `""`.

    `standing` knows what is under way (`Standing.take_as_under_way`).
    """
    walked = ring_under_way(standing)
    if ring and walked != ring:
        return LeaveRing()
    if walked and not ring:
        return EnterRing(walked)
    decision = decide(standing, calendar, moment)
    match decision:
        case Start(of_ring, sites):
            return Work(_batches("change", of_ring, sites, standing.number))
        case Undo(sites):
            return Work(_batches("undo", "", sites, standing.number))
        case CheckRing(of_ring, sites) if sites:
            return Work(_batches("check", of_ring, sites, standing.number))
        case Wait() | Stand():
            return decision
    return Note(decision)


def ring_under_way(standing: Standing) -> str:
    """Return the ring that is walked now, `""` when none is."""
    if standing.is_over or standing.state != "running":
        return ""
    rings = standing.rollout.rings
    return next((ring.name for ring in rings if not standing.rings[ring.name].has_ended), "")


def _batches(
    doing: Doing, ring: str, sites: Iterable[RolloutSite], after: int
) -> tuple[Batch, ...]:
    servers: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        servers.setdefault((site.server, site.place), []).append(site.site)
    return tuple(
        Batch(doing, ring, server, place, tuple(names), after)
        for (server, place), names in servers.items()
    )


def still_due(standing: Standing, batch: Batch) -> tuple[RolloutSite, ...]:
    """Return the sites of a batch that still have to have their turn, as it stands now.

    None once a person paused or aborted the rollout: those that have not begun are left alone.
    """
    places = {site.site: site for site in standing.rollout.sites}
    match batch.doing:
        case "change" if standing.state == "running" and not standing.is_over:
            due = [name for name in batch.sites if standing.sites[name].ended <= batch.after]
        case "check" if standing.state == "running" and not standing.is_over:
            states = ((name, standing.sites[name]) for name in batch.sites)
            due = [
                name
                for name, state in states
                if not state.is_checked and state.check_ended <= batch.after
            ]
        case "undo" if not standing.is_over:
            wanted = {site.site for site in standing.to_undo()}
            due = [
                name
                for name in batch.sites
                if name in wanted and standing.sites[name].undo_ended <= batch.after
            ]
        case _:
            due = []
    return tuple(places[name] for name in due)


def given_up(
    standing: Standing, batch: Batch, why: str, *, was_begun: bool
) -> tuple[NewEvent, ...]:
    """Return the events for the sites of a batch whose work failed for good, before its end.

    A site that somebody meant to change is inconclusive; another is unreachable when no worker took
    the batch (`was_begun` is False), which is tried again as for any server, else not attempted.
    """
    due = still_due(standing, batch)
    if not due:
        return ()
    unbegun = "not-attempted" if was_begun else "unreachable"
    if batch.doing == "check":
        problems = {site.site: {"outcome": "inconclusive", "message": why} for site in due}
        body = {"ring": batch.ring, "sites": [site.site for site in due], "problems": problems}
        return (NewEvent("ring-checked", body=body),)
    events = []
    for site in due:
        state = standing.sites[site.site]
        intended = state.is_intended if batch.doing == "change" else state.is_undo_intended
        kind: EndedKind = "site-ended" if batch.doing == "change" else "undo-ended"
        word = "inconclusive" if intended else unbegun
        ended = {"outcome": word, "message": why, "attempt": state.attempt_of(kind)}
        events.append(NewEvent(kind, site.site, ended))
    return tuple(events)
