from __future__ import annotations

from typing import Any

import pytest

from owc_deploy.execution.events import EventCollector
from owc_deploy.execution.ports import Progress


def event(kind: str, host: str = "web1", task: str = "Release", **data: Any) -> dict[str, Any]:
    return {
        "event": kind,
        "pid": 42,
        "stdout": "",
        "event_data": {"host": host, "task": task, "task_action": "owc_release", **data},
    }


def stats(**groups: Any) -> dict[str, Any]:
    return {"event": "playbook_on_stats", "pid": 42, "event_data": groups}


def collect(*events: dict[str, Any], servers: tuple[str, ...] = ("web1",)) -> EventCollector:
    collector = EventCollector(servers, None)
    for item in events:
        assert collector(item) is False
    return collector


def test_results_are_kept_by_module_and_in_order() -> None:
    collector = collect(
        event("playbook_on_start"),
        event("runner_on_start"),
        event("runner_on_ok", res={"changed": True, "outcomes": [1]}),
        event("runner_on_ok", task="Again", res={"changed": False, "outcomes": [2]}),
        stats(processed={"web1": 1}, ok={"web1": 2}),
    )
    (result,) = collector.results(unfinished="")
    assert [(task.name, task.state) for task in result.tasks] == [
        ("Release", "changed"),
        ("Again", "ok"),
    ]
    assert result.results["owc_release"]["outcomes"] == [2]
    assert collector.process_id == 42


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"msg": "disk full"}, "Release: disk full"),
        ({"msg": "Task failed: Module failed: disk full"}, "Release: disk full"),
        (
            {"msg": "non-zero return code", "stderr": "a\nnginx: bad directive\n"},
            "Release: non-zero return code; nginx: bad directive",
        ),
        ({"msg": "", "results": [{"failed": True, "msg": "one"}, {"msg": "x"}]}, "Release: one"),
        ({}, "Release: failed without saying why"),
        (
            {"censored": "the output has been hidden"},
            "Release: failed; what it said is hidden because it handles secrets",
        ),
    ],
)
def test_a_failure_is_told_in_words(result: dict[str, Any], words: str) -> None:
    collector = collect(
        event("runner_on_failed", res=result), stats(failures={"web1": 1}, processed={"web1": 1})
    )
    (answer,) = collector.results(unfinished="")
    assert (answer.status, answer.error) == ("failed", words)


def test_a_failure_that_is_ignored_or_rescued_is_none() -> None:
    collector = collect(
        event("runner_on_failed", res={"msg": "x"}, ignore_errors=True),
        stats(processed={"web1": 1}, ignored={"web1": 1}),
    )
    (answer,) = collector.results(unfinished="")
    assert (answer.status, answer.error) == ("ok", "")


def test_an_unreachable_server_says_what_ssh_said() -> None:
    collector = collect(
        event("runner_on_unreachable", res={"msg": "Task failed: ssh: refused"}),
        stats(dark={"web1": 1}, processed={"web1": 1}),
    )
    (answer,) = collector.results(unfinished="")
    assert (answer.status, answer.error) == ("unreachable", "ssh: refused")


def test_without_an_end_only_the_unfinished_are_said_to_be() -> None:
    collector = collect(
        event("runner_on_ok", "web1", res={"outcomes": []}),
        event("runner_on_start", "web1", task="Next"),
        event("runner_on_unreachable", "web2", res={"msg": "gone"}),
        servers=("web1", "web2", "web3"),
    )
    assert not collector.finished
    answers = {answer.server: answer for answer in collector.results(unfinished="too long")}
    assert [(a.status, a.error, a.timed_out) for a in answers.values()] == [
        ("failed", "too long", True),
        ("unreachable", "gone", False),
        ("failed", "too long", True),
    ]


def test_a_server_the_playbook_passed_over_is_not_called_ok() -> None:
    collector = collect(stats(processed={}))
    (answer,) = collector.results(unfinished="no work")
    assert (answer.status, answer.error, answer.timed_out) == ("failed", "no work", False)


def test_progress_is_told_as_it_happens() -> None:
    told: list[Progress] = []
    collector = EventCollector(("web1",), told.append)
    for item in (
        event("runner_on_start"),
        event("runner_on_skipped"),
        event("runner_on_ok", res={"changed": True}),
        event("runner_on_failed", res={}),
        event("runner_on_start", "elsewhere"),
        event("runner_on_no_hosts"),
        event("verbose"),
    ):
        collector(item)
    assert [progress.state for progress in told] == ["started", "skipped", "changed", "failed"]


def test_the_tail_is_what_was_said_last_without_colours() -> None:
    lines = [
        {"event": "verbose", "stdout": f"\x1b[0;31mline {number}\x1b[0m"} for number in range(40)
    ]
    collector = collect(*lines, {"event": "verbose", "stdout": "  "})
    assert collector.tail.splitlines()[0] == "line 15"
    assert collector.tail.splitlines()[-1] == "line 39"
