"""What the channels hear of a rollout, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes.walking import FakeClock, MemoryJournal
from unit.plan.examples import fleet

from owc_deploy.cli.tell import TellingJournal, WorkerNotices, rollout_notice
from owc_deploy.fleet.models import Fleet, NotificationChannel, SecretReference
from owc_deploy.notify.message import Notice
from owc_deploy.rollout.models import EventKind, NewEvent, Rollout, RolloutRing, RolloutSite

RING = RolloutRing("canary", (RolloutSite("altena", "web1", "", "default"),), (1,))
ROLLOUT = Rollout("20261127T000000Z-aaaaaaaa", "test", "", "me", "openwoo ^4.3", (RING,))


def ended(word: str) -> dict[str, Any]:
    return {"outcome": word, "message": "why"}


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
        ("undo-ended", ended("failed"), "site-failed", "altena: failed: why"),
        ("ring-ended", {"ring": "canary"}, "ring-ended", "ring canary has ended"),
        ("rollout-paused", {"why": "lunch"}, "rollout-paused", "lunch"),
        ("rollout-halted", {"why": "budget"}, "rollout-halted", "budget"),
        ("rollout-aborted", {"why": "no"}, "rollout-aborted", "no"),
        ("rollout-ended", {"word": "incomplete"}, "rollout-ended", "the rollout is incomplete"),
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
