"""Updates while visitors read and write: nobody is turned away, and no write is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from _bench import Bench
from _proof import prove
from _updates import draw_updates
from e2e.conftest import Town

pytestmark = pytest.mark.lab


def test_updates_under_load_lose_no_read_and_no_write(town: Town, catalogue: Path) -> None:
    updates = draw_updates(8, migrating=4, undone=2, seed=2)
    assert {(update.migrates, update.fault) for update in updates if update.fault} == {
        (True, "broken-page"),
        (False, "hidden-route"),
    }
    proof = prove(
        Bench(town.root, town.lab),
        catalogue,
        "druten",
        updates,
        reads_per_second=5,
        writes_per_second=4,
        limit_seconds=600,
        tell=print,
    )
    for row in proof.rows:
        print(*row)  # noqa: T201  shown with a failure
    assert proof.broken == []
