from __future__ import annotations

import pytest

from owc_agent import held

NOW = 1_800_000_000
HOOK, OTHER, KEY = b"send".hex(), b"other".hex(), b"40cd".hex()


def event(at: int, interval: int = 0, hook: str = HOOK, key: str = KEY) -> held.Event:
    return held.Event(NOW + at, hook, key, interval)


@pytest.mark.parametrize(
    ("left", "kept", "to"),
    [
        ([], [event(-60)], None),
        ([], [event(+60)], None),
        ([event(-60)], [event(-60)], "kept"),
        ([event(+90)], [event(-60)], +90),
        ([event(+90), event(+30)], [event(-60)], +30),
        ([event(-60, hook=OTHER)], [event(-60)], None),
        ([event(-60, key="00")], [event(-60)], None),
        ([event(+40, 100)], [event(-60, 100)], +40),
        ([], [event(-60, 100)], +40),
        ([event(-60, 100)], [event(-250, 100)], +50),
        ([], [event(0, 100)], +100),
        ([], [event(+1, 100)], "kept"),
    ],
    ids=[
        "it ran",
        "it ran early or was called off",
        "it still waits",
        "it ran and planned itself anew",
        "the first of those",
        "another hook",
        "other arguments",
        "recurring, as the one left has it",
        "recurring, gone since",
        "recurring, overdue in both",
        "recurring, now",
        "recurring, not yet",
    ],
)
def test_what_becomes_of_an_event(
    left: list[held.Event], kept: list[held.Event], to: int | str | None
) -> None:
    changed = held.changes(left, kept, NOW)
    if to == "kept":
        assert changed == []
        return
    assert [change.event for change in changed] == kept
    assert changed[0].to == (NOW + to if isinstance(to, int) else None)


def test_what_is_told_of_an_event() -> None:
    odd = event(-60, hook=b"\xffsend\x1b".hex())
    told = held._told(held.Change(odd, None))
    assert told["hook"] == "\N{REPLACEMENT CHARACTER}send\N{REPLACEMENT CHARACTER}"
    assert (told["was"], told["done"]) == ("gone", "removed")
    assert held._told(held.Change(event(-60, 9), NOW))["to"] == "2027-01-15T08:00:00Z"
    assert held._told(held.Change(held.Event(10**18, HOOK, KEY, 0), None))["at"] == str(10**18)


def test_actions_are_asked_for_with_the_columns_there_are() -> None:
    plain = held.actions_query("owc_x", "owcrestore_x", {"action_id", "hook", "status"}, 9)
    assert "k.schedule" not in plain
    assert "k.action_id <= 9" in plain
    known = {"action_id", "hook", "status", "args", "schedule", "scheduled_date_gmt"}
    full = held.actions_query("owc_x", "owcrestore_x", known, 9)
    assert "n.hook <=> k.hook AND n.args <=> k.args" in full
    assert "group_id" not in full
