from __future__ import annotations

from typing import Any

import pytest

from owc_agent import retention


def entry(release_id: str, *, changed: bool = False, **more: Any) -> dict[str, Any]:
    return {"release_id": release_id, "database_changed": changed, **more}


ENTRIES = [entry("r1"), entry("r2", changed=True), entry("r3"), entry("r4")]


@pytest.mark.parametrize(
    ("entries", "live", "kept", "keep"),
    [
        (ENTRIES, "r4", 5, {"r1", "r2", "r3", "r4"}),
        (ENTRIES, "r4", 3, {"r2", "r3", "r4"}),
        # Never fewer than the live one and the good one before it.
        (ENTRIES, "r4", 1, {"r3", "r4"}),
        # A rollback makes an old release the newest activation.
        ([*ENTRIES, entry("r1")], "r1", 2, {"r4", "r1"}),
        # The link is what is true, whatever the list says.
        (ENTRIES, "r1", 2, {"r1", "r3", "r4"}),
        # Nothing is live, as after a decommission.
        (ENTRIES, "", 2, {"r3", "r4"}),
    ],
)
def test_which_releases_are_kept(
    entries: list[dict[str, Any]], live: str, kept: int, keep: set[str]
) -> None:
    present = frozenset({"r1", "r2", "r3", "r4"})
    assert retention.kept_releases(entries, present, live, kept) - {""} == keep


def test_a_release_that_is_gone_takes_no_place() -> None:
    present = frozenset({"r1", "r2", "r4"})
    assert retention.kept_releases(ENTRIES, present, "r4", 2) == {"r2", "r4"}


def test_the_snapshot_that_a_way_back_needs_is_needed_whoever_it_is_named_after() -> None:
    back = [*ENTRIES, entry("r1", changed=True, snapshot_of="t1"), entry("r5")]
    # To r4 over the restore of t1; to r1 and r5 in code alone.
    assert retention.needed_snapshots(back, frozenset({"r1", "r4", "r5"})) == {"t1"}
    assert retention.needed_snapshots(ENTRIES, frozenset({"r1", "r4"})) == {"r2"}
