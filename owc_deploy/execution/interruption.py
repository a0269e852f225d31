"""Stopping a run: on the operator's signal, after too long, or when our own code fails."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05


class _KnowsProcess(Protocol):
    @property
    def process_id(self) -> int | None: ...


class Interruption:
    """Asked by ansible-runner several times a second whether to kill Ansible.

    Ansible gets SIGINT or SIGTERM first, so that it ends its workers and their ssh; only when it
    does not end within five seconds, or the operator insists, is it killed. Signals are taken over
    in the main thread only; Python delivers them nowhere else.
    """

    def __init__(self, process: _KnowsProcess, timeout_seconds: float) -> None:
        self._process = process
        self._deadline = time.monotonic() + timeout_seconds
        self._kill_at: float | None = None
        self._signals = 0
        self._previous: dict[signal.Signals, Any] = {}
        self.timed_out = False

    @property
    def by_operator(self) -> bool:
        """Whether a signal asked to stop."""
        return self._signals > 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._end_now()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def give_up(self) -> None:
        """Let Ansible be ended as soon as this is asked."""
        self._deadline = 0.0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signals += 1

    def __call__(self) -> bool:
        """Whether Ansible must be killed now."""
        now = time.monotonic()
        if not self.by_operator and now >= self._deadline:
            self.timed_out = True
        if not self.by_operator and not self.timed_out:
            return False
        process_id = self._process.process_id
        if process_id is None or self._signals > 1:
            return True
        if self._kill_at is None:
            self._kill_at = now + _GRACE_SECONDS
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGINT if self.by_operator else signal.SIGTERM)
        return now >= self._kill_at

    def _end_now(self) -> None:
        """End Ansible when ansible-runner gave up on it because an exception passed through."""
        process_id = self._process.process_id
        if process_id is None:
            return
        with contextlib.suppress(ProcessLookupError, ChildProcessError, PermissionError):
            os.kill(process_id, signal.SIGTERM)
            kill_at = time.monotonic() + _GRACE_SECONDS
            while os.waitpid(process_id, os.WNOHANG) == (0, 0):
                if time.monotonic() >= kill_at:
                    os.killpg(process_id, signal.SIGKILL)
                time.sleep(_POLL_SECONDS)
