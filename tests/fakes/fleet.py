"""An in-memory fleet of servers that answers the `Executor` port, with scripted failures."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.jobs import BESIDE
from owc_deploy.execution.ports import (
    DecommissionRequest,
    Progress,
    ProgressCallback,
    ReleaseRequest,
    RollbackRequest,
    ServerOutcome,
)
from owc_deploy.fleet.models import Server
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.plan.models import Fence, ObservedServer, OutcomeWord, SiteOutcome


@dataclass
class SimulatedSite:
    """One site on a simulated server."""

    current: str = ""
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    certificate: str = ""
    decommissioned: bool = False
    drift: list[dict[str, Any]] = field(default_factory=list)
    # What going back would lose; `None` where the database may stay as it is.
    losses: dict[str, Any] | None = None

    def observed(self) -> dict[str, Any]:
        """Return what a probe says of it."""
        specification = copy.deepcopy(self.releases.get(self.current))
        canonical = json.dumps(
            specification, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return {
            "release_id": self.current,
            "specification_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
            "specification": specification,
            "releases": [
                {"release_id": release, "order": order}
                for order, release in reversed(list(enumerate(self.releases)))
            ],
            "active_plugins": [
                f"{block['folder']}/{block['main_file']}"
                for block in (specification or {}).get("blocks", ())
            ],
            "theme": ((specification or {}).get("theme") or {}).get("folder", ""),
            "database_version": 1,
            "certificate": self.certificate,
            "php_fpm": "inactive" if self.decommissioned else "active",
            "cron": "inactive" if self.decommissioned else "active",
            "decommissioned": self.decommissioned,
            "interrupted": False,
            "drift": copy.deepcopy(self.drift),
        }


@dataclass
class SimulatedServer:
    """One simulated server; set `unreachable` or `provision_error` to a reason to make it fail."""

    provisioned: str = ""
    store: set[str] = field(default_factory=set)
    sites: dict[str, SimulatedSite] = field(default_factory=dict)
    unreachable: str = ""
    provision_error: str = ""


class FleetSimulator:
    """Implements `Executor` without servers.

    `calls` lists what was asked for, `(method, server names)`, in order. `script(site, ...)` makes
    the next piece of work on a site end in a way of your choosing, leaving what is live alone.
    """

    def __init__(self, servers: Iterable[str | Server]) -> None:
        names = [item.name if isinstance(item, Server) else item for item in servers]
        self.servers = {name: SimulatedServer() for name in names}
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self._scripted: dict[str, tuple[OutcomeWord, str]] = {}
        # The highest fencing token that each site has seen.
        self._tokens: dict[str, int] = {}

    def script(self, site: str, outcome: OutcomeWord, message: str = "scripted") -> None:
        """Let the next work on this site end so."""
        self._scripted[site] = (outcome, message)

    def probe(
        self,
        servers: tuple[Server, ...],
        *,
        hold: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[ObservedServer, ...]:
        """See `Executor.probe`."""
        del hold
        self._note("probe", [server.name for server in servers], on_progress)
        return tuple(self._observed(server.name) for server in servers)

    def _observed(self, name: str) -> ObservedServer:
        server = self.servers[name]
        if server.unreachable:
            return ObservedServer(name, unreachable=server.unreachable)
        return ObservedServer(
            server=name,
            provisioned=server.provisioned,
            store=frozenset(server.store),
            sites={site: state.observed() for site, state in server.sites.items()},
            facts={"hostname": name, "php_versions": ["8.2"]},
        )

    def provision(
        self, fingerprints: Mapping[str, str], *, on_progress: ProgressCallback | None = None
    ) -> tuple[ServerOutcome, ...]:
        """See `Executor.provision`."""
        self._note("provision", fingerprints, on_progress)
        return tuple(self._provision(name, value) for name, value in fingerprints.items())

    def _provision(self, name: str, fingerprint: str) -> ServerOutcome:
        server = self.servers[name]
        if server.unreachable:
            return ServerOutcome(name, "unreachable", server.unreachable)
        if server.provision_error:
            return ServerOutcome(name, "failed", server.provision_error)
        server.provisioned = fingerprint
        return ServerOutcome(name, "ok")

    def release(
        self,
        requests: Mapping[str, ReleaseRequest],
        *,
        fences: Mapping[str, Fence] | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.release`."""
        self._note("release", requests, on_progress)
        outcomes: list[SiteOutcome] = []
        for name, request in requests.items():
            server = self.servers[name]
            if not server.unreachable:
                server.store.update(request.artefacts)
            for sent in request.specifications:
                specification = copy.deepcopy(dict(sent))
                beside = {key: specification.pop(key, "") for key in BESIDE}
                site = str(specification["site"])
                outcome = self._fenced(name, site, fences or {}) or self._work(
                    name, site, beside["release_id"], beside["observed_release"]
                )
                outcomes.append(outcome)
                if outcome.outcome == "changed":
                    state = server.sites[site]
                    state.releases[state.current] = specification
                    state.drift = []
                    state.decommissioned = False
                    for secret in request.secrets:
                        if secret.site == site and secret.path == "tls/fullchain.pem":
                            state.certificate = secret.content.reveal()
        return tuple(outcomes)

    def rollback(
        self,
        requests: Mapping[str, tuple[RollbackRequest, ...]],
        *,
        fences: Mapping[str, Fence] | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.rollback`."""
        self._note("rollback", requests, on_progress)
        return tuple(
            self._fenced(name, request.site, fences or {}) or self._go_back(name, request)
            for name, asked in requests.items()
            for request in asked
        )

    def _fenced(self, name: str, site: str, fences: Mapping[str, Fence]) -> SiteOutcome | None:
        """Refuse whoever comes with a lower token than the site has seen; remember the highest."""
        if site not in fences or self.servers[name].unreachable:
            return None
        seen = self._tokens.get(site, 0)
        self._tokens[site] = max(seen, fences[site].token)
        if fences[site].token >= seen:
            return None
        live = self.servers[name].sites.get(site, SimulatedSite()).current
        return SiteOutcome(site, name, "busy", "a newer controller has it", live, live)

    def _go_back(self, name: str, request: RollbackRequest) -> SiteOutcome:
        state = self.servers[name].sites.get(request.site, SimulatedSite())
        exports = f"/srv/owc/sites/{request.site}/exports"
        live = state.current
        if request.preview:
            needed = state.losses is not None
            details = {
                "preview": {"exports": exports},
                "restore_needed": needed,
                "losses": state.losses,
            }
            if self.servers[name].unreachable:
                reason = self.servers[name].unreachable
                return SiteOutcome(request.site, name, "unreachable", reason)
            if request.site in self._scripted:
                word, message = self._scripted.pop(request.site)
                return SiteOutcome(request.site, name, word, message, live, live)
            return SiteOutcome(request.site, name, "ok", "", live, live, details=details)
        if state.losses is not None and not request.restore_database:
            details = {"restore_needed": True}
            words = "it would lose data"
            return SiteOutcome(request.site, name, "failed", words, live, live, details=details)
        outcome = self._work(
            name, request.site, request.release_id, request.observed_release, known=True
        )
        if outcome.outcome != "changed" or state.losses is None:
            return outcome
        details = {
            "losses": state.losses,
            "export": f"{exports}/20261124T000000Z-00000000.jsonl.gz",
            "held_jobs": [{"kind": "cron", "hook": "send", "at": "2026-11-23", "done": "removed"}],
        }
        state.losses = None
        return replace(outcome, details=details)

    def mitigate(
        self,
        requests: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
        *,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.mitigate`."""
        self._note("mitigate", requests, on_progress)
        return tuple(
            self._mitigated(server, site, rules)
            for server, sites in requests.items()
            for site, rules in sites.items()
        )

    def _mitigated(self, server: str, site: str, rules: Sequence[Mapping[str, Any]]) -> SiteOutcome:
        if self.servers[server].unreachable:
            return SiteOutcome(site, server, "unreachable", self.servers[server].unreachable)
        closed = [rule["identifier"] for rule in rules]
        return SiteOutcome(site, server, "changed", details={"closed": closed})

    def decommission(
        self,
        requests: Mapping[str, tuple[DecommissionRequest, ...]],
        *,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.decommission`."""
        self._note("decommission", requests, on_progress)
        outcomes: list[SiteOutcome] = []
        for name, asked in requests.items():
            for request in asked:
                live = request.observed_release
                outcome = self._work(name, request.site, live, live)
                outcomes.append(outcome)
                if outcome.outcome == "changed":
                    self.servers[name].sites[request.site].decommissioned = True
        return tuple(outcomes)

    def logs(self, server: str, site: str, *, lines: int) -> tuple[str, ...]:
        """See `Executor.logs`."""
        self._note("logs", (server,), None)
        if self.servers[server].unreachable:
            raise ExecutionError(f"{server}: {self.servers[server].unreachable}")
        return (f"{site}: nothing to say",)[:lines]

    def access(self, server: str, site: str, login: str) -> Sensitive:
        """See `Executor.access`."""
        self._note("access", (server,), None)
        if self.servers[server].unreachable:
            raise ExecutionError(f"{server}: {self.servers[server].unreachable}")
        return Sensitive(f"https://{site}.example/wp-login.php?login={login}")

    def close(self) -> None:
        """See `Executor.close`."""

    def _note(
        self, method: str, servers: Iterable[str], on_progress: ProgressCallback | None
    ) -> None:
        names = tuple(servers)
        self.calls.append((method, names))
        for name in names:
            if on_progress is not None:
                gone = bool(self.servers[name].unreachable)
                on_progress(Progress(name, method, "unreachable" if gone else "ok"))

    def _work(
        self, name: str, site: str, release_id: str, observed: str, *, known: bool = False
    ) -> SiteOutcome:
        """Make `release_id` live, unless something stands in the way."""
        server = self.servers[name]
        if server.unreachable:
            return SiteOutcome(site, name, "unreachable", server.unreachable)
        live = server.sites[site].current if site in server.sites else ""
        if site in self._scripted:
            word, message = self._scripted.pop(site)
            return SiteOutcome(site, name, word, message, live, live)
        if live != observed:
            message = (
                f"the plan is stale: live is {live or 'none'}, the plan saw {observed or 'none'}"
            )
            return SiteOutcome(site, name, "failed", message, live, live)
        state = server.sites.setdefault(site, SimulatedSite())
        if known and release_id not in state.releases:
            return SiteOutcome(
                site, name, "failed", f"there is no release {release_id}", live, live
            )
        state.current = release_id
        return SiteOutcome(site, name, "changed", "", release_id, live, 0.1)
