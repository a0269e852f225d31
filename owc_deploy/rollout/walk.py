"""The embedded engine: one process walks a rollout, decision after decision.

It can be killed at any moment. What it meant to do is in the journal before it is done, and whoever
walks on looks at the servers first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from owc_deploy.rollout.decide import Calendar, decide
from owc_deploy.rollout.models import (
    CheckRing,
    Decision,
    End,
    EndRing,
    GiveUp,
    Halt,
    NewEvent,
    SettleRing,
    Stand,
    Start,
    Undo,
    Wait,
)
from owc_deploy.rollout.ports import Hands, Journal, Tell
from owc_deploy.rollout.standing import Standing

# How soon a pause that somebody else asked for is noticed while waiting.
POLL = timedelta(seconds=2)


class Clock(Protocol):
    """Time as a walk knows it; a test's runs as fast as it likes."""

    def now(self) -> datetime:
        """Return the present, aware and in UTC."""
        ...

    def sleep_until(self, moment: datetime) -> None:
        """Return when it is `moment`."""
        ...


def walk(
    standing: Standing,
    journal: Journal,
    hands: Hands,
    calendar: Calendar,
    clock: Clock,
    *,
    patience: timedelta | None = None,
    require: Callable[[], None] = lambda: None,
    read_again: Callable[[], tuple[Hands, Calendar] | None] = lambda: None,
    tell: Tell = lambda _: None,
) -> Wait | Stand:
    """Walk a rollout until nothing is left to do, or nothing for longer than `patience`.

    Returns what it stopped at. `require` is called before every step and raises when the right to
    walk was lost. `read_again` is called before anything is done after a wait, in which documents
    may have changed; it returns what to go on with, where that is anything else. `standing` holds
    the newest events when it returns.
    """
    told = ""
    has_waited = False
    while True:
        require()
        standing.learn(journal.events(after=standing.number))
        now = clock.now()
        decision = decide(standing, calendar, now)
        stopped = stops_at(decision, now, patience)
        if stopped is not None:
            return stopped
        if isinstance(decision, Wait):
            if decision.why != told:
                told = decision.why
                tell(f"waiting until {decision.until:%Y-%m-%d %H:%M:%S}Z: {decision.why}")
            clock.sleep_until(min(decision.until, now + POLL))
            has_waited = True
            continue
        if has_waited:
            has_waited = False
            hands, calendar = read_again() or (hands, calendar)
            continue
        carry_out(decision, standing, journal, hands, tell)


def stops_at(decision: Decision, now: datetime, patience: timedelta | None) -> Wait | Stand | None:
    """Return the decision at which a walk of so much patience stops, `None` when it goes on."""
    if isinstance(decision, Stand):
        return decision
    is_long = (
        patience is not None and isinstance(decision, Wait) and decision.until > now + patience
    )
    return decision if isinstance(decision, Wait) and is_long else None


def carry_out(
    decision: Decision,
    standing: Standing,
    journal: Journal,
    hands: Hands,
    tell: Tell,
) -> None:
    """Do what was decided, and write it down."""
    match decision:
        case Start(ring, sites):
            tell(f"ring {ring}: {', '.join(site.site for site in sites)}")
            hands.change(standing, ring, sites)
        case Undo(sites):
            tell(f"undoing: {', '.join(site.site for site in sites)}")
            hands.undo(standing, sites)
        case CheckRing(ring, sites):
            tell(f"ring {ring}: looking at it after its soak")
            hands.check(standing, ring, sites)
        case _:
            journal.append(*noted(decision))
            tell(words_of(decision))


def noted(decision: Decision) -> tuple[NewEvent, ...]:
    """Return the events of a decision that nobody has to carry out."""
    match decision:
        case GiveUp(sites, outcome, why):
            body = {"outcome": outcome, "message": why, "given_up": True}
            return tuple(NewEvent("site-ended", site.site, body) for site in sites)
        case SettleRing(ring):
            return (NewEvent("ring-settled", body={"ring": ring}),)
        case CheckRing(ring, ()):
            return (NewEvent("ring-checked", body={"ring": ring, "sites": [], "problems": {}}),)
        case EndRing(ring):
            return (NewEvent("ring-ended", body={"ring": ring}),)
        case Halt(why, undo_rings):
            body = {"why": why, "undo_rings": list(undo_rings)}
            return (NewEvent("rollout-halted", body=body),)
        case End(word):
            return (NewEvent("rollout-ended", body={"word": word}),)
    raise TypeError(f"{decision} is not to be noted")


def words_of(decision: Decision) -> str:
    """Return what to tell whoever watches of a decision that was written down."""
    match decision:
        case GiveUp(sites, outcome, why):
            return f"{', '.join(site.site for site in sites)}: {outcome}: {why}"
        case SettleRing(ring):
            return f"ring {ring}: every site had its turn"
        case CheckRing(ring, ()):
            return f"ring {ring}: none of it is to be looked at after its soak"
        case EndRing(ring):
            return f"ring {ring} has ended"
        case Halt(why, undo_rings):
            undone = f"; undoing ring {', '.join(undo_rings)}" if undo_rings else ""
            return f"halted: {why}{undone}"
        case End(word):
            return f"the rollout is {word}"
    return ""
