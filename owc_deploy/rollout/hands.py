"""Carrying out what a rollout decided, on real servers: look, intend, act, write down.

The servers are looked at before anything is done to them, each time anew. That is also how a
rollout goes on after its controller was killed: a site that is live on a release which the rollout
meant to make is changed, whoever saw it happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.errors import OwcError, SecretError
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.execution.ports import Executor, ProgressCallback, ReleaseRequest, RollbackRequest
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.models import ObservedServer, OutcomeWord, Plan, SiteOutcome, SitePlan
from owc_deploy.rollout.apply import RELEASING, in_words, sent, versions_of
from owc_deploy.rollout.models import NewEvent, RolloutSite
from owc_deploy.rollout.observe import observe
from owc_deploy.rollout.ports import Claims, Journal, Record, Tell
from owc_deploy.rollout.rings import is_as_started
from owc_deploy.rollout.secrets import site_secrets, supplied_chains
from owc_deploy.rollout.standing import GOOD, SiteStanding, Standing
from owc_deploy.rollout.takeover import take_sites_over


@dataclass(frozen=True)
class ServerHands:
    """Implements `Hands`: one look and one call for each server, whatever the number of sites."""

    fleet: Fleet
    catalogue: Catalogue
    executor: Executor
    journal: Journal
    claims: Claims
    record: Record
    clock: Callable[[], datetime]
    tell: Tell = lambda _: None
    on_progress: ProgressCallback | None = None

    def change(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        """See `Hands.change`."""
        ours = self._taken(sites, "site-ended")
        try:
            if ours:
                self._change(standing, ring, ours)
        finally:
            self.claims.give_back(site.site for site in ours)

    def undo(self, standing: Standing, sites: Sequence[RolloutSite]) -> None:
        """See `Hands.undo`."""
        ours = self._taken(sites, "undo-ended")
        try:
            if ours:
                self._undo(standing, ours)
        finally:
            self.claims.give_back(site.site for site in ours)

    def check(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        """See `Hands.check`."""
        observed = self._look(sites)
        problems = {
            site.site: asdict(problem)
            for site in sites
            if (problem := problem_of(site, standing.sites[site.site], observed[site.server]))
        }
        body = {"ring": ring, "problems": problems}
        self.journal.append(NewEvent("ring-checked", body=body))
        for name, found in problems.items():
            self.tell(f"{name}: {found['outcome']}: {found['message']}")

    def _taken(self, sites: Sequence[RolloutSite], kind: Any) -> tuple[RolloutSite, ...]:
        """Take the sites that are free; write down of the others who has them."""
        held = self.claims.take(site.site for site in sites)
        busy = [
            SiteOutcome(s.site, s.server, "busy", held[s.site]) for s in sites if s.site in held
        ]
        self._note(kind, busy)
        return tuple(site for site in sites if site.site not in held)

    def _take_over(self, standing: Standing, sites: Iterable[RolloutSite]) -> None:
        """Announce ourselves where somebody was cut off, so that what they began is undone."""
        unknown = {
            site.site: site.server
            for site in sites
            if standing.sites[site.site].is_unknown and site.server in self.fleet.servers
        }
        if unknown:
            take_sites_over(
                self.executor,
                unknown,
                fences=self.claims.fences(),
                narrate=self.tell,
                on_progress=self.on_progress,
            )

    def _look(self, sites: Iterable[RolloutSite]) -> Mapping[str, ObservedServer]:
        names = sorted({site.server for site in sites})
        servers = tuple(self.fleet.servers[name] for name in names if name in self.fleet.servers)
        gone = [name for name in names if name not in self.fleet.servers]
        seen = observe(self.executor, servers, hold=True, on_progress=self.on_progress)
        words = "servers.yml does not name it any more"
        return {**seen, **{name: ObservedServer(name, unreachable=words) for name in gone}}

    def _change(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        words = "its manifest or lock is not the one the rollout was started with any more"
        moved = [site for site in sites if not is_as_started(self.fleet, site)]
        self._note(
            "site-ended", (SiteOutcome(s.site, s.server, "not-attempted", words) for s in moved)
        )
        sites = [site for site in sites if site not in moved]
        if not sites:
            return
        self._take_over(standing, sites)
        observed = self._look(sites)
        plan = self._plan(observed, sites)
        places = {site.site: site for site in sites}
        plans = {site.site: site for site in plan.sites}
        ended = [
            outcome
            for name, site in places.items()
            if (outcome := standing_outcome(plan, plans[name], site, standing))
        ]
        self._note("site-ended", ended)
        settled = {outcome.site for outcome in ended}
        orders, refused = self._orders([plans[name] for name in places if name not in settled])
        self._note("site-ended", refused)
        if not orders:
            return
        self._intend(orders, standing)
        run_id = self.record.begin([places[order["site"]] for order in orders], ring)
        outcomes = self._released(plan, orders)
        known = [self._with_versions(self._as_seen(outcome, orders)) for outcome in outcomes]
        self._note("site-ended", known)
        self.record.end(run_id, known)

    def _plan(self, observed: Mapping[str, ObservedServer], sites: Iterable[RolloutSite]) -> Plan:
        return make_plan(
            self.fleet,
            self.catalogue,
            observed,
            {name: provision_fingerprint(self.fleet.servers[name]) for name in observed},
            Wishes(frozenset(site.site for site in sites)),
            supplied_chains(self.fleet),
            self.clock(),
        )

    def _orders(self, plans: Iterable[SitePlan]) -> tuple[list[dict[str, Any]], list[SiteOutcome]]:
        """Return what is to be sent for each site, and the outcomes of those that lack a secret."""
        now = self.clock()
        orders, refused = [], []
        for plan in plans:
            try:
                secrets = site_secrets(self.fleet, plan.site, now) if plan.new_certificate else ()
            except SecretError as error:
                refused.append(_outcome(plan, "not-attempted", in_words(error)))
                continue
            orders.append(
                {
                    "site": plan.site,
                    "server": plan.server,
                    "sent": sent(plan, now),
                    "secrets": tuple(secrets),
                }
            )
        return orders, refused

    def _intend(self, orders: Iterable[Mapping[str, Any]], standing: Standing) -> None:
        fences = self.claims.fences()
        self.journal.append(
            *(
                NewEvent(
                    "site-intended",
                    order["site"],
                    {
                        "server": order["server"],
                        "release_id": order["sent"]["release_id"],
                        "observed_release": order["sent"]["observed_release"],
                        "attempt": standing.sites[order["site"]].attempts + 1,
                        "fencing_token": fences[order["site"]].token,
                    },
                )
                for order in orders
            )
        )

    def _released(self, plan: Plan, orders: Sequence[Mapping[str, Any]]) -> tuple[SiteOutcome, ...]:
        lacking = {server.server: server.artefacts for server in plan.servers}
        requests = {}
        for server in dict.fromkeys(order["server"] for order in orders):
            here = [order for order in orders if order["server"] == server]
            requests[server] = ReleaseRequest(
                specifications=tuple(order["sent"] for order in here),
                parallel=len(here),
                artefacts=lacking[server],
                secrets=tuple(secret for order in here for secret in order["secrets"]),
            )
        try:
            return self.executor.release(
                requests, fences=self.claims.fences(), on_progress=self.on_progress
            )
        except OwcError as error:
            return tuple(
                SiteOutcome(order["site"], order["server"], "inconclusive", in_words(error))
                for order in orders
            )

    def _as_seen(self, outcome: SiteOutcome, orders: Iterable[Mapping[str, Any]]) -> SiteOutcome:
        """Return `busy` for a site that was changed by others between the look and the act."""
        seen = next(o["sent"]["observed_release"] for o in orders if o["site"] == outcome.site)
        was = outcome.previous_release_id
        if outcome.outcome in {"failed", "rolled-back"} and was and was != seen:
            return replace(
                outcome, outcome="busy", message=f"it changed meanwhile: {outcome.message}"
            )
        return outcome

    def _with_versions(self, outcome: SiteOutcome) -> SiteOutcome:
        if outcome.outcome not in GOOD:
            return outcome
        versions = versions_of(self.fleet.locks[outcome.site])
        return replace(outcome, details={**outcome.details, "versions": versions})

    def _undo(self, standing: Standing, sites: Sequence[RolloutSite]) -> None:
        self._take_over(standing, sites)
        observed = self._look(sites)
        ended: list[SiteOutcome] = []
        requests: dict[str, tuple[RollbackRequest, ...]] = {}
        for site in sites:
            way = way_back(site, standing.sites[site.site], observed[site.server])
            if isinstance(way, SiteOutcome):
                ended.append(way)
            else:
                requests[site.server] = (*requests.get(site.server, ()), way)
        self._note("undo-ended", ended)
        if not requests:
            return
        places = [s for s in sites if any(r.site == s.site for r in requests.get(s.server, ()))]
        self.journal.append(
            *(
                NewEvent(
                    "undo-intended",
                    request.site,
                    {"from_release": request.observed_release, "to_release": request.release_id},
                )
                for asked in requests.values()
                for request in asked
            )
        )
        run_id = self.record.begin(places, "")
        try:
            outcomes = self.executor.rollback(
                requests, fences=self.claims.fences(), on_progress=self.on_progress
            )
        except OwcError as error:
            words = in_words(error)
            outcomes = tuple(SiteOutcome(s.site, s.server, "inconclusive", words) for s in places)
        self._note("undo-ended", outcomes)
        self.record.end(run_id, outcomes)

    def _note(self, kind: Any, outcomes: Iterable[SiteOutcome]) -> None:
        outcomes = tuple(outcomes)
        if not outcomes:
            return
        self.journal.append(
            *(
                NewEvent(
                    kind,
                    outcome.site,
                    {
                        "outcome": outcome.outcome,
                        "message": outcome.message,
                        "release_id": outcome.release_id,
                        "previous_release_id": outcome.previous_release_id,
                        "seconds": outcome.seconds,
                    },
                )
                for outcome in outcomes
            )
        )
        for outcome in outcomes:
            words = f": {outcome.message}" if outcome.message else ""
            doing = "undone" if kind == "undo-ended" else outcome.outcome
            self.tell(f"{outcome.site} ({outcome.server}): {doing}{words}")


def standing_outcome(
    plan: Plan, site_plan: SitePlan, site: RolloutSite, standing: Standing
) -> SiteOutcome | None:
    """Return how it ended for a site to which nothing is done, `None` when something is."""
    server = next(each for each in plan.servers if each.server == site.server)
    live = site_plan.observed_release
    if server.action == "unreachable":
        return SiteOutcome(site.site, site.server, "unreachable", server.reason)
    if site_plan.action == "none":
        state = standing.sites[site.site]
        if live in state.release_ids:
            words = "seen on the server: it was changed before the controller was cut off"
            return replace(_outcome(site_plan, "changed", words), previous_release_id=state.before)
        return _outcome(site_plan, "ok", "")
    if site_plan.action not in RELEASING:
        return _outcome(site_plan, "not-attempted", site_plan.reason)
    if server.action == "provision":
        words = f"{site.server} is to be prepared first; next: owc-deploy provision {site.server}"
        return _outcome(site_plan, "not-attempted", words)
    return None


def problem_of(
    site: RolloutSite, state: SiteStanding, server: ObservedServer
) -> SiteOutcome | None:
    """Return what is wrong with a site after its soak, `None` when nothing is."""
    if server.unreachable:
        return SiteOutcome(site.site, site.server, "unreachable", server.unreachable)
    seen = server.sites.get(site.site, {})
    live = str(seen.get("release_id", ""))
    wrong = ""
    if state.release_ids and state.outcome == "changed" and live not in state.release_ids:
        wrong = f"after the soak {live or 'nothing'} is live, not what the rollout made"
    elif seen.get("php_fpm") != "active":
        wrong = f"after the soak its PHP-FPM is {seen.get('php_fpm', 'gone')}"
    elif seen.get("drift"):
        wrong = f"after the soak it differs: {', '.join(str(d['what']) for d in seen['drift'])}"
    if not wrong:
        return None
    return SiteOutcome(site.site, site.server, "failed", wrong, live, live)


def way_back(
    site: RolloutSite, state: SiteStanding, server: ObservedServer
) -> RollbackRequest | SiteOutcome:
    """Return what brings a site back to what it was, or how it ended where that needs nothing."""
    if server.unreachable:
        return SiteOutcome(site.site, site.server, "unreachable", server.unreachable)
    seen = server.sites.get(site.site, {})
    live = str(seen.get("release_id", ""))
    if live == state.before:
        return SiteOutcome(site.site, site.server, "ok", "", live, live)
    if live not in state.release_ids:
        words = f"somebody made {live or 'nothing'} live since; it is left as it is"
        return SiteOutcome(site.site, site.server, "failed", words, live, live)
    return RollbackRequest(site.site, state.before, live)


def _outcome(plan: SitePlan, word: OutcomeWord, message: str) -> SiteOutcome:
    live = plan.observed_release
    return SiteOutcome(plan.site, plan.server, word, message, live, live)
