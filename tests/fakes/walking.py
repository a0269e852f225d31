"""A rollout in memory: a journal, a clock that runs as fast as it is asked, claims, records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from owc_deploy.plan.models import Fence, OutcomeWord, SiteOutcome
from owc_deploy.rollout.models import Event, NewEvent, RolloutSite
from owc_deploy.rollout.standing import Standing

BEGINS = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)


@dataclass
class FakeClock:
    """Implements `Clock`: sleeping takes no time."""

    moment: datetime = BEGINS

    def now(self) -> datetime:
        return self.moment

    def sleep_until(self, moment: datetime) -> None:
        self.moment = max(self.moment, moment)


@dataclass
class MemoryJournal:
    """Implements `Journal`; `on_append` is called before and after each writing, and may raise."""

    clock: FakeClock
    written: list[Event] = field(default_factory=list)
    on_append: Callable[[str], None] = lambda _: None

    def append(self, *events: NewEvent) -> None:
        self.on_append("before")
        for event in events:
            number = len(self.written) + 1
            self.written.append(
                Event(event.kind, event.site, event.body, self.clock.now(), "test", number)
            )
        self.on_append("after")

    def events(self, *, after: int = 0) -> Sequence[Event]:
        return self.written[after:]


@dataclass
class MemoryClaims:
    """Implements `Claims`; `held` maps sites to the words on who has them."""

    held: dict[str, str] = field(default_factory=dict)
    token: int = 1
    taken: set[str] = field(default_factory=set)

    def take(self, sites: Iterable[str]) -> Mapping[str, str]:
        wanted = set(sites)
        self.taken |= wanted - set(self.held)
        return {site: self.held[site] for site in wanted if site in self.held}

    def give_back(self, sites: Iterable[str]) -> None:
        self.taken -= set(sites)

    def fences(self) -> Mapping[str, Fence]:
        return {site: Fence("test-store", self.token, "test") for site in self.taken}


@dataclass
class MemoryRecord:
    """Implements `Record`."""

    runs: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    ended: list[SiteOutcome] = field(default_factory=list)

    def begin(self, sites: Sequence[RolloutSite], ring: str) -> int:
        self.runs.append((tuple(site.site for site in sites), ring))
        return len(self.runs)

    def end(self, run_id: int, outcomes: Sequence[SiteOutcome]) -> None:
        del run_id
        self.ended += outcomes


@dataclass
class ScriptedHands:
    """Implements `Hands`: sites end as `outcomes` says, `changed` unless told otherwise.

    Each call takes `takes`.
    """

    journal: MemoryJournal
    takes: timedelta = timedelta()
    outcomes: dict[str, OutcomeWord] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)

    def change(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        del standing
        self.did.append(f"change {ring}: {' '.join(each.site for each in sites)}")
        for each in sites:
            body = {"observed_release": "old", "release_id": "new"}
            self.journal.append(NewEvent("site-intended", each.site, body))
        self.journal.clock.moment += self.takes
        for each in sites:
            outcome = {"outcome": self.outcomes.get(each.site, "changed"), "message": "scripted"}
            self.journal.append(NewEvent("site-ended", each.site, outcome))

    def undo(self, standing: Standing, sites: Sequence[RolloutSite]) -> None:
        del standing
        self.did.append(f"undo {' '.join(each.site for each in sites)}")
        self.journal.clock.moment += self.takes
        for each in sites:
            self.journal.append(NewEvent("undo-ended", each.site, {"outcome": "changed"}))

    def check(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        del standing
        self.did.append(f"check {ring}: {' '.join(each.site for each in sites)}")
        self.journal.append(NewEvent("ring-checked", body={"ring": ring, "problems": {}}))
