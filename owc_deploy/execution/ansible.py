"""The real door to the servers: every request as one Ansible run, every answer as outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.artefacts import packed
from owc_deploy.execution.events import ServerResult
from owc_deploy.execution.ports import (
    DecommissionRequest,
    ProgressCallback,
    ReleaseRequest,
    RollbackRequest,
    ServerOutcome,
)
from owc_deploy.execution.preflight import Reachability, diagnose_all
from owc_deploy.execution.runner import PlaybookRequest, PlaybookResult, run_playbook
from owc_deploy.fleet.models import Fleet, Server
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.plan.models import ObservedServer, OutcomeWord, SiteOutcome

_SiteRequest = TypeVar("_SiteRequest", RollbackRequest, DecommissionRequest)

_PROBE_SECONDS = 300.0
_RELEASE_SECONDS = 3600.0
_PROVISION_SECONDS = 3600.0
_OUTCOME_WORDS = frozenset(get_args(OutcomeWord))
# What ssh says when a connection that was there went away: the server may be at work still.
_LOST = ("closed", "reset", "broken pipe", "not responding")


class AnsibleExecutor:
    """Implements the `Executor` port for the servers of one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def probe(
        self, servers: tuple[Server, ...], *, on_progress: ProgressCallback | None = None
    ) -> tuple[ObservedServer, ...]:
        """See `Executor.probe`."""
        result = self._run("probe", servers, timeout_seconds=_PROBE_SECONDS, progress=on_progress)
        reasons = self._reasons(result)
        return tuple(
            _observed(result.servers[server.name], reasons.get(server.name, ""))
            for server in servers
        )

    def provision(
        self, fingerprints: Mapping[str, str], *, on_progress: ProgressCallback | None = None
    ) -> tuple[ServerOutcome, ...]:
        """See `Executor.provision`."""
        result = self._run(
            "provision",
            self._servers(fingerprints),
            per_server={
                server: {"owc_provision_fingerprint": fingerprint}
                for server, fingerprint in fingerprints.items()
            },
            timeout_seconds=_PROVISION_SECONDS,
            progress=on_progress,
        )
        reasons = self._reasons(result)
        return tuple(
            ServerOutcome(name, answer.status, reasons.get(name, ""), answer.seconds)
            for name, answer in result.servers.items()
        )

    def release(
        self,
        requests: Mapping[str, ReleaseRequest],
        *,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.release`."""
        wanted = {server: request.artefacts for server, request in requests.items()}
        with packed(self._fleet.settings.catalogue, wanted) as tars:
            result = self._run(
                "release",
                self._servers(requests),
                per_server={
                    server: {
                        "owc_specifications": list(request.specifications),
                        "owc_parallel": request.parallel,
                        "owc_artefacts_source": str(tars[server] or ""),
                    }
                    for server, request in requests.items()
                },
                secrets={
                    server: {
                        "owc_secrets": [
                            {"site": secret.site, "path": secret.path, "content": secret.content}
                            for secret in request.secrets
                        ]
                    }
                    for server, request in requests.items()
                },
                timeout_seconds=_RELEASE_SECONDS,
                progress=on_progress,
            )
        sites = {server: request.sites for server, request in requests.items()}
        return self._outcomes(result, "owc_release", sites)

    def rollback(
        self,
        requests: Mapping[str, tuple[RollbackRequest, ...]],
        *,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.rollback`."""
        return self._site_work(
            "rollback",
            "owc_rollbacks",
            requests,
            lambda request: {
                "site": request.site,
                "release_id": request.release_id,
                "observed_release": request.observed_release,
                "restore_database": request.restore_database,
                "preview": request.preview,
            },
            on_progress,
        )

    def decommission(
        self,
        requests: Mapping[str, tuple[DecommissionRequest, ...]],
        *,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.decommission`."""
        return self._site_work(
            "decommission",
            "owc_decommissions",
            requests,
            lambda request: {"site": request.site, "observed_release": request.observed_release},
            on_progress,
        )

    def logs(self, server: str, site: str, *, lines: int) -> tuple[str, ...]:
        """See `Executor.logs`."""
        answer = self._ask("logs", server, {"owc_logs": {"site": site, "lines": lines}})
        return tuple(str(line) for line in answer["lines"])

    def access(self, server: str, site: str, login: str) -> Sensitive:
        """See `Executor.access`."""
        answer = self._ask("access", server, {"owc_access": {"site": site, "login": login}})
        return Sensitive(str(answer["link"]))

    def _ask(self, playbook: str, server: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run the one module of a playbook on one server and return what it answered."""
        result = self._run(
            playbook,
            self._servers((server,)),
            per_server={server: variables},
            timeout_seconds=_PROBE_SECONDS,
        )
        answer = result.servers[server]
        if answer.status != "ok":
            raise ExecutionError(
                f"{server}: {self._reasons(result)[server]}", hint="owc-deploy status"
            )
        return answer.results[f"owc_{playbook}"]

    def _site_work(
        self,
        playbook: str,
        variable: str,
        requests: Mapping[str, tuple[_SiteRequest, ...]],
        as_data: Callable[[_SiteRequest], dict[str, Any]],
        progress: ProgressCallback | None,
    ) -> tuple[SiteOutcome, ...]:
        result = self._run(
            playbook,
            self._servers(requests),
            per_server={
                server: {variable: [as_data(request) for request in asked]}
                for server, asked in requests.items()
            },
            timeout_seconds=_RELEASE_SECONDS,
            progress=progress,
        )
        sites = {
            server: tuple(request.site for request in asked) for server, asked in requests.items()
        }
        return self._outcomes(result, f"owc_{playbook}", sites)

    def _servers(self, names: Iterable[str]) -> tuple[Server, ...]:
        return tuple(self._fleet.servers[name] for name in names)

    def _run(
        self,
        playbook: str,
        servers: tuple[Server, ...],
        *,
        per_server: Mapping[str, Mapping[str, Any]] | None = None,
        secrets: Mapping[str, Mapping[str, Any]] | None = None,
        timeout_seconds: float,
        progress: ProgressCallback | None = None,
    ) -> PlaybookResult:
        request = PlaybookRequest(
            playbook=playbook,
            servers=servers,
            inventory=self._fleet.root / "servers.yml",
            variables_per_server=per_server or {},
            secrets_per_server=secrets or {},
            vault_password_file=self._fleet.settings.vault_password_file,
            timeout_seconds=timeout_seconds,
        )
        return run_playbook(request, on_progress=progress)

    def _reasons(self, result: PlaybookResult) -> dict[str, str]:
        """Say why each server is not `ok`, looking closer at those that were not reached."""
        unreachable = self._servers(
            name for name, answer in result.servers.items() if answer.status == "unreachable"
        )
        found = diagnose_all(unreachable)
        return {
            name: _reason(answer, found.get(name))
            for name, answer in result.servers.items()
            if answer.status != "ok"
        }

    def _outcomes(
        self, result: PlaybookResult, module: str, sites: Mapping[str, Sequence[str]]
    ) -> tuple[SiteOutcome, ...]:
        reasons = self._reasons(result)
        return tuple(
            outcome
            for server, asked in sites.items()
            for outcome in site_outcomes(
                result.servers[server], module, asked, reasons.get(server, "")
            )
        )


def _reason(answer: ServerResult, found: Reachability | None) -> str:
    if found is None or found.is_reachable:
        return answer.error
    return f"{found.message} (next: {found.hint})" if found.hint else found.message


def _observed(answer: ServerResult, reason: str) -> ObservedServer:
    observed = answer.results.get("owc_probe", {}).get("observed")
    if not isinstance(observed, Mapping):
        return ObservedServer(answer.server, unreachable=reason or "the probe answered nothing")
    return ObservedServer(
        server=answer.server,
        provisioned=str(observed.get("provisioned", "")),
        store=frozenset(observed.get("store", ())),
        sites=dict(observed.get("sites", {})),
        facts=dict(observed.get("facts", {})),
    )


def site_outcomes(
    answer: ServerResult, module: str, sites: Sequence[str], reason: str
) -> tuple[SiteOutcome, ...]:
    """Return an outcome for every site that was asked for, whatever the server answered.

    A site that the module reported has its own words. For the others: `unreachable` when the work
    cannot have begun, `inconclusive` when it may be going on still, `failed` otherwise.
    """
    told = {
        str(item.get("site")): item
        for item in answer.results.get(module, {}).get("outcomes", ())
        if isinstance(item, Mapping)
    }
    word, why = _word_for_silence(answer, module, reason)
    return tuple(
        _told(answer.server, told[site])
        if site in told
        else SiteOutcome(site, answer.server, word, why)
        for site in sites
    )


def _word_for_silence(answer: ServerResult, module: str, reason: str) -> tuple[OutcomeWord, str]:
    if answer.status == "ok":
        return "inconclusive", "the server did not say how it ended"
    began = any(
        task.module == module and task.state != "unreachable" for task in answer.tasks
    ) or any(word in answer.error.lower() for word in _LOST)
    if answer.status == "unreachable":
        return ("inconclusive" if began else "unreachable"), reason
    if answer.timed_out:
        return "inconclusive", reason
    return "failed", reason if began else f"nothing was changed: {reason}"


def _told(server: str, item: Mapping[str, Any]) -> SiteOutcome:
    word: Any = item.get("outcome")
    return SiteOutcome(
        site=str(item["site"]),
        server=server,
        outcome=word if word in _OUTCOME_WORDS else "inconclusive",
        message=str(item.get("message", "")),
        release_id=str(item.get("release_id", "")),
        previous_release_id=str(item.get("previous_release_id", "")),
        seconds=float(item.get("seconds", 0.0)),
        details=dict(item.get("details", {})),
    )
