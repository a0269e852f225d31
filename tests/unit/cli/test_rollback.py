"""Which release `owc-deploy rollback` goes back to, and what it says and asks before it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from fakes.fleet import FleetSimulator, SimulatedSite
from unit.cli.sessions import two_servers

from owc_deploy.cli import rollback, view
from owc_deploy.cli.losses_view import job_lines, loss_lines
from owc_deploy.cli.rollback import Wish, choose_target, go_back
from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.store import open_store

ONE, TWO, THREE, FOUR = (f"2026110{day}T000000Z-0000000{9 - day}" for day in range(1, 5))


def observed(live: str, *activated: str) -> dict[str, Any]:
    """Return what a probe says: `activated` is the newest activation first."""
    made = (ONE, TWO, THREE, FOUR)
    releases = [{"release_id": each, "order": made.index(each)} for each in activated]
    return {"release_id": live, "releases": releases}


@pytest.mark.parametrize(
    ("seen", "wanted", "target"),
    [
        (observed(THREE, THREE, TWO, ONE), "", TWO),
        (observed(TWO, TWO, THREE, ONE), "", ONE),
        (observed(FOUR, FOUR, TWO, THREE, ONE), "", TWO),
        (observed(THREE, THREE, TWO, ONE), ONE, ONE),
        (observed(ONE, ONE, TWO), TWO, TWO),
        (observed("", TWO, ONE), "", TWO),
    ],
    ids=[
        "the one before",
        "a second time goes further back",
        "the broken one left before is not live again",
        "the one named",
        "forward when named",
        "nothing live",
    ],
)
def test_the_target(seen: dict[str, Any], wanted: str, target: str) -> None:
    assert choose_target("heusden", seen, wanted) == target


def test_a_clock_that_was_wrong_changes_nothing() -> None:
    releases = [{"release_id": ONE, "order": 1}, {"release_id": TWO, "order": 0}]
    assert choose_target("heusden", {"release_id": ONE, "releases": releases}, "") == TWO


@pytest.mark.parametrize(
    ("seen", "wanted", "message", "context"),
    [
        (observed(ONE, ONE), "", "no earlier release", None),
        ({}, "", "no earlier release", None),
        (observed(ONE, ONE, TWO), "", f"older than {ONE}", f"possible, going forward: {TWO}"),
        (observed(TWO, TWO, ONE), THREE, f"{THREE} is not", f"possible: {ONE}"),
        (observed(TWO, TWO, ONE), TWO, f"{TWO} is not", f"possible: {ONE}"),
    ],
    ids=["the only one", "no site", "only newer ones", "an unknown one", "the live one"],
)
def test_a_target_that_is_not_there_is_refused(
    seen: dict[str, Any], wanted: str, message: str, context: str | None
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        choose_target("heusden", seen, wanted)
    assert raised.value.context == context


def numbers(new: int = 0, changed: int = 0, deleted: int = 0, *titles: str) -> dict[str, Any]:
    examples = [{"what": "new", "title": title} for title in titles]
    return {"new": new, "changed": changed, "deleted": deleted, "examples": examples}


def losses(**kinds: Any) -> dict[str, Any]:
    names = ("internal", "comments", "entries", "users", "options", "uploads")
    nothing: dict[str, Any] = {name: numbers() for name in names}
    others = {"posts": {}, "tables": {}, "not_compared": []}
    return {"snapshot_at": "2026-11-23T19:03:44Z", **nothing, **others, **kinds}


LOST = losses(posts={"page": numbers(2, 1, 0, "Braderie", "Kermis")}, entries=numbers(7))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return two_servers(tmp_path)


@pytest.fixture
def servers() -> FleetSimulator:
    """Return servers on which altena has two releases; the way back loses data."""
    made = FleetSimulator(["web1", "web2"])
    site = SimulatedSite(TWO, {ONE: {}, TWO: {}}, losses=LOST)
    made.servers["web1"].sites["altena"] = site
    return made


def live(servers: FleetSimulator) -> str:
    return servers.servers["web1"].sites["altena"].current


def runs(fleet: Fleet) -> int:
    return len(open_store(fleet.settings.state).history.runs())


def test_a_preview_tells_and_changes_nothing(
    fleet: Fleet, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go_back(fleet, servers, Wish("altena", preview_only=True)) == 0
    told = capsys.readouterr().out
    assert "2 new, 1 edited: Braderie; Kermis; ..." in told
    assert "form entries  7 new" in told
    assert "/srv/owc/sites/altena/exports/" in told
    assert live(servers) == TWO
    assert go_back(fleet, servers, Wish("altena", preview_only=True, output_format="json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["losses"] == LOST
    assert document["outcomes"] == []
    assert runs(fleet) == 0


@pytest.mark.parametrize("yes", [True, False])
def test_without_a_person_or_a_word_nothing_is_lost(
    fleet: Fleet, servers: FleetSimulator, capsys: pytest.CaptureFixture[str], yes: bool
) -> None:
    assert go_back(fleet, servers, Wish("altena", yes=yes)) == 1
    seen = capsys.readouterr()
    assert "Braderie" in seen.out
    assert "nothing was changed: since release" in seen.out
    assert f"owc-deploy rollback altena --to {ONE} --restore-database --yes" in seen.err
    assert live(servers) == TWO
    recorded = open_store(fleet.settings.state).history.outcomes()
    assert [item.outcome for item in recorded] == (["not-attempted"] if yes else [])


def test_with_the_word_it_is_done_and_told(
    fleet: Fleet, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = Wish("altena", restore_database=True, yes=True, output_format="json")
    assert go_back(fleet, servers, wish) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outcomes"][0]["outcome"] == "changed"
    assert document["losses"] == LOST
    assert document["export"].endswith(".jsonl.gz")
    assert [job["hook"] for job in document["held_jobs"]] == ["send"]
    assert live(servers) == ONE
    assert runs(fleet) == 1


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_is_asked_after_having_been_told(
    fleet: Fleet,
    servers: FleetSimulator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: bool,
) -> None:
    def ask(question: str, **_: object) -> None:
        assert "Braderie" in capsys.readouterr().out
        assert "and lose this?" in question
        if not answer:
            raise click.Abort

    monkeypatch.setattr(rollback, "can_ask", lambda: True)
    monkeypatch.setattr(view, "can_ask", lambda: True)
    monkeypatch.setattr(click, "confirm", ask)
    if answer:
        assert go_back(fleet, servers, Wish("altena")) == 0
        assert "kept from running again" in capsys.readouterr().out
        assert live(servers) == ONE
    else:
        with pytest.raises(click.Abort):
            go_back(fleet, servers, Wish("altena"))
        assert live(servers) == TWO


def test_where_the_data_allows_it_only_the_code_goes_back(
    fleet: Fleet, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.servers["web1"].sites["altena"].losses = None
    wish = Wish("altena", yes=True, restore_database=True, output_format="json")
    assert go_back(fleet, servers, wish) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["restore_needed"] is False
    assert (document["losses"], document["export"], document["held_jobs"]) == (None, "", [])
    assert live(servers) == ONE


def test_yes_alone_costs_no_call_more_than_going_back(
    fleet: Fleet, servers: FleetSimulator
) -> None:
    servers.servers["web1"].sites["altena"].losses = None
    assert go_back(fleet, servers, Wish("altena", yes=True)) == 0
    assert [method for method, _ in servers.calls] == ["probe", "rollback"]
    assert live(servers) == ONE


def test_a_target_that_is_not_whole_is_a_failure(
    fleet: Fleet, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.script("altena", "failed", f"release {ONE} cannot; possible: {THREE}")
    assert go_back(fleet, servers, Wish("altena", restore_database=True, yes=True)) == 1
    assert f"possible: {THREE}" in capsys.readouterr().out
    assert live(servers) == TWO


def test_losses_in_words() -> None:
    told = "\n".join(
        loss_lines(
            losses(
                posts={"pdc-\x1bitem": numbers(0, 3), "attachment": numbers(0, 0, 2)},
                tables={f"wp_{n}": numbers(1) for n in range(9)},
                not_compared=[{"table": "wp_log", "reason": "no key"}],
                uploads=numbers(1, 0, 0, "foto.jpg"),
            )
        )
    )
    assert "content of type pdc-\N{REPLACEMENT CHARACTER}item  3 edited" in told
    assert "media files  2" in told
    assert "wp_5 1 and 3 more" in told
    assert "Not compared: wp_log: no key." in told
    assert "stay on the server" in told
    assert "Nothing was written" in "\n".join(loss_lines(losses()))


def test_held_jobs_in_words() -> None:
    job = {"hook": "zaak_create", "at": "2026-11-23 10:00:00", "done": "canceled"}
    lines = list(job_lines([job] * 25))
    assert lines[1] == "  zaak_create of 2026-11-23 10:00:00: canceled"
    assert lines[-1] == "  and 5 more, in the export"
    assert list(job_lines([])) == []
