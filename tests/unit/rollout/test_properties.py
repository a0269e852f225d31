"""What holds for every rollout, whatever it meets and wherever it is cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from unit.rollout.simulation import NEW, OLD, Site, Walk, World
from unit.rollout.worlds import TIERS, worlds

from owc_deploy.fleet.models import FailureBudget, Ring, RolloutLimits, Share
from owc_deploy.plan.windows import is_open
from owc_deploy.rollout.models import Event, RolloutRing, RolloutSite
from owc_deploy.rollout.ports import Hands
from owc_deploy.rollout.standing import Standing

KINDS = {
    "failed": "failed",
    "rolled-back": "failed",
    "inconclusive": "inconclusive",
    "unreachable": "unreachable",
    "busy": "unreachable",
    "not-attempted": "unreachable",
}


def counted(events: Iterable[Event], ring: RolloutRing, attempts: int) -> Counter[str]:
    """Count the sites of a ring that ended badly, from nothing but what was written down."""
    words: dict[str, str] = {}
    passing: Counter[str] = Counter()
    for event in events:
        if event.kind == "site-ended":
            word = event.body["outcome"]
            passing[event.site] += word in {"unreachable", "busy"}
            is_final = word not in {"unreachable", "busy"} or passing[event.site] >= attempts
            words[event.site] = word if is_final or event.body.get("given_up") else ""
    return Counter(KINDS[words[s.site]] for s in ring.sites if words.get(s.site) in KINDS)


@dataclass
class Watchful:
    """Implements `Hands`: looks at everything that was decided before it is carried out."""

    walk: Walk
    hands: Hands

    def change(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        here = next(each for each in self.walk.rollout.rings if each.name == ring)
        self._is_in_order(standing, here, sites)
        self._keeps_to_limits(sites)
        self._is_within_budgets(standing, here)
        for site in sites:
            tier = self.walk.world.tiers[site.sla_tier]
            freeze_days = self.walk.world.freeze_days
            is_in_window = is_open(tier, freeze_days, self.walk.clock.now())
            assert is_in_window or self.walk.world.emergency, site
        self.hands.change(standing, ring, sites)

    def undo(self, standing: Standing, sites: Sequence[RolloutSite]) -> None:
        self._keeps_to_limits(sites)
        rings = {ring.name: ring for ring in self.walk.rollout.rings}
        undone = {site.site for name in standing.undo_rings for site in rings[name].sites}
        assert {site.site for site in sites} <= undone
        self.hands.undo(standing, sites)

    def check(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        self.hands.check(standing, ring, sites)

    def _is_in_order(
        self, standing: Standing, ring: RolloutRing, sites: Sequence[RolloutSite]
    ) -> None:
        names = [each.name for each in self.walk.rollout.rings]
        for earlier in self.walk.rollout.rings[: names.index(ring.name)]:
            assert all(standing.sites[site.site].is_settled for site in earlier.sites)
        begun = {site.site for site in ring.sites if standing.sites[site.site].has_begun}
        unsettled = {site for site in begun if not standing.sites[site].is_settled}
        after = begun | {site.site for site in sites}
        # A wave begins once those before it are settled, all of them.
        ends = [0, *accumulate(ring.wave_sizes)]
        wave = next(end for end in ends if end >= len(after))
        if after != begun and unsettled:
            assert wave == next(end for end in ends if end >= len(begun))

    def _keeps_to_limits(self, sites: Sequence[RolloutSite]) -> None:
        limits = self.walk.world.limits
        assert 0 < len(sites) <= limits.sites_at_once
        servers = Counter(site.server for site in sites)
        assert max(servers.values()) <= limits.sites_at_once_per_server
        suppliers = Counter(site.supplier for site in sites if site.supplier)
        if limits.sites_at_once_per_supplier is not None and suppliers:
            assert max(suppliers.values()) <= limits.sites_at_once_per_supplier

    def _is_within_budgets(self, standing: Standing, ring: RolloutRing) -> None:
        assert standing.state == "running"
        bad = counted(self.walk.journal.written, ring, self.walk.world.limits.attempts)
        assert bad["failed"] <= ring.allowed_failed
        assert bad["inconclusive"] <= ring.allowed_inconclusive
        assert bad["unreachable"] <= ring.allowed_unreachable


def is_sound(walk: Walk) -> None:
    """Assert what holds at the end of every walk."""
    standing, live = walk.standing, walk.servers.live()
    assert standing.state in {"done", "incomplete", "halted"}
    assert not standing.under_way
    for name, site in standing.sites.items():
        changes, undos = walk.servers.releases[name], walk.servers.rollbacks[name]
        assert changes <= 1, "it was changed twice"
        assert undos <= changes, "it was undone twice"
        assert live[name] == (NEW if changes > undos else OLD)
        if site.undo in {"ok", "changed"}:
            assert live[name] == OLD, "it is not as it was"
        elif site.outcome == "changed":
            assert live[name] == NEW, "it is not what it is said to be"
        elif site.outcome in {"ok", "failed", "rolled-back", "not-attempted"}:
            assert live[name] == OLD, "it is not what it is said to be"
        elif site.outcome is None:
            assert changes == 0 or site.was_cut_off, "nobody knows of a change"
        if standing.state != "halted":
            assert site.is_settled, "it was forgotten"
            assert site.undo is None
    if standing.state == "done":
        assert set(live.values()) == {NEW}
    assert walk.claims.taken == set()


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_every_rollout_keeps_what_it_promises(world: World) -> None:
    walk = Walk(world, watched=Watchful).to_the_end()
    is_sound(walk)
    rings = [site.site for ring in walk.rollout.rings for site in ring.sites]
    assert sorted(rings) == sorted(world.sites), "a site is in two rings, or in none"


@settings(max_examples=150, deadline=None)
@given(worlds(), st.lists(st.integers(1, 120), max_size=4))
def test_so_does_one_that_is_cut_off_again_and_again(world: World, kills: list[int]) -> None:
    is_sound(Walk(world, kills=kills, watched=Watchful).to_the_end())


@dataclass(frozen=True)
class EndState:
    """What is the same, however often a rollout was cut off on its way."""

    state: str
    live: dict[str, str]
    outcomes: dict[str, str | None]
    is_undone: dict[str, bool]

    @classmethod
    def of(cls, walk: Walk) -> EndState:
        sites = walk.standing.sites
        return cls(
            state=walk.standing.state,
            live=walk.servers.live(),
            outcomes={name: site.outcome for name, site in sites.items()},
            is_undone={name: site.undo in {"ok", "changed"} for name, site in sites.items()},
        )


WEB = dict.fromkeys(("web1", "web2", "web3"), "")
ANY = FailureBudget(unreachable=Share(3))
# How the first site of a batch ended is known before the second one exceeds the budget: whoever
# goes on in between may not fill the batch up with the third.
IN_TWO_PARTS = World(
    sites={
        "site1": Site("web1", "ring1"),
        "site2": Site("web2", "ring1", ends="failed"),
        "site3": Site("web3", "ring1"),
    },
    rings=(Ring("ring1", failure_budget=ANY),),
    suppliers=WEB,
    limits=RolloutLimits(sites_at_once=2),
    tiers=TIERS,
    down={"web1": ((0, 1),)},
)
TWO_RINGS = World(
    sites={
        "site1": Site("web1", "ring1"),
        "site2": Site("web2", "ring1", hindrance="busy", hindered_minutes=2),
        "site3": Site("web1", "ring2", tier="next-day"),
        "site4": Site("web2", "ring2"),
        "site5": Site("web3", "ring2"),
    },
    rings=(
        Ring("ring1", soak_minutes=10, failure_budget=ANY),
        Ring("ring2", waves=(Share(1), Share(2)), failure_budget=ANY, undo_since="ring1"),
    ),
    suppliers=WEB,
    limits=RolloutLimits(),
    tiers=TIERS,
    down={"web1": ((10, 11),), "web3": ((0, 900),)},
)
ENDS_BADLY = replace(
    TWO_RINGS, sites={**TWO_RINGS.sites, "site5": Site("web2", "ring2", ends="inconclusive")}
)


def test_the_worlds_that_are_written_out_are_what_they_are_meant_to_be() -> None:
    assert EndState.of(Walk(TWO_RINGS).to_the_end()).state == "incomplete"
    bad = EndState.of(Walk(ENDS_BADLY).to_the_end())
    assert (bad.state, sum(bad.is_undone.values())) == ("halted", 4)
    assert set(bad.live.values()) == {OLD}


# Each example is a hundred walks: one that fails is told as it is.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=12, deadline=None, phases=UNSHRUNK)
@given(worlds(most_sites=5, repeatable=True))
@example(IN_TWO_PARTS)
@example(TWO_RINGS)
@example(ENDS_BADLY)
def test_every_interruption_resumes_to_the_same_end_state(world: World) -> None:
    undisturbed = Walk(world).to_the_end()
    expected = EndState.of(undisturbed)
    for point in range(1, undisturbed.points + 1):
        walk = Walk(world, kills=[point]).to_the_end()
        assert walk.points > point, "it was not cut off"
        is_sound(walk)
        assert EndState.of(walk) == expected, f"cut off at point {point}"
