"""What a rollout costs, counted: twice the sites, twice the work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time, timedelta
from itertools import pairwise
from typing import Any

import pytest
from fakes.walking import FakeClock, MemoryJournal, ScriptedHands
from unit.rollout.examples import rollout, site

from owc_deploy.fleet.models import FreezeDays, RolloutLimits, SlaTier, Window
from owc_deploy.rollout.models import Rollout, RolloutRing, Stand
from owc_deploy.rollout.rings import wave_sizes
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.turns import Calendar
from owc_deploy.rollout.walk import walk

SIZES = (250, 500, 1000)
# Twice the sites may cost this much more: a little is left for what rounding does to waves.
TWICE = 2.1
NIGHTS = SlaTier("nights", "UTC", (Window(("thursday",), time(1, 0), time(5, 0)),))
FROZEN = FreezeDays(date(2026, 11, 1), date(2029, 1, 1), "closed", ("never",))


class Counting(dict[str, Any]):
    """A mapping that counts how often something in it is looked at."""

    count = 0

    def __getitem__(self, key: str) -> Any:
        self.count += 1
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        self.count += len(self)
        return super().__iter__()

    def values(self) -> Any:
        self.count += len(self)
        return super().values()

    def items(self) -> Any:
        self.count += len(self)
        return super().items()


def assert_linear(counts: list[int]) -> None:
    for smaller, larger in pairwise(counts):
        assert larger <= TWICE * smaller, counts


def many_sites(number: int) -> Rollout:
    """Ten sites to a server, four rings, and whatever makes sites wait for one another.

    Half of the sites are outside their window at first, some have none at all, and one supplier
    may have one site under way at a time.
    """
    tiers = ("default", "nights", "default", "nights", "default", "never", "nights")
    sites = [
        site(
            f"site-{index:04}",
            f"web{index % (number // 10)}",
            sla_tier=tiers[index % len(tiers)],
            supplier="small" if index % (number // 10) % 8 == 0 else "large",
        )
        for index in range(number)
    ]
    rings, begins = [], 0
    for name, percentage in (("canary", 1), ("early", 9), ("most", 30), ("all", 60)):
        here = tuple(sites[begins : begins + number * percentage // 100])
        begins += len(here)
        ring = RolloutRing(name, here, tuple(wave_sizes((), len(here))))
        rings.append(
            RolloutRing(
                *(name, here, ring.wave_sizes),
                allowed_unreachable=len(here),
                allowed_failed=len(here),
                undo_since="canary",
            )
        )
    limits = RolloutLimits(8, 2, 1, attempts=3, pause_between_attempts_seconds=60)
    return rollout(*rings, limits=limits)


def looked_at(number: int, *, fails: bool) -> int:
    """Return how often the standing of a site is looked at until a rollout ends."""
    made = many_sites(number)
    clock = FakeClock()
    journal = MemoryJournal(clock)
    hands = ScriptedHands(journal, takes=timedelta(seconds=20))
    for each in made.sites[::20]:
        hands.outcomes[each.site] = "rolled-back"
    for each in made.sites:
        if each.server.endswith("3"):
            hands.outcomes[each.site] = "unreachable"
    last = made.rings[-1].sites[-10:]
    if fails:
        hands.outcomes.update((each.site, "inconclusive") for each in last)
    standing = Standing(made)
    standing.sites = Counting(standing.sites)
    calendar = Calendar({"nights": NIGHTS}, (FROZEN,))
    while True:
        stopped = walk(standing, journal, hands, calendar, clock, patience=timedelta())
        if isinstance(stopped, Stand):
            assert stopped.state == ("halted" if fails else "incomplete")
            return standing.sites.count
        clock.sleep_until(stopped.until)


@pytest.mark.parametrize("fails", [False, True], ids=["to its end", "halted and undone"])
def test_decisions_look_at_the_sites_they_are_about(fails: bool) -> None:
    counts = [looked_at(number, fails=fails) for number in SIZES]
    assert_linear(counts)
    assert counts[-1] < 60 * SIZES[-1], counts
