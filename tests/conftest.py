"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

# A process that was started in the background, or under nohup, ignores these, and so would all that
# tests start. A test that sends one means a program that listens.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """Let no test leave signals blocked, as a transaction does that is past its commit."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
