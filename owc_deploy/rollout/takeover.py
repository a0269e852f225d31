"""Taking sites over from a controller that stopped: what it had under way is ended first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from owc_deploy.execution.ports import Executor, Fences, ProgressCallback, SiteStanding
from owc_deploy.plan.models import Fence

# Longer than a large database takes to be brought back.
PATIENCE_SECONDS = 600.0
_POLL_SECONDS = 1.0


def by_server(where: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the sites of each server; `where` maps a site to its server."""
    servers = sorted(set(where.values()))
    return {
        server: tuple(site for site, here in where.items() if here == server) for server in servers
    }


def take_sites_over(
    executor: Executor,
    where: Mapping[str, str],
    *,
    fences: Fences,
    narrate: Callable[[str], None],
    insist: bool = False,
    on_progress: ProgressCallback | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[SiteStanding, ...]:
    """Tell servers whose these sites are from now on and return what was going on there.

    `where` maps each site to its server. A change that is under way for an earlier controller
    cannot be confirmed any more: its server undoes it, which is waited for. What is live afterwards
    may be something else than was seen before. A server out of reach is not waited for, nor who is
    at work with another store; `insist` undoes that one's change too.
    """
    standings = executor.fence(
        by_server(where), fences=fences, insist=insist, on_progress=on_progress
    )
    for standing in standings:
        words = told(standing, fences[standing.site])
        if words:
            narrate(f"  {standing.site}: {words}")
    waiting = _under_way(standings)
    deadline = clock() + PATIENCE_SECONDS
    while waiting and clock() < deadline:
        pause(_POLL_SECONDS)
        asked = by_server({site: where[site] for site in waiting})
        waiting = _under_way(executor.fence(asked, fences=fences, insist=insist))
    if waiting:
        narrate(f"still not over: {', '.join(sorted(waiting))}; these sites will be busy")
    return standings


def highest_token(newer: Mapping[str, Fence | None], fences: Fences) -> int:
    """Return the highest token that servers have seen of these sites' own store, 0 for none.

    `newer` are the fences of whoever keeps these sites from the owner of `fences`.
    """
    tokens = (
        fence.token
        for site, fence in newer.items()
        if fence is not None and fence.store == fences[site].store
    )
    return max(tokens, default=0)


def told(standing: SiteStanding, fence: Fence) -> str:
    """Return, for a person, what is going on at a site, `""` for nothing."""
    newer, transaction_id = standing.newer, standing.transaction_id
    if standing.trouble:
        return f"what is going on there is not known: {standing.trouble}"
    if newer is not None and newer.store != fence.store:
        return f"{newer.owner} is changing it ({transaction_id}), with another history store"
    if newer is not None:
        return f"{newer.owner} has taken it over since"
    if not transaction_id:
        return ""
    state = "waits to be confirmed" if standing.provisional else "is under way"
    return f"{transaction_id} {state}; its server is to end it, which is waited for"


def _under_way(standings: Iterable[SiteStanding]) -> frozenset[str]:
    """Return the sites where something is still to come to its end."""
    return frozenset(
        standing.site
        for standing in standings
        if standing.transaction_id and standing.newer is None
    )
