"""What is made of a server's answer, whatever the answer."""

from __future__ import annotations

from typing import Any

import pytest

from owc_deploy.execution.ansible import site_outcomes
from owc_deploy.execution.door import Answer


def answer(status: Any, *told: Any, **extra: Any) -> Answer:
    return Answer("web1", status, {"outcomes": list(told)} if told else {}, **extra)


def test_every_site_that_was_asked_for_has_exactly_one_outcome() -> None:
    told = {
        "site": "a",
        "outcome": "changed",
        "release_id": "r2",
        "previous_release_id": "r1",
        "seconds": 1.9,
        "message": "",
        "details": {"steps": []},
    }
    stranger = {"site": "stranger", "outcome": "changed"}
    outcomes = site_outcomes(answer("ok", told, stranger), ("a", "b"), "")
    assert [(o.site, o.outcome, o.release_id) for o in outcomes] == [
        ("a", "changed", "r2"),
        ("b", "inconclusive", ""),
    ]
    assert outcomes[0].previous_release_id == "r1"
    assert outcomes[0].seconds == 1.9
    assert outcomes[0].details == {"steps": []}
    assert outcomes[1].message == "the server did not say how it ended"


@pytest.mark.parametrize(
    ("given", "word"),
    [
        # Never reached: nothing can have happened.
        (answer("unreachable", error="ssh: Connection refused"), "unreachable"),
        # The connection went away at work: the transaction goes on in its own unit.
        (answer("unreachable", error="Shared connection closed.", began=True), "inconclusive"),
        # It failed before the release began, or in it.
        (answer("failed", error="disk full"), "failed"),
        (answer("failed", error="no python", began=True), "failed"),
        # Nobody waited for the end.
        (answer("failed", error="not finished", began=True, timed_out=True), "inconclusive"),
        (answer("ok"), "inconclusive"),
        # An answer nobody can read is not a success.
        (answer("ok", "?"), "inconclusive"),
        (answer("ok", {"site": "a", "outcome": "splendid"}), "inconclusive"),
    ],
)
def test_silence_is_never_a_success(given: Answer, word: str) -> None:
    (outcome,) = site_outcomes(given, ("a",), given.error)
    assert outcome.outcome == word


def test_it_is_said_that_nothing_was_changed() -> None:
    given = answer("failed", error="Send: disk full")
    (outcome,) = site_outcomes(given, ("a",), "Send: disk full")
    assert outcome.message == "nothing was changed: Send: disk full"
