"""The audit log in the store: what gets an entry, and that entries stay as they are."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from unit.store.places import Place, child_environment

from owc_deploy.errors import StateError
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.store import Store
from owc_deploy.store.audit import NewEntry
from owc_deploy.store.chain import Head, verify_chain
from owc_deploy.store.history import details_sha256
from owc_deploy.store.models import Intent

MOMENT = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


@pytest.fixture
def store(place: Place) -> Store:
    return place.open(clock=lambda: MOMENT, actor="anna@controller")


def test_a_run_its_outcomes_and_its_end_are_entries(store: Store) -> None:
    run = store.history.begin_run(
        verb="update",
        operator="bo@laptop",
        plan_id="abc",
        reason="advisory 12",
        intents=[Intent("heusden", "web1", "canary")],
        fencing_token=7,
        rollout_id="r1",
    )
    details = {"steps": [{"step": "stage", "seconds": 0.3}], "path": Path("/srv")}
    store.history.record_outcome(
        run,
        SiteOutcome(
            "heusden", "web1", "changed", "ok", "new", "old", seconds=1.25, details=details
        ),
    )
    store.history.finish_run(run, "changed")
    begun, outcome, ended = store.audit.entries()
    assert (begun.kind, begun.site, begun.rollout_id) == ("run-begun", "", "r1")
    assert (begun.actor, begun.at) == ("anna@controller", "2026-11-23T18:00:00.000000+00:00")
    assert begun.body == {
        "run_id": run,
        "verb": "update",
        "plan_id": "abc",
        "operator": "bo@laptop",
        "reason": "advisory 12",
        "tool_version": begun.body["tool_version"],
        "fencing_token": 7,
        "intents": [{"site": "heusden", "server": "web1", "ring": "canary"}],
    }
    assert (outcome.kind, outcome.site, outcome.rollout_id) == ("outcome", "heusden", "r1")
    (recorded,) = store.history.outcomes()
    assert outcome.body == {
        "run_id": run,
        "server": "web1",
        "outcome": "changed",
        "message": "ok",
        "release_id": "new",
        "previous_release_id": "old",
        "seconds": 1.25,
        "details_sha256": details_sha256(recorded.details),
    }
    assert details_sha256(details) == details_sha256(recorded.details)
    assert (ended.kind, ended.rollout_id) == ("run-ended", "r1")
    assert ended.body == {"run_id": run, "outcome": "changed"}
    assert verify_chain(store.audit.entries()).head == store.audit.head()


def test_what_cannot_be_recorded_leaves_no_entry(store: Store) -> None:
    with pytest.raises(StateError):
        store.history.record_outcome(99, SiteOutcome("heusden", "web1", "changed", ""))
    assert store.audit.head() == Head()


def test_what_a_server_says_can_always_be_recorded(store: Store) -> None:
    run = store.history.begin_run(verb="apply", operator="anna", reason="\ud800")
    odd = "half \ud800 and \0"
    store.history.record_outcome(
        run, SiteOutcome("heusden", "web1", "failed", odd, details={odd: odd})
    )
    (recorded,) = store.history.outcomes()
    assert recorded.message == "half ? and \N{REPLACEMENT CHARACTER}"
    assert verify_chain(store.audit.entries()).broken is None


def test_entries_of_one_transaction_follow_each_other(store: Store) -> None:
    added = store.audit.append(NewEntry("a", {"x": (1, 2)}), NewEntry("b", {}, site="heusden"))
    assert [entry.number for entry in added] == [1, 2]
    assert added[0].body == {"x": [1, 2]}
    assert tuple(store.audit.entries()) == added
    assert store.audit.append() == ()


def test_entries_within_a_transaction_go_with_it(store: Store) -> None:
    def fail() -> None:
        with store._database.writing() as connection:
            store.audit.append_within(connection, NewEntry("a", {}))
            raise StateError("no")

    with pytest.raises(StateError):
        fail()
    assert store.audit.head() == Head()


def test_entries_of_a_rollout_after_a_number_and_limited(store: Store) -> None:
    store.audit.append(
        *(NewEntry("a", {}, rollout_id="even" if n % 2 == 0 else "odd") for n in range(1, 1205))
    )
    assert [entry.number for entry in store.audit.entries()] == list(range(1, 1205))
    assert [e.number for e in store.audit.entries(rollout_id="odd", after=3, limit=2)] == [5, 7]
    assert len(list(store.audit.entries(limit=600))) == 600
    assert list(store.audit.entries(limit=0)) == []


def test_newest_of_a_site_are_also_runs_that_were_to_work_on_it(store: Store) -> None:
    for sites in (("heusden", "breda"), ("bredax",)):
        store.history.begin_run(
            verb="apply", operator="anna", intents=[Intent(site, "web1") for site in sites]
        )
    store.audit.append(NewEntry("other", {"site": "breda"}), NewEntry("mine", {}, site="breda"))
    assert [entry.number for entry in store.audit.newest(limit=10)] == [4, 3, 2, 1]
    assert [entry.number for entry in store.audit.newest(limit=10, site="breda")] == [4, 1]
    assert [entry.number for entry in store.audit.newest(limit=1, site="breda")] == [4]
    assert store.audit.newest(limit=10, site="br_da", rollout_id="x") == ()


SHARED = [
    "UPDATE audit_log SET actor = 'bo' WHERE number = 1",
    "DELETE FROM audit_log WHERE number = 2",
    "INSERT INTO audit_log VALUES (4, '', '', 'bo', '', '', '{}', '', '')",
]
OWN = {
    "sqlite": ["INSERT OR REPLACE INTO audit_log VALUES (1, '', '', 'bo', '', '', '{}', '', '')"],
    "postgresql": ["TRUNCATE audit_log"],
}


def change(store: Store, *statements: str) -> None:
    with store._database.writing() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_the_database_refuses_to_change_entries(store: Store) -> None:
    added = store.audit.append(NewEntry("a", {}), NewEntry("b", {}))
    for statement in (*SHARED, *OWN[store._database.kind]):
        with pytest.raises(StateError) as caught:
            change(store, statement)
        assert "only added to" in (caught.value.context or ""), statement
    assert tuple(store.audit.entries()) == added


UNGUARDED = {
    "sqlite": "DROP TRIGGER audit_log_is_not_updated",
    "postgresql": "DROP TRIGGER audit_log_is_not_changed ON audit_log",
}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'bo' WHERE number = 2",
        "UPDATE audit_log SET body = '[]' WHERE number = 2",
        "UPDATE audit_log SET body = 'nothing' WHERE number = 2",
        r"""UPDATE audit_log SET body = '{"a":"\ud800"}' WHERE number = 2""",
        "UPDATE audit_log SET sha256 = 7 WHERE number = 2",
    ],
)
def test_what_is_changed_all_the_same_is_found(store: Store, statement: str) -> None:
    store.audit.append(NewEntry("a", {}), NewEntry("b", {}), NewEntry("c", {}))
    change(store, UNGUARDED[store._database.kind], statement)
    found = verify_chain(store.audit.entries()).broken
    assert found is not None
    assert (found.number, found.reference) == (2, "altered")


def test_a_store_from_before_begins_its_log_with_what_comes(place: Place) -> None:
    store = place.open()
    run = store.history.begin_run(verb="apply", operator="anna")
    change(
        store,
        "DROP TABLE audit_log",
        "ALTER TABLE runs DROP COLUMN rollout_id",
        "DROP TABLE store",
        "DROP TABLE rollout_sites",
        "DROP TABLE rollouts",
        "DROP INDEX leases_by_first_token",
        "ALTER TABLE leases DROP COLUMN first_token",
        "DELETE FROM schema_version WHERE version >= 4",
    )
    if store._database.kind == "postgresql":
        change(store, "DROP FUNCTION audit_log_is_only_added_to, audit_log_has_no_gaps")
    upgraded = place.open()
    upgraded.history.finish_run(run, "ok")
    assert [entry.kind for entry in upgraded.audit.entries()] == ["run-ended"]


APPENDER = """
import sys
from owc_deploy.store.audit import NewEntry
from unit.store.places import open_place
audit = open_place(sys.argv[1]).audit
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    audit.append(NewEntry(sys.argv[2], {"number": number}), NewEntry("beside", {}))
"""


def test_eight_processes_that_append_at_once_make_one_chain(place: Place) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, place.words, f"child-{child}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
        )
        for child in range(8)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.communicate(b"go\n")
        assert child.returncode == 0
    entries = list(place.open().audit.entries())
    assert len(entries) == 8 * 50
    assert verify_chain(entries).broken is None
    for child in range(8):
        mine = [entry for entry in entries if entry.kind == f"child-{child}"]
        assert [entry.body["number"] for entry in mine] == list(range(25))
        # What was appended together stands together.
        assert all(entries[entry.number].kind == "beside" for entry in mine)
