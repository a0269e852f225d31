"""A rollout: what is to be changed in which order, what became of it, what is to be done next.

`Rollout` is fixed when it starts. Everything after that is an `Event`, which is on disk before
anybody acts on it; `owc_deploy.rollout.standing` adds the events up, and
`owc_deploy.rollout.decide` says from both what is to be done. A `Decision` is one of the classes at
the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from owc_deploy.fleet.models import DEFAULT_PLACE, RolloutLimits

RolloutState = Literal["running", "paused", "halted", "aborted", "done", "incomplete"]

EventKind = Literal[
    "rollout-started",
    "walk-begun",
    "site-kept",
    "site-intended",
    "site-ended",
    "ring-settled",
    "ring-checked",
    "ring-ended",
    "undo-intended",
    "undo-ended",
    "rollout-paused",
    "rollout-resumed",
    "rollout-halted",
    "rollout-aborted",
    "failures-accepted",
    "sites-retried",
    "rollout-ended",
]


@dataclass(frozen=True, slots=True)
class RolloutSite:
    """A site of a rollout; `documents_sha256` is the hash of the documents it was started with.

    `place` is where its server was then, which says what workers go to it.
    """

    site: str
    server: str
    documents_sha256: str
    sla_tier: str
    supplier: str = ""
    place: str = DEFAULT_PLACE


@dataclass(frozen=True, slots=True)
class RolloutRing:
    """A ring as a rollout walks it: its sites in order, and how many may go wrong.

    `wave_sizes` are numbers of sites; together they are all of them. The `allowed_*` are how many
    sites may end so before the rollout is halted: failed or rolled back; inconclusive; unreachable,
    busy or not attempted. `undo_since` is the ring, of those in this rollout, from which on
    everything that was changed is then rolled back, `None` for none.
    """

    name: str
    sites: tuple[RolloutSite, ...]
    wave_sizes: tuple[int, ...]
    soak_seconds: int = 0
    allowed_failed: int = 0
    allowed_inconclusive: int = 0
    allowed_unreachable: int = 0
    undo_since: str | None = None


@dataclass(frozen=True, slots=True)
class Emergency:
    """Why windows, freeze days and soaks are passed over, and the second person who agreed."""

    reason: str
    approved_by: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a rollout was started with. `cause` says in words what it brings, `reason` why."""

    rollout_id: str
    fleet: str
    created_at: str
    operator: str
    cause: str
    rings: tuple[RolloutRing, ...]
    reason: str = ""
    limits: RolloutLimits = field(default_factory=RolloutLimits)
    emergency: Emergency | None = None

    @property
    def sites(self) -> tuple[RolloutSite, ...]:
        """All its sites, in order."""
        return tuple(site for ring in self.rings for site in ring.sites)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One thing that was decided or that happened, to be written down; `body` differs by `kind`."""

    kind: EventKind
    site: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was written down: when, in UTC, by whom, and as which entry of the store."""

    kind: EventKind
    site: str
    body: Mapping[str, Any]
    at: datetime
    actor: str
    number: int


@dataclass(frozen=True, slots=True)
class Start:
    """Change these sites now, side by side."""

    ring: str
    sites: tuple[RolloutSite, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Write down that these sites are not going to be tried any more in this ring, and why."""

    sites: tuple[RolloutSite, ...]
    outcome: Literal["unreachable", "not-attempted"]
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until then, in UTC; `why` is for whoever waits."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class SettleRing:
    """Write down that every site of the ring had its turn: its soak begins."""

    ring: str


@dataclass(frozen=True, slots=True)
class CheckRing:
    """Look whether the sites of a ring that was soaked are still as they were left."""

    ring: str
    sites: tuple[RolloutSite, ...]


@dataclass(frozen=True, slots=True)
class EndRing:
    """Write down that the ring is behind us: the next one begins."""

    ring: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop and tell a person; what was changed in `undo_rings` is undone first."""

    why: str
    undo_rings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undo:
    """Bring these sites back to what they were before the rollout, side by side."""

    sites: tuple[RolloutSite, ...]


@dataclass(frozen=True, slots=True)
class End:
    """Write down that the rollout is over; `incomplete` when sites were left as they were."""

    word: Literal["done", "incomplete", "aborted"]


@dataclass(frozen=True, slots=True)
class Stand:
    """Nothing is to be done until a person says so, or ever again."""

    state: RolloutState
    why: str


Decision = Start | GiveUp | Wait | SettleRing | CheckRing | EndRing | Halt | Undo | End | Stand
