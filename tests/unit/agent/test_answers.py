from __future__ import annotations

from typing import Any

import pytest

from owc_agent import answers, jobs, logs


def ask(question: str, **arguments: Any) -> dict[str, Any]:
    return answers.answer({"ask": question, "arguments": arguments})


def test_an_answer_says_whether_anything_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "recent", lambda site, lines: [site] * lines)
    assert ask("logs", site="altena", lines=2) == {"changed": False, "lines": ["altena", "altena"]}


@pytest.mark.parametrize(
    ("question", "arguments", "said"),
    [
        ("logs", {"site": "../etc", "lines": 1}, "not a site name"),
        ("access", {"site": "../etc", "login": "beheer"}, "not a site name"),
        ("secrets", {"items": [{"site": "altena", "fence": "mine"}]}, "nothing was"),
        ("artefacts", {"bundle": "/nowhere"}, "artefacts refused"),
        ("what", {}, "KeyError"),
        ("logs", {}, "TypeError"),
    ],
)
def test_what_cannot_be_done_is_said(question: str, arguments: dict[str, Any], said: str) -> None:
    answer = ask(question, **arguments)
    assert answer["failed"] is True
    assert said in answer["msg"]


def test_an_unexpected_error_does_not_quote_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(items: Any) -> list[str]:
        raise RuntimeError(items[0]["content"])

    monkeypatch.setattr("owc_agent.fences.without_overtaken", lambda items: items)
    monkeypatch.setattr("owc_agent.secret_files.place", fail)
    answer = ask("secrets", items=[{"content": "canary"}])
    assert answer["msg"].startswith("RuntimeError (fail line ")


def test_verdicts_are_given_before_anybody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    refused = {"site": "breda", "outcome": "busy"}
    monkeypatch.setattr(jobs, "start", lambda _: [refused])
    monkeypatch.setattr(jobs, "give_verdicts", done.append)

    def wait(flying: Any, settled: Any, seconds: float) -> Any:
        done.append(([each["site"] for each in flying], [each["site"] for each in settled]))
        return [{"site": "druten"}], []

    monkeypatch.setattr(jobs, "wait", wait)
    verdict = {"site": "druten", "verdict": "pass"}
    answer = ask(
        "transactions",
        start=[{"site": "altena"}, {"site": "breda"}],
        verdicts=[verdict],
        flights=[{"site": "druten"}, {"site": "ede"}],
    )
    assert done == [[verdict], (["ede", "altena"], ["druten"])]
    assert answer["finished"] == [refused, {"site": "druten"}]
