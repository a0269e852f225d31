"""The door to servers: one Ansible run that stays, and does what it is asked.

Starting Ansible and logging in take longer than most of what there is to do on a server, so a verb
that looks first and acts afterwards does both through one door. Each server's end is the action
plugin `owc_door`; both ends speak JSON lines over a socket in the run's private folder.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.interruption import Interruption
from owc_deploy.execution.inventory import VariablesPipe
from owc_deploy.execution.ports import Progress, ProgressCallback, ServerStatus, TaskState
from owc_deploy.execution.runner import (
    PlaybookRequest,
    check_servers,
    host_variables,
    playbook_arguments,
)
from owc_deploy.execution.standby import take
from owc_deploy.fleet.models import Server

Answered = TypeVar("Answered")

# One Ansible process for each server that is worked on at a time.
MAXIMUM_SERVERS = 20
_OPEN_SECONDS = 120.0
_POLL_SECONDS = 0.1
_CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server answered to one order.

    `result` is what the module returned. When `status` is not `ok`, `error` says why; `began` says
    whether the work may have begun, `timed_out` that its end was not waited for.
    """

    server: str
    status: ServerStatus
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    began: bool = False
    timed_out: bool = False


class Channel:
    """One server's end, to which orders are given one after the other."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.on_progress: ProgressCallback | None = None
        self._connection: socket.socket | None = None
        self._connected = threading.Event()
        self._why_closed = ""

    @property
    def is_open(self) -> bool:
        """Whether the server's end has ever been there."""
        return self._connection is not None

    def connect(self, connection: socket.socket) -> None:
        """Take the connection of this server's end."""
        self._connection = connection
        self._connected.set()

    def close(self, why: str) -> None:
        """Hang up; whoever waits for an answer is told why."""
        self._why_closed = self._why_closed or why
        self._connected.set()
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def module(
        self, name: str, arguments: Mapping[str, Any], *, what: str, seconds: float
    ) -> Answer:
        """Run one module for `seconds` at most; `what` says so to the person who waits."""
        order = {"do": "module", "module": name, "arguments": dict(arguments)}
        return self.order(order, what=what, seconds=seconds)

    def agent(self, ask: str, arguments: Mapping[str, Any], *, what: str, seconds: float) -> Answer:
        """Ask the agent (`owc_agent.answers`); put it on the server first when it is not there."""
        order = {"do": "agent", "ask": ask, "arguments": dict(arguments)}
        answer = self.order(order, what=what, seconds=seconds)
        if not answer.result.get("absent"):
            return answer
        put = self.module("owc_agent", {}, what="Put the agent on the server", seconds=seconds)
        return put if put.status != "ok" else self.order(order, what=what, seconds=seconds)

    def order(self, order: Mapping[str, Any], *, what: str, seconds: float) -> Answer:
        """Give one order and return the answer, never an exception."""
        self._tell(what, "started")
        answer = self._ask(order, seconds)
        state: TaskState = "ok"
        if answer.status != "ok":
            state = "failed" if answer.status == "failed" else "unreachable"
        elif answer.result.get("changed"):
            state = "changed"
        self._tell(what, state)
        return answer

    def _ask(self, order: Mapping[str, Any], seconds: float) -> Answer:
        if not self._connected.wait(_OPEN_SECONDS) or self._connection is None:
            reason = self._why_closed or "Ansible did not open the door"
            return Answer(self.server, "failed", error=reason)
        deadline = time.monotonic() + seconds
        try:
            self._connection.settimeout(seconds)
            self._connection.sendall(json.dumps(order).encode() + b"\n")
            for line in self._lines(deadline):
                document = json.loads(line)
                if "progress" in document:
                    outcome = document["progress"]
                    self._tell(f"{outcome['site']} {outcome['outcome']}", "changed")
                else:
                    return _answer(self.server, document)
        except TimeoutError:
            error = f"not finished within {seconds:g} seconds"
            return Answer(self.server, "failed", error=error, began=True, timed_out=True)
        except OSError as error:
            self._why_closed = self._why_closed or str(error)
        reason = self._why_closed or "Ansible ended before the server answered"
        return Answer(self.server, "failed", error=reason, began=True)

    def _lines(self, deadline: float) -> Iterator[bytes]:
        if self._connection is None:
            return
        rest = b""
        while True:
            self._connection.settimeout(max(0.1, deadline - time.monotonic()))
            received = self._connection.recv(1 << 18)
            if not received:
                return
            *lines, rest = (rest + received).split(b"\n")
            yield from lines

    def _tell(self, what: str, state: TaskState) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(self.server, what, state))


