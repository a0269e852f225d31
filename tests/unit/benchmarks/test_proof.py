"""The load proof must see what it looks for, and its updates must be what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from _bench import Applied
from _load import Fate, Kind, Reading, judge
from _proof import Proof, Step
from _proof import judge as judge_proof
from _updates import FIRST, Update, draw_updates

MIGRATING = Update("2.2.0", 2, migrates=True, fault="")
BROKEN = Update("2.3.0", 2, migrates=False, fault="broken-page")


def reading(
    kind: Kind = "entry", number: int = 1, at: float = 5.0, fate: Fate = "good", said: str = ""
) -> Reading:
    return Reading(kind, number, at, at + 0.1, fate, said)


def step(update: Update = MIGRATING, outcome: str = "changed", at: float = 10.0) -> Step:
    return Step(update, at, at + 5.0, Applied(0, 5.0, outcome, "why"))


GOOD = (
    reading("page"),
    reading("entry", 1),
    reading("comment", 2, 6.0),
    reading("entry", 3, 12.0, "refused", "503"),
    reading("entry", 4, 13.5, "refused", "503"),
    reading("page", at=16.0),
)
KEPT = {1: 1, 2: 1}


def judged(
    readings: Sequence[Reading] = GOOD,
    steps: Sequence[Step] = (step(),),
    kept: dict[int, int] | None = None,
    asked: int = 1,
) -> Proof:
    return judge_proof(readings, steps, Counter(KEPT if kept is None else kept), 0.0, 20.0, asked)


def test_kept_promises_are_reported_with_their_figures() -> None:
    proof = judged()
    assert proof.broken == []
    rows = {what: seen for what, seen, _ in proof.rows}
    assert rows["GETs sent"] == "2 in 20 s"
    assert rows["longest gap between good answers"] == "11.00 s"
    assert rows["writes acknowledged"] == "2, of which 1 comments"
    assert rows["longest freeze"] == "1.6 s, median 1.6 s"
    assert rows["seconds per update, median"] == "5.0 s (5.0 to 5.0)"


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        (judged([*GOOD, reading("page", fate="failed", said="502")]), "1 GETs failed"),
        (judged(kept={1: 1}), "acknowledged writes are missing: [2]"),
        (judged(kept={**KEPT, 1: 2}), "kept more than once: [1]"),
        (judged(kept={**KEPT, 3: 1}), "refused writes were kept: [3]"),
        (judged([*GOOD, reading(number=9, fate="failed", said="404")]), "write 9 (entry) failed"),
        (judged([*GOOD, reading(number=9, at=3.0, fate="refused")]), "while nothing was migrated"),
        (judged(steps=[step(outcome="rolled-back")]), "2.2.0 was rolled-back, not changed: why"),
        (judged(steps=[step(), step(BROKEN, "changed", 16.0)], asked=2), "not rolled-back"),
        (judged(asked=2), "only 1 of 2 updates"),
        (judged([r for r in GOOD if r.kind != "page"]), "no GET was answered well"),
        (judged([r for r in GOOD if r.kind == "page"]), "no write was acknowledged"),
    ],
)
def test_a_broken_promise_is_named(proof: Proof, said: str) -> None:
    assert any(said in broken for broken in proof.broken), proof.broken


def test_a_write_refused_during_an_update_that_does_not_migrate_breaks_a_promise() -> None:
    plain = Update("1.2.0", 1, migrates=False, fault="")
    assert "2 writes were refused while nothing was migrated" in judged(steps=[step(plain)]).broken


@pytest.mark.parametrize(
    ("kind", "status", "headers", "text", "fate"),
    [
        ("page", 200, {}, "<html>lab-load 1.0.0: goed</html>", "good"),
        ("page", 200, {}, "<html>lab-load 1.0.0: go", "failed"),
        ("page", 503, {"retry-after": "60"}, "", "failed"),
        ("entry", 200, {}, '{"number":7}', "good"),
        ("entry", 200, {}, '{"number":77}', "failed"),
        ("entry", 503, {"retry-after": "60"}, "", "refused"),
        ("entry", 503, {}, "", "failed"),
        ("entry", 404, {}, "", "failed"),
        ("comment", 302, {"location": "https://x.example/?p=4#comment-9"}, "", "good"),
        ("comment", 302, {"location": "https://x.example/wp-login.php"}, "", "failed"),
        ("comment", 200, {}, "", "failed"),
        ("comment", 429, {}, "", "failed"),
    ],
)
def test_only_a_clear_answer_counts(
    kind: Kind, status: int, headers: dict[str, str], text: str, fate: Fate
) -> None:
    assert judge(kind, 7, status, headers, text)[0] == fate


@pytest.mark.parametrize(
    ("count", "migrating", "undone"), [(50, 25, 10), (8, 4, 2), (1, 1, 1), (3, 0, 0), (4, 4, 4)]
)
def test_drawn_updates_are_as_many_as_asked_and_only_go_forward(
    count: int, migrating: int, undone: int
) -> None:
    updates = draw_updates(count, migrating, undone, seed=3)
    assert len(updates) == count
    assert sum(update.migrates for update in updates) == migrating
    assert sum(bool(update.fault) for update in updates) == undone
    assert updates == draw_updates(count, migrating, undone, seed=3)
    assert len({update.version for update in updates}) == count
    live = FIRST
    for update in updates:
        assert update.form == live.form + update.migrates
        assert [int(n) for n in update.version.split(".")] > [
            int(n) for n in live.version.split(".")
        ]
        if not update.fault:
            live = update


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        draw_updates(4, 5, 0, seed=1)
    with pytest.raises(ValueError, match="do not fit"):
        draw_updates(0, 0, 1, seed=1)
