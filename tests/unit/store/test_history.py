from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from unit.store.places import Place

from owc_deploy.errors import StateError
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.store import Store, open_store
from owc_deploy.store.chain import verify_chain
from owc_deploy.store.models import Intent


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(place: Place, clock: Clock) -> Store:
    return place.open(clock=clock)


def begin(store: Store, *sites: str, verb: str = "apply") -> int:
    return store.history.begin_run(
        verb=verb,
        operator="anna@controller",
        plan_id="abc",
        intents=[Intent(site, "web1", "canary") for site in sites],
    )


def test_intent_is_kept_before_anything_happens_and_shown_as_interrupted(store: Store) -> None:
    run = begin(store, "heusden", "lansingerland")
    assert [(r.run_id, r.outcome, r.finished_at) for r in store.history.runs()] == [
        (run, "interrupted", "")
    ]
    assert [(o.site, o.outcome, o.ring) for o in store.history.outcomes()] == [
        ("heusden", "interrupted", "canary"),
        ("lansingerland", "interrupted", "canary"),
    ]


def test_a_run_is_running_while_the_lease_it_began_under_is_held(
    store: Store, clock: Clock
) -> None:
    with store.claim("site/heusden", reason="apply") as claim:
        store.history.begin_run(
            verb="apply",
            operator="anna",
            intents=[Intent("heusden", "web1")],
            fencing_token=claim.first_token,
        )
        assert store.history.runs()[0].outcome == "running"
        assert store.history.outcomes()[0].outcome == "running"
        clock.pass_seconds(91)
        assert store.history.runs()[0].outcome == "interrupted"
    assert store.history.runs()[0].outcome == "interrupted"


def test_what_a_run_had_done_that_did_not_end_is_found_by_its_claim(store: Store) -> None:
    with store.claim("rollout/r1", reason="rollout") as claim:
        claim.take(["site/heusden"])
        for ends in (True, False):
            run = store.history.begin_run(
                verb="apply",
                operator="anna",
                intents=[Intent("heusden", "web1"), Intent("altena", "web1")],
                fencing_token=claim.first_token,
            )
            store.history.record_outcome(run, SiteOutcome("altena", "web1", "changed"))
            if ends:
                store.history.finish_run(run, "changed")
    begin(store, "heusden")
    found = store.history.unfinished([claim.first_token or 0])
    assert {(item.run.run_id, item.site, item.outcome) for item in found} == {
        (2, "altena", "changed"),
        (2, "heusden", "interrupted"),
    }


def test_outcomes_keep_everything_that_was_said(store: Store, clock: Clock) -> None:
    run = begin(store, "heusden")
    outcome = SiteOutcome(
        site="heusden",
        server="web1",
        outcome="changed",
        message="klaar “met” 'tekens'",
        release_id="r2",
        previous_release_id="r1",
        seconds=1.9,
        details={"steps": [{"step": "stage", "seconds": 0.3}]},
    )
    store.history.record_outcome(run, outcome)
    clock.pass_seconds(2)
    store.history.finish_run(run, "changed")
    (recorded,) = store.history.outcomes("heusden")
    for name in (
        "site",
        "server",
        "outcome",
        "message",
        "release_id",
        "previous_release_id",
        "seconds",
        "details",
    ):
        assert getattr(recorded, name) == getattr(outcome, name)
    assert recorded.ring == "canary"
    assert recorded.run.outcome == "changed"
    assert recorded.run.started_at == "2026-11-23T18:00:00.000000+00:00"
    assert recorded.run.finished_at == "2026-11-23T18:00:02.000000+00:00"


def test_outcomes_written_down_with_the_end_of_a_run_are_as_if_they_came_before(
    store: Store,
) -> None:
    ends = [
        SiteOutcome("heusden", "web1", "changed", "", "new", "old", details={"versions": {}}),
        SiteOutcome("altena", "web2", "rolled-back", "it fatals", "old", "old", 2.5),
    ]
    one_by_one = begin(store, "altena", "heusden")
    for each in ends:
        store.history.record_outcome(one_by_one, each)
    store.history.finish_run(one_by_one, "failed")
    at_once = begin(store, "altena", "heusden")
    store.history.finish_run(at_once, "failed", *ends)
    newest, earlier = (
        [replace(each, run=each.run.plan_id) for each in store.history.outcomes()[begins:][:2]]
        for begins in (0, 2)
    )
    assert newest == earlier
    assert [run.outcome for run in store.history.runs()] == ["failed", "failed"]
    told = [(each.kind, each.site, {**each.body, "run_id": 0}) for each in store.audit.entries()]
    assert told[:4] == told[4:]
    assert verify_chain(store.audit.entries()).broken is None


def test_an_outcome_without_intent_is_kept_too(store: Store) -> None:
    run = begin(store)
    store.history.record_outcome(run, SiteOutcome("new", "web1", "ok"))
    assert [(o.site, o.outcome) for o in store.history.outcomes()] == [("new", "ok")]


def test_newest_first_limited_and_by_site(store: Store) -> None:
    for number in range(5):
        run = begin(store, "a", "b")
        store.history.record_outcome(run, SiteOutcome("a", "web1", "ok", str(number)))
        store.history.finish_run(run, "ok")
    assert [r.run_id for r in store.history.runs(limit=2)] == [5, 4]
    assert [o.message for o in store.history.outcomes("a", limit=3)] == ["4", "3", "2"]
    assert {o.site for o in store.history.outcomes("a", "b")} == {"a", "b"}
    assert store.history.outcomes("nowhere") == ()


def test_last_good_passes_over_what_failed(store: Store) -> None:
    assert store.history.last_good("a") is None
    for word, release in (("changed", "r1"), ("ok", "r2"), ("failed", "r3"), ("rolled-back", "r2")):
        run = begin(store, "a")
        store.history.record_outcome(run, SiteOutcome("a", "web1", word, release_id=release))
    good = store.history.last_good("a")
    assert good is not None
    assert good.release_id == "r2"
    assert good.outcome == "ok"


def test_untrusted_text_is_data(store: Store) -> None:
    name = "x'); DROP TABLE runs; --"
    run = begin(store, name)
    store.history.record_outcome(run, SiteOutcome(name, name, "failed", name))
    assert store.history.outcomes(name)[0].message == name


def test_what_one_store_wrote_another_reads(place: Place, clock: Clock) -> None:
    begin(place.open(clock=clock), "a")
    assert len(place.open(clock=clock).history.runs()) == 1


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"
    path.write_text("hello, I am a text file, and longer than a header" * 50)
    with pytest.raises(StateError, match="not a history store") as caught:
        open_store(path)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"mv {path}")


def test_a_newer_schema_is_refused(place: Place) -> None:
    with place.open()._database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO schema_version (version) VALUES (9999)")
    with pytest.raises(StateError, match="newer owc-deploy") as caught:
        place.open()
    assert caught.value.hint == "pip install --upgrade owc-deploy"


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be used") as caught:
        open_store(tmp_path / "file" / "h.sqlite3")
    assert caught.value.hint


def test_a_path_that_is_a_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        open_store(tmp_path)


def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    with open_store(tmp_path / "h.sqlite3")._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
