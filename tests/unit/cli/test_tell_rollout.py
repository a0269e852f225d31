"""What the channels hear of a rollout, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes.walking import FakeClock, MemoryJournal
from unit.plan.examples import fleet

from owc_deploy.cli.tell import TellingJournal, WorkerNotices, rollout_notice, tell_events
from owc_deploy.fleet.models import NEEDS_A_PERSON, Fleet, NotificationChannel, SecretReference
from owc_deploy.notify.message import Notice, kind_of
from owc_deploy.rollout.models import EventKind, NewEvent, Rollout, RolloutRing, RolloutSite

RING = RolloutRing("canary", (RolloutSite("altena", "web1", "", "default"),), (1,))
ROLLOUT = Rollout("20261127T000000Z-aaaaaaaa", "test", "", "me", "openwoo ^4.3", (RING,))


def ended(word: str, **more: Any) -> dict[str, Any]:
    return {"outcome": word, "message": "why", **more}


def found(problem: dict[str, Any]) -> dict[str, Any]:
    problems = {"altena": problem} if problem else {}
    return {"ring": "canary", "sites": ["altena"], "problems": problems}


@pytest.mark.parametrize(
    ("kind", "body", "told", "text"),
    [
        ("rollout-started", {}, "rollout-started", "1 site"),
        ("walk-begun", {}, None, ""),
        ("site-intended", {}, None, ""),
        ("site-ended", ended("changed"), None, ""),
        ("site-ended", ended("unreachable"), None, ""),
        ("site-ended", ended("failed"), "site-failed", "altena: failed: why"),
        ("site-ended", ended("rolled-back"), "site-failed", "altena: rolled-back: why"),
        ("site-ended", ended("inconclusive"), "site-failed", "altena: inconclusive: why"),
        ("site-ended", ended("not-attempted"), "site-failed", "altena: not-attempted: why"),
        ("site-ended", ended("busy", given_up=True), "site-failed", "altena: busy: why"),
        ("site-ended", ended("busy", attempt=3), "site-failed", "altena: busy: why"),
        ("site-ended", ended("busy", attempt=2), None, ""),
        ("undo-ended", ended("failed"), "site-failed", "altena: failed: why"),
        ("undo-ended", ended("unreachable", attempt=3), "site-failed", "altena: unreachable: why"),
        ("ring-checked", found({}), None, ""),
        ("ring-checked", found(ended("failed")), "site-failed", "altena: failed: why"),
        ("ring-checked", found(ended("unreachable", attempt=2)), None, ""),
        ("ring-ended", {"ring": "canary"}, "ring-ended", "ring canary has ended"),
        ("rollout-paused", {"why": "lunch"}, "rollout-paused", "lunch"),
        ("rollout-halted", {"why": "budget"}, "rollout-halted", "budget"),
        ("rollout-aborted", {"why": "no"}, "rollout-aborted", "no"),
        (
            "rollout-ended",
            {"word": "incomplete"},
            "rollout-incomplete",
            "sites were left as they were",
        ),
        ("rollout-ended", {"word": "done"}, "rollout-ended", "the rollout is done"),
        ("rollout-ended", {"word": "aborted"}, None, ""),
    ],
)
def test_what_is_told(kind: EventKind, body: dict[str, Any], told: str | None, text: str) -> None:
    notice = rollout_notice(ROLLOUT, NewEvent(kind, "altena", body), "https://ci.example/1")
    assert (notice.event if notice else None) == told
    if notice is not None:
        assert notice.text == text
        assert notice.subject == "openwoo ^4.3"
        assert notice.next_command.endswith(ROLLOUT.rollout_id)


def test_sites_that_fail_together_are_told_of_together() -> None:
    heard: list[tuple[str, str]] = []

    class Ears:
        def tell(self, notice: Notice) -> None:
            heard.append((notice.event, notice.text))

    sites = [NewEvent("site-ended", name, ended("busy", given_up=True)) for name in ("a", "b")]
    halted = NewEvent("rollout-halted", body={"why": "budget", "undo_rings": []})
    tell_events(Ears(), ROLLOUT, [*sites, halted])  # type: ignore[arg-type]
    assert heard == [("site-failed", "a: busy: why\nb: busy: why"), ("rollout-halted", "budget")]


def test_a_rollout_that_left_sites_is_bad_news_that_nobody_has_to_ask_for() -> None:
    notice = rollout_notice(ROLLOUT, NewEvent("rollout-ended", body={"word": "incomplete"}), "")
    assert notice is not None
    assert kind_of(notice) == "warning"
    assert notice.event in NEEDS_A_PERSON


def test_it_is_written_down_before_anybody_hears_of_it() -> None:
    journal = MemoryJournal(FakeClock())
    heard: list[Sequence[str]] = []

    class Ears:
        def tell(self, notice: Notice) -> None:
            heard.append((notice.event, journal.written[-1].kind))

    telling = TellingJournal(journal, ROLLOUT, Ears())  # type: ignore[arg-type]
    telling.append(NewEvent("rollout-halted", body={"why": "budget", "undo_rings": []}))
    assert heard == [("rollout-halted", "rollout-halted")]
    assert telling.events() == journal.events()


def channelled(name: str) -> Fleet:
    made = fleet()
    channels = (NotificationChannel(name, SecretReference("no-such-file")),)
    return replace(made, settings=replace(made.settings, notifications=channels))


def test_a_worker_tells_the_channels_of_the_fleet_it_has_by_now() -> None:
    said: list[str] = []
    notices = WorkerNotices(said.append)
    halted = NewEvent("rollout-halted", body={"why": "budget", "undo_rings": []})
    for name in ("chat", "mail"):
        notices(channelled(name), ROLLOUT, [NewEvent("site-intended", "altena"), halted])
    assert [words.partition(":")[0] for words in said] == [
        "chat was not told of rollout-halted",
        "mail was not told of rollout-halted",
    ]
