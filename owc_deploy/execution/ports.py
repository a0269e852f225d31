"""What the rest of the tool may ask of servers, whoever answers: Ansible, or a test's simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from owc_deploy.fleet.models import Fleet, Server
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.plan.models import Fence, ObservedServer, SiteOutcome

TaskState = Literal["started", "ok", "changed", "skipped", "failed", "unreachable"]
ServerStatus = Literal["ok", "failed", "unreachable"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a server's work, told while it happens."""

    server: str
    task: str
    state: TaskState


ProgressCallback = Callable[[Progress], None]
# Whose the work on each site is.
Fences = Mapping[str, Fence]


@dataclass(frozen=True, slots=True)
class SiteSecret:
    """A secret file of a site: `path` is relative to the site's folder (`tls/privkey.pem`)."""

    site: str
    path: str
    content: Sensitive


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """The release transactions of every site of one server.

    Each of `specifications` is a site's specification with `release_id` and `observed_release`
    beside it (docs/architecture.md). `parallel` is how many transactions run side by side.
    `artefacts` are the hashes of what the server lacks.
    """

    specifications: tuple[Mapping[str, Any], ...]
    parallel: int = 4
    artefacts: tuple[str, ...] = ()
    secrets: tuple[SiteSecret, ...] = field(default=())

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites it is about."""
        return tuple(str(specification["site"]) for specification in self.specifications)


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """Make `release_id` of `site` live; refused when something else than `observed_release` is.

    `restore_database` also brings back the database of then, where that is needed. `preview`
    changes nothing: its outcome is `ok`, with what going back would mean and lose in its details
    (docs/architecture.md).
    """

    site: str
    release_id: str
    observed_release: str
    restore_database: bool = False
    preview: bool = False


@dataclass(frozen=True, slots=True)
class DecommissionRequest:
    """Take `site` off the air; refused when something else than `observed_release` is live."""

    site: str
    observed_release: str


@dataclass(frozen=True, slots=True)
class SiteStanding:
    """What is going on at a site that a controller takes over.

    `transaction_id` is under way there, `""` for nothing; `provisional`: it waits to be confirmed.
    `newer` is whose the site stays: somebody took it over since, or is changing it just now with
    another store. `trouble` says why nothing of
    this is known.
    """

    site: str
    server: str
    transaction_id: str = ""
    provisional: bool = False
    newer: Fence | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ServerOutcome:
    """How work on a server as a whole ended; `message` says why when it is not `ok`."""

    server: str
    status: ServerStatus
    message: str = ""
    seconds: float = 0.0


class Executor(Protocol):
    """The door to the servers.

    What happens on a server is in what is returned, never an exception: a server that cannot be
    reached gives `unreachable` for each of its sites. Mappings are keyed by server name. Every
    method raises ExecutionError when the work could not even be started.

    `fences` has the fence of every site that is worked on: a site that has seen a newer controller
    of the same store than that is `busy`, and a change whose site is taken over before it is
    confirmed is undone.
    """

    def probe(
        self,
        servers: tuple[Server, ...],
        *,
        hold: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[ObservedServer, ...]:
        """Observe everything on these servers, changing nothing; same order as `servers`.

        With `hold` the way to them stays open for what is to follow, until `close`.
        """
        ...

    def use(self, fleet: Fleet) -> None:
        """Go on with these documents, and give up what `hold` kept open with others."""
        ...

    def close(self) -> None:
        """Give up what `hold` kept open."""
        ...

    def provision(
        self, fingerprints: Mapping[str, str], *, on_progress: ProgressCallback | None = None
    ) -> tuple[ServerOutcome, ...]:
        """Prepare servers; each value is the fingerprint to record once it is done."""
        ...

    def fence(
        self,
        requests: Mapping[str, Sequence[str]],
        *,
        fences: Fences,
        insist: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteStanding, ...]:
        """Take these sites over from whoever changed them before, and say what is going on there.

        What that one has under way is undone by its server; ask again to see that it is over. One
        who is at work with another store is left alone, unless `insist`.
        """
        ...

    def release(
        self,
        requests: Mapping[str, ReleaseRequest],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """Build and make live a release of every site that is asked for."""
        ...

    def rollback(
        self,
        requests: Mapping[str, tuple[RollbackRequest, ...]],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """Make earlier releases live, or preview that, for which no fence is needed."""
        ...

    def decommission(
        self,
        requests: Mapping[str, tuple[DecommissionRequest, ...]],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """Take sites off the air, keeping everything."""
        ...

    def mitigate(
        self,
        requests: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
        *,
        fences: Fences,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteOutcome, ...]:
        """Close on each site of each server exactly what is named (`owc_deploy.plan.mitigations`).

        An outcome is `changed` or `ok` only when the site's own web server was seen to refuse.
        """
        ...

    def logs(self, server: str, site: str, *, lines: int) -> tuple[str, ...]:
        """Return the site's last log lines, oldest first.

        Raises ExecutionError also when the server cannot be reached: there is nothing to return.
        """
        ...

    def access(self, server: str, site: str, login: str) -> Sensitive:
        """Return a link with which this administrator sets a password, once.

        Raises ExecutionError when the server cannot be reached or refuses.
        """
        ...
