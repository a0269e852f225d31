from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from owc_agent import commands, entry, files, journal, layout, transaction, undo

ID = "20261123T182200Z-1a2b3c4d"
FENCE = {"store": "a", "token": 5, "owner": "anna@controller:7"}


class Recording(transaction.Transaction):
    """Three steps that note themselves; `fails` names the one that fails."""

    STEPS = ("first", "second", "third")
    FIRST_VISIBLE_STEP = "second"

    def __init__(self, fails: str = "") -> None:
        super().__init__(
            {
                "site": "heusden",
                "transaction_id": ID,
                "observed_release": "",
                "confirmation_seconds": 0.2,
                "fence": FENCE,
            }
        )
        self.fails = fails
        self.done: list[str] = []

    def _step(self, name: str) -> None:
        self.journal.undo({"undo": "note", "name": name})
        if self.fails == name:
            raise transaction.StepError("broken")
        self.done.append(name)

    def first(self) -> None:
        self._step("first")

    def second(self) -> None:
        self._step("second")

    def third(self) -> None:
        self._step("third")

    def activation(self) -> dict[str, Any]:
        return {"release_id": ID, "at": "now"}


@pytest.fixture
def undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what was undone, in order; nothing real is touched."""
    monkeypatch.setattr(layout, "SITES", str(tmp_path / "sites"))
    monkeypatch.setattr(layout, "RUN", str(tmp_path / "run"))
    Path(layout.SitePaths("heusden").run).mkdir(parents=True)
    monkeypatch.setattr(undo, "PATIENCE_SECONDS", 0)
    names: list[str] = []
    monkeypatch.setitem(undo.OPERATIONS, "note", lambda _, item: names.append(item["name"]))
    return names


def test_all_steps_then_the_record(undone: list[str]) -> None:
    outcome = Recording().run()
    assert outcome["outcome"] == "changed"
    assert [step["step"] for step in outcome["details"]["steps"]] == ["first", "second", "third"]
    assert undone == []
    paths = layout.SitePaths("heusden")
    assert transaction.activations(paths) == [{"release_id": ID, "at": "now"}]
    assert journal.Journal(paths).pending() is None


@pytest.mark.parametrize(
    ("fails", "word", "names"),
    [
        ("first", "failed", ["first"]),
        ("second", "rolled-back", ["second", "first"]),
        ("third", "rolled-back", ["third", "second", "first"]),
    ],
)
def test_a_step_that_fails_is_undone_with_all_before_it(
    undone: list[str], fails: str, word: str, names: list[str]
) -> None:
    outcome = Recording(fails).run()
    assert outcome["outcome"] == word
    assert outcome["message"] == f"{fails}: broken"
    assert undone == names
    assert transaction.activations(layout.SitePaths("heusden")) == []


def test_what_cannot_be_undone_is_tried_again_and_only_that(
    undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, item: dict[str, Any]) -> None:
        if item["name"] == "second":
            raise OSError("the disk is full")
        undone.append(item["name"])

    monkeypatch.setitem(undo.OPERATIONS, "note", refuse)
    outcome = Recording("third").run()
    assert outcome["outcome"] == "failed"
    assert "undo incomplete: note: the disk is full" in outcome["message"]
    assert undone == ["third", "first"]
    blocked = Recording().run()
    assert blocked["outcome"] == "failed"
    assert "cannot be undone" in blocked["message"]
    monkeypatch.setitem(undo.OPERATIONS, "note", lambda _, item: undone.append(item["name"]))
    assert Recording().run()["outcome"] == "changed"
    assert undone == ["third", "first", "second"]


def test_a_killed_transaction_is_undone_before_the_next(undone: list[str]) -> None:
    paths = layout.SitePaths("heusden")
    Path(paths.root).mkdir(parents=True)
    killed = journal.Journal(paths)
    killed.start({"transaction_id": ID, "previous": ""})
    killed.undo({"undo": "note", "name": "killed"})
    assert Recording().run()["outcome"] == "changed"
    assert undone == ["killed"]


def test_a_transaction_killed_after_its_commit_is_completed(undone: list[str]) -> None:
    paths = layout.SitePaths("heusden")
    Path(paths.root).mkdir(parents=True)
    killed = journal.Journal(paths)
    killed.start({"transaction_id": ID, "previous": ""})
    killed.undo({"undo": "note", "name": "killed"})
    killed.commit({"release_id": "r1"})
    transaction.record_activation(paths, {"release_id": "r1"})
    assert transaction.recover(paths) == "an interrupted transaction was completed"
    assert undone == []
    assert transaction.activations(paths) == [{"release_id": "r1"}]


def test_what_is_good_is_changed_and_open_to_writes_though_the_disk_is_full(
    undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = layout.SitePaths("heusden")
    Path(paths.root).mkdir(parents=True)
    Path(paths.frozen).write_text("{}")

    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(transaction, "record_activation", refuse)
        outcome = Recording().run()
    assert outcome["outcome"] == "changed"
    assert outcome["details"]["notes"] == ["tidying up: the disk is full"]
    assert not Path(paths.frozen).exists()
    assert transaction.recover(paths) == transaction.COMPLETED
    assert transaction.activations(paths) == [{"release_id": ID, "at": "now"}]
    assert undone == []


def test_a_site_that_cannot_be_recovered_does_not_keep_others_waiting(
    undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for site in ("altena", "heusden"):
        paths = layout.SitePaths(site)
        Path(paths.root).mkdir(parents=True)
        killed = journal.Journal(paths)
        killed.start({"transaction_id": ID, "previous": ""})
        killed.undo({"undo": "note", "name": site})

    def recover(paths: layout.SitePaths) -> str:
        if paths.site == "altena":
            raise commands.CommandError("its database has triggers")
        return undo_one(paths)

    undo_one = transaction.recover
    monkeypatch.setattr(transaction, "recover", recover)
    assert entry.recover_all() == [
        "altena: its database has triggers",
        f"heusden: {transaction.UNDONE}",
    ]
    assert undone == ["heusden"]
    said = entry.recover_job({"site": "altena", "observed_release": ""})
    assert (said["outcome"], said["message"]) == (
        "failed",
        "its process was killed: its database has triggers",
    )


def test_sites_are_recovered_side_by_side(
    undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = ("altena", "heusden", "zundert")
    for site in sites:
        Path(layout.SitePaths(site).root).mkdir(parents=True)
    together = threading.Barrier(len(sites), timeout=10)

    def recover(paths: layout.SitePaths) -> str:
        together.wait()
        return "done"

    monkeypatch.setattr(transaction, "recover", recover)
    assert entry.recover_all() == [f"{site}: done" for site in sites]


@pytest.fixture
def terminable() -> Iterator[None]:
    """Let a SIGTERM fail the step at hand, as it does in a unit; afterwards all is as before."""

    def stop(*_: object) -> None:
        raise transaction.StepError("the server is stopping")

    before = signal.signal(signal.SIGTERM, stop)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    yield
    signal.signal(signal.SIGTERM, before)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_what_is_committed_stays_though_the_server_is_told_to_stop_and_threads_are_there(
    undone: list[str], terminable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    beside = threading.Thread(target=over.wait)
    beside.start()
    commit = journal.Journal.commit

    def commit_and_be_told(self: journal.Journal, activation: dict[str, Any]) -> None:
        commit(self, activation)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)

    monkeypatch.setattr(journal.Journal, "commit", commit_and_be_told)
    try:
        outcome = Recording().run()
    finally:
        over.set()
        beside.join()
    assert (outcome["outcome"], undone) == ("changed", [])


class Unsure(Recording):
    """A transaction whose commit is written, but may not have reached the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, for_good: bool) -> None:
        super().__init__()
        self.failing = [""]
        fsync = os.fsync

        def fail(descriptor: int) -> None:
            lines = self.journal.entries()[-1:]
            if self.failing and any({"commit", "abandon"} & line.keys() for line in lines):
                if not for_good:
                    self.failing.clear()
                raise OSError("input/output error")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail)


