"""A rollout begins: what has to hold for that, and what is written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from owc_deploy.catalogue.relock import write_lock
from owc_deploy.cli.rollout_supersede import refuse_ahead_of_soak, tell_aborted, tell_left_behind
from owc_deploy.cli.tell import notifier, tell_events
from owc_deploy.cli.view import narrate
from owc_deploy.fleet.models import Fleet, Lock
from owc_deploy.rollout import orders
from owc_deploy.rollout.aims import Aim
from owc_deploy.rollout.journal import begin, refuse_taken
from owc_deploy.rollout.models import NewEvent, Rollout
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.supersede import left_behind, soaking, soaks_kept
from owc_deploy.store import Store


@dataclass(frozen=True, slots=True)
class Beginning:
    """A rollout that is to begin, in the place of earlier ones.

    `kept` are its sites to which it has nothing to do but let them soak, `renewed` the locks that
    are written when it begins.
    """

    fleet: Fleet
    store: Store
    aim: Aim
    rollout: Rollout
    kept: frozenset[str]
    renewed: tuple[Lock, ...]

    def has_work(self, earlier: Iterable[Standing]) -> bool:
        """Return whether it is to begin: not in the place of one that has more to do than it."""
        if any(site.site not in self.kept for site in self.rollout.sites):
            return True
        more = any(left_behind(each, self.aim.sites) for each in earlier)
        return bool(self.rollout.rings) and not more

    def check(self, earlier: Sequence[Standing]) -> None:
        """Say what ends with it. Raises UsageError where it would pass over a soak."""
        if not self.aim.blocks and self.rollout.emergency is None:
            refuse_ahead_of_soak(self.fleet, self.store, self.rollout, earlier)
        tell_left_behind(earlier, self.aim.sites)

    def begin(self, earlier: Sequence[Standing]) -> None:
        """Write down that it begins, and that the earlier ones end.

        Raises UsageError where a rollout under way has one of its sites and does not end.
        """
        rollout = self.rollout
        if not earlier:
            refuse_taken(self.store, rollout)
        why = f"superseded by {rollout.rollout_id}"
        ending = {each.rollout.rollout_id: orders.supersede(each, why) for each in earlier}
        going_on = {site: each for site, each in soaking(earlier).items() if site in self.kept}
        for lock in self.renewed:
            write_lock(self.fleet, lock)
        if self.renewed and self.fleet.settings.engine != "embedded":
            narrate("commit and push the renewed locks now: workers wait until they have them")
        begin(self.store, rollout, *soaks_kept(rollout, going_on), ending=ending)
        tell_aborted(self.fleet, self.store, earlier, ending, why)
        tell_events(notifier(self.fleet), rollout, [NewEvent("rollout-started")])
