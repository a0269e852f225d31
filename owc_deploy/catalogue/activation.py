"""The order in which blocks are activated."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from collections.abc import Set as AbstractSet


def activation_order(needs: Mapping[str, AbstractSet[str]]) -> tuple[str, ...]:
    """Order names so that what is needed stands before what needs it, and by name where it may.

    Needs outside the mapping are of no account. Blocks that need each other go by name: WordPress
    activates them one after the other whatever the order.
    """
    waiting = {
        name: {need for need in wanted if need in needs} - {name} for name, wanted in needs.items()
    }
    ready = [name for name, wanted in waiting.items() if not wanted]
    heapq.heapify(ready)
    order: list[str] = []
    while waiting:
        name = heapq.heappop(ready) if ready else min(waiting)
        del waiting[name]
        order.append(name)
        for other, wanted in waiting.items():
            if name in wanted:
                wanted.remove(name)
                if not wanted:
                    heapq.heappush(ready, other)
    return tuple(order)
