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
SPECIFICATION["gate"]["rest_routes"] = ["/owc/woo/v1/items"]
REPORT: dict[str, Any] = {
    "plugins": {"woo/woo.php": "4.3.0", "cmb2/init.php": "2.11.0"},
    "deactivated": [],
    "theme": "theme",
    "locale": "nl_NL",
    "rest_namespaces": ["wp/v2", "owc/woo/v1"],
    "cron_hooks": ["wp_x", "woo_fetch"],
    "front_page": "<html>",
    "rest_routes": ["/owc/woo/v1/items"],
    "database_version": 60717,
    "code_database_version": 60717,
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
        ({"rest_routes": []}, "the REST route /owc/woo/v1/items is missing"),
        ({"database_version": 57155}, "the database is at version 57155, the code wants 60717"),
        ({"front_page": " "}, "the front page is empty"),
        ({"front_page": "<b>Fatal error</b>: x"}, "shows a PHP error"),
    ],
)
def test_what_is_not_as_asked_is_said(change: dict[str, Any], said: str) -> None:
    report = {**copy.deepcopy(REPORT), **change}
    problems = gate.judge_report(SPECIFICATION, report)
    assert len(problems) == 1
    assert said in problems[0]


def answer(status: int = 200, body: str = "Gemeente & Co", error: str = "") -> gate.Answer:
    return gate.Answer("/", status, body, 0.1, error)


GOOD, WRONG, SILENT = answer(), answer(500, ""), answer(0, "", "refused")
PAGE = {"path": "/", "status": 200, "text": "Gemeente & Co"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer(body="<h1>Gemeente &amp; Co</h1>"), ""),
        (WRONG, "/ answers 500, not 200"),
        (SILENT, "/ did not answer: refused"),
        (answer(body="Iets anders"), "/ lacks the text 'Gemeente & Co'"),
        (answer(body="Gemeente & Co Uncaught Error: x"), "/ shows a PHP error"),
    ],
)
def test_one_answer(given: gate.Answer, said: str) -> None:
    assert gate.judge_answer(PAGE, given) == said


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        ([GOOD], "pass"),
        ([WRONG, GOOD, GOOD], "pass"),
        ([SILENT, GOOD, GOOD], "pass"),
        ([WRONG, GOOD, WRONG], "inconclusive"),
        ([SILENT, SILENT, GOOD], "inconclusive"),
        ([WRONG, WRONG, WRONG], "fail"),
        ([WRONG, SILENT, SILENT], "fail"),
        ([SILENT, SILENT, SILENT], "inconclusive"),
    ],
)
def test_one_blip_is_no_verdict(answers: list[gate.Answer], word: str) -> None:
    assert gate.judge_page(PAGE, answers)[0] == word


def test_what_was_broken_before_is_not_blamed_on_the_release() -> None:
    specification = {"gate": {"pages": [PAGE], "rest_namespaces": ["a/v1"], "cron_hooks": ["x"]}}
    before = gate.take_baseline(specification, list, lambda _: WRONG)
    assert gate.judge_pages([PAGE], [[WRONG] * 3], before) == gate.Verdict(
        "pass", [], ["/ answers 500, not 200, as before"], 1
    )
    problems = ["the cron event x is missing", "the REST namespace a/v1 is missing"]
    # The namespaces could not be read before, so nothing is excused by that.
    assert gate.blame(problems, before) == (problems[1:], [f"{problems[0]}, as before"])


def test_a_new_expectation_is_not_excused_by_the_release_that_did_not_have_it() -> None:
    specification = {"gate": {"pages": [{**PAGE, "text": None}]}}
    before = gate.take_baseline(specification, list, lambda _: answer(body="oud"))
    verdict = gate.judge_pages([PAGE], [[answer(body="oud")] * 3], before)
    assert (verdict.word, verdict.checked) == ("fail", 1)


def test_the_hooks_of_a_cron_option() -> None:
    option = {"1700000000": {"b_hook": {}, "a_hook": {}}, "version": 2}
    assert gate.cron_hooks(option) == ["a_hook", "b_hook"]
    assert gate.cron_hooks(False) == []
