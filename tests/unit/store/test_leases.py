from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update
from unit.store.places import Place, child_environment

from owc_deploy.errors import LeaseHeldError
from owc_deploy.plan.models import Fence
from owc_deploy.store import Store, open_store
from owc_deploy.store.holders import Process
from owc_deploy.store.leases import Claim
from owc_deploy.store.tables import leases

HOLDER = """
import sys, time
from unit.store.places import open_place
with open_place(sys.argv[1]).claim("site/a", "site/b", reason="apply in a child") as claim:
    print(claim.first_token, flush=True)
    time.sleep(60)
"""
# Takes one name after another in an order of its own, then all that are left at once.
RACER = """
import random, sys
from owc_deploy.errors import LeaseHeldError
from unit.store.places import open_place
store = open_place(sys.argv[1])
names = [f"site/{number}" for number in range(8)]
print("ready", flush=True)
sys.stdin.readline()
with store.claim(reason="race") as claim:
    try:
        claim.take(["server/web1", "server/web2"])
    except LeaseHeldError:
        pass
    for name in random.sample(names, len(names)):
        claim.take_free([name])
    claim.take_free(names)
    print(*sorted(claim.held), flush=True)
    sys.stdin.readline()
"""


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


def pretend(store: Store, **values: str) -> None:
    """Let every lease be held by a process that is not this one."""
    with store._database.writing() as connection:
        connection.execute(update(leases).values(**values))


def names_in(store: Store) -> set[str]:
    with store._database.reading() as connection:
        return {row[0] for row in connection.exec_driver_sql("SELECT name FROM leases")}


def test_a_second_holder_is_told_who_why_since_when_and_what_to_do(
    store: Store, clock: Clock
) -> None:
    with store.claim("site/heusden", reason="apply of plan abc"):
        clock.pass_seconds(30)
        with (
            pytest.raises(LeaseHeldError) as caught,
            store.claim("site/heusden", reason="another"),
        ):
            pass
    assert f":{os.getpid()} is changing site heusden since 2026-11-23T18:00:00Z" in (
        caught.value.message
    )
    assert "apply of plan abc" in caught.value.message
    assert caught.value.context == "its lease lapses in 60 seconds unless it is renewed"
    assert "--take-over" in (caught.value.hint or "")
    assert caught.value.exit_code == 4


def test_all_that_are_held_are_named_by_their_holders_and_nothing_is_taken(
    store: Store, clock: Clock
) -> None:
    with store.claim("site/a", "site/b", reason="update"):
        clock.pass_seconds(30)
        with store.claim("server/web1", reason="provision"):
            with pytest.raises(LeaseHeldError) as caught:
                store.claim("site/z", "site/b", "site/a", "server/web1", reason="all").__enter__()
            assert "site/z" not in names_in(store)
    first, second = caught.value.message.splitlines()
    assert "changing server web1" in first
    assert "changing site a, site b since" in second
    assert [holder.name for holder in caught.value.held] == ["server/web1", "site/a", "site/b"]
    assert {holder.reason for holder in caught.value.held} == {"provision", "update"}
    assert "lapses in 90 seconds" in (caught.value.context or "")
    assert "lapses in 60 seconds" in (caught.value.context or "")


def test_of_many_only_some_are_named(store: Store) -> None:
    names = [f"site/{number:03}" for number in range(100)]
    with (
        store.claim(*names, reason="update"),
        pytest.raises(LeaseHeldError, match="site 019 and 80 more since") as caught,
        store.claim(*names, reason="b"),
    ):
        pass
    assert len(caught.value.held) == 100


def test_those_that_are_free_can_be_had_without_the_others(store: Store) -> None:
    with store.claim("site/b", reason="update"), store.claim("rollout/1", reason="roll") as claim:
        (holder,) = claim.take_free(["site/a", "site/b", "site/c"])
        assert (holder.name, holder.reason) == ("site/b", "update")
        assert claim.held == {"rollout/1", "site/a", "site/c"}
        assert claim.take_free(["site/a"]) == ()


def test_given_back_it_is_free_and_the_token_goes_up(store: Store) -> None:
    tokens = []
    for _ in range(3):
        with store.claim("site/heusden", reason="apply") as claim:
            tokens.append(claim.first_token)
    assert tokens == [1, 2, 3]
    assert names_in(store) == set()


def test_given_back_also_when_the_work_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.claim("site/heusden", reason="apply"):
        raise ZeroDivisionError
    with store.claim("site/heusden", reason="apply"):
        pass


def test_a_claim_on_other_names_is_free_to_work_beside(store: Store) -> None:
    with store.claim("site/a", reason="a"), store.claim("site/b", reason="b") as second:
        assert second.first_token == 2


