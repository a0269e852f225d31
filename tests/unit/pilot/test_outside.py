from __future__ import annotations

import pytest
from owc_pilot.outside import RATE_PER_SECOND, Reading, Watch, judge, summary

from owc_agent.gate import Answer

RELEASE = "20261124T182200Z-1a2b3c4d"


def answer(status: int = 200, error: str = "", release: str = "1a2b3c4d") -> Answer:
    return Answer("/", status, "", 0.1, error, release)


GOOD = answer()
BROKEN = answer(502, release="")
AWAY = answer(0, "[Errno 111] Connection refused", "")
SILENT = answer(0, "timed out", "")
RESET = answer(0, "EOF occurred in violation of protocol", "")


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (GOOD, [GOOD], "pass"),
        (GOOD, [BROKEN, GOOD], "pass"),
        # A page without the mark, from a cache or an older release of this tool, is as good.
        (GOOD, [answer(release="")], "pass"),
        (GOOD, [BROKEN, BROKEN], "fail"),
        (GOOD, [answer(release="99999999")], "inconclusive"),
        (GOOD, [AWAY, AWAY], "inconclusive"),
        (GOOD, [RESET], "inconclusive"),
        # Who could not see the site before cannot judge it afterwards.
        (AWAY, [AWAY], "pass"),
        (SILENT, [SILENT], "pass"),
        # A site that is new answers nothing before.
        (RESET, [GOOD], "pass"),
        (RESET, [RESET], "inconclusive"),
        (AWAY, [BROKEN], "fail"),
    ],
)
def test_the_verdict_from_outside(before: Answer, after: list[Answer], word: str) -> None:
    assert judge(before, after, 200, RELEASE)[0] == word


def test_what_a_watch_saw() -> None:
    readings = [
        Reading(0.0, 0.1, 200, "", "aaaaaaaa"),
        Reading(0.1, 0.9, 0, "timed out", ""),
        Reading(0.2, 1.2, 200, "", "bbbbbbbb"),
        Reading(1.2, 1.3, 503, "", ""),
    ]
    assert summary(readings, 200, 2.0) == {
        "seconds": 2.0,
        "rate_per_second": RATE_PER_SECOND,
        "requests": 4,
        "errors": 2,
        "longest_gap_seconds": 1.1,
        "slowest_seconds": 1.0,
        "first_errors": [
            {"at_seconds": 0.1, "status": 0, "error": "timed out"},
            {"at_seconds": 1.2, "status": 503, "error": ""},
        ],
        "releases": [
            {"release": "aaaaaaaa", "requests": 1},
            {"release": "bbbbbbbb", "requests": 1},
        ],
    }


def test_a_watch_that_saw_nothing_was_one_gap() -> None:
    assert summary([], 200, 3.0)["longest_gap_seconds"] == 3.0


def test_a_watch_asks_until_it_is_stopped() -> None:
    asked = []

    def ask() -> Answer:
        asked.append(1)
        return GOOD

    watch = Watch(ask, rate_per_second=200)
    watch.start()
    while len(asked) < 5:
        pass
    seen = watch.stop(200)
    assert seen["requests"] == len(asked)
    assert seen["errors"] == 0
