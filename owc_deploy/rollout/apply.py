"""Applying a plan: servers first, then the sites ring by ring, each with its own outcome."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.errors import OwcError, PlanStaleError, SecretError
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.execution.jobs import new_transaction_id
from owc_deploy.execution.ports import (
    DecommissionRequest,
    Executor,
    Fences,
    ProgressCallback,
    ReleaseRequest,
    ServerOutcome,
    SiteSecret,
)
from owc_deploy.fleet.models import Fleet, Lock
from owc_deploy.plan.make import bindings
from owc_deploy.plan.models import OutcomeWord, Plan, SiteOutcome, SitePlan
from owc_deploy.rollout.secrets import site_secrets

RELEASING = frozenset({"create", "update", "repair"})
CHANGING = RELEASING | {"decommission"}
PARALLEL = 2
GOOD = frozenset({"ok", "changed"})


@dataclass(frozen=True, slots=True)
class Applied:
    """How applying a plan ended: every planned site that is not held has exactly one outcome."""

    servers: tuple[ServerOutcome, ...]
    outcomes: tuple[SiteOutcome, ...]

    @property
    def succeeded(self) -> bool:
        """Whether everything that was planned is as planned."""
        return all(outcome.outcome in GOOD for outcome in self.outcomes) and all(
            server.status == "ok" for server in self.servers
        )


def check_plan(fleet: Fleet, catalogue: Catalogue, plan: Plan) -> None:
    """Raise PlanStaleError when a document that the plan was made from has changed since."""
    now = bindings(fleet, catalogue, plan.sites)
    then = {
        name: value for name, value in plan.bound_to.items() if not name.startswith("observed/")
    }
    moved = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
    if moved:
        raise _stale(moved, f"the plan is of {plan.created_at}")


def check_seen(seen: Mapping[str, str], plan: Plan, sites: Collection[str]) -> None:
    """Raise PlanStaleError when one of `sites` is not live any more as a saved plan saw it.

    `seen` is what that one was made from, empty for none.
    """
    now = plan.bound_to
    looked_at = [f"observed/{site.server}/{site.site}" for site in plan.sites if site.site in sites]
    moved = [name for name in looked_at if seen.get(name) != now.get(name)] if seen else []
    if moved:
        raise _stale(sorted(moved), "what would be done now is not what was reviewed")


def _stale(moved: Iterable[str], context: str) -> PlanStaleError:
    return PlanStaleError(
        f"{', '.join(moved)} changed since the plan was made",
        context=context,
        hint="owc-deploy plan",
    )


def apply_plan(
    fleet: Fleet,
    executor: Executor,
    plan: Plan,
    record: Callable[[SiteOutcome], None],
    clock: Callable[[], datetime],
    *,
    fences: Fences,
    on_progress: ProgressCallback | None = None,
) -> Applied:
    """Do what the plan says and return how it ended, for every planned site.

    `fences` has that of every site that something is done to. `record` is told each outcome as it
    comes in. What goes wrong on one server or site is an outcome and leaves the others alone: a
    site whose certificate cannot be supplied is not attempted, which is known before anything is
    touched. Where a whole ring could not be carried out its sites are inconclusive, and the rings
    after it are not begun.
    """
    private, refused = _private(fleet, plan, clock())
    servers = _provision(fleet, executor, plan, on_progress)
    broken = {server.server: server.message for server in servers if server.status != "ok"}
    outcomes: list[SiteOutcome] = []
    warned = {site.site: list(site.warnings) for site in plan.sites if site.warnings}
    staying = {site.site for site in plan.sites if site.action != "decommission"} & {*fleet.locks}

    def note(new: Iterable[SiteOutcome]) -> None:
        for told in new:
            # Kept with the outcome, so that the history tells what was known when it was done.
            more: dict[str, Any] = {"warnings": warned[told.site]} if told.site in warned else {}
            if told.outcome in GOOD and told.site in staying:
                more["versions"] = versions_of(fleet.locks[told.site])
            outcome = replace(told, details={**told.details, **more})
            outcomes.append(outcome)
            record(outcome)

    planned = [site for site in plan.sites if site.action != "held"]
    obstacles = _obstacles(planned, broken, refused)
    unreachable = {server.server for server in plan.servers if server.action == "unreachable"}
    ready = [site for site in planned if site.action in CHANGING and site.site not in obstacles]
    note(_standing(site, obstacles, unreachable) for site in planned if site not in ready)
    unsent = {server.server: server.artefacts for server in plan.servers}

    def carry_out(sites: Sequence[SitePlan]) -> tuple[SiteOutcome, ...]:
        if sites[0].action == "decommission":
            leaving = _decommission_requests(sites)
            return executor.decommission(leaving, fences=fences, on_progress=on_progress)
        requests = _release_requests(unsent, sites, private, clock())
        return executor.release(requests, fences=fences, on_progress=on_progress)

    stopped = False
    for sites in _stages(ready):
        if stopped:
            note(_unknown(sites, "not-attempted", "an earlier ring could not be carried out"))
            continue
        try:
            new = carry_out(sites)
        except OwcError as error:
            stopped = True
            new = _unknown(sites, "inconclusive", in_words(error))
        note(new)
    order = {site.site: index for index, site in enumerate(plan.sites)}
    return Applied(servers, tuple(sorted(outcomes, key=lambda outcome: order[outcome.site])))


def versions_of(lock: Lock) -> dict[str, str]:
    """Return what is live when a plan made from this lock was carried out."""
    return {artefact.name: artefact.version for artefact in lock.artefacts}


def _private(
    fleet: Fleet, plan: Plan, now: datetime
) -> tuple[tuple[SiteSecret, ...], dict[str, str]]:
    """Return the secrets of every site that needs new ones, and why a site cannot have its own."""
    private: list[SiteSecret] = []
    refused: dict[str, str] = {}
    for site in plan.sites:
        if site.action in RELEASING and site.new_certificate:
            try:
                private += site_secrets(fleet, site.site, now)
            except SecretError as error:
                refused[site.site] = in_words(error)
    return tuple(private), refused


def _provision(
    fleet: Fleet, executor: Executor, plan: Plan, on_progress: ProgressCallback | None
) -> tuple[ServerOutcome, ...]:
    needed = {
        server.server: provision_fingerprint(fleet.servers[server.server])
        for server in plan.servers
        if server.action == "provision"
    }
    if not needed:
        return ()
    try:
        return executor.provision(needed, on_progress=on_progress)
    except OwcError as error:
        return tuple(ServerOutcome(name, "failed", in_words(error)) for name in needed)


def _obstacles(
    sites: Iterable[SitePlan], broken: Mapping[str, str], refused: Mapping[str, str]
) -> dict[str, str]:
    """Return why a site to which something should be done is left alone after all."""
    obstacles = {}
    for site in sites:
        if site.action in CHANGING and site.server in broken:
            why = f"{site.server} could not be prepared: {broken[site.server]}"
            obstacles[site.site] = why
        elif site.site in refused:
            obstacles[site.site] = refused[site.site]
    return obstacles


def _stages(ready: Sequence[SitePlan]) -> list[list[SitePlan]]:
    """Return what is done side by side, in order: ring after ring, then what leaves the air."""
    rings = dict.fromkeys(site.ring for site in ready if site.action in RELEASING)
    stages = [
        [site for site in ready if site.ring == ring and site.action in RELEASING] for ring in rings
    ]
    leaving = [site for site in ready if site.action == "decommission"]
    return [*stages, leaving] if leaving else stages


def _standing(site: SitePlan, obstacles: Mapping[str, str], unreachable: set[str]) -> SiteOutcome:
    """Return the outcome of a site to which nothing is done."""
    live = site.observed_release
    if site.action == "none":
        return SiteOutcome(site.site, site.server, "ok", release_id=live, previous_release_id=live)
    word: OutcomeWord = "unreachable" if site.server in unreachable else "not-attempted"
    message = obstacles.get(site.site, site.reason)
    return SiteOutcome(site.site, site.server, word, message, live, live)


def _unknown(sites: Iterable[SitePlan], word: OutcomeWord, message: str) -> tuple[SiteOutcome, ...]:
    """Return the same outcome for sites of which nothing new is known."""
    return tuple(
        SiteOutcome(
            site.site, site.server, word, message, site.observed_release, site.observed_release
        )
        for site in sites
    )


def in_words(error: OwcError) -> str:
    """Return an error as the message of an outcome."""
    return f"{error.message} ({error.context})" if error.context else error.message


def _release_requests(
    unsent: dict[str, tuple[str, ...]],
    sites: Sequence[SitePlan],
    private: tuple[SiteSecret, ...],
    now: datetime,
) -> dict[str, ReleaseRequest]:
    """Return one request for each server; what a server lacks is sent once, then taken out."""
    requests = {}
    for server in dict.fromkeys(site.server for site in sites):
        here = [site for site in sites if site.server == server]
        requests[server] = ReleaseRequest(
            specifications=tuple(sent(site, now) for site in here),
            parallel=PARALLEL,
            artefacts=unsent.pop(server, ()),
            secrets=tuple(item for item in private if item.site in {site.site for site in here}),
        )
    return requests


def sent(site: SitePlan, now: datetime) -> dict[str, Any]:
    """Return what one site's server receives: the specification, and what stands beside it."""
    return {
        **(site.specification or {}),
        "release_id": new_transaction_id(now),
        "observed_release": site.observed_release,
        "migrations": [
            {**asdict(migration), "commands": [list(command) for command in migration.commands]}
            for migration in site.migrations
        ],
        "renamed": [dict(item) for item in site.renamed],
        "post_steps": [list(command) for command in site.post_steps],
        "mitigations": [dict(item) for item in site.mitigations],
    }


def _decommission_requests(
    sites: Sequence[SitePlan],
) -> dict[str, tuple[DecommissionRequest, ...]]:
    requests: dict[str, tuple[DecommissionRequest, ...]] = {}
    for site in sites:
        request = DecommissionRequest(site.site, site.observed_release)
        requests[site.server] = (*requests.get(site.server, ()), request)
    return requests


def applied_document(applied: Applied, plan_id: str) -> dict[str, Any]:
    """Return how it ended as a JSON document."""
    return {
        "schema_version": 1,
        "plan_id": plan_id,
        "succeeded": applied.succeeded,
        "servers": [asdict(server) for server in applied.servers],
        "outcomes": [asdict(outcome) for outcome in applied.outcomes],
    }