def test_every_taking_has_a_token_of_its_own_which_servers_are_shown(store: Store) -> None:
    with store.claim("rollout/1", "site/a", reason="roll") as claim:
        claim.take(["site/b", "mitigations/b"])
        a, b = claim.fences()["a"], claim.fences()["b"]
        assert claim.fences().keys() == {"a", "b"}
        assert claim.fences("mitigations") == {"b": b}
        assert a == Fence(b.store, 1, claim.owner)
        assert b.token == 2
        assert len(a.store) == 32
        claim.give("site/a")
        assert claim.fences().keys() == {"b"}
        with store.claim("site/a", reason="beside") as beside:
            assert beside.fences()["a"] == Fence(a.store, 3, claim.owner)


def test_servers_know_another_store_by_another_id(store: Store, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other.sqlite3")
    with store.claim("site/a", reason="a") as one, other.claim("site/a", reason="b") as two:
        assert one.fences()["a"].store != two.fences()["a"].store


def test_a_store_that_was_put_back_can_be_brought_above_what_servers_remember(
    store: Store,
) -> None:
    with store.claim("site/a", "site/b", reason="a") as claim:
        claim.raise_tokens(above=40)
        assert {fence.token for fence in claim.fences().values()} == {41}
        assert claim.renew()
    with store.claim("site/a", reason="next") as later:
        assert later.first_token == 42


def test_one_of_another_host_lapses_after_ninety_seconds(store: Store, clock: Clock) -> None:
    told: list[str] = []
    first = store.claim("site/heusden", "site/altena", reason="apply")
    with first:
        pretend(store, host="elsewhere", owner="bo@elsewhere:7")
        clock.pass_seconds(89)
        with pytest.raises(LeaseHeldError), store.claim("site/heusden", reason="apply"):
            pass
        clock.pass_seconds(2)
        with store.claim("site/heusden", reason="apply", narrate=told.append) as second:
            (taken,) = second.taken_over
            assert (taken.name, taken.owner, taken.first_token) == (
                "site/heusden",
                "bo@elsewhere:7",
                1,
            )
            assert not first.renew()
            assert (first.held, first.lost) == ({"site/altena"}, {"site/heusden"})
            with pytest.raises(LeaseHeldError, match="site heusden was lost while working"):
                first.require()
            second.require()
        first.give("site/heusden")
        assert first.renew()
        first.require()
    (words,) = told
    assert words.startswith("taking over site heusden from bo@elsewhere:7 (apply, since 2026-11-23")
    assert words.endswith("last heard of at 2026-11-23T18:00:00Z")


def test_renewing_moves_the_end_of_all(store: Store, clock: Clock) -> None:
    with store.claim("site/a", reason="apply") as claim:
        claim.take(["site/b"])
        pretend(store, host="elsewhere")
        for _ in range(5):
            clock.pass_seconds(60)
            assert claim.renew()
        claim.require()
        for name in ("site/a", "site/b"):
            with pytest.raises(LeaseHeldError), store.claim(name, reason="b"):
                pass


def test_what_could_not_be_renewed_in_time_is_not_worked_on(store: Store, clock: Clock) -> None:
    with store.claim("site/a", reason="apply") as claim:
        clock.pass_seconds(91)
        with pytest.raises(LeaseHeldError, match="site a was lost"):
            claim.require()
        assert claim.renew()
        claim.require()


def test_taken_over_on_request(store: Store) -> None:
    told: list[str] = []
    with store.claim("site/a", "site/b", reason="apply") as first:
        with store.claim("site/a", reason="mine", take_over=True, narrate=told.append) as second:
            assert not first.renew()
            # What servers are shown for it is what they will refuse.
            assert first.fences()["a"].token < second.fences()["a"].token
            with pytest.raises(LeaseHeldError):
                first.take(["site/a"])
            # The loser gives back nothing: the winner's end stands.
            first.give("site/a")
            assert second.renew()
        assert "as asked" in told[0]
        first.take(["site/a"])
        assert first.held == {"site/a", "site/b"}


@pytest.mark.parametrize(
    ("gone", "values"),
    [
        (True, {}),
        (False, {"host": "elsewhere"}),
        (False, {"boot": "of another machine that has this one's name"}),
    ],
)
def test_only_a_process_that_can_be_seen_from_here_is_known_to_be_gone(
    store: Store, gone: bool, values: dict[str, str]
) -> None:
    with store.claim("site/a", reason="apply"):
        # No process began before the machine did.
        pretend(store, process_started="0", **values)
        if gone:
            with store.claim("site/a", reason="b", narrate=lambda _: None) as claim:
                assert claim.taken_over[0].why == "that process is gone"
        else:
            with pytest.raises(LeaseHeldError), store.claim("site/a", reason="b"):
                pass


def test_this_process_is_there() -> None:
    assert not Process.this().is_gone()


def test_a_killed_holder_on_this_machine_is_replaced_at_once(place: Place) -> None:
    store = place.open()
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, place.words],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "1\n"
    with (
        pytest.raises(LeaseHeldError, match="apply in a child"),
        store.claim("site/a", reason="b"),
    ):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    told: list[str] = []
    with store.claim("site/a", "site/b", reason="b", narrate=told.append) as claim:
        assert claim.first_token == 2
    (words,) = told
    assert words.startswith("taking over site a, site b from ")
    assert "that process is gone" in words


