"""The command line's side of Temporal, where there is no cluster; with one: tests/integration."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.fleet import FleetSimulator
from unit.plan.examples import catalogue, fleet, lock, manifest

from owc_deploy.cli.session import Session
from owc_deploy.cli.temporal import temporal_engine, temporal_installed
from owc_deploy.errors import EngineError, LeaseHeldError, SecretError, UsageError
from owc_deploy.fleet.models import Fleet, SecretReference, TemporalCluster, TemporalTls
from owc_deploy.rollout.journal import begin, read
from owc_deploy.rollout.models import EndRing, Event, Rollout, Stand, Start, Wait
from owc_deploy.rollout.rings import rollout_rings
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.temporal.client import cluster_of, connect
from owc_deploy.rollout.temporal.engine import TemporalEngine, _stopped
from owc_deploy.store import Store, open_store

ID = "20261127T090000Z-1"
# Nothing listens on the port for discarding.
NOBODY = TemporalCluster("127.0.0.1:9")
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "history.sqlite3")


@pytest.fixture
def one(tmp_path: Path, store: Store) -> Fleet:
    made = fleet(manifest(), locks=(lock(),))
    settings = replace(made.settings, engine=NOBODY)
    made = replace(made, root=tmp_path, settings=settings)
    rings = rollout_rings(made, ["heusden"])
    begin(store, Rollout(ID, "test", "2026-11-27T09:00:00+00:00", "anna", "locks", rings))
    return made


def engine(one: Fleet, store: Store, told: list[str]) -> TemporalEngine:
    made = temporal_engine(one, store)
    assert isinstance(made, TemporalEngine)
    return replace(made, tell=told.append)


def test_a_pause_is_kept_where_temporal_cannot_be_told(one: Fleet, store: Store) -> None:
    told: list[str] = []
    engine(one, store, told).wake(ID)
    assert "written down; Temporal was not told" in told[0]
    assert "127.0.0.1:9" in told[0]


def test_who_walks_is_not_known_where_temporal_cannot_be_asked(one: Fleet, store: Store) -> None:
    assert "as far as is known" in engine(one, store, []).walker(ID)
    with store.claim(f"rollout/{ID}", reason="x") as claim:
        assert engine(one, store, []).walker(ID) == claim.owner


def test_a_rollout_is_not_started_without_a_cluster(one: Fleet, store: Store) -> None:
    session = Session(one, catalogue(), FleetSimulator(["web1"]))
    with pytest.raises(EngineError) as caught:
        engine(one, store, []).walk(session, ID, patience=None, take_over=False)
    assert "127.0.0.1:9" in caught.value.message
    assert caught.value.hint


def test_a_controller_that_walks_by_itself_is_left_to_it(one: Fleet, store: Store) -> None:
    session = Session(one, catalogue(), FleetSimulator(["web1"]))
    with store.claim(f"rollout/{ID}", reason="x"), pytest.raises(LeaseHeldError, match="by itself"):
        engine(one, store, []).walk(session, ID, patience=None, take_over=False)


@pytest.mark.parametrize(
    "cluster",
    [
        replace(NOBODY, api_key=SecretReference("no-such-file")),
        replace(NOBODY, tls=TemporalTls(root_certificate=Path("/no/such/file.pem"))),
    ],
)
def test_what_proves_who_is_who_must_be_there(
    one: Fleet, store: Store, cluster: TemporalCluster
) -> None:
    other = replace(one, settings=replace(one.settings, engine=cluster))
    assert cluster_of(other) is cluster
    with pytest.raises((EngineError, SecretError)) as caught:
        asyncio.run(connect(other))
    assert caught.value.hint
    assert "as far as is known" in engine(other, store, []).walker(ID)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UsageError) as caught, temporal_installed():
        raise ModuleNotFoundError("No module named 'temporalio'", name="temporalio")
    assert caught.value.hint == "pip install 'owc-deploy[temporal,postgres]'"
    with pytest.raises(ModuleNotFoundError), temporal_installed():
        raise ModuleNotFoundError("No module named 'other'", name="other")


def intended(standing: Standing) -> Standing:
    body = {"release_id": "r2", "observed_release": "r1"}
    standing.learn([Event("site-intended", "heusden", body, NOON, "anna", 9)])
    return standing


HOUR = timedelta(hours=1)
SOON, LATE = Wait(NOON + HOUR / 2, "soak"), Wait(NOON + 2 * HOUR, "window")


@pytest.mark.parametrize(
    ("decision", "at_work", "patience", "stops"),
    [
        (Stand("done", ""), False, None, True),
        (Stand("paused", ""), False, timedelta(0), True),
        # What is under way when it is paused is waited for.
        (Stand("paused", ""), True, timedelta(0), False),
        (SOON, False, None, False),
        (SOON, False, HOUR, False),
        (LATE, False, HOUR, True),
        (LATE, True, HOUR, False),
        (Start("all", ()), False, timedelta(0), False),
        (EndRing("all"), False, timedelta(0), False),
    ],
)
def test_it_is_followed_until_it_stands_still(
    one: Fleet,
    store: Store,
    decision: Stand | Wait | Start | EndRing,
    at_work: bool,
    patience: timedelta | None,
    stops: bool,
) -> None:
    standing = read(store, ID)
    if at_work:
        intended(standing)
    assert _stopped(standing, decision, NOON, patience) == (decision if stops else None)
