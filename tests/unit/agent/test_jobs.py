from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from owc_agent import commands, files, install, jobs, layout

A, B = "20261124T100000Z-aaaaaaaa", "20261124T100000Z-bbbbbbbb"


@pytest.fixture(autouse=True)
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "RUN", str(tmp_path))
    monkeypatch.setattr(jobs, "_UNIT_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(jobs, "_is_gone", lambda _: False)
    for site in ("altena", "breda"):
        (tmp_path / site).mkdir()


def flight(site: str, transaction_id: str) -> dict[str, str]:
    return {"site": site, "transaction_id": transaction_id}


def say(site: str, transaction_id: str, what: str) -> None:
    paths = layout.SitePaths(site)
    path = {"provisional": paths.provisional, "changed": paths.outcome}[what](transaction_id)
    files.write_json(path, {"site": site, "outcome": what})


def words(documents: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(document["site"], document["outcome"]) for document in documents]


def test_the_first_to_get_on_ends_the_wait() -> None:
    say("breda", B, "provisional")
    finished, waiting = jobs.wait([flight("altena", A), flight("breda", B)], [], 5)
    assert finished == []
    assert words(waiting) == [("breda", "provisional")]


def test_those_with_a_verdict_are_waited_for_to_their_end() -> None:
    say("altena", A, "provisional")
    say("breda", B, "provisional")
    finished, waiting = jobs.wait([flight("altena", A)], [flight("breda", B)], 0.1)
    assert (finished, words(waiting)) == ([], [("altena", "provisional")])
    say("breda", B, "changed")
    finished, waiting = jobs.wait([flight("altena", A)], [flight("breda", B)], 5)
    assert (words(finished), words(waiting)) == (
        [("breda", "changed")],
        [("altena", "provisional")],
    )


def test_an_answer_that_was_lost_is_given_again() -> None:
    say("altena", A, "changed")
    for _ in range(2):
        finished, _ = jobs.wait([flight("altena", A)], [], 5)
        assert words(finished) == [("altena", "changed")]


def test_a_unit_that_is_gone_without_a_word_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_is_gone", lambda _: True)
    finished, _ = jobs.wait([flight("altena", A)], [], 5)
    assert words(finished) == [("altena", "inconclusive")]


def test_what_was_asked_before_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "make_current", lambda _: None)
    say("altena", A, "changed")
    assert jobs.start([{"site": "altena", "transaction_id": A}]) == []


def test_a_verdict_for_what_does_not_wait_is_not_left_lying_about() -> None:
    told = {**flight("altena", A), "verdict": "pass", "reason": "", "evidence": {}}
    jobs.give_verdicts([told])
    paths = layout.SitePaths("altena")
    assert files.read_json(paths.verdict(A)) is None
    say("altena", A, "provisional")
    jobs.give_verdicts([told])
    assert files.read_json(paths.verdict(A)) == {"verdict": "pass", "reason": "", "evidence": {}}


def test_the_next_transaction_forgets_outcomes_but_not_of_a_moment_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = layout.SitePaths("altena")
    say("altena", A, "changed")
    say("altena", B, "changed")
    long_ago = time.time() - 3600
    os.utime(paths.outcome(A), (long_ago, long_ago))
    monkeypatch.setattr(install, "make_current", lambda _: None)
    started = subprocess.CompletedProcess([], 0, b"", b"")
    monkeypatch.setattr(commands, "run", lambda *_, **__: started)
    jobs.start([{"site": "altena", "transaction_id": "20261124T100000Z-cccccccc"}])
    assert not Path(paths.outcome(A)).exists()
    assert Path(paths.outcome(B)).exists()
