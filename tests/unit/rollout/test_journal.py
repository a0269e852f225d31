"""What a rollout was started with is bound to the audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from owc_deploy.plan.specification import canonical_json, canonical_sha256
from owc_deploy.rollout.journal import (
    RolloutAlteredError,
    StoreJournal,
    begin,
    read,
    rollout_to_document,
)
from owc_deploy.rollout.models import Emergency, Rollout, RolloutRing, RolloutSite
from owc_deploy.store import Store, open_store
from owc_deploy.store.audit import NewEntry
from owc_deploy.store.tables import rollouts

ID = "20261127T090000Z-1"
RING = RolloutRing("canary", (RolloutSite("altena", "web1", "5f0c", "default"),), (1,))
ROLLOUT = Rollout(ID, "test", "", "anna", "news", (RING,), emergency=Emergency("why", "bo"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "history.sqlite3")


def alter(store: Store, **changes: Any) -> None:
    document = {**(store.rollouts.document(ID) or {}), **changes}
    with store._database.writing() as connection:
        connection.execute(update(rollouts).values(document=canonical_json(document)))


def test_the_audit_log_tells_the_hash_of_what_a_rollout_was_started_with(store: Store) -> None:
    begin(store, ROLLOUT)
    started = StoreJournal(store, ID).events()[0]
    read_again = rollout_to_document(read(store, ID).rollout)
    assert started.body["document_sha256"] == canonical_sha256(read_again)


@pytest.mark.parametrize("changes", [{"emergency": None}, {"limits": {"attempts": 99}}])
def test_a_rollout_that_was_altered_in_its_table_is_refused(
    store: Store, changes: dict[str, Any]
) -> None:
    begin(store, ROLLOUT)
    alter(store, **changes)
    with pytest.raises(RolloutAlteredError, match="the table rollouts of the history was altered"):
        read(store, ID)


def test_a_rollout_of_before_there_was_a_hash_is_believed(store: Store) -> None:
    document = json.loads(canonical_json(rollout_to_document(ROLLOUT)))
    body = {"cause": "news", "rings": []}
    store.rollouts.add(ID, document, ["altena"], NewEntry("rollout-started", body, "", ID))
    assert read(store, ID).rollout == ROLLOUT
