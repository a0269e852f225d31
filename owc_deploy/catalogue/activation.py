"""The order in which blocks are activated."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from collections.abc import Set as AbstractSet


def activation_order(needs: Mapping[str, AbstractSet[str]]) -> tuple[str, ...]:
    """Order names so that what is needed stands before what needs it, and by name where it may.

    Needs outside the mapping are of no account. Blocks that need each other go by name, before
    what else needs them: WordPress activates them one after the other whatever the order. Removal
    goes the other way round, and the server knows the order from the release that is live.
    """
    waiting = {
        name: {need for need in wanted if need in needs} - {name} for name, wanted in needs.items()
    }
    ready = [name for name, wanted in waiting.items() if not wanted]
    heapq.heapify(ready)
    order: list[str] = []
    while waiting:
        names = [heapq.heappop(ready)] if ready else _circle(waiting)
        order += names
        for name in names:
            del waiting[name]
        for other, wanted in waiting.items():
            if wanted.intersection(names):
                wanted.difference_update(names)
                if not wanted:
                    heapq.heappush(ready, other)
    return tuple(order)


def _circle(waiting: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Return names that wait for one another and for nothing else; the first such by name."""
    behind = {name: _reached(waiting, name) for name in waiting}
    first = min(name for name in waiting if all(name in behind[other] for other in behind[name]))
    return sorted(behind[first])


def _reached(waiting: Mapping[str, AbstractSet[str]], name: str) -> set[str]:
    found: set[str] = set()
    queue = [name]
    while queue:
        new = waiting[queue.pop()] - found
        found |= new
        queue += new
    return found