def test_a_commit_that_could_not_be_made_sure_of_is_undone_for_every_later_reader(
    undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    unsure = Unsure(monkeypatch, for_good=False)
    with monkeypatch.context() as moment:
        moment.setattr(journal.Journal, "undone", killed)
        with pytest.raises(KeyboardInterrupt):
            unsure.run()
    assert undone == ["third"]
    assert transaction.recover(layout.SitePaths("heusden")) == transaction.UNDONE
    assert undone == ["third", "third", "second", "first"]
    assert transaction.activations(layout.SitePaths("heusden")) == []


def test_nothing_is_undone_while_a_later_reader_would_complete_it(
    undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Unsure(monkeypatch, for_good=True).run()
    assert outcome["outcome"] == "failed"
    assert "undo incomplete: abandon: input/output error" in outcome["message"]
    assert undone == []


def test_a_line_cut_short_costs_only_itself(undone: list[str]) -> None:
    paths = layout.SitePaths("heusden")
    Path(paths.root).mkdir(parents=True)
    Path(paths.activations).write_text('{"release_id": "r1"}\n{"relea')
    transaction.record_activation(paths, {"release_id": "r2"})
    assert [entry["release_id"] for entry in transaction.activations(paths)] == ["r1", "r2"]


def test_another_release_than_the_plan_saw_is_left_alone(undone: list[str]) -> None:
    stale = Recording()
    stale.observed_release = "20260101T000000Z-00000000"
    outcome = stale.run()
    assert outcome["outcome"] == "failed"
    assert "stale" in outcome["message"]
    assert stale.done == []


class Provisional(Recording):
    """A transaction that waits to be confirmed."""

    STEPS = (*Recording.STEPS, "confirm")


@pytest.mark.parametrize(
    ("verdict", "word", "message"),
    [
        ("pass", "changed", ""),
        ("fail", "rolled-back", "confirm: it answers 502"),
        ("inconclusive", "inconclusive", "confirm: it answers 502"),
        (None, "rolled-back", "confirm: nobody confirmed it in 0 seconds"),
    ],
)
def test_a_change_stays_only_when_it_is_confirmed(
    undone: list[str], verdict: str | None, word: str, message: str
) -> None:
    paths = layout.SitePaths("heusden")
    if verdict is not None:
        evidence = {"asked": 1}
        document = {"verdict": verdict, "reason": "it answers 502", "evidence": evidence}
        files.write_json(paths.verdict(ID), document)
    outcome = Provisional().run()
    assert (outcome["outcome"], outcome["message"]) == (word, message)
    assert undone == ([] if verdict == "pass" else ["third", "second", "first"])
    assert files.read_json(paths.provisional(ID))["outcome"] == "provisional"
    assert outcome["details"].get("evidence") == (None if verdict is None else {"asked": 1})


def test_a_site_is_thawed_by_what_completes_or_undoes(undone: list[str]) -> None:
    paths = layout.SitePaths("heusden")
    for verdict in ("pass", "fail"):
        Path(paths.root).mkdir(parents=True, exist_ok=True)
        frozen = Provisional()
        frozen.journal.start({"transaction_id": ID, "previous": ""})
        frozen.journal.undo({"undo": "thaw"})
        Path(paths.frozen).touch()
        if verdict == "pass":
            frozen.journal.commit({})
        transaction.recover(paths)
        assert not Path(paths.frozen).exists()
