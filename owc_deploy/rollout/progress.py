"""How far one site is, and one ring: what `owc_deploy.rollout.standing` keeps of each.

A ring keeps its sites sorted by what is to be done with them, so that a decision looks at the few
that it is about, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from owc_deploy.plan.models import OutcomeWord
from owc_deploy.rollout.models import RolloutSite

GOOD = frozenset({"ok", "changed"})
# A server that was not reached, or a site somebody else is at work on, may be tried again.
PASSING = frozenset({"unreachable", "busy"})
# What an outcome counts as in a ring's budget.
Failing = Literal["failed", "inconclusive", "unreachable"]
FAILING: dict[OutcomeWord, Failing] = {
    "failed": "failed",
    "rolled-back": "failed",
    "inconclusive": "inconclusive",
    "unreachable": "unreachable",
    "busy": "unreachable",
    "not-attempted": "unreachable",
}
# An event that says how the turn of a site ended.
EndedKind = Literal["site-ended", "undo-ended"]
# Sites of one tier and one supplier: those outside their window, and those of a supplier that has
# as many under way as are allowed, are passed over together.
Lane = tuple[str, str]


@dataclass(slots=True)
class SiteStanding:
    """What became of one site so far.

    `has_begun`: it had its turn, or has it now; `outcome` is how that ended, `live` what it said is
    live. `is_settled`: it is not going to be tried again by itself. `is_intended`: somebody is
    about to change it; when they are gone it `was_cut_off`, until somebody looked at it.
    `release_ids` are those that this rollout meant to make live, `observed` what was live when it
    last meant to, and `before` the last of those that were not its own. `may_have_changed`: a
    release of the rollout is live, or nobody knows that none is. `is_unknown`: somebody meant to
    change it, or to bring it back, and nobody saw how that ended. `attempts` counts those that
    ended in `PASSING`, `checks` how often it was looked at after the soak of its ring, by which it
    `is_broken` when it was not as the rollout left it. `ended`,
    `undo_ended` and `check_ended` are the numbers of the newest of these events.
    """

    has_begun: bool = False
    outcome: OutcomeWord | None = None
    message: str = ""
    is_settled: bool = False
    is_intended: bool = False
    was_cut_off: bool = False
    is_accepted: bool = False
    attempts: int = 0
    tried_at: datetime | None = None
    release_ids: tuple[str, ...] = ()
    observed: str = ""
    before: str = ""
    live: str = ""
    may_have_changed: bool = False
    is_unknown: bool = False
    is_undo_intended: bool = False
    undo: OutcomeWord | None = None
    undo_message: str = ""
    undo_attempts: int = 0
    undo_tried_at: datetime | None = None
    checks: int = 0
    checked_at: datetime | None = None
    is_checked: bool = False
    is_broken: bool = False
    ended: int = 0
    undo_ended: int = 0
    check_ended: int = 0

    @property
    def is_under_way(self) -> bool:
        """Whether somebody changes it or brings it back now, as far as is known."""
        return self.is_intended or self.is_undo_intended

    @property
    def is_good(self) -> bool:
        """Whether it is as the rollout wants it, as far as is known."""
        return self.outcome in GOOD and self.undo is None

    def attempt_of(self, kind: EndedKind) -> int:
        """Return which attempt it is that ends with such an event next, counted from 1."""
        return 1 + (self.attempts if kind == "site-ended" else self.undo_attempts)

    @property
    def counts_as(self) -> Failing | None:
        """What it counts as in its ring's budget, `None` for nothing."""
        if self.outcome is None or self.is_accepted or not self.is_settled:
            return None
        return FAILING.get(self.outcome)


@dataclass(slots=True)
class RingStanding:
    """How far one ring is.

    `checked_at` is when some of it was looked at last, after its soak. `wave_ends` says how many
    sites have begun at the end of each wave. `lost_servers` were tried as often as they are, with
    sites left. Of its sites, `fresh` are those that have not begun, in the ring's order;
    `unsettled` those that have and are not settled; `failing` those that count against its budget;
    `unchecked` those that are good, and still to be looked at by somebody.
    """

    wave_ends: tuple[int, ...]
    settled_at: datetime | None = None
    checked_at: datetime | None = None
    has_ended: bool = False
    lost_servers: set[str] = field(default_factory=set)
    fresh: dict[Lane, dict[str, RolloutSite]] = field(default_factory=dict)
    unsettled: dict[str, RolloutSite] = field(default_factory=dict)
    unchecked: dict[str, RolloutSite] = field(default_factory=dict)
    failing: dict[Failing, dict[str, RolloutSite]] = field(
        default_factory=lambda: {"failed": {}, "inconclusive": {}, "unreachable": {}}
    )

    def sort_in(self, site: RolloutSite, state: SiteStanding) -> None:
        """Put a site where it belongs as it stands now."""
        fresh = self.fresh.setdefault((site.sla_tier, site.supplier), {})
        keep(fresh, site, wanted=not state.has_begun)
        keep(self.unsettled, site, wanted=state.has_begun and not state.is_settled)
        for kind, sites in self.failing.items():
            keep(sites, site, wanted=state.counts_as == kind)


def keep(kept: dict[str, RolloutSite], site: RolloutSite, *, wanted: bool) -> None:
    """Put a site in, at the end where it was not in already, or take it out."""
    if wanted:
        kept[site.site] = site
    else:
        kept.pop(site.site, None)
