"""Ansible's events turned into results per server."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from owc_deploy.execution.ports import Progress, ProgressCallback, ServerStatus, TaskState

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What Ansible puts before a module's own words.
_PREFIXES = ("Task failed: ", "Module failed: ", "Action failed: ")
_TAIL_LINES = 25
_ERROR_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One finished task on one server; `result` is all that the module returned."""

    name: str
    module: str
    state: TaskState
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServerResult:
    """How a playbook went on one server.

    `error` says in words why it is not `ok`; `timed_out` that its end was not waited for. `seconds`
    runs from its first task to its last.
    """

    server: str
    status: ServerStatus
    tasks: tuple[TaskResult, ...] = ()
    error: str = ""
    timed_out: bool = False
    seconds: float = 0.0

    @property
    def results(self) -> Mapping[str, Mapping[str, Any]]:
        """Module name (`owc_probe`, `ansible.builtin.copy`) to what its last run returned."""
        return MappingProxyType({task.module: task.result for task in self.tasks})


@dataclass
class _Seen:
    """What was seen of one server so far."""

    tasks: list[TaskResult] = field(default_factory=list)
    error: str = ""
    started_at: float = 0.0
    last_at: float = 0.0


class EventCollector:
    """Receives ansible-runner's events and keeps what matters, in memory only."""

    def __init__(self, servers: tuple[str, ...], on_progress: ProgressCallback | None) -> None:
        self._seen = {server: _Seen() for server in servers}
        self._on_progress = on_progress
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._stats: Mapping[str, Any] | None = None
        self.process_id: int | None = None

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """Take one event; the answer tells ansible-runner not to write it to disk."""
        kind = str(event.get("event", ""))
        for line in _ESCAPES.sub("", str(event.get("stdout") or "")).splitlines():
            if line.strip():
                self._tail.append(line.rstrip())
        if kind == "playbook_on_start":
            self.process_id = int(event["pid"])
        elif kind == "playbook_on_stats":
            self._stats = event.get("event_data", {})
        elif kind.startswith("runner_on_"):
            self._task(kind.removeprefix("runner_on_"), event.get("event_data", {}))
        return False

    def _task(self, kind: str, data: Mapping[str, Any]) -> None:
        server = str(data.get("host", ""))
        seen = self._seen.get(server)
        if seen is None:
            return
        now = time.monotonic()
        seen.started_at = seen.started_at or now
        seen.last_at = now
        name = str(data.get("task", ""))
        raw = data.get("res")
        result: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        state = _state(kind, result)
        if state is None:
            return
        if state != "started":
            module = str(data.get("task_action", ""))
            seen.tasks.append(TaskResult(name, module, state, result))
            if state in {"failed", "unreachable"} and not data.get("ignore_errors"):
                seen.error = _words(name, state, result)
        if self._on_progress is not None:
            self._on_progress(Progress(server, name, state))

    @property
    def finished(self) -> bool:
        """Whether Ansible came to its own end and told the final state of every server."""
        return self._stats is not None

    @property
    def tail(self) -> str:
        """The last lines that Ansible said."""
        return "\n".join(self._tail)

    def results(self, *, unfinished: str) -> tuple[ServerResult, ...]:
        """Return every server's result; `unfinished` explains a server whose end was not seen."""
        return tuple(self._result(server, seen, unfinished) for server, seen in self._seen.items())

    def _result(self, server: str, seen: _Seen, unfinished: str) -> ServerResult:
        stats = self._stats or {}
        status: ServerStatus = "ok"
        error = ""
        timed_out = False
        last = seen.tasks[-1].state if seen.tasks else None
        if server in stats.get("dark", {}) or (not stats and last == "unreachable"):
            status, error = "unreachable", seen.error
        elif server in stats.get("failures", {}) or (not stats and last == "failed"):
            status, error = "failed", seen.error
        elif server not in stats.get("processed", {}):
            status, error, timed_out = "failed", unfinished, not self.finished
        return ServerResult(
            server=server,
            status=status,
            tasks=tuple(seen.tasks),
            error=error,
            timed_out=timed_out,
            seconds=round(seen.last_at - seen.started_at, 3),
        )


def _state(kind: str, result: Mapping[str, Any]) -> TaskState | None:
    match kind:
        case "start":
            return "started"
        case "ok":
            return "changed" if result.get("changed") else "ok"
        case "skipped":
            return "skipped"
        case "failed":
            return "failed"
        case "unreachable":
            return "unreachable"
    return None


def _words(task: str, state: TaskState, result: Mapping[str, Any]) -> str:
    if "censored" in result:
        return f"{task}: failed; what it said is hidden because it handles secrets"
    message = str(result.get("msg") or "").strip()
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    parts = [message]
    parts.extend(
        str(item.get("msg") or "").strip()
        for item in result.get("results") or []
        if isinstance(item, Mapping) and item.get("failed")
    )
    for key in ("module_stderr", "stderr", "module_stdout"):
        detail = str(result.get(key) or "").strip()
        if detail and detail not in parts[0]:
            parts.append(detail.splitlines()[-1])
            break
    text = "; ".join(part for part in parts if part) or "failed without saying why"
    text = text[:_ERROR_CHARACTERS]
    return text if state == "unreachable" else f"{task}: {text}"
