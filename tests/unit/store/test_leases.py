from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from unit.store.places import Place, child_environment

from owc_deploy.errors import LeaseHeldError
from owc_deploy.store import Store

HOLDER = """
import sys, time
from unit.store.places import open_place
with open_place(sys.argv[1]).lease("fleet", reason="apply in a child") as lease:
    print(lease.fencing_token, flush=True)
    time.sleep(60)
"""
RACER = """
import sys
from owc_deploy.errors import LeaseHeldError
from unit.store.places import open_place
store = open_place(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with store.lease("fleet", reason="race") as lease:
        print("won", lease.fencing_token, flush=True)
        sys.stdin.readline()
except LeaseHeldError:
    print("held", flush=True)
"""


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(place: Place, clock: Clock) -> Store:
    return place.open(clock=clock)


def pretend_other_host(store: Store) -> None:
    with store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE leases SET host = 'elsewhere', owner = 'bo@elsewhere:7'")


def test_a_second_holder_is_told_who_why_since_when_and_what_to_do(
    store: Store, clock: Clock
) -> None:
    with store.lease("fleet", reason="apply of plan abc"):
        clock.now += timedelta(seconds=30)
        with (
            pytest.raises(LeaseHeldError) as caught,
            store.lease("fleet", reason="another"),
        ):
            pass
    assert f":{os.getpid()} is changing fleet since 2026-11-23T18:00:00Z" in caught.value.message
    assert "apply of plan abc" in caught.value.message
    assert caught.value.context == "its lease lapses in 60 seconds unless it is renewed"
    assert "--take-over" in (caught.value.hint or "")
    assert caught.value.exit_code == 4


def test_given_back_it_is_free_and_the_token_goes_up(store: Store) -> None:
    tokens = []
    for _ in range(3):
        with store.lease("fleet", reason="apply") as lease:
            tokens.append(lease.fencing_token)
    assert tokens == [1, 2, 3]


def test_given_back_also_when_the_work_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lease("fleet", reason="apply"):
        raise ZeroDivisionError
    with store.lease("fleet", reason="apply"):
        pass


def test_leases_of_other_names_are_independent_and_no_two_have_one_token(store: Store) -> None:
    with store.lease("one", reason="a"), store.lease("two", reason="b") as lease:
        assert lease.fencing_token == 2


def test_one_of_another_host_lapses_after_ninety_seconds(store: Store, clock: Clock) -> None:
    told: list[str] = []
    first = store.lease("fleet", reason="apply")
    with first:
        pretend_other_host(store)
        clock.now += timedelta(seconds=89)
        with pytest.raises(LeaseHeldError), store.lease("fleet", reason="apply"):
            pass
        clock.now += timedelta(seconds=2)
        with store.lease("fleet", reason="apply", narrate=told.append) as second:
            assert second.fencing_token == 2
            assert not first.renew()
            with pytest.raises(LeaseHeldError, match="lost while working"):
                first.require()
            second.require()
    (words,) = told
    assert words.startswith("taking over from bo@elsewhere:7 (apply, since 2026-11-23T18:00:00Z)")
    assert words.endswith("last heard of at 2026-11-23T18:00:00Z")


def test_renewing_moves_the_end(store: Store, clock: Clock) -> None:
    with store.lease("fleet", reason="apply") as lease:
        pretend_other_host(store)
        for _ in range(5):
            clock.now += timedelta(seconds=60)
            assert lease.renew()
        lease.require()
        with pytest.raises(LeaseHeldError), store.lease("fleet", reason="b"):
            pass


def test_taken_over_on_request(store: Store) -> None:
    told: list[str] = []
    with store.lease("fleet", reason="apply") as first:
        with store.lease("fleet", reason="mine", take_over=True, narrate=told.append):
            assert not first.renew()
        assert "as asked" in told[0]
    # The loser gives back nothing: the winner's end stands.
    with store.lease("fleet", reason="next") as third:
        assert third.fencing_token == 3


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
    with pytest.raises(LeaseHeldError, match="apply in a child"), store.lease("fleet", reason="b"):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    told: list[str] = []
    with store.lease("fleet", reason="b", narrate=told.append) as lease:
        assert lease.fencing_token == 2
    assert "that process is gone" in told[0]


def test_of_racing_processes_exactly_one_wins(place: Place) -> None:
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
    answers = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
    for racer in racers:
        racer.communicate("done\n")
    assert sorted(answers) == ["held", "held", "held", "won 1"]
