"""What the history store gives whoever carries a rollout out: sites of its own, and runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from owc_deploy.plan.models import Fence, SiteOutcome
from owc_deploy.rollout.models import Rollout, RolloutSite
from owc_deploy.rollout.names import site_name
from owc_deploy.rollout.standing import GOOD
from owc_deploy.store import Store
from owc_deploy.store.actor import this_actor
from owc_deploy.store.leases import Claim
from owc_deploy.store.models import Intent


@dataclass(frozen=True)
class SiteClaims:
    """Implements `Claims`: sites are added to a claim that is held already."""

    claim: Claim

    def take(self, sites: Iterable[str]) -> Mapping[str, str]:
        """See `Claims.take`."""
        names = {site_name(site): site for site in sites}
        return {
            names[holder.name]: f"{holder.owner} is at work on it: {holder.reason}"
            for holder in self.claim.take_free(names)
        }

    def give_back(self, sites: Iterable[str]) -> None:
        """See `Claims.give_back`."""
        self.claim.give(*map(site_name, sites))

    def fences(self) -> Mapping[str, Fence]:
        """See `Claims.fences`."""
        return self.claim.fences()

    def held_for(self, sites: Iterable[str], reason: str) -> tuple[str, ...]:
        """Take what is free of these sites; return those that others hold for this reason."""
        names = {site_name(site): site for site in sites}
        held = self.claim.take_free(names)
        return tuple(names[holder.name] for holder in held if holder.reason == reason)


@dataclass(frozen=True)
class RunRecords:
    """Implements `Record`: every batch is a run, so that `history` tells of its sites."""

    store: Store
    rollout: Rollout
    claim: Claim

    def begin(self, sites: Sequence[RolloutSite], ring: str) -> int:
        """See `Record.begin`."""
        return self.store.history.begin_run(
            verb="rollout",
            operator=this_actor(),
            reason=self.rollout.reason or self.rollout.cause,
            intents=tuple(Intent(site.site, site.server, ring) for site in sites),
            fencing_token=self.claim.first_token,
            rollout_id=self.rollout.rollout_id,
        )

    def end(self, run_id: int, outcomes: Sequence[SiteOutcome]) -> None:
        """See `Record.end`."""
        good = all(outcome.outcome in GOOD for outcome in outcomes)
        self.store.history.finish_run(run_id, "changed" if good else "failed", *outcomes)


def reason_of(rollout_id: str) -> str:
    """Return what leases taken for a rollout say they are for."""
    return f"rollout {rollout_id}"
