"""Every error the tool raises on purpose, and the problems it finds in documents.

An error names what went wrong, where, and the next thing to type. Only `owc_deploy.cli.main`
turns one into an exit code (docs/reference/exit-codes.md). What happens on one server or one site
is never an exception: it is an outcome, so that it cannot hide its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class OwcError(Exception):
    """Base of every expected error.

    `message` says what went wrong, `context` what was being done, `hint` what to do next.
    `reference` is a stable kebab-case name that scripts and the documentation may rely on.
    """

    reference: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, context: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.context = context
        self.hint = hint


class UsageError(OwcError):
    """The command line asks for something that cannot be meant."""

    reference = "usage"
    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one document; `line` and `column` count from 1, 0 when unknown.

    `path` is the place inside the document (`blocks.openwoo.version`), `reference` a stable
    kebab-case name, `message` what is wrong, `suggestion` what to write instead.
    """

    file: Path
    line: int
    column: int
    path: str
    reference: str
    message: str
    suggestion: str = ""


class DocumentsInvalidError(OwcError):
    """Documents of the fleet hold problems; all of them are in `problems`, sorted."""

    reference = "documents-invalid"
    exit_code = 3

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = len(problems)
        super().__init__(
            f"{count} problem{'s' if count != 1 else ''} in the fleet's documents",
            hint="owc-deploy validate",
        )
        self.problems = tuple(sorted(problems))


class LockRefusedError(OwcError):
    """No set of releases does for a site what is asked."""

    reference = "lock-refused"
    exit_code = 3


class CatalogueError(OwcError):
    """The catalogue, or an artefact offered to it, cannot be trusted or read."""

    reference = "catalogue"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lease on a name such as `site/heusden`; times are ISO 8601 in UTC."""

    name: str
    owner: str
    reason: str
    since: str
    lapses_at: str


class LeaseHeldError(OwcError):
    """Somebody else is changing what was to be changed; `held` names each part of it."""

    reference = "lease-held"
    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        context: str | None = None,
        hint: str | None = None,
        held: tuple[Holder, ...] = (),
    ) -> None:
        super().__init__(message, context=context, hint=hint)
        self.held = held


class EngineError(OwcError):
    """What walks rollouts elsewhere cannot be reached or used."""

    reference = "engine"


class PlanStaleError(OwcError):
    """What the plan was made from has moved."""

    reference = "plan-stale"
    exit_code = 5


class StateError(OwcError):
    """The history store cannot be read or written."""

    reference = "state"


class ExecutionError(OwcError):
    """Ansible itself could not run; nothing is known of the servers."""

    reference = "execution"


class SecretError(OwcError):
    """A secret that a manifest refers to cannot be read."""

    reference = "secret"


class LabError(OwcError):
    """A lab server cannot be made or reached on this machine."""

    reference = "lab"
