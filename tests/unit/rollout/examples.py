"""Rollouts and what happened in them, in few words, for tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from fakes.walking import BEGINS

from owc_deploy.fleet.models import RolloutLimits
from owc_deploy.plan.models import OutcomeWord
from owc_deploy.rollout.decide import Calendar, decide
from owc_deploy.rollout.models import (
    Decision,
    Event,
    NewEvent,
    Rollout,
    RolloutRing,
    RolloutSite,
    Start,
)
from owc_deploy.rollout.standing import Standing

# What happened: events one after the other, and the time that went by between them.
Story = Iterable[NewEvent | timedelta]

MINUTE = timedelta(minutes=1)
LIMITS = RolloutLimits(
    sites_at_once=4,
    sites_at_once_per_server=2,
    attempts=3,
    pause_between_attempts_seconds=60,
)


ALWAYS = Calendar({}, ())


def site(name: str, server: str = "", **changes: Any) -> RolloutSite:
    """A site on a server of its own, unless one is named."""
    fields = {"documents_sha256": "0", "sla_tier": "default", **changes}
    return RolloutSite(name, server or f"web-{name}", **fields)


def ring(name: str, *sites: RolloutSite, **changes: Any) -> RolloutRing:
    """A ring of one wave, without soak and with empty budgets, unless told otherwise."""
    return RolloutRing(name, sites, **{"wave_sizes": (len(sites),), **changes})


def rollout(*rings: RolloutRing, **changes: Any) -> Rollout:
    fields = {"limits": LIMITS, **changes}
    return Rollout("r1", "test", "2026-11-25T09:00:00+00:00", "anna", "news", rings, **fields)


def intended(*sites: RolloutSite, observed: str = "old", release: str = "new") -> list[NewEvent]:
    body = {"observed_release": observed, "release_id": release}
    return [NewEvent("site-intended", each.site, body) for each in sites]


def ended(outcome: OutcomeWord, *sites: RolloutSite, **more: Any) -> list[NewEvent]:
    body = {"outcome": outcome, "message": "scripted", **more}
    return [NewEvent("site-ended", each.site, body) for each in sites]


def often(outcome: OutcomeWord, *sites: RolloutSite) -> list[NewEvent]:
    return 3 * ended(outcome, *sites)


def given_up(outcome: OutcomeWord, *sites: RolloutSite) -> list[NewEvent]:
    return ended(outcome, *sites, given_up=True)


def done(*sites: RolloutSite, outcome: OutcomeWord = "changed") -> list[NewEvent]:
    """Sites that were changed, or that it went otherwise with once they were begun."""
    return [*intended(*sites), *ended(outcome, *sites)]


def undone(*sites: RolloutSite, outcome: OutcomeWord = "changed") -> list[NewEvent]:
    bodies = (("undo-intended", {}), ("undo-ended", {"outcome": outcome, "message": "scripted"}))
    return [NewEvent(kind, each.site, body) for each in sites for kind, body in bodies]  # type: ignore[arg-type]


def settled(name: str) -> NewEvent:
    return NewEvent("ring-settled", body={"ring": name})


def checked(name: str, **problems: OutcomeWord) -> NewEvent:
    """A look after the soak, and what was wrong with sites."""
    found = {each: {"outcome": word, "message": "scripted"} for each, word in problems.items()}
    return NewEvent("ring-checked", body={"ring": name, "problems": found})


def ring_ended(name: str) -> NewEvent:
    return NewEvent("ring-ended", body={"ring": name})


def paused() -> NewEvent:
    return NewEvent("rollout-paused", body={"why": "lunch"})


def halted(*undo_rings: str) -> NewEvent:
    return NewEvent("rollout-halted", body={"why": "too much", "undo_rings": list(undo_rings)})


def aborted(*undo_rings: str) -> NewEvent:
    return NewEvent("rollout-aborted", body={"why": "withdrawn", "undo_rings": list(undo_rings)})


def resumed() -> NewEvent:
    return NewEvent("rollout-resumed", body={"why": ""})


def retried(*sites: RolloutSite) -> NewEvent:
    return NewEvent("sites-retried", body={"sites": [each.site for each in sites], "why": ""})


def accepted(*sites: RolloutSite) -> NewEvent:
    return NewEvent("failures-accepted", body={"sites": [each.site for each in sites], "why": ""})


def cut_off() -> NewEvent:
    """The controller was killed, and another walks on."""
    return NewEvent("walk-begun", body={"owner": "other"})


def after(made: Rollout, story: Story) -> tuple[Standing, datetime]:
    """Return how a rollout stands after all this, and when that is."""
    standing, moment = Standing(made), BEGINS
    for number, each in enumerate(story, start=1):
        if isinstance(each, timedelta):
            moment += each
        else:
            standing.learn([Event(each.kind, each.site, each.body, moment, "test", number)])
    return standing, moment


def decided(
    made: Rollout, story: Story, calendar: Calendar = ALWAYS, later: timedelta = timedelta()
) -> Decision:
    standing, moment = after(made, story)
    return decide(standing, calendar, moment + later)


def started(decision: Decision) -> list[str]:
    assert isinstance(decision, Start), decision
    return [each.site for each in decision.sites]


A, B, C, D, E, F = (site(name) for name in "abcdef")


def on(server: str, *names: str, supplier: str = "") -> list[RolloutSite]:
    return [site(name, server, supplier=supplier) for name in names]


def three_rings(undo_since: str | None = None, **budget: int) -> Rollout:
    return rollout(
        ring("canary", A),
        ring("early", B, C),
        ring("late", D, E, undo_since=undo_since, **budget),
    )


IN_LATE = [
    *[*done(A), settled("canary"), ring_ended("canary")],
    *[*done(B, C), settled("early"), ring_ended("early")],
]
