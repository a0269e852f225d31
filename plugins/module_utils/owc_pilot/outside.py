"""A site as it is seen from the controller, while it is changed and when it has to be confirmed."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from owc_agent.gate import Answer

Word = Literal["pass", "fail", "inconclusive"]
Asker = Callable[[], Answer]

RATE_PER_SECOND = 5.0
_ERRORS_KEPT = 10
_MARK_CHARACTERS = 8


@dataclass(frozen=True)
class Reading:
    """One request: when it was sent and answered, in seconds since the watch began, and how."""

    sent_seconds: float
    answered_seconds: float
    status: int
    error: str
    release: str

    def is_good(self, status: int) -> bool:
        """Return whether it was answered as it should be."""
        return not self.error and self.status == status


def summary(readings: Sequence[Reading], status: int, seconds: float) -> dict[str, Any]:
    """Return what a watch of `seconds` saw: the record that is kept with the release; pure.

    `longest_gap_seconds` is the longest time without a good answer. `releases` are the marks of the
    releases that answered, in their order, with how often they did.
    """
    good = [reading for reading in readings if reading.is_good(status)]
    moments = [0.0, *(reading.answered_seconds for reading in good), seconds]
    bad = [reading for reading in readings if not reading.is_good(status)]
    marks = Counter(reading.release for reading in good if reading.release)
    return {
        "seconds": round(seconds, 2),
        "rate_per_second": RATE_PER_SECOND,
        "requests": len(readings),
        "errors": len(bad),
        "longest_gap_seconds": round(
            max(later - earlier for earlier, later in itertools.pairwise(moments)), 2
        ),
        "slowest_seconds": round(
            max((r.answered_seconds - r.sent_seconds for r in readings), default=0.0), 2
        ),
        "first_errors": [
            {"at_seconds": round(r.sent_seconds, 2), "status": r.status, "error": r.error}
            for r in bad[:_ERRORS_KEPT]
        ],
        "releases": [{"release": mark, "requests": count} for mark, count in marks.items()],
    }


class Watch:
    """Asks for one page at a fixed rate until it is stopped; a slow answer delays no other."""

    def __init__(self, ask: Asker, rate_per_second: float = RATE_PER_SECOND) -> None:
        self._ask = ask
        self._pause = 1.0 / rate_per_second
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._readings: list[Reading] = []
        self._began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._keep, args=(n,), daemon=True) for n in (0, 1)
        ]

    def start(self) -> None:
        """Begin to ask."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self, status: int) -> dict[str, Any]:
        """Stop and return the summary; `status` is what the page should answer."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        readings = sorted(self._readings, key=lambda reading: reading.answered_seconds)
        return summary(readings, status, time.monotonic() - self._began)

    def _keep(self, number: int) -> None:
        # Two that take turns, so that one slow answer leaves half the rate.
        due = self._began + number * self._pause
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            sent = time.monotonic()
            answer = self._ask()
            reading = Reading(
                sent - self._began,
                time.monotonic() - self._began,
                answer.status,
                answer.error,
                answer.release,
            )
            with self._lock:
                self._readings.append(reading)
            due = max(due + 2 * self._pause, time.monotonic())


def judge(
    before: Answer, after: Sequence[Answer], status: int, release_id: str
) -> tuple[Word, str]:
    """Return whether the changed site is seen from outside as it should be; pure.

    `before` is how it answered just before the change, `after` how it answers now, asked once or
    more. A controller that cannot see the site at all, before or after, leaves the judgement to the
    server's own gate.
    """
    mark = release_id[-_MARK_CHARACTERS:]
    last = after[-1]
    if any(
        not answer.error and answer.status == status and answer.release in ("", mark)
        for answer in after
    ):
        return "pass", ""
    if is_out_of_sight(before) and all(is_out_of_sight(answer) for answer in after):
        return "pass", "the site cannot be seen from the controller"
    if all(answer.error for answer in after):
        return "inconclusive", "from the controller it does not answer: %s" % last.error
    if last.status == status:
        return "inconclusive", "from the controller release %s still answers" % last.release
    return "fail", "from the controller %s answers %d, not %d" % (last.path, last.status, status)


def is_out_of_sight(answer: Answer) -> bool:
    """Return whether not even a connection came about."""
    return answer.error.startswith(("[Errno", "timed out"))
