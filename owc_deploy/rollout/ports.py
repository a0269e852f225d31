"""What walking a rollout needs of the rest: a journal, claims on sites, and hands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.execution.ports import Executor
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Fence, SiteOutcome
from owc_deploy.rollout.models import Event, NewEvent, RolloutSite, Stand, Wait
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


class Tools(Protocol):
    """What sites are changed with: the documents, the catalogue, and the way to the servers."""

    @property
    def fleet(self) -> Fleet:
        """The fleet's documents."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Its catalogue."""
        ...

    @property
    def executor(self) -> Executor:
        """The door to its servers."""
        ...


class Engine(Protocol):
    """What takes one decision after the other and has each carried out, so that it survives.

    The journal is the truth for every engine: what a person orders is an event in it, written
    before `walk` or `wake` is called.
    """

    def walk(
        self, tools: Tools, rollout_id: str, *, patience: timedelta | None, take_over: bool
    ) -> tuple[Standing, Wait | Stand]:
        """Have a rollout walked from where it is; return what it stopped at, and where it is.

        It returns when nothing is left to do, or nothing for longer than `patience`. Raises
        LeaseHeldError when somebody else walks it, unless `take_over`.
        """
        ...

    def wake(self, rollout_id: str) -> None:
        """Let whoever walks a rollout look at its journal now; nobody may walk it."""
        ...

    def walker(self, rollout_id: str) -> str:
        """Return in words who walks a rollout now, `""` for nobody."""
        ...
