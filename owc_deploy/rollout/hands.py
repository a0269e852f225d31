"""Carrying out what a rollout decided, on real servers: look, intend, act, write down.

The servers are looked at before anything is done to them, each time anew. That is also how a
rollout goes on after its controller was killed: a site that is live on a release which the rollout
meant to make is changed, whoever saw it happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.errors import OwcError
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.execution.ports import Executor, ProgressCallback, RollbackRequest
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.models import ObservedServer, Plan, SiteOutcome
from owc_deploy.rollout.apply import in_words, versions_of
from owc_deploy.rollout.looks import problem_of, way_back, with_plan, without_plan
from owc_deploy.rollout.models import NewEvent, RolloutSite
from owc_deploy.rollout.observe import observe
from owc_deploy.rollout.ports import Claims, Journal, Record, Tell
from owc_deploy.rollout.progress import EndedKind
from owc_deploy.rollout.releases import Release, intents, release_requests, releases
from owc_deploy.rollout.secrets import supplied_chains
from owc_deploy.rollout.standing import GOOD, Standing
from owc_deploy.rollout.takeover import take_sites_over

GONE = "it is not in servers.yml any more"
# What was seen of so many servers, with all their sites, is kept at a time.
LOOKS_AT_ONCE = 20


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
        ours, busy = self._taken(sites)
        try:
            self._change(standing, ring, ours, busy)
        finally:
            self.claims.give_back(site.site for site in ours)

    def undo(self, standing: Standing, sites: Sequence[RolloutSite]) -> None:
        """See `Hands.undo`."""
        ours, busy = self._taken(sites)
        try:
            self._undo(standing, ours, busy)
        finally:
            self.claims.give_back(site.site for site in ours)

    def check(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        """See `Hands.check`."""
        problems: dict[str, Any] = {}
        for some in _by_servers(sites, LOOKS_AT_ONCE):
            observed = self._look(some)
            problems |= {
                site.site: {**asdict(problem), "attempt": state.checks + 1}
                for site in some
                if (state := standing.sites[site.site])
                and (problem := problem_of(site, state, observed[site.server]))
            }
        body = {"ring": ring, "sites": [site.site for site in sites], "problems": problems}
        self.journal.append(NewEvent("ring-checked", body=body))
        for name, found in problems.items():
            self.tell(f"{name}: {found['outcome']}: {found['message']}")

    def _taken(
        self, sites: Sequence[RolloutSite]
    ) -> tuple[tuple[RolloutSite, ...], list[SiteOutcome]]:
        """Take the sites that are free; return them, and of the others who has them."""
        held = self.claims.take(site.site for site in sites)
        busy = [
            SiteOutcome(s.site, s.server, "busy", held[s.site]) for s in sites if s.site in held
        ]
        return tuple(site for site in sites if site.site not in held), busy

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

    def _change(
        self,
        standing: Standing,
        ring: str,
        sites: Sequence[RolloutSite],
        ended: Iterable[SiteOutcome],
    ) -> None:
        """Change sites; `ended` are outcomes that are to be written down with theirs."""
        self._take_over(standing, sites)
        plan, seen = self._left_to_change(standing, ring, sites)
        made, refused = releases(self.fleet, plan, self.clock()) if plan else ([], [])
        # In one writing: whoever goes on after a cut-off finds the batch as a whole.
        intended = intents(made, standing, self.claims.fences())
        self._note("site-ended", standing, (*ended, *seen, *refused), *intended)
        if plan is None or not made:
            return
        wanted = {release.site for release in made}
        run_id = self.record.begin([site for site in sites if site.site in wanted], ring)
        outcomes = self._released(made, plan)
        known = [self._with_versions(_as_seen(outcome, made)) for outcome in outcomes]
        self.record.end(run_id, known)
        self._note("site-ended", standing, known)

    def _left_to_change(
        self, standing: Standing, ring: str, sites: Sequence[RolloutSite]
    ) -> tuple[Plan | None, list[SiteOutcome]]:
        """Return the plan of the sites to be changed, `None` for none, and how the others ended."""
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
            left = tuple(site for site in plan.sites if outcomes[site.site] is None)
            plan = replace(plan, sites=left)
        ended = [outcome for outcome in outcomes.values() if outcome is not None]
        self._record_seen(ring, sites, ended, names)
        return plan, ended

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

    def _released(self, made: Sequence[Release], plan: Plan) -> tuple[SiteOutcome, ...]:
        try:
            return self.executor.release(
                release_requests(made, plan),
                fences=self.claims.fences(),
                on_progress=self.on_progress,
            )
        except OwcError as error:
            words = in_words(error)
            return tuple(SiteOutcome(r.site, r.server, "inconclusive", words) for r in made)

    def _with_versions(self, outcome: SiteOutcome) -> SiteOutcome:
        if outcome.outcome not in GOOD:
            return outcome
        versions = versions_of(self.fleet.locks[outcome.site])
        return replace(outcome, details={**outcome.details, "versions": versions})

    def _undo(
        self, standing: Standing, sites: Sequence[RolloutSite], ended: Iterable[SiteOutcome]
    ) -> None:
        """Bring sites back; `ended` are outcomes that are to be written down with theirs."""
        self._take_over(standing, sites)
        observed = self._look(sites)
        seen: list[SiteOutcome] = []
        requests: dict[str, tuple[RollbackRequest, ...]] = {}
        places: list[RolloutSite] = []
        for site in sites:
            way = way_back(site, standing.sites[site.site], observed[site.server])
            if isinstance(way, SiteOutcome):
                seen.append(way)
            else:
                requests[site.server] = (*requests.get(site.server, ()), way)
                places.append(site)
        intended = (
            NewEvent(
                "undo-intended",
                request.site,
                {"from_release": request.observed_release, "to_release": request.release_id},
            )
            for asked in requests.values()
            for request in asked
        )
        self._note("undo-ended", standing, (*ended, *seen), *intended)
        if not requests:
            return
        run_id = self.record.begin(places, "")
        try:
            outcomes = self.executor.rollback(
                requests, fences=self.claims.fences(), on_progress=self.on_progress
            )
        except OwcError as error:
            words = in_words(error)
            outcomes = tuple(SiteOutcome(s.site, s.server, "inconclusive", words) for s in places)
        self.record.end(run_id, outcomes)
        self._note("undo-ended", standing, outcomes)

    def _note(
        self,
        kind: EndedKind,
        standing: Standing,
        outcomes: Iterable[SiteOutcome],
        *intended: NewEvent,
    ) -> None:
        """Write down how it ended, and what is about to be done, and tell of the former."""
        outcomes = tuple(outcomes)
        ended = (
            NewEvent(
                kind,
                outcome.site,
                {
                    "outcome": outcome.outcome,
                    "message": outcome.message,
                    "release_id": outcome.release_id,
                    "previous_release_id": outcome.previous_release_id,
                    "seconds": outcome.seconds,
                    "attempt": standing.sites[outcome.site].attempt_of(kind),
                },
            )
            for outcome in outcomes
        )
        self.journal.append(*ended, *intended)
        for outcome in outcomes:
            words = f": {outcome.message}" if outcome.message else ""
            word: str = outcome.outcome
            if kind == "undo-ended":
                word = "undone" if word in GOOD else f"not undone, {word}"
            self.tell(f"{outcome.site} ({outcome.server}): {word}{words}")


def _by_servers(
    sites: Iterable[RolloutSite], servers_at_once: int
) -> Iterator[tuple[RolloutSite, ...]]:
    """Yield the sites of so many servers at a time."""
    by_server: dict[str, list[RolloutSite]] = {}
    for site in sites:
        by_server.setdefault(site.server, []).append(site)
    left = iter(by_server.values())
    while some := tuple(site for here in islice(left, servers_at_once) for site in here):
        yield some


def _as_seen(outcome: SiteOutcome, made: Iterable[Release]) -> SiteOutcome:
    """Return `busy` for a site that was changed by others between the look and the act."""
    seen = next(release.observed_release for release in made if release.site == outcome.site)
    was = outcome.previous_release_id
    if outcome.outcome in {"failed", "rolled-back"} and was and was != seen:
        return replace(outcome, outcome="busy", message=f"it changed meanwhile: {outcome.message}")
    return outcome
