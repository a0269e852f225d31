"""What walking a rollout needs of the rest: a journal, claims on sites, and hands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from owc_deploy.plan.models import Fence, SiteOutcome
from owc_deploy.rollout.models import Event, NewEvent, RolloutSite
from owc_deploy.rollout.standing import Standing

Tell = Callable[[str], None]


class Journal(Protocol):
    """Where the events of one rollout are; what `append` returned from survives anything."""

    def append(self, *events: NewEvent) -> None:
        """Write events down, all or none of them."""
        ...

    def events(self, *, after: int = 0) -> Sequence[Event]:
        """Return the events with a higher number than `after`, in order."""
        ...


class Claims(Protocol):
    """The right to change sites, which one owner has at a time."""

    def take(self, sites: Iterable[str]) -> Mapping[str, str]:
        """Take what is free; return the sites that are not, with words on who has them."""
        ...

    def give_back(self, sites: Iterable[str]) -> None:
        """Let go of sites."""
        ...

    def fences(self) -> Mapping[str, Fence]:
        """Return for each site that was taken what its server knows this owner by."""
        ...


class Record(Protocol):
    """The history of runs, which tells per site what was done."""

    def begin(self, sites: Sequence[RolloutSite], ring: str) -> int:
        """Write down that these sites are about to be worked on; return the run's number."""
        ...

    def end(self, run_id: int, outcomes: Sequence[SiteOutcome]) -> None:
        """Write down how it ended."""
        ...


class Hands(Protocol):
    """What carries decisions out. Every method writes its events down itself."""

    def change(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        """Bring sites to what their locks say, and write down how each ended."""
        ...

    def undo(self, standing: Standing, sites: Sequence[RolloutSite]) -> None:
        """Bring sites back to what they were before the rollout."""
        ...

    def check(self, standing: Standing, ring: str, sites: Sequence[RolloutSite]) -> None:
        """Look whether sites are still as the rollout left them."""
        ...