class Door:
    """A door to some servers, at most `MAXIMUM_SERVERS`, open inside the `with` block.

    Raises ExecutionError when Ansible itself cannot run, KeyboardInterrupt when the operator stops
    it; by then Ansible has ended and has told its workers to.
    """

    def __init__(self, request: PlaybookRequest) -> None:
        self.servers = request.servers
        self._request = request
        self._channels = {server.name: Channel(server.name) for server in request.servers}
        self._stack = contextlib.ExitStack()
        self._runner = threading.Thread(target=self._run, name="owc-ansible", daemon=True)
        self._failure: BaseException | None = None
        self._closing = False

    def __enter__(self) -> Self:
        check_servers(self.servers)
        with contextlib.ExitStack() as stack:
            self._standby = take(self._request.inventory.parent)
            stack.callback(self._standby.end)
            self._interruption = Interruption(self._standby, math.inf)
            self._listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            self._listener.bind(str(self._standby.folder / "door"))
            self._listener.listen(len(self.servers))
            self._stack = stack.pop_all()
        threading.Thread(target=self._accept, name="owc-door", daemon=True).start()
        self._runner.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        if kind is not None:
            self._interruption.give_up()
        for channel in self._channels.values():
            channel.close("the door was closed")
        self._runner.join(_CLOSE_SECONDS)
        if self._runner.is_alive():
            self._interruption.give_up()
            self._runner.join()
        self._stack.close()

    def covers(self, servers: tuple[Server, ...]) -> bool:
        """Return whether it leads to all of these servers, and is in order."""
        return self._runner.is_alive() and {s.name for s in servers} <= set(self._channels)

    def each(
        self,
        work: Mapping[str, Callable[[Channel], Answered]],
        on_progress: ProgressCallback | None,
    ) -> dict[str, Answered]:
        """Do each server's work side by side and return what came of it, keyed by server."""
        if not work:
            return {}
        for channel in self._channels.values():
            channel.on_progress = on_progress
        with (
            self._interruption,
            ThreadPoolExecutor(max_workers=len(work), thread_name_prefix="owc-server") as pool,
        ):
            futures = {name: pool.submit(do, self._channels[name]) for name, do in work.items()}
            try:
                self._wait(tuple(futures.values()))
            except BaseException:
                # Whoever waits for an answer has to wake up, or the pool waits for ever.
                self._interruption.give_up()
                for channel in self._channels.values():
                    channel.close("it was stopped")
                raise
            return {name: future.result() for name, future in futures.items()}

    def _wait(self, futures: tuple[Future[Any], ...]) -> None:
        """Wait for all of them, or for the end of Ansible."""
        pending: set[Future[Any]] = set(futures)
        while pending:
            done, pending = wait(pending, timeout=_POLL_SECONDS)
            for future in done:
                if future.exception() is not None:
                    future.result()
            if self._interruption.by_operator:
                raise KeyboardInterrupt
        if self._failure is not None:
            raise self._failure

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                name = ""
                while not name.endswith("\n"):
                    name += connection.recv(1).decode("utf-8", "replace") or "\n"
                channel = self._channels.get(json.loads(name or "{}").get("server", ""))
                if channel is not None:
                    channel.connect(connection)

    def _run(self) -> None:
        why = "Ansible ended"
        try:
            return_code = self._run_playbook()
            if not self._closing:
                why = f"Ansible ended: {self._standby.tail}"
                if not any(channel.is_open for channel in self._channels.values()):
                    raise ExecutionError(  # noqa: TRY301  told to whoever waits for an answer
                        f"Ansible could not run the playbook (exit code {return_code})",
                        context=self._standby.tail or None,
                        hint="owc-deploy validate",
                    )
        except BaseException as error:  # noqa: BLE001  it belongs to the thread that waits
            self._failure = error
            why = str(error)
        for channel in self._channels.values():
            channel.close(why)

    def _run_playbook(self) -> int:
        request, folder = self._request, self._standby.folder
        variables = host_variables(
            replace(request, variables={"owc_door_socket": str(folder / "door")})
        )
        with VariablesPipe(folder, variables) as pipe:
            del variables
            arguments = playbook_arguments(request, folder, pipe.path)
            return self._standby.run(arguments, self._interruption)


def _answer(server: str, document: Mapping[str, Any]) -> Answer:
    if "unreachable" in document:
        began = bool(document["was_there"])
        return Answer(server, "unreachable", error=str(document["unreachable"]), began=began)
    if "failed" in document:
        return Answer(server, "failed", error=str(document["failed"]), began=True)
    result = document["result"]
    if result.get("failed"):
        return Answer(server, "failed", result, module_words(result), began=True)
    return Answer(server, "ok", result)


def module_words(result: Mapping[str, Any]) -> str:
    """Return what a module that failed said, for a person."""
    said = str(result.get("msg") or "").strip()
    for key in ("module_stderr", "stderr", "module_stdout"):
        detail = str(result.get(key) or "").strip()
        if detail and detail not in said:
            return f"{said}; {detail.splitlines()[-1]}" if said else detail.splitlines()[-1]
    return said or "failed without saying why"
