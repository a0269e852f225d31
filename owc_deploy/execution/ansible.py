"""The real way to the servers: orders through the door, every answer as outcomes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

from owc_deploy.catalogue.at_hand import fetch_artefacts
from owc_deploy.errors import ExecutionError
from owc_deploy.execution.artefacts import packed
from owc_deploy.execution.door import MAXIMUM_SERVERS, Answer, Channel, Door
from owc_deploy.execution.events import ServerResult
from owc_deploy.execution.jobs import decommission_job, release_job, rollback_job
from owc_deploy.execution.ports import (
    DecommissionRequest,
    Fences,
    ProgressCallback,
    ReleaseRequest,
    RollbackRequest,
    ServerOutcome,
    SiteSecret,
    SiteStanding,
)
from owc_deploy.execution.preflight import Reachability, diagnose_all
from owc_deploy.execution.runner import PlaybookRequest, run_playbook
from owc_deploy.fleet.models import Fleet, Server
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.plan.models import Fence, ObservedServer, OutcomeWord, SiteOutcome

_SiteRequest = TypeVar("_SiteRequest", RollbackRequest, DecommissionRequest)
_Answered = TypeVar("_Answered")

_PROBE_SECONDS = 300.0
_SEND_SECONDS = 1800.0
_RELEASE_SECONDS = 3600.0
_PROVISION_SECONDS = 3600.0
_PARALLEL = 2
_OUTCOME_WORDS = frozenset(get_args(OutcomeWord))


class AnsibleExecutor:
    """Implements the `Executor` port for the servers of one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._held: Door | None = None
        self._holding = contextlib.ExitStack()

    def probe(
        self,
        servers: tuple[Server, ...],
        *,
        hold: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[ObservedServer, ...]:
        """See `Executor.probe`."""
        answers = self._each(
            {server.name: _probe for server in servers}, on_progress=on_progress, hold=hold
        )
        reasons = self._reasons(answers.values())
        return tuple(
            _observed(answers[server.name], reasons.get(server.name, "")) for server in servers
        )

    def provision(
        self, fingerprints: Mapping[str, str], *, on_progress: ProgressCallback | None = None
    ) -> tuple[ServerOutcome, ...]:
        """See `Executor.provision`."""
        # What is prepared now, sshd among it, may not be what an open door came in by.
        self.close()
        request = self._request(
            "provision",
            self._servers(fingerprints),
            variables_per_server={
                server: {"owc_provision_fingerprint": fingerprint}
                for server, fingerprint in fingerprints.items()
            },
        )
        result = run_playbook(request, on_progress=on_progress)
        unreachable = [n for n, answer in result.servers.items() if answer.status == "unreachable"]
        found = diagnose_all(self._servers(unreachable))
        return tuple(
            ServerOutcome(name, answer.status, _provision_words(answer, found), answer.seconds)
            for name, answer in result.servers.items()
        )

    def fence(
        self,
        requests: Mapping[str, Sequence[str]],
        *,
        fences: Fences,
        insist: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteStanding, ...]:
        """See `Executor.fence`."""
        work = {server: _fence(sites, fences, insist) for server, sites in requests.items()}
        answers = self._each(work, on_progress=on_progress)
        reasons = self._reasons(answers.values())
        return tuple(
            standing
            for server, sites in requests.items()
            for standing in site_standings(answers[server], sites, reasons.get(server, ""))
        )

    def release(
        self,
        requests: Mapping[str, ReleaseRequest],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.release`."""
        wanted = {server: request.artefacts for server, request in requests.items()}
        settings = self._fleet.settings
        fetch_artefacts(settings, {sha256 for hashes in wanted.values() for sha256 in hashes})
        with packed(settings.catalogue, wanted) as tars:
            work = {
                server: _release(request, tars[server], fences)
                for server, request in requests.items()
            }
            answers = self._each(work, on_progress=on_progress)
        return self._outcomes(answers, {server: r.sites for server, r in requests.items()})

    def rollback(
        self,
        requests: Mapping[str, tuple[RollbackRequest, ...]],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.rollback`."""
        now = datetime.now(UTC)
        manifests = self._fleet.manifests
        return self._site_work(
            requests,
            lambda request: rollback_job(
                request,
                manifests.get(request.site),
                None if request.preview else fences[request.site],
                now,
            ),
            on_progress,
        )

    def decommission(
        self,
        requests: Mapping[str, tuple[DecommissionRequest, ...]],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.decommission`."""
        now = datetime.now(UTC)
        return self._site_work(
            requests,
            lambda request: decommission_job(request, fences[request.site], now),
            on_progress,
        )

    def mitigate(
        self,
        requests: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """See `Executor.mitigate`."""
        work = {server: _mitigate(sites, fences) for server, sites in requests.items()}
        answers = self._each(work, on_progress=on_progress)
        return self._outcomes(answers, {server: tuple(sites) for server, sites in requests.items()})

    def logs(self, server: str, site: str, *, lines: int) -> tuple[str, ...]:
        """See `Executor.logs`."""
        answer = self._ask(server, "logs", "Read the site's log", site=site, lines=lines)
        return tuple(str(line) for line in answer["lines"])

    def access(self, server: str, site: str, login: str) -> Sensitive:
        """See `Executor.access`."""
        what = "Make a link for the administrator"
        answer = self._ask(server, "access", what, site=site, login=login)
        return Sensitive(str(answer["link"]))

    def use(self, fleet: Fleet) -> None:
        """See `Executor.use`."""
        self.close()
        self._fleet = fleet

    def close(self) -> None:
        """See `Executor.close`."""
        self._held = None
        self._holding.close()

    def _ask(self, server: str, ask: str, what: str, **arguments: Any) -> Mapping[str, Any]:
        """Ask one server's agent and return what it answered."""

        def work(channel: Channel) -> Answer:
            return channel.agent(ask, arguments, what=what, seconds=_PROBE_SECONDS)

        answer = self._each({server: work})[server]
        if answer.status != "ok":
            reason = self._reasons([answer])[server]
            raise ExecutionError(f"{server}: {reason}", hint="owc-deploy status")
        return answer.result

    def _site_work(
        self,
        requests: Mapping[str, tuple[_SiteRequest, ...]],
        as_job: Callable[[_SiteRequest], dict[str, Any]],
        on_progress: ProgressCallback | None,
    ) -> tuple[SiteOutcome, ...]:
        work = {
            server: _transactions([as_job(request) for request in asked], _PARALLEL)
            for server, asked in requests.items()
        }
        answers = self._each(work, on_progress=on_progress)
        sites = {server: tuple(r.site for r in asked) for server, asked in requests.items()}
        return self._outcomes(answers, sites)

    def _each(
        self,
        work: Mapping[str, Callable[[Channel], _Answered]],
        *,
        on_progress: ProgressCallback | None = None,
        hold: bool = False,
    ) -> dict[str, _Answered]:
        """Do each server's work, through the door that is held when it leads there."""
        done: dict[str, _Answered] = {}
        every = tuple(work)
        for start in range(0, len(every), MAXIMUM_SERVERS):
            names = every[start : start + MAXIMUM_SERVERS]
            some = {name: work[name] for name in names}
            with self._door(self._servers(names), hold=hold and len(names) == len(work)) as door:
                done.update(door.each(some, on_progress))
        return done

    @contextlib.contextmanager
    def _door(self, servers: tuple[Server, ...], *, hold: bool) -> Iterator[Door]:
        if self._held is not None and self._held.covers(servers):
            yield self._held
            return
        door = Door(self._request("door", servers))
        if hold:
            self.close()
            self._held = self._holding.enter_context(door)
            yield door
        else:
            with door:
                yield door

    def _servers(self, names: Iterable[str]) -> tuple[Server, ...]:
        return tuple(self._fleet.servers[name] for name in names)

    def _request(
        self,
        playbook: str,
        servers: tuple[Server, ...],
        *,
        variables_per_server: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> PlaybookRequest:
        return PlaybookRequest(
            playbook=playbook,
            servers=servers,
            inventory=self._fleet.root / "servers.yml",
            variables_per_server=variables_per_server or {},
            vault_password_file=self._fleet.settings.vault_password_file,
            timeout_seconds=_PROVISION_SECONDS,
        )

    def _reasons(self, answers: Iterable[Answer]) -> dict[str, str]:
        """Say why each server is not `ok`, looking closer at those that were not reached."""
        wrong = [answer for answer in answers if answer.status != "ok"]
        unreachable = [answer.server for answer in wrong if answer.status == "unreachable"]
        found = diagnose_all(self._servers(unreachable))
        return {answer.server: _reason(answer.error, found.get(answer.server)) for answer in wrong}

    def _outcomes(
        self, answers: Mapping[str, Answer], sites: Mapping[str, Sequence[str]]
    ) -> tuple[SiteOutcome, ...]:
        reasons = self._reasons(answers.values())
        return tuple(
            outcome
            for server, asked in sites.items()
            for outcome in site_outcomes(answers[server], asked, reasons.get(server, ""))
        )


def _probe(channel: Channel) -> Answer:
    return channel.agent("probe", {"known": {}}, what="Observe the server", seconds=_PROBE_SECONDS)


def _fence(sites: Sequence[str], fences: Fences, insist: bool) -> Callable[[Channel], Answer]:
    items = [{"site": site, "fence": asdict(fences[site]), "insist": insist} for site in sites]
    return lambda channel: channel.agent(
        "fences", {"sites": items}, what="Take sites over", seconds=_PROBE_SECONDS
    )


def _release(
    request: ReleaseRequest, tar: Path | None, fences: Fences
) -> Callable[[Channel], Answer]:
    """Return the work of a release: artefacts, private keys, transactions, in this order."""

    def work(channel: Channel) -> Answer:
        sent = _send(channel, tar)
        if sent is not None and sent.status != "ok":
            return sent
        placed = _place(channel, request.secrets, fences)
        if placed is not None and placed.status != "ok":
            return placed
        jobs = [release_job(sent, fences[sent["site"]]) for sent in request.specifications]
        return _transactions(jobs, request.parallel)(channel)

    return work


def _mitigate(
    sites: Mapping[str, Sequence[Mapping[str, Any]]], fences: Fences
) -> Callable[[Channel], Answer]:
    wanted = [
        {"site": site, "rules": [dict(rule) for rule in rules], "fence": asdict(fences[site])}
        for site, rules in sites.items()
    ]
    return lambda channel: channel.agent(
        "mitigations", {"sites": wanted}, what="Close routes", seconds=_PROBE_SECONDS
    )


def _send(channel: Channel, tar: Path | None) -> Answer | None:
    if tar is None:
        return None
    order = {"do": "artefacts", "bundle": str(tar)}
    return _not_begun(channel.order(order, what="Send artefacts", seconds=_SEND_SECONDS))


def _place(channel: Channel, secrets: tuple[SiteSecret, ...], fences: Fences) -> Answer | None:
    if not secrets:
        return None
    items = [
        {
            "site": secret.site,
            "path": secret.path,
            "content": secret.content.reveal(),
            "fence": asdict(fences[secret.site]),
        }
        for secret in secrets
    ]
    placed = channel.agent(
        "secrets", {"items": items}, what="Place private keys", seconds=_SEND_SECONDS
    )
    return _not_begun(placed)


def _transactions(jobs: list[dict[str, Any]], parallel: int) -> Callable[[Channel], Answer]:
    order = {"do": "transactions", "jobs": jobs, "parallel": parallel}
    return lambda channel: channel.order(order, what="Change the sites", seconds=_RELEASE_SECONDS)


def _not_begun(answer: Answer) -> Answer:
    """Return an answer of what comes before any site is touched."""
    return replace(answer, began=False)


def _provision_words(answer: ServerResult, found: Mapping[str, Reachability]) -> str:
    return "" if answer.status == "ok" else _reason(answer.error, found.get(answer.server))


def _reason(error: str, found: Reachability | None) -> str:
    if found is None or found.is_reachable:
        return error
    return f"{found.message} (next: {found.hint})" if found.hint else found.message


def _observed(answer: Answer, reason: str) -> ObservedServer:
    observed = answer.result.get("observed")
    if not isinstance(observed, Mapping):
        return ObservedServer(answer.server, unreachable=reason or "the probe answered nothing")
    return ObservedServer(
        server=answer.server,
        provisioned=str(observed.get("provisioned", "")),
        store=frozenset(observed.get("store", ())),
        sites=dict(observed.get("sites", {})),
        facts=dict(observed.get("facts", {})),
    )


def site_standings(answer: Answer, sites: Sequence[str], reason: str) -> tuple[SiteStanding, ...]:
    """Return what is going on at every site that was asked for, whatever the server answered."""
    told = {
        str(item.get("site")): item
        for item in answer.result.get("sites", ())
        if isinstance(item, Mapping)
    }
    trouble = reason or "the server did not say what is going on"
    return tuple(
        _standing(answer.server, told[site])
        if site in told
        else SiteStanding(site, answer.server, trouble=trouble)
        for site in sites
    )


def _standing(server: str, item: Mapping[str, Any]) -> SiteStanding:
    newer = item.get("newer")
    return SiteStanding(
        site=str(item["site"]),
        server=server,
        transaction_id=str(item.get("transaction_id", "")),
        provisional=bool(item.get("provisional")),
        newer=Fence(str(newer["store"]), int(newer["token"]), str(newer["owner"]))
        if isinstance(newer, Mapping)
        else None,
        trouble=str(item.get("trouble", "")),
    )


def site_outcomes(answer: Answer, sites: Sequence[str], reason: str) -> tuple[SiteOutcome, ...]:
    """Return an outcome for every site that was asked for, whatever the server answered.

    A site that the server reported has its own words. For the others: `unreachable` when the work
    cannot have begun, `inconclusive` when it may be going on still, `failed` otherwise.
    """
    told = {
        str(item.get("site")): item
        for item in answer.result.get("outcomes", ())
        if isinstance(item, Mapping)
    }
    word, why = _word_for_silence(answer, reason)
    return tuple(
        _told(answer.server, told[site])
        if site in told
        else SiteOutcome(site, answer.server, word, why)
        for site in sites
    )


def _word_for_silence(answer: Answer, reason: str) -> tuple[OutcomeWord, str]:
    if answer.status == "ok":
        return "inconclusive", "the server did not say how it ended"
    if answer.status == "unreachable":
        return ("inconclusive" if answer.began else "unreachable"), reason
    if answer.timed_out:
        return "inconclusive", reason
    return "failed", reason if answer.began else f"nothing was changed: {reason}"


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
