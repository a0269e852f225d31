from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from owc_pilot import pilot
from owc_pilot.pilot import ConnectionLostError, Pilot

from owc_agent.gate import Answer


def job(site: str, *, watched: bool = True) -> dict[str, Any]:
    watch = {"domain": f"{site}.example", "path": "/", "status": 200, "release_id": f"r-{site}"}
    return {"site": site, "transaction_id": f"t-{site}", "watch": watch if watched else None}


def ended(site: str, word: str = "changed") -> dict[str, Any]:
    return {"site": site, "outcome": word, "message": "", "details": {}}


class Server:
    """Answers calls as the module does: a site is provisional, then ends with its verdict."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.lost: list[ConnectionLostError] = []
        self.at_once: dict[str, str] = {}
        self.most = 0

    def __call__(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.lost:
            raise self.lost.pop(0)
        self.calls.append(asked)
        told = {item["site"]: item["verdict"] for item in asked["verdicts"]}
        flying = [flight for flight in asked["flights"] if flight["site"] not in told]
        flying += asked["start"]
        self.most = max(self.most, len(flying))
        finished = [
            ended(site, "changed" if verdict == "pass" else "rolled-back")
            for site, verdict in told.items()
        ]
        finished += [
            ended(item["site"], self.at_once[item["site"]])
            for item in flying
            if item["site"] in self.at_once
        ]
        waiting = [{"site": i["site"]} for i in flying if i["site"] not in self.at_once]
        return {"finished": finished, "provisional": waiting}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let every site answer 200 unless said otherwise, without a network or a wait."""
    statuses: dict[str, int] = {}

    def ask(domain: str, path: str, timeout_seconds: float, address: str) -> Answer:
        return Answer(path, statuses.get(domain.partition(".")[0], 200), "", 0.0, "")

    monkeypatch.setattr(pilot, "ask", ask)
    monkeypatch.setattr(pilot, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(pilot, "RECONNECT_SECONDS", 0.2)
    monkeypatch.setattr(pilot, "_RECONNECT_PAUSE_SECONDS", 0.01)
    return statuses


def words(outcomes: list[dict[str, Any]]) -> dict[str, str]:
    return {outcome["site"]: outcome["outcome"] for outcome in outcomes}


def test_every_job_is_confirmed_and_never_more_than_may_fly(server: Server) -> None:
    told: list[str] = []
    flown = Pilot(server, "192.0.2.1", lambda outcome: told.append(outcome["site"]))
    outcomes = flown.fly([job(site) for site in "abcde"], 2)
    assert words(outcomes) == dict.fromkeys("abcde", "changed")
    assert told == list("abcde")
    assert server.most == 2
    assert all(outcome["details"]["watch"]["errors"] == 0 for outcome in outcomes)


def test_what_is_not_seen_well_is_not_confirmed(server: Server, seen: dict[str, int]) -> None:
    seen["b"] = 502
    outcomes = Pilot(server, "192.0.2.1").fly([job("a"), job("b")], 2)
    assert words(outcomes) == {"a": "changed", "b": "rolled-back"}
    verdict = server.calls[1]["verdicts"][1]
    assert (verdict["verdict"], verdict["transaction_id"]) == ("fail", "t-b")
    assert "answers 502" in verdict["reason"]


def test_one_that_fails_by_itself_makes_room_for_the_next(server: Server) -> None:
    server.at_once = {"a": "failed"}
    outcomes = Pilot(server, "192.0.2.1").fly([job("a"), job("b")], 1)
    assert words(outcomes) == {"a": "failed", "b": "changed"}


def test_what_nobody_can_look_at_is_confirmed_by_the_server_alone(server: Server) -> None:
    outcomes = Pilot(server, "192.0.2.1").fly([job("a", watched=False)], 1)
    assert words(outcomes) == {"a": "changed"}


def test_a_server_that_was_never_reached_is_said_so(server: Server) -> None:
    server.lost = [ConnectionLostError("refused")]
    with pytest.raises(ConnectionLostError, match="refused"):
        Pilot(server, "192.0.2.1").fly([job("a")], 1)


def lost(count: int) -> list[ConnectionLostError]:
    return [ConnectionLostError("closed", was_there=True) for _ in range(count)]


def test_a_lost_connection_is_made_again_with_the_same_question(server: Server) -> None:
    server.lost = lost(2)
    outcomes = Pilot(server, "192.0.2.1").fly([job("a")], 1)
    assert words(outcomes) == {"a": "changed"}
    assert [item["site"] for item in server.calls[0]["start"]] == ["a"]


@pytest.mark.parametrize("cut", [lambda: lost(1000)])
def test_a_connection_that_stays_away_leaves_every_site_its_word(
    server: Server, cut: Callable[[], list[ConnectionLostError]]
) -> None:
    server.lost = cut()
    outcomes = Pilot(server, "192.0.2.1").fly([job("a"), job("b")], 1)
    assert words(outcomes) == {"a": "inconclusive", "b": "not-attempted"}


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ("Failed to connect to the host via ssh: Shared connection to 10.0.0.1 closed.", True),
        ("client_loop: send disconnect: Broken pipe", True),
        ("Failed to connect to the host via ssh: ", True),
        ("ssh: connect to host 10.0.0.1 port 22: Connection refused", False),
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", False),
        ("ssh: Could not resolve hostname web1: Name or service not known", False),
        ("root@10.0.0.1: Permission denied (publickey).", False),
        ("Host key verification failed.", False),
    ],
)
def test_only_ssh_itself_can_say_that_it_never_came_in(words: str, there: bool) -> None:
    assert pilot.may_have_been_there(words) is there
