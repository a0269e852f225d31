"""What is said and waited for when sites are taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from fakes.fleet import FleetSimulator, SimulatedSite, fences

from owc_deploy.execution.ports import Fences, ProgressCallback, SiteStanding
from owc_deploy.plan.models import Fence
from owc_deploy.rollout.takeover import (
    PATIENCE_SECONDS,
    by_server,
    highest_token,
    take_sites_over,
    told,
)

WHERE = {"altena": "web1", "heusden": "web2", "zundert": "web1"}
MINE = fences(*WHERE, token=5)
NEWER = Fence("store", 9, "bo@laptop:8")
ELSEWHERE = Fence("another", 1, "cor@elsewhere:9")


class Slow(FleetSimulator):
    """Servers that have something under way for as many questions as `left` says."""

    left: int

    def fence(
        self,
        requests: Mapping[str, Sequence[str]],
        *,
        fences: Fences,
        insist: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> tuple[SiteStanding, ...]:
        state = self.servers["web1"].sites["altena"]
        state.transaction = "t1" if self.left > 0 else ""
        self.left -= 1
        return super().fence(requests, fences=fences, insist=insist, on_progress=on_progress)


class Time:
    def __init__(self) -> None:
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def servers() -> Slow:
    made = Slow(["web1", "web2"])
    made.servers["web1"].sites["altena"] = SimulatedSite("r1")
    made.left = 0
    return made


def taken_over(servers: Slow, time: Time) -> tuple[tuple[SiteStanding, ...], list[str]]:
    said: list[str] = []
    standings = take_sites_over(
        servers, WHERE, fences=MINE, narrate=said.append, clock=time.clock, pause=time.pause
    )
    return standings, said


def test_sites_by_server() -> None:
    assert by_server(WHERE) == {"web1": ("altena", "zundert"), "web2": ("heusden",)}


def test_where_nothing_goes_on_nothing_is_said(servers: Slow) -> None:
    standings, said = taken_over(servers, Time())
    assert [(each.site, each.transaction_id) for each in standings] == [
        ("altena", ""),
        ("zundert", ""),
        ("heusden", ""),
    ]
    assert said == []
    assert servers.calls == [("fence", ("web1", "web2"))]


def test_what_goes_on_is_said_and_only_that_is_waited_for(servers: Slow) -> None:
    servers.left = 4
    standings, said = taken_over(servers, Time())
    assert standings[0].transaction_id == "t1"
    (words,) = said
    assert "altena: t1 is under way" in words
    assert servers.calls[1:] == [("fence", ("web1",))] * 4


def test_it_is_not_waited_for_ever(servers: Slow) -> None:
    servers.left = 100_000
    time = Time()
    _, said = taken_over(servers, time)
    assert time.seconds == PATIENCE_SECONDS
    assert said[-1] == "still not over: altena; these sites will be busy"


def test_a_server_out_of_reach_is_said_and_not_waited_for(servers: Slow) -> None:
    servers.servers["web2"].unreachable = "no route to host"
    time = Time()
    _, said = taken_over(servers, time)
    assert said == ["  heusden: what is going on there is not known: no route to host"]
    assert time.seconds == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"transaction_id": "t1"}, "t1 is under way; its server is to end it"),
        ({"transaction_id": "t1", "provisional": True}, "t1 waits to be confirmed"),
        ({"newer": NEWER}, "bo@laptop:8 has taken it over since"),
        ({"newer": NEWER, "transaction_id": "t1"}, "bo@laptop:8 has taken it over since"),
        (
            {"newer": ELSEWHERE, "transaction_id": "t1"},
            "cor@elsewhere:9 is changing it (t1), with another history store",
        ),
        ({"trouble": "no route"}, "what is going on there is not known: no route"),
    ],
)
def test_words(changes: Mapping[str, object], words: str) -> None:
    standing = replace(SiteStanding("altena", "web1"), **changes)
    assert told(standing, MINE["altena"]).startswith(words)
    assert bool(told(standing, MINE["altena"])) == bool(words)


def test_only_tokens_of_the_same_store_are_compared() -> None:
    other = replace(ELSEWHERE, token=90)
    assert highest_token({"altena": NEWER, "zundert": other, "heusden": None}, MINE) == 9
    assert highest_token({"zundert": other}, MINE) == 0
