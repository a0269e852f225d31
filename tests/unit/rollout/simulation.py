"""A whole rollout in memory, with everything that can come in its way, and that can be cut off.

How a site behaves follows from the moment, and only where `Site.first` says so from how often it
was asked: so a walk that was cut off and goes on at the same moment meets the same servers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from fakes.fleet import FleetSimulator, SimulatedSite
from fakes.walking import BEGINS, FakeClock, MemoryClaims, MemoryJournal, MemoryRecord
from unit.plan.examples import LIVE, catalogue, fleet, lock, manifest

from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.execution.ports import ReleaseRequest, RollbackRequest
from owc_deploy.fleet.models import (
    Fleet,
    FreezeDays,
    Ring,
    RolloutLimits,
    Server,
    SiteServers,
    SlaTier,
)
from owc_deploy.plan.models import OutcomeWord, SiteOutcome
from owc_deploy.plan.specification import specification
from owc_deploy.rollout.decide import Calendar
from owc_deploy.rollout.hands import ServerHands
from owc_deploy.rollout.models import Emergency, NewEvent, Rollout, RolloutSite, Stand
from owc_deploy.rollout.ports import Hands
from owc_deploy.rollout.rings import rollout_rings
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.walk import walk

OLD, NEW = "1.0.0", "2.0.0"
MOST_WAITS = 200


def nothing() -> None:
    """Let it happen."""


class Killed(BaseException):
    """The controller is killed."""


@dataclass(frozen=True)
class Site:
    """Where a site is, and how its server answers when it is to be changed.

    `ends`: how its change ends. Until so many minutes after the beginning somebody else is at work
    on it (`busy`), or the connection is lost while it is changed: before the server has done
    anything (`lost`), or after it has (`unheard`). `first`: how the first attempts end.
    """

    server: str
    ring: str
    tier: str = "default"
    ends: OutcomeWord = "changed"
    hindrance: Literal["busy", "lost", "unheard"] = "busy"
    hindered_minutes: int = 0
    first: tuple[OutcomeWord, ...] = ()


@dataclass(frozen=True)
class World:
    """Everything that a rollout meets. `down` says from which minute to which servers are."""

    sites: Mapping[str, Site]
    rings: tuple[Ring, ...]
    suppliers: Mapping[str, str]
    limits: RolloutLimits
    tiers: Mapping[str, SlaTier] = field(default_factory=dict)
    freeze_days: tuple[FreezeDays, ...] = ()
    down: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    emergency: bool = False

    def fleet(self) -> Fleet:
        made = fleet(
            *(
                manifest(
                    name,
                    ring=site.ring,
                    servers=SiteServers((site.server,), (site.server,)),
                    sla_tier=site.tier,
                )
                for name, site in self.sites.items()
            ),
            locks=tuple(lock(name, NEW) for name in self.sites),
        )
        settings = replace(
            made.settings,
            rings=self.rings,
            sla_tiers=self.tiers,
            freeze_days=self.freeze_days,
            rollouts=self.limits,
        )
        servers = {
            name: Server(name, ("web",), ("8.2",), supplier=supplier)
            for name, supplier in self.suppliers.items()
        }
        return replace(made, settings=settings, servers=servers)

    def rollout(self, made: Fleet) -> Rollout:
        return Rollout(
            rollout_id="r1",
            fleet="test",
            created_at=BEGINS.isoformat(),
            operator="anna",
            cause="news",
            rings=rollout_rings(made, made.manifests),
            limits=self.limits,
            emergency=Emergency("being exploited", "Bo") if self.emergency else None,
        )


class Servers(FleetSimulator):
    """The servers of a world. Before and after everything that happens `point` is called."""

    def __init__(self, world: World, made: Fleet, clock: FakeClock) -> None:
        super().__init__(made.servers)
        self.world = world
        self.clock = clock
        self.point: Callable[[], None] = nothing
        self.releases: Counter[str] = Counter()
        self.rollbacks: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        for name, server in made.servers.items():
            self.servers[name].provisioned = provision_fingerprint(server)
        for name, site in world.sites.items():
            live = specification(made.manifests[name], lock(name, OLD), catalogue())
            self.servers[site.server].sites[name] = SimulatedSite(LIVE, {LIVE: live})

    @property
    def minutes(self) -> float:
        """How long the rollout goes on."""
        return (self.clock.now() - BEGINS) / timedelta(minutes=1)

    def probe(self, *servers: Any, **more: Any) -> Any:
        self.point()
        self._weather()
        seen = super().probe(*servers, **more)
        self.point()
        return seen

    def fence(self, *requests: Any, **more: Any) -> Any:
        self.point()
        self._weather()
        standings = super().fence(*requests, **more)
        self.point()
        return standings

    def release(self, requests: Mapping[str, ReleaseRequest], **more: Any) -> Any:
        outcomes: list[SiteOutcome] = []
        self._weather()
        for server, request in requests.items():
            for wanted in request.specifications:
                one = {server: replace(request, specifications=(wanted,))}
                self.point()
                outcomes.append(self._release(wanted["site"], server, one, more))
                self.point()
        return tuple(outcomes)

    def _release(self, name: str, server: str, one: Any, more: Any) -> SiteOutcome:
        site = self.world.sites[name]
        self.asked[name] += 1
        is_hindered = self.minutes < site.hindered_minutes
        words = dict(enumerate(site.first, start=1))
        word: OutcomeWord = words.get(self.asked[name], site.ends)
        if is_hindered and site.hindrance == "busy":
            word = "busy"
        elif is_hindered and site.hindrance == "lost":
            word = "unreachable"
        if word != "changed" and not self.servers[server].unreachable:
            self.script(name, word)
        (outcome,) = super().release(one, **more)
        if outcome.outcome == "changed":
            self.releases[name] += 1
            if is_hindered and site.hindrance == "unheard":
                return SiteOutcome(name, server, "unreachable", "the connection was lost")
        return outcome

    def rollback(self, requests: Mapping[str, tuple[RollbackRequest, ...]], **more: Any) -> Any:
        outcomes: list[SiteOutcome] = []
        self._weather()
        for server, asked in requests.items():
            for request in asked:
                self.point()
                (outcome,) = super().rollback({server: (request,)}, **more)
                self.rollbacks[request.site] += outcome.outcome == "changed"
                outcomes.append(outcome)
                self.point()
        return tuple(outcomes)

    def _weather(self) -> None:
        for name, server in self.servers.items():
            is_down = any(begins <= self.minutes < ends for begins, ends in self._down(name))
            server.unreachable = "no route to host" if is_down else ""

    def _down(self, server: str) -> Sequence[tuple[int, int]]:
        return self.world.down.get(server, ())

    def live(self) -> dict[str, str]:
        """Return which version of the block is live on every site."""
        return {
            name: str(site.releases[site.current]["blocks"][0]["version"])
            for server in self.servers.values()
            for name, site in server.sites.items()
        }


class Points(MemoryRecord):
    """A record that calls `point` before and after it writes."""

    point: Callable[[], None] = staticmethod(nothing)

    def begin(self, sites: Sequence[RolloutSite], ring: str) -> int:
        self.point()
        run_id = super().begin(sites, ring)
        self.point()
        return run_id

    def end(self, run_id: int, outcomes: Sequence[SiteOutcome]) -> None:
        self.point()
        super().end(run_id, outcomes)
        self.point()


class Walk:
    """A rollout of a world, walked to its end; killed at every point whose number is in `kills`."""

    def __init__(
        self,
        world: World,
        *,
        kills: Sequence[int] = (),
        watched: Callable[[Walk, Hands], Hands] = lambda _, hands: hands,
    ) -> None:
        self.world = world
        self.fleet = world.fleet()
        self.rollout = world.rollout(self.fleet)
        self.clock = FakeClock()
        self.servers = Servers(world, self.fleet, self.clock)
        self.journal = MemoryJournal(self.clock)
        self.claims = MemoryClaims()
        self.record = Points()
        self.standing = Standing(self.rollout)
        self.calendar = Calendar(world.tiers, world.freeze_days)
        self.points = 0
        self.kills = frozenset(kills)
        self.hands = watched(self, self._hands())
        self.servers.point = self.record.point = self._point
        self.journal.on_append = lambda _: self._point()

    def _hands(self) -> Hands:
        return ServerHands(
            fleet=self.fleet,
            catalogue=catalogue(),
            executor=self.servers,
            journal=self.journal,
            claims=self.claims,
            record=self.record,
            clock=self.clock.now,
        )

    def _point(self) -> None:
        self.points += 1
        if self.points in self.kills:
            raise Killed

    def to_the_end(self) -> Walk:
        """Walk on, and on after each time that the controller was killed."""
        while True:
            try:
                self._on()
            except Killed:
                continue
            return self

    def _on(self) -> None:
        """Let a controller go on with what is in the journal, and with nothing else."""
        self.claims.taken.clear()
        self.claims.token += 1
        self.journal.append(NewEvent("walk-begun"))
        self.standing = Standing(self.rollout)
        for _ in range(MOST_WAITS):
            stopped = walk(
                *(self.standing, self.journal, self.hands, self.calendar, self.clock),
                patience=timedelta(),
            )
            if isinstance(stopped, Stand):
                return
            assert stopped.until > self.clock.now(), stopped
            self.clock.sleep_until(stopped.until)
        raise AssertionError(f"it waits again and again: {stopped}")
