from __future__ import annotations

from typing import Any

import pytest

from owc_agent import transaction


def entry(release_id: str, *, changed: bool = False, **more: Any) -> dict[str, Any]:
    return {"release_id": release_id, "database_changed": changed, **more}


@pytest.mark.parametrize(
    ("entries", "target", "snapshot_of"),
    [
        ([entry("r1"), entry("r2")], "r1", ""),
        ([entry("r1"), entry("r2", changed=True)], "r1", "r2"),
        ([entry("r1"), entry("r2", changed=True), entry("r3")], "r1", "r2"),
        ([entry("r1"), entry("r2", changed=True), entry("r3")], "r2", ""),
        ([entry("r1"), entry("r2", changed=True), entry("r3", changed=True)], "r1", "r2"),
        # r1 again, by a rollback that restored its database: forward to r2 means restoring again.
        (
            [
                entry("r1"),
                entry("r2", changed=True),
                entry("r1", changed=True, snapshot_of="t1"),
            ],
            "r2",
            "t1",
        ),
        ([entry("r1"), entry("r2", changed=True), entry("r1", changed=True)], "r1", ""),
    ],
)
def test_which_snapshot_a_way_back_needs(
    entries: list[dict[str, Any]], target: str, snapshot_of: str
) -> None:
    assert transaction.crossed_change(entries, target) == snapshot_of


def test_a_release_that_was_never_live_is_no_target() -> None:
    with pytest.raises(transaction.StepError, match="never live"):
        transaction.crossed_change([entry("r1")], "r9")
