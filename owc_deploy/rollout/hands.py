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
from owc_deploy.plan.models import ObservedServer, Plan, SiteOutcome, SitePlan
from owc_deploy.rollout.apply import in_words, sent, versions_of
from owc_deploy.rollout.looks import problem_of, unchanged, way_back, with_plan, without_plan
from owc_deploy.rollout.models import NewEvent, RolloutSite
from owc_deploy.rollout.observe import observe
from owc_deploy.rollout.ports import Claims, Journal, Record, Tell
from owc_deploy.rollout.secrets import site_secrets, supplied_chains
from owc_deploy.rollout.standing import GOOD, Standing
from owc_deploy.rollout.takeover import take_sites_over

GONE = "it is not in servers.yml any more"


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
        body = {"ring": ring, "sites": [site.site for site in sites], "problems": problems}
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
        known = tuple(self.fleet.servers[name] for name in names if name in self.fleet.servers)
        seen = observe(self.executor, known, hold=True, on_progress=self.on_progress)
        return {name: seen.get(name) or ObservedServer(name, GONE) for name in names}

    def _change(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        self._take_over(standing, sites)
        plan = self._left_to_change(standing, ring, sites)
        if plan is None:
            return
        orders, refused = self._orders(plan.sites)
        self._note("site-ended", refused)
        if not orders:
            return
        self._intend(orders, standing)
        wanted = {order["site"] for order in orders}
        run_id = self.record.begin([site for site in sites if site.site in wanted], ring)
        outcomes = self._released(plan, orders)
        known = [self._with_versions(self._as_seen(outcome, orders)) for outcome in outcomes]
        self.record.end(run_id, known)
        self._note("site-ended", known)

    def _left_to_change(
        self, standing: Standing, ring: str, sites: Sequence[RolloutSite]
    ) -> Plan | None:
        """Return the plan of the sites to be changed, `None` for none; note how others ended."""
        observed = self._look(sites)
        states = {site.site: standing.sites[site.site] for site in sites}
        outcomes = {
            site.site: without_plan(self.fleet, site, states[site.site], observed[site.server])
            for site in sites
        }
        names = frozenset(name for name, outcome in outcomes.items() if outcome is None)
        plan = self._plan(observed, names) if names else None
        if plan is not None:
            outcomes |= {site.site: with_plan(plan, site, states[site.site]) for site in plan.sites}
        ended = [outcome for outcome in outcomes.values() if outcome is not None]
        self._record_seen(ring, sites, ended, names)
        self._note("site-ended", ended)
        if plan is None:
            return None
        return replace(plan, sites=tuple(s for s in plan.sites if outcomes[s.site] is None))

    def _record_seen(
        self,
        ring: str,
        sites: Iterable[RolloutSite],
        ended: Iterable[SiteOutcome],
        planned: frozenset[str],
    ) -> None:
        """Let the history tell of changes whose controller could not.

        Of what is not `planned`, as its lock is another one by now, it cannot tell the versions.
        """
        seen = {
            each.site: self._with_versions(each) if each.site in planned else each
            for each in ended
            if each.outcome == "changed"
        }
        if seen:
            run_id = self.record.begin([site for site in sites if site.site in seen], ring)
            self.record.end(run_id, tuple(seen.values()))

    def _plan(self, observed: Mapping[str, ObservedServer], sites: frozenset[str]) -> Plan:
        servers = (self.fleet.servers[name] for name in observed if name in self.fleet.servers)
        return make_plan(
            self.fleet,
            self.catalogue,
            observed,
            {server.name: provision_fingerprint(server) for server in servers},
            Wishes(sites),
            supplied_chains(self.fleet, sites),
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
                refused.append(unchanged(plan, "not-attempted", in_words(error)))
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
        self.record.end(run_id, outcomes)
        self._note("undo-ended", outcomes)

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
            word: str = outcome.outcome
            if kind == "undo-ended":
                word = "undone" if word in GOOD else f"not undone, {word}"
            self.tell(f"{outcome.site} ({outcome.server}): {word}{words}")
