"""A controller that was overtaken by a newer one neither begins a change nor ends one."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.agent.test_transaction import FENCE, ID, Provisional, Recording

from owc_agent import answers, fences, files, journal, layout, secret_files, services, transaction
from owc_agent import undo as undoing

NEWER = {**FENCE, "token": 6, "owner": "bo@laptop:8"}
ELSEWHERE = {"store": "b", "token": 1, "owner": "cor@elsewhere:9"}
TAKEN_OVER = "a newer controller, bo@laptop:8, has taken this site over"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.SitePaths:
    monkeypatch.setattr(layout, "SITES", str(tmp_path / "sites"))
    monkeypatch.setattr(layout, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(undoing, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(services, "unit_states", lambda units: dict.fromkeys(units, "inactive"))
    return layout.SitePaths("heusden")


@pytest.fixture
def undone(paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setitem(undoing.OPERATIONS, "note", lambda _, item: names.append(item["name"]))
    return names


def test_the_highest_of_a_store_is_kept_for_root_alone(paths: layout.SitePaths) -> None:
    assert fences.take(paths.fence, paths, FENCE) == []
    assert fences.take(paths.fence, paths, FENCE) == []
    assert fences.take(paths.fence, paths, NEWER) == []
    with pytest.raises(fences.OvertakenError, match=TAKEN_OVER):
        fences.take(paths.fence, paths, FENCE)
    assert fences.read(paths.fence) == NEWER
    assert Path(paths.fence).stat().st_mode & 0o777 == 0o600
    assert Path(paths.root).stat().st_mode & 0o777 == 0o750


def test_of_two_stores_the_last_is_kept_and_that_is_noted(paths: layout.SitePaths) -> None:
    fences.take(paths.fence, paths, NEWER)
    (note,) = fences.take(paths.fence, paths, ELSEWHERE)
    assert "another history store, by bo@laptop:8" in note
    with pytest.raises(fences.OvertakenError, match="cor@elsewhere:9"):
        fences.check(paths.fence, NEWER)
    assert len(fences.take(paths.fence, paths, FENCE)) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": true}', '{"token": 9}'])
def test_a_fence_that_cannot_be_read_keeps_nobody_out(
    paths: layout.SitePaths, content: str
) -> None:
    Path(paths.root).mkdir(parents=True)
    Path(paths.fence).write_text(content)
    fences.check(paths.fence, FENCE)
    assert fences.take(paths.fence, paths, FENCE) == []
    assert fences.read(paths.fence) == FENCE


@pytest.mark.parametrize("fence", [None, {}, {**FENCE, "token": "5"}, {**FENCE, "token": True}])
def test_a_change_without_a_fence_is_refused(paths: layout.SitePaths, fence: Any) -> None:
    change = Recording()
    change.fence = fence
    outcome = change.run()
    assert outcome["outcome"] == "failed"
    assert "not a fence" in outcome["message"]
    assert change.done == []


def test_an_older_controller_begins_nothing(undone: list[str], paths: layout.SitePaths) -> None:
    fences.take(paths.fence, paths, NEWER)
    left = journal.Journal(paths)
    left.start({"transaction_id": ID, "previous": ""})
    left.undo({"undo": "note", "name": "of the newer one"})
    change = Recording()
    outcome = change.run()
    assert (outcome["outcome"], outcome["message"]) == ("busy", TAKEN_OVER)
    assert (change.done, undone) == ([], [])
    assert left.pending() is not None


def test_a_newer_controller_goes_on(undone: list[str], paths: layout.SitePaths) -> None:
    fences.take(paths.fence, paths, {**FENCE, "token": 4})
    assert Recording().run()["outcome"] == "changed"
    assert fences.read(paths.fence) == FENCE


def test_a_change_from_another_store_notes_that(undone: list[str], paths: layout.SitePaths) -> None:
    fences.take(paths.fence, paths, ELSEWHERE)
    outcome = Recording().run()
    assert outcome["outcome"] == "changed"
    assert "by cor@elsewhere:9" in outcome["details"]["notes"][0]


class Overtaken(Provisional):
    """A transaction whose site is taken over while a step of it is carried out."""

    def __init__(self, step: str, newer: dict[str, Any]) -> None:
        super().__init__()
        self.step = step
        self.newer = newer
        files.write_json(self.paths.verdict(ID), {"verdict": "pass", "reason": "", "evidence": {}})

    def _step(self, name: str) -> None:
        super()._step(name)
        if name == self.step:
            fences.take(self.paths.fence, self.paths, self.newer)


@pytest.mark.parametrize(
    ("step", "word", "undoes"),
    [
        ("first", "rolled-back", ["first"]),
        ("second", "rolled-back", ["second", "first"]),
        ("third", "rolled-back", ["third", "second", "first"]),
    ],
)
@pytest.mark.parametrize("newer", [NEWER, ELSEWHERE])
def test_a_controller_that_is_overtaken_in_between_is_undone(
    undone: list[str],
    paths: layout.SitePaths,
    step: str,
    word: str,
    undoes: list[str],
    newer: dict[str, Any],
) -> None:
    Path(paths.run).mkdir(parents=True)
    outcome = Overtaken(step, newer).run()
    assert outcome["outcome"] == word
    assert f"{newer['owner']}, has taken this site over" in outcome["message"]
    assert undone == undoes
    assert transaction.activations(paths) == []
    assert journal.Journal(paths).pending() is None


def test_one_that_waits_to_be_confirmed_is_undone_at_once(
    undone: list[str], paths: layout.SitePaths
) -> None:
    Path(paths.run).mkdir(parents=True)
    change = Provisional()
    change.confirmation_seconds = 60
    ended: list[dict[str, Any]] = []
    beside = threading.Thread(target=lambda: ended.append(change.run()))
    beside.start()
    while not Path(paths.provisional(ID)).exists():
        beside.join(0.01)
    fences.take(paths.fence, paths, NEWER)
    # Too late: what it waited for does not count any more.
    files.write_json(paths.verdict(ID), {"verdict": "pass", "reason": "", "evidence": {}})
    beside.join()
    assert (ended[0]["outcome"], undone) == ("rolled-back", ["third", "second", "first"])
    assert ended[0]["message"] == f"confirm: {TAKEN_OVER}"


def test_nobody_takes_a_site_over_between_the_last_look_and_the_commit(
    undone: list[str], paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = journal.Journal.commit
    waited: list[bool] = []

    def commit_while_another_waits(self: journal.Journal, activation: dict[str, Any]) -> None:
        with Path(paths.fence_lock).open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        waited.append(True)
        commit(self, activation)

    monkeypatch.setattr(journal.Journal, "commit", commit_while_another_waits)
    assert Recording().run()["outcome"] == "changed"
    assert waited == [True]


@contextmanager
def running(paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Path(paths.run).mkdir(parents=True, exist_ok=True)
    files.write_json(paths.job(ID), {})
    with monkeypatch.context() as moment:
        states = {paths.transaction_unit: "deactivating"}
        moment.setattr(services, "unit_states", lambda units: {u: states[u] for u in units})
        yield
    files.remove_file(paths.job(ID))


def test_whoever_takes_sites_over_hears_what_is_under_way(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = {
        "site": "heusden",
        "newer": None,
        "transaction_id": "",
        "provisional": False,
        "trouble": "",
    }

    def announce(fence: dict[str, Any], *, insist: bool = False) -> dict[str, Any]:
        item = {"site": "heusden", "fence": fence, "insist": insist}
        (answer,) = answers.answer({"ask": "fences", "arguments": {"sites": [item]}})["sites"]
        return answer

    assert announce(FENCE) == quiet
    with running(paths, monkeypatch):
        assert announce(NEWER) == {**quiet, "transaction_id": ID}
        Path(paths.provisional(ID)).touch()
        waiting = {**quiet, "transaction_id": ID, "provisional": True}
        assert announce(NEWER) == waiting
        # Of another store it is not known whether its controller is at work still.
        assert announce(ELSEWHERE) == {**waiting, "newer": NEWER}
        assert fences.read(paths.fence) == NEWER
        assert announce(ELSEWHERE, insist=True) == waiting
        assert announce(NEWER, insist=True) == waiting
    assert announce(FENCE) == {**quiet, "newer": NEWER}
    assert fences.read(paths.fence) == NEWER
    assert announce(ELSEWHERE) == quiet


def test_a_site_that_cannot_be_taken_over_keeps_no_other_from_it(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "LOCK_SECONDS", 0.0)
    Path(paths.run).mkdir(parents=True)
    with Path(paths.fence_lock).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        items = [{"site": s, "fence": FENCE, "insist": False} for s in ("altena", "heusden")]
        altena, heusden = fences.announce(items)
    assert (altena["trouble"], heusden["newer"]) == ("", None)
    assert heusden["trouble"] == "whose site heusden is cannot be told"
    assert fences.read(paths.fence) is None


def test_no_private_key_of_an_older_controller_gets_in_place(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[list[str]] = []
    monkeypatch.setattr(
        secret_files, "place", lambda items: placed.append([item["site"] for item in items])
    )
    fences.take(paths.fence, paths, NEWER)
    items = [{"site": site, "fence": FENCE} for site in ("altena", "heusden", "heusden")]
    answers.answer({"ask": "secrets", "arguments": {"items": items}})
    assert placed == [["altena"]]
