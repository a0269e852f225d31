from __future__ import annotations

import copy
from typing import Any

import pytest

from owc_agent import gate

SPECIFICATION: dict[str, Any] = {
    "theme": {"folder": "theme"},
    "locale": "nl_NL",
    "blocks": [
        {"kind": "plugin", "folder": "cmb2", "main_file": "init.php", "header_version": "2.11.0"},
        {"kind": "plugin", "folder": "woo", "main_file": "woo.php", "header_version": "4.3.0"},
        {"kind": "mu-plugin", "folder": "mu", "main_file": "mu.php", "header_version": "1"},
    ],
    "gate": {"rest_namespaces": ["owc/woo/v1"], "cron_hooks": ["woo_fetch"]},
}
REPORT: dict[str, Any] = {
    "plugins": {"woo/woo.php": "4.3.0", "cmb2/init.php": "2.11.0"},
    "deactivated": [],
    "theme": "theme",
    "locale": "nl_NL",
    "rest_namespaces": ["wp/v2", "owc/woo/v1"],
    "cron_hooks": ["wp_x", "woo_fetch"],
    "front_page": "<html>",
}


def test_what_is_as_asked_passes_whatever_the_order() -> None:
    assert gate.judge_report(SPECIFICATION, REPORT) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plugins": {"cmb2/init.php": "2.11.0"}}, "woo/woo.php switched itself off"),
        ({"deactivated": ["woo/woo.php"]}, "woo/woo.php switched itself off"),
        ({"plugins": {**REPORT["plugins"], "woo/woo.php": "4.2.0"}}, "is version 4.2.0"),
        ({"plugins": {**REPORT["plugins"], "x/x.php": "1"}}, "x/x.php is active and not in"),
        ({"theme": "twentytwelve"}, "the theme is twentytwelve"),
        ({"locale": "en_US"}, "the language is en_US"),
        ({"rest_namespaces": []}, "owc/woo/v1 is missing"),
        ({"cron_hooks": []}, "woo_fetch is missing"),
        ({"front_page": " "}, "the front page is empty"),
        ({"front_page": "<b>Fatal error</b>: x"}, "shows a PHP error"),
    ],
)
def test_what_is_not_as_asked_is_said(change: dict[str, Any], said: str) -> None:
    report = {**copy.deepcopy(REPORT), **change}
    problems = gate.judge_report(SPECIFICATION, report)
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (gate.Answer("/", 200, "<h1>Gemeente &amp; Co</h1>", 0.1, ""), None),
        (gate.Answer("/", 500, "", 0.1, ""), "answers 500, not 200"),
        (gate.Answer("/", 0, "", 0.1, "refused"), "did not answer: refused"),
        (gate.Answer("/", 200, "Iets anders", 0.1, ""), "lacks the text"),
        (gate.Answer("/", 200, "Gemeente & Co Uncaught Error: x", 0.1, ""), "shows a PHP error"),
    ],
)
def test_pages(answer: gate.Answer, said: str | None) -> None:
    page = {"path": "/", "status": 200, "text": "Gemeente & Co"}
    problems = gate.judge_answers([page], [answer])
    assert (problems == []) if said is None else (said in problems[0])
