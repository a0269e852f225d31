"""Worlds that a rollout may meet, for hypothesis to choose from."""

from __future__ import annotations

from datetime import date, time

from hypothesis import strategies as st
from unit.rollout.simulation import Site, World

from owc_deploy.fleet.models import (
    FailureBudget,
    FreezeDays,
    Ring,
    RolloutLimits,
    Share,
    SlaTier,
    Window,
)

# A rollout begins on Wednesday 25 November 2026 at 9:00 UTC.
TIERS = {
    "default": SlaTier("default"),
    "short": SlaTier("short", "UTC", (Window(("wednesday",), time(9, 1), time(9, 4)),)),
    "next-day": SlaTier("next-day", "UTC", (Window(("thursday",), time(1), time(1, 30)),)),
    "never": SlaTier("never", "UTC", (Window(("monday",), time(1), time(3)),)),
}
FREEZE_DAYS = (
    FreezeDays(date(2026, 11, 20), date(2029, 1, 1), "closed", ("never",)),
    FreezeDays(date(2026, 11, 26), date(2026, 11, 26), "election", ("next-day",)),
    FreezeDays(date(2026, 11, 25), date(2026, 11, 25), "market", ("default",)),
)
MOST_SERVERS, MOST_SITES, MOST_RINGS = 3, 7, 3
HINDRANCES = ("busy", "lost", "unheard")
ENDS = (*6 * ("changed",), "failed", "rolled-back", "inconclusive")

shares = st.builds(Share, st.integers(1, 4)) | st.builds(Share, st.integers(10, 100), st.just(True))
allowances = st.builds(Share, st.integers(0, 3)) | st.builds(
    Share, st.integers(0, 100), st.just(True)
)
budgets = st.builds(FailureBudget, allowances, allowances, allowances)
limits = st.builds(
    RolloutLimits,
    sites_at_once=st.integers(1, 4),
    sites_at_once_per_server=st.integers(1, 2),
    sites_at_once_per_supplier=st.none() | st.integers(1, 2),
    attempts=st.integers(1, 3),
    pause_between_attempts_seconds=st.just(60),
)
outages = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from((1, 2, 15))).map(lambda one: (one[0], sum(one))),
    max_size=1,
).map(tuple)


@st.composite
def sites(draw: st.DrawFn, servers: int, rings: int, *, repeatable: bool) -> Site:
    first = st.lists(st.sampled_from(("busy", "unreachable")), max_size=2).map(tuple)
    return Site(
        server=f"web{draw(st.integers(1, servers))}",
        ring=f"ring{draw(st.integers(1, rings))}",
        tier=draw(st.sampled_from((*4 * ("default",), *TIERS))),
        ends=draw(st.sampled_from(ENDS)),
        hindrance=draw(st.sampled_from(("busy", "lost") if repeatable else HINDRANCES)),
        hindered_minutes=draw(st.sampled_from((0, 0, 0, 1, 2, 9))),
        first=() if repeatable else draw(first),
    )


@st.composite
def rings(draw: st.DrawFn, number: int) -> Ring:
    undo_since = draw(st.sampled_from((None, 1, *range(1, number + 1))))
    return Ring(
        name=f"ring{number}",
        waves=draw(st.lists(shares, max_size=2).map(tuple)),
        soak_minutes=draw(st.sampled_from((0, 0, 10))),
        failure_budget=draw(budgets),
        undo_since=f"ring{undo_since}" if undo_since else None,
    )


@st.composite
def worlds(draw: st.DrawFn, *, most_sites: int = MOST_SITES, repeatable: bool = False) -> World:
    """Any world; a `repeatable` one answers the same to whoever asks at the same moment."""
    servers = draw(st.integers(1, MOST_SERVERS))
    count = draw(st.integers(1, MOST_RINGS))
    names = [f"site{number}" for number in range(1, draw(st.integers(2, most_sites)) + 1)]
    return World(
        sites={name: draw(sites(servers, count, repeatable=repeatable)) for name in names},
        rings=tuple(draw(rings(number)) for number in range(1, count + 1)),
        suppliers={
            f"web{number}": draw(st.sampled_from(("", "north", "south")))
            for number in range(1, servers + 1)
        },
        limits=draw(limits),
        tiers=TIERS,
        freeze_days=tuple(draw(st.lists(st.sampled_from(FREEZE_DAYS), unique=True))),
        down={f"web{number}": draw(outages) for number in range(1, servers + 1)},
        emergency=draw(st.sampled_from((False, False, False, True))),
    )
