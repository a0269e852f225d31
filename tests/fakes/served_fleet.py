"""Simulated servers in one process, and the door to them for others: workers of a test.

What a server was told to do it does to the end, whatever becomes of the worker that told it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.managers import BaseManager
from typing import Any

from fakes.fleet import FleetSimulator

from owc_deploy.execution.ports import Fences, ReleaseRequest, RollbackRequest
from owc_deploy.fleet.models import Fleet, Server
from owc_deploy.plan.models import ObservedServer, SiteOutcome

_ASKED = ("probe", "fence", "release", "rollback")


class SlowFleet(FleetSimulator):
    """A fleet on which work takes time, and that counts what was made live on each site.

    `at_once` is the most sites that were ever worked on at a time, in all and on one server.
    """

    def __init__(self, servers: Iterable[str], seconds: float) -> None:
        super().__init__(servers)
        self.seconds = seconds
        self.activations: Counter[str] = Counter()
        self.working: set[tuple[str, str]] = set()
        self.at_once = 0
        self.at_once_on_a_server = 0
        # While it is not set, servers are at work and do not get to the end of it.
        self.gate = threading.Event()
        self.gate.set()
        self._one = threading.RLock()

    def probe(self, servers: tuple[Server, ...], **rest: Any) -> tuple[ObservedServer, ...]:
        with self._one:
            return super().probe(servers, **rest)

    def release(
        self, requests: Mapping[str, ReleaseRequest], **rest: Any
    ) -> tuple[SiteOutcome, ...]:
        sites = {(name, site) for name, request in requests.items() for site in request.sites}
        return self._slowly(sites, lambda: FleetSimulator.release(self, requests, **rest))

    def rollback(
        self, requests: Mapping[str, tuple[RollbackRequest, ...]], **rest: Any
    ) -> tuple[SiteOutcome, ...]:
        sites = {(name, request.site) for name, asked in requests.items() for request in asked}
        return self._slowly(sites, lambda: FleetSimulator.rollback(self, requests, **rest))

    def _slowly(self, sites: set[tuple[str, str]], work: Any) -> tuple[SiteOutcome, ...]:
        with self._one:
            self.working |= sites
            servers = Counter(server for server, _ in self.working)
            self.at_once = max(self.at_once, len(self.working))
            self.at_once_on_a_server = max(self.at_once_on_a_server, *servers.values())
        time.sleep(self.seconds)
        self.gate.wait()
        with self._one:
            outcomes: tuple[SiteOutcome, ...] = work()
            self.working -= sites
            changed = (outcome.site for outcome in outcomes if outcome.outcome == "changed")
            self.activations.update(changed)
        return outcomes


def _manager(port: int, **registered: Any) -> BaseManager:
    kind = type("Manager", (BaseManager,), {})
    kind.register("fleet", exposed=_ASKED, **registered)
    made: BaseManager = kind(("127.0.0.1", port), authkey=b"test")
    return made


@dataclass
class Door:
    """Implements `Executor` for a fleet that is served elsewhere on this machine."""

    port: int
    fleet: Any = field(init=False)

    def __post_init__(self) -> None:
        manager = _manager(self.port)
        manager.connect()
        self.fleet = manager.fleet()  # type: ignore[attr-defined]

    def probe(self, servers: tuple[Server, ...], **rest: Any) -> tuple[ObservedServer, ...]:
        del rest
        found: tuple[ObservedServer, ...] = self.fleet.probe(servers)
        return found

    def fence(self, requests: Mapping[str, Sequence[str]], *, fences: Fences, **rest: Any) -> Any:
        del rest
        return self.fleet.fence(requests, fences=fences)

    def release(self, requests: Any, *, fences: Fences, **rest: Any) -> tuple[SiteOutcome, ...]:
        del rest
        outcomes: tuple[SiteOutcome, ...] = self.fleet.release(requests, fences=fences)
        return outcomes

    def rollback(self, requests: Any, *, fences: Fences, **rest: Any) -> tuple[SiteOutcome, ...]:
        del rest
        outcomes: tuple[SiteOutcome, ...] = self.fleet.rollback(requests, fences=fences)
        return outcomes

    def use(self, fleet: Fleet) -> None:
        pass

    def close(self) -> None:
        pass


def serve(fleet: FleetSimulator) -> int:
    """Serve a fleet from a thread of this process until it ends; return the port."""
    server = _manager(0, callable=lambda: fleet).get_server()
    # Its own `serve_forever` would end this process.
    server.stop_event = threading.Event()
    threading.Thread(target=server.accepter, daemon=True).start()
    port: int = server.address[1]
    return port
