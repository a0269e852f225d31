"""What is made of a server's answer, whatever the answer."""

from __future__ import annotations

from typing import Any

import pytest

from owc_deploy.execution.ansible import site_outcomes
from owc_deploy.execution.events import ServerResult, TaskResult
from owc_deploy.execution.ports import TaskState

MODULE = "owc_release"


def answer(
    status: Any, *tasks: tuple[str, TaskState, dict[str, Any]], **extra: Any
) -> ServerResult:
    return ServerResult(
        "web1",
        status,
        tuple(TaskResult(name, name, state, result) for name, state, result in tasks),
        **extra,
    )


def test_every_site_that_was_asked_for_has_exactly_one_outcome() -> None:
    told = {
        "outcomes": [
            {
                "site": "a",
                "outcome": "changed",
                "release_id": "r2",
                "previous_release_id": "r1",
                "seconds": 1.9,
                "message": "",
                "details": {"steps": []},
            },
            {"site": "stranger", "outcome": "changed"},
        ]
    }
    outcomes = site_outcomes(answer("ok", (MODULE, "changed", told)), MODULE, ("a", "b"), "")
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
        (
            answer("unreachable", (MODULE, "unreachable", {}), error="ssh: Connection refused"),
            "unreachable",
        ),
        (answer("unreachable", ("copy", "unreachable", {}), error="timed out"), "unreachable"),
        # The connection went away at work: the transaction goes on in its own unit.
        (
            answer(
                "unreachable",
                (MODULE, "unreachable", {}),
                error="Shared connection to 198.51.100.2 closed.",
            ),
            "inconclusive",
        ),
        (
            answer("unreachable", (MODULE, "unreachable", {}), error="client_loop: Broken pipe"),
            "inconclusive",
        ),
        # It failed before the release began, or in it.
        (answer("failed", ("copy", "failed", {}), error="disk full"), "failed"),
        (answer("failed", (MODULE, "failed", {}), error="no python"), "failed"),
        # Nobody waited for the end.
        (answer("failed", error="not finished", timed_out=True), "inconclusive"),
        (answer("ok", (MODULE, "ok", {})), "inconclusive"),
        # An answer nobody can read is not a success.
        (answer("ok", (MODULE, "ok", {"outcomes": ["?"]})), "inconclusive"),
        (
            answer("ok", (MODULE, "ok", {"outcomes": [{"site": "a", "outcome": "splendid"}]})),
            "inconclusive",
        ),
    ],
)
def test_silence_is_never_a_success(given: ServerResult, word: str) -> None:
    (outcome,) = site_outcomes(given, MODULE, ("a",), given.error)
    assert outcome.outcome == word


def test_it_is_said_that_nothing_was_changed() -> None:
    given = answer("failed", ("copy", "failed", {}), error="Send: disk full")
    (outcome,) = site_outcomes(given, MODULE, ("a",), "Send: disk full")
    assert outcome.message == "nothing was changed: Send: disk full"
