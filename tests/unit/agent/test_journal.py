from __future__ import annotations

from pathlib import Path

import pytest

from owc_agent import journal, layout

RELEASE = "20261123T182200Z-1a2b3c4d"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.SitePaths:
    monkeypatch.setattr(layout, "SITES", str(tmp_path))
    site = layout.SitePaths("heusden")
    Path(site.root).mkdir()
    return site


def test_the_last_undo_comes_first(paths: layout.SitePaths) -> None:
    written = journal.Journal(paths)
    written.start({"transaction_id": RELEASE})
    for number in range(3):
        written.undo({"undo": "switch", "number": number})
    operations = written.undo_operations()
    assert [operation["number"] for _, operation in operations] == [2, 1, 0]
    written.undone(operations[0][0])
    assert [operation["number"] for _, operation in written.undo_operations()] == [1, 0]


def test_a_committed_transaction_says_what_it_made_live(paths: layout.SitePaths) -> None:
    written = journal.Journal(paths)
    written.start({"transaction_id": RELEASE})
    assert written.committed() is None
    written.commit({"release_id": RELEASE})
    assert journal.Journal(paths).committed() == {"release_id": RELEASE}


def test_a_commit_that_was_taken_back_is_none(paths: layout.SitePaths) -> None:
    written = journal.Journal(paths)
    written.start({"transaction_id": RELEASE})
    written.abandon()
    assert [sorted(entry) for entry in written.entries()] == [["start"]]
    written.commit({"release_id": RELEASE})
    written.abandon()
    assert journal.Journal(paths).committed() is None
    written.abandon()
    assert [sorted(entry) for entry in written.entries()] == [["start"], ["commit"], ["abandon"]]


def test_a_killed_transaction_is_found_and_a_finished_one_is_not(paths: layout.SitePaths) -> None:
    written = journal.Journal(paths)
    assert written.pending() is None
    written.start({"transaction_id": RELEASE})
    assert journal.Journal(paths).pending() == {"transaction_id": RELEASE}
    written.finish(RELEASE, {"outcome": "changed"})
    assert journal.Journal(paths).pending() is None
    assert (Path(paths.journal) / f"{RELEASE}.jsonl").exists()


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_entry_cut_short_costs_only_itself(paths: layout.SitePaths, cut: int) -> None:
    written = journal.Journal(paths)
    written.start({"transaction_id": RELEASE})
    written.undo({"undo": "remove-release"})
    file = Path(paths.journal) / journal.OPEN_NAME
    file.write_bytes(file.read_bytes()[:-cut])
    written.undo({"undo": "switch"})
    assert written.undo_operations()[0][1] == {"undo": "switch"}
    assert written.pending() == {"transaction_id": RELEASE}