def test_of_racing_processes_exactly_one_gets_each_name(place: Place) -> None:
    store = place.open()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, place.words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.stdout.readline().split() for racer in racers if racer.stdout is not None]
    for racer in racers:
        racer.communicate("done\n")
    sites = [f"site/{number}" for number in range(8)]
    assert sorted(name for names in answers for name in names) == [
        "server/web1",
        "server/web2",
        *sites,
    ]
    assert sum({"server/web1", "server/web2"} <= set(names) for names in answers) == 1
    assert names_in(store) == set()


@pytest.fixture
def statements(store: Store) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_: object, __: object, statement: str, *rest: Any) -> None:
        said.append(statement)

    event.listen(store._database._engine, "before_cursor_execute", note)
    yield said
    event.remove(store._database._engine, "before_cursor_execute", note)


def test_two_thousand_names_take_a_few_statements(store: Store, statements: list[str]) -> None:
    names = [f"site/{number}" for number in range(2000)]
    with store.claim(*names, reason="roll out") as claim:
        assert len(statements) < 12
        statements.clear()
        assert claim.renew()
        assert len(statements) < 4
        pretend(store, host="elsewhere")
        statements.clear()
        with store.claim("site/7", *names, reason="mine", take_over=True, narrate=lambda _: None):
            assert len(statements) < 12
        assert not claim.renew()
        assert claim.held == set()
    assert names_in(store) == set()


def test_what_a_dead_controller_left_is_forgotten_after_a_month(store: Store, clock: Clock) -> None:
    dead = store.claim("rollout/1", reason="roll")
    dead.take(["rollout/1"])
    pretend(store, host="elsewhere")
    clock.pass_seconds(29 * 86400)
    with store.claim("site/a", reason="a"):
        assert names_in(store) == {"rollout/1", "site/a"}
    clock.pass_seconds(2 * 86400)
    with store.claim("site/a", reason="a"):
        assert names_in(store) == {"site/a"}


def test_the_audit_log_tells_of_each_taking_once(store: Store) -> None:
    first = store.claim("site/b", "site/a", reason="apply", rollout_id="r1")
    with first, store.claim("site/a", "site/c", reason="mine", take_over=True) as second:
        pass
    entries = tuple(store.audit.entries())
    assert [entry.kind for entry in entries] == [
        "lease-taken",
        "lease-taken",
        "lease-taken-over",
        "lease-released",
        "lease-released",
    ]
    taken, _, over, released, rest = entries
    assert (taken.rollout_id, over.rollout_id) == ("r1", "")
    assert taken.body == {
        "names": ["site/b", "site/a"],
        "owner": first.owner,
        "reason": "apply",
        "fencing_token": 1,
    }
    assert over.body == {
        "names": ["site/a"],
        "owner": second.owner,
        "fencing_token": 2,
        "why": "as asked",
        "taken_from": {
            "owner": first.owner,
            "reason": "apply",
            "since": "2026-11-23T18:00:00.000000+00:00",
            "fencing_token": 1,
        },
    }
    assert released.body == {
        "names": ["site/a", "site/c"],
        "owner": second.owner,
        "fencing_tokens": [2],
    }
    assert rest.body["names"] == ["site/b"]


def test_a_refused_claim_leaves_no_trace(store: Store) -> None:
    with store.claim("site/a", reason="a"):
        before = store.audit.head()
        with pytest.raises(LeaseHeldError), store.claim("site/a", reason="b"):
            pass
        assert store.audit.head() == before


def test_a_store_of_an_earlier_version_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    opened = open_store(path)
    with opened._database.writing() as connection:
        for statement in (
            "DROP TABLE store",
            "DROP INDEX leases_by_first_token",
            "ALTER TABLE leases DROP COLUMN first_token",
            "INSERT INTO leases (name, fencing_token) VALUES ('fleet', 7)",
            "DROP TABLE rollout_sites",
            "DROP TABLE rollouts",
            "DELETE FROM schema_version WHERE version >= 5",
        ):
            connection.exec_driver_sql(statement)
    with open_store(path).claim("site/a", reason="a") as claim:
        assert claim.first_token == 8
        assert names_in(opened) == {"site/a"}


def test_a_claim_that_cannot_begin_to_renew_gives_back_what_it_took(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: Claim) -> None:
        raise KeyboardInterrupt

    claim = store.claim("site/a", reason="a")
    monkeypatch.setattr(claim._thread, "start", lambda: stopped(claim))
    with pytest.raises(KeyboardInterrupt), claim:
        pass
    assert names_in(store) == set()
