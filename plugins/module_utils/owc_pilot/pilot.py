"""Flying the transactions of one server: some at a time, each watched and confirmed from here.

Only what is asked of the server again and again goes over the connection, so a lost one is made
again; a controller that is gone costs the transactions under way their confirmation, and the others
were not begun.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from owc_agent.gate import Answer, ask
from owc_pilot.outside import Watch, judge

Job = dict[str, Any]
Call = Callable[[dict[str, Any]], dict[str, Any]]

# Longer than a server takes to boot, shorter than anybody wants to wait for one that is gone.
RECONNECT_SECONDS = 120.0
_RECONNECT_PAUSE_SECONDS = 2.0
# How long a site that is not seen well is looked at again before that is the verdict.
PATIENCE_SECONDS = 20.0
_ASK_TIMEOUT_SECONDS = 10.0
# What ssh says when it never came in.
_NEVER_IN = ("connect to host", "could not resolve", "permission denied", "host key verification")


class ConnectionLostError(Exception):
    """The server was not reached; `was_there` when the connection had stood, so work may go on."""

    def __init__(self, message: str, *, was_there: bool = False) -> None:
        super().__init__(message)
        self.was_there = was_there


def may_have_been_there(words: str) -> bool:
    """Return whether a connection of which ssh says this may have stood, so that work may go on.

    When it goes away ssh says one thing or another, or nothing at all.
    """
    return not any(each in words.lower() for each in _NEVER_IN)


class Flight:
    """One transaction under way, watched from here when its job says what to look at."""

    def __init__(self, job: Job, address: str) -> None:
        self.job = job
        self.site: str = job["site"]
        self._look: dict[str, Any] | None = job["watch"]
        self._address = address
        self._watch: Watch | None = None
        if self._look is not None:
            self._before = self._ask()
            self._watch = Watch(self._ask)
            self._watch.start()

    def _ask(self) -> Answer:
        look = self._look or {}
        return ask(look["domain"], look["path"], _ASK_TIMEOUT_SECONDS, self._address)

    def name(self) -> dict[str, str]:
        """Return what the server knows it by."""
        return {"site": self.site, "transaction_id": self.job["transaction_id"]}

    def verdict(self) -> dict[str, Any]:
        """Look at the changed site from here and say whether it is good."""
        look = self._look
        if look is None:
            return {**self.name(), "verdict": "pass", "reason": "", "evidence": {}}
        deadline = time.monotonic() + PATIENCE_SECONDS
        after = [self._ask()]
        while True:
            word, reason = judge(self._before, after, look["status"], look["release_id"])
            if word == "pass" or time.monotonic() > deadline:
                break
            time.sleep(min(0.3 * len(after), 3.0))
            after.append(self._ask())
        evidence = {"asked": len(after), "reason": reason}
        return {**self.name(), "verdict": word, "reason": reason, "evidence": evidence}

    def land(self) -> dict[str, Any]:
        """Stop watching and return what was seen."""
        if self._watch is None or self._look is None:
            return {}
        return self._watch.stop(self._look["status"])


class Pilot:
    """Flies jobs to their outcomes. `call` is one call of the module on the server."""

    def __init__(
        self, call: Call, address: str, tell: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> None:
        self._call = call
        self._address = address
        self._tell = tell
        self._begun = False
        self._flights: dict[str, Flight] = {}
        self._outcomes: list[dict[str, Any]] = []

    def fly(self, jobs: Iterable[Job], parallel: int) -> list[dict[str, Any]]:
        """Run every job, at most `parallel` at a time; return an outcome for each.

        Raises ConnectionLostError when the server was not reached even once.
        """
        waiting = deque(jobs)
        verdicts: list[dict[str, Any]] = []
        try:
            while waiting or self._flights:
                verdicts = self._round(waiting, parallel, verdicts)
        except ConnectionLostError as error:
            if not self._begun:
                raise
            self._give_up(waiting, str(error))
        finally:
            for flight in self._flights.values():
                flight.land()
        return self._outcomes

    def _round(
        self, waiting: deque[Job], parallel: int, verdicts: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        flying = [flight.name() for flight in self._flights.values()]
        start: list[Job] = []
        while waiting and len(self._flights) < max(1, parallel):
            job = waiting.popleft()
            self._flights[job["site"]] = Flight(job, self._address)
            start.append(job)
        answer = self._call_again({"start": start, "verdicts": verdicts, "flights": flying})
        self._begun = True
        for outcome in answer["finished"]:
            self._finish(outcome)
        provisional = [
            self._flights[item["site"]]
            for item in answer["provisional"]
            if item["site"] in self._flights
        ]
        if not provisional:
            return []
        with ThreadPoolExecutor(max_workers=len(provisional)) as pool:
            return list(pool.map(Flight.verdict, provisional))

    def _finish(self, outcome: dict[str, Any]) -> None:
        flight = self._flights.pop(outcome["site"], None)
        if flight is not None:
            outcome["details"] = {**outcome["details"], "watch": flight.land()}
            self._outcomes.append(outcome)
            self._tell(outcome)

    def _call_again(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call; when the connection is lost, call again: the server knows what it did already."""
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                return self._call(arguments)
            except ConnectionLostError as error:
                self._begun = self._begun or error.was_there
                if not self._begun or time.monotonic() > deadline:
                    raise
                time.sleep(_RECONNECT_PAUSE_SECONDS)

    def _give_up(self, waiting: Iterable[Job], reason: str) -> None:
        for flight in self._flights.values():
            message = (
                "the connection was lost while it was going on (%s); the server finishes or undoes"
                " it by itself; next: owc-deploy status %s" % (reason, flight.site)
            )
            self._outcomes.append(_without_word(flight.site, "inconclusive", message))
        for job in waiting:
            message = "the connection was lost before it began (%s)" % reason
            self._outcomes.append(_without_word(job["site"], "not-attempted", message))


def _without_word(site: str, word: str, message: str) -> dict[str, Any]:
    return {
        "site": site,
        "outcome": word,
        "message": message,
        "release_id": "",
        "previous_release_id": "",
        "seconds": 0.0,
        "details": {},
    }
