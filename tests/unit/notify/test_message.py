"""What people read: plain text, in bounds, that calls nobody and hides nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owc_deploy.notify.message import (
    MAXIMUM_BODY,
    MAXIMUM_TITLE,
    Notice,
    kind_of,
    message_for,
)

NOTICE = Notice(
    "rollout-halted",
    "voorbeeld",
    "openwoo 4.3.0",
    "heusden: rolled-back: the page / answers 500\nring canary",
    "owc-deploy rollout status",
    "https://ci.example/jobs/7",
)


def test_it_says_what_where_and_what_next() -> None:
    assert message_for(NOTICE) == (
        "Rollout halted: openwoo 4.3.0 (voorbeeld)",
        (
            "heusden: rolled-back: the page / answers 500\nring canary\n\n"
            "Next: owc-deploy rollout status\n\nhttps://ci.example/jobs/7"
        ),
    )
    assert kind_of(NOTICE) == "failure"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@channel all is well", "@\u2060channel all is well"),
        ("ask beheer@voorbeeld.example", "ask beheer@voorbeeld.example"),
        ("see [the log](https://elsewhere.example)", "see [the log] (https://elsewhere.example)"),
        ("red \x1b[31m and \u202eback", "red \ufffd[31m and \ufffdback"),
        ("one\ttab\r\ntwo", "one tab\ntwo"),
    ],
)
def test_what_a_service_would_read_into_it_is_taken_out(text: str, shown: str) -> None:
    assert message_for(Notice("site-failed", "f", "s", text))[1] == shown


def test_a_title_is_one_line() -> None:
    title, _ = message_for(Notice("site-failed", "f", "a\nBcc: x@y.example", "t"))
    assert title == "Site failed: a\ufffdBcc: x@y.example (f)"


@given(st.text(), st.text(), st.text(), st.text())
def test_it_is_never_too_long_nor_empty(subject: str, text: str, command: str, link: str) -> None:
    title, body = message_for(Notice("test", "f", subject, text * 50, command[:500], link[:500]))
    assert 0 < len(title) <= MAXIMUM_TITLE
    assert 0 < len(body) <= MAXIMUM_BODY * 2
    assert "\n" not in title
    assert all(sign == "\n" or sign.isprintable() or sign == "\u2060" for sign in title + body)


def test_a_long_text_leaves_room_for_what_is_next() -> None:
    _, body = message_for(Notice("site-failed", "f", "s", "x" * 10_000, "owc-deploy status"))
    assert len(body) == MAXIMUM_BODY
    assert body.endswith("\N{HORIZONTAL ELLIPSIS}\n\nNext: owc-deploy status")
