"""What the store remembers, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INTERRUPTED = "interrupted"
RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Intent:
    """A site that a run is going to work on."""

    site: str
    server: str
    ring: str = ""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A lease that was taken from somebody who had it under `fencing_token`, and `why`.

    `first_token` is that of everything they held: by it the history knows what they were doing.
    """

    name: str
    owner: str
    reason: str
    since: str
    fencing_token: int
    first_token: int
    why: str


@dataclass(frozen=True, slots=True)
class Run:
    """One use of a verb that changes servers.

    Times are ISO 8601 in UTC; `finished_at` is `""` until it ends. `outcome` is `ok`, `changed` or
    `failed`, and for a run without an end `running` or `interrupted`.
    """

    run_id: int
    verb: str
    plan_id: str
    operator: str
    reason: str
    started_at: str
    finished_at: str
    outcome: str
    tool_version: str


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """How one run ended for one site; `outcome` is also `running` or `interrupted`."""

    run: Run
    site: str
    server: str
    ring: str
    outcome: str
    message: str = ""
    release_id: str = ""
    previous_release_id: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedFinding:
    """A vulnerability that `audit` saw on a site; times are ISO 8601, empty when not yet.

    `version` is the affected one that was seen last, `names` are all the vulnerability is known by.
    `standing` says why it is neither open nor patched, empty when it is one of these.
    """

    site: str
    block: str
    vulnerability: str
    severity: str
    version: str
    deal_with_by: str
    first_seen_at: str = ""
    last_seen_at: str = ""
    patched_at: str = ""
    names: tuple[str, ...] = ()
    standing: str = ""

    def is_known_as(self, *names: str) -> bool:
        """Return whether one of these is a name of the vulnerability."""
        return not {self.vulnerability, *self.names}.isdisjoint(names)
