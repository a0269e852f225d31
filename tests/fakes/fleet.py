"""An in-memory fleet of servers that answers the `Executor` port, with scripted failures."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.jobs import BESIDE
from owc_deploy.execution.ports import (
    DecommissionRequest,
    Fences,
    Progress,
    ProgressCallback,
    ReleaseRequest,
    RollbackRequest,
    ServerOutcome,
    SiteStanding,
)
from owc_deploy.fleet.models import Fleet, Server
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
    fence: Fence | None = None
    mitigations_fence: Fence | None = None
    # What somebody has under way; it is over when its owner was overtaken and asked about once.
    transaction: str = ""
    provisional: bool = False

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
            "interrupted": bool(self.transaction),
            "transaction": self.transaction,
            "drift": copy.deepcopy(self.drift),
        }

    def overtaken(self, kind: Literal["fence", "mitigations_fence"], fence: Fence) -> str:
        """Keep whose it is; return words on whoever has taken it over since, `""` for nobody."""
        present: Fence | None = getattr(self, kind)
        if present and present.store == fence.store and present.token > fence.token:
            return f"a newer controller, {present.owner}, has taken this site over"
        setattr(self, kind, fence)
        return ""


@dataclass
class SimulatedServer:
    """One simulated server; set `unreachable` or `provision_error` to a reason to make it fail."""

    provisioned: str = ""
    store: set[str] = field(default_factory=set)
    sites: dict[str, SimulatedSite] = field(default_factory=dict)
    unreachable: str = ""
    provision_error: str = ""


def fences(*sites: str, token: int = 1, store: str = "store") -> Fences:
    """Return fences for the executor of a test; the same owner for all sites."""
    return {site: Fence(store, token, f"anna@controller:{token}") for site in sites}


class FleetSimulator:
    """Implements `Executor` without servers.

    `calls` lists what was asked for, `(method, server names)`, in order. `script(site, ...)` makes
    the next piece of work on a site end in a way of your choosing, leaving what is live alone.
    """

    def __init__(self, servers: Iterable[str | Server]) -> None:
        names = [item.name if isinstance(item, Server) else item for item in servers]
        self.servers = {name: SimulatedServer() for name in names}
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.ending: dict[str, str] = {}
        self._scripted: dict[str, tuple[OutcomeWord, str]] = {}

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

    def fence(
        self,
        requests: Mapping[str, Sequence[str]],
        *,
        fences: Fences,
        insist: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteStanding, ...]:
        """See `Executor.fence`; `ending` says what becomes live when something is ended by it."""
        self._note("fence", requests, on_progress)
        return tuple(
            self._taken_over(name, site, fences[site], insist=insist)
            for name, sites in requests.items()
            for site in sites
        )

    def _taken_over(self, name: str, site: str, fence: Fence, *, insist: bool) -> SiteStanding:
        if self.servers[name].unreachable:
            return SiteStanding(site, name, trouble=self.servers[name].unreachable)
        state = self.servers[name].sites.setdefault(site, SimulatedSite())
        standing = SiteStanding(site, name, state.transaction, state.provisional)
        present = state.fence
        elsewhere = present is not None and present.store != fence.store
        if (elsewhere and state.transaction and not insist) or state.overtaken("fence", fence):
            return replace(standing, newer=present)
        if state.transaction:
            state.current = self.ending.pop(site, state.current)
            state.transaction, state.provisional = "", False
        return standing

    def release(
        self,
        requests: Mapping[str, ReleaseRequest],
        *,
        fences: Fences,
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
                outcome = self._work(
                    name, site, beside["release_id"], beside["observed_release"], fences[site]
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
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.rollback`."""
        self._note("rollback", requests, on_progress)
        return tuple(
            self._go_back(name, request, fences)
            for name, asked in requests.items()
            for request in asked
        )

    def _go_back(self, name: str, request: RollbackRequest, fences: Fences) -> SiteOutcome:
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
            name,
            request.site,
            request.release_id,
            request.observed_release,
            fences[request.site],
            known=True,
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
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.mitigate`."""
        self._note("mitigate", requests, on_progress)
        return tuple(
            self._mitigated(server, site, rules, fences[site])
            for server, sites in requests.items()
            for site, rules in sites.items()
        )

    def _mitigated(
        self, server: str, site: str, rules: Sequence[Mapping[str, Any]], fence: Fence
    ) -> SiteOutcome:
        if self.servers[server].unreachable:
            return SiteOutcome(site, server, "unreachable", self.servers[server].unreachable)
        state = self.servers[server].sites.get(site, SimulatedSite())
        words = state.overtaken("mitigations_fence", fence)
        if words and state.mitigations_fence:
            details = {"newer": asdict(state.mitigations_fence)}
            return SiteOutcome(site, server, "busy", words, details=details)
        closed = [rule["identifier"] for rule in rules]
        return SiteOutcome(site, server, "changed", details={"closed": closed})

    def decommission(
        self,
        requests: Mapping[str, tuple[DecommissionRequest, ...]],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.decommission`."""
        self._note("decommission", requests, on_progress)
        outcomes: list[SiteOutcome] = []
        for name, asked in requests.items():
            for request in asked:
                live = request.observed_release
                outcome = self._work(name, request.site, live, live, fences[request.site])
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

    def use(self, fleet: Fleet) -> None:
        """See `Executor.use`."""

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
        self,
        name: str,
        site: str,
        release_id: str,
        observed: str,
        fence: Fence,
        *,
        known: bool = False,
    ) -> SiteOutcome:
        """Make `release_id` live, unless something stands in the way."""
        server = self.servers[name]
        if server.unreachable:
            return SiteOutcome(site, name, "unreachable", server.unreachable)
        present = server.sites.get(site, SimulatedSite())
        live = present.current
        if present.transaction:
            words = "another transaction is changing this site"
            return SiteOutcome(site, name, "busy", words, live, live)
        words = present.overtaken("fence", fence)
        if words:
            return SiteOutcome(site, name, "busy", words, live, live)
        if site in self._scripted:
            word, message = self._scripted.pop(site)
            return SiteOutcome(site, name, word, message, live, live)
        if live != observed:
            message = (
                f"the plan is stale: live is {live or 'none'}, the plan saw {observed or 'none'}"
            )
            return SiteOutcome(site, name, "failed", message, live, live)
        state = server.sites.setdefault(site, present)
        if known and release_id not in state.releases:
            return SiteOutcome(
                site, name, "failed", f"there is no release {release_id}", live, live
            )
        state.current = release_id
        return SiteOutcome(site, name, "changed", "", release_id, live, 0.1)
