"""`owc-deploy mitigate` on simulated servers: what is written, told and recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fleet import FleetSimulator, SimulatedSite
from unit.cli.sessions import session, two_servers

from owc_deploy.cli import mitigate
from owc_deploy.cli.main import run
from owc_deploy.cli.session import Session
from owc_deploy.fleet.mitigations import build_mitigations, read_mitigations, write_mitigations
from owc_deploy.fleet.models import Mitigation
from owc_deploy.store import open_store


@pytest.fixture
def servers() -> FleetSimulator:
    return FleetSimulator(["web1", "web2"])


@pytest.fixture
def opened(tmp_path: Path, servers: FleetSimulator, monkeypatch: pytest.MonkeyPatch) -> Session:
    made = session(two_servers(tmp_path), servers)

    def reopen(_: Path, *, last_verified_will_do: bool) -> Session:
        assert last_verified_will_do
        document, problems = read_mitigations(tmp_path)
        assert not problems
        return replace(made, fleet=replace(made.fleet, mitigations=build_mitigations(document)))

    monkeypatch.setattr(mitigate, "open_session", reopen)
    return made


ADD = ["mitigate", "add", "--reason", "a hole", "--format", "json"]


def written(root: Path) -> tuple[Mitigation, ...]:
    return build_mitigations(read_mitigations(root)[0])


def test_it_is_written_closed_and_recorded(
    opened: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    root = opened.fleet.root
    assert run([*ADD, "--route", "/owc/zgw/v1", "--advisory", "CVE-2026-1", "heusden"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["site"] for item in document["outcomes"]] == ["heusden"]
    assert document["left_open"]
    (mitigation,) = written(root)
    assert (mitigation.identifier, mitigation.sites) == ("owc-zgw-v1", ("heusden",))
    (outcome,) = open_store(opened.fleet.settings.state).history.outcomes()
    assert outcome.run.reason == "owc-zgw-v1, CVE-2026-1: a hole"
    assert outcome.details["mitigation"]["advisory"] == "CVE-2026-1"
    assert run(["mitigate", "lift", "owc-zgw-v1", "--reason", "fixed"]) == 0
    assert written(root) == ()


def test_a_server_out_of_reach_is_told_and_it_stays_wanted(
    opened: Session, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    servers.servers["web2"].unreachable = "no route to host"
    assert run([*ADD, "--route", "owc/zgw/v1"]) == 1
    said = capsys.readouterr()
    outcomes = {each["site"]: each["outcome"] for each in json.loads(said.out)["outcomes"]}
    assert outcomes == {"altena": "changed", "heusden": "unreachable"}
    assert "owc-deploy mitigate apply" in said.err
    assert len(written(opened.fleet.root)) == 1
    servers.servers["web2"].unreachable = ""
    assert run(["mitigate", "apply"]) == 0
    assert [method for method, _ in servers.calls] == ["mitigate", "mitigate"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name what to close"),
        (["--route", "/"], "plain letters"),
        (["--route", "wp/v2"], "wp-admin itself"),
        (["--route", "owc/(.*)"], "plain letters"),
        (["--route", "wp-json/owc/zgw/v1"], "is an address"),
        (["--route", "/index.php/wp-json/owc/zgw/v1"], "is an address"),
        (["--route", "owc/zgw/v1/items/1"], "close the route above it"),
        (["--ajax-action", "wp_ajax_nopriv_zgw_upload"], "is a hook"),
        (["--block", "nothing"], "no block"),
        (["--ajax-action", "a b"], "must be letters"),
        (["--route", "owc/x", "--identifier", "a b"], "identifier: "),
        (["--route", "owc/x", "--advisory", "x" * 300], "advisory: "),
        (["--route", "owc/x", "nowhere"], "there is no site nowhere"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(
    opened: Session,
    servers: FleetSimulator,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert run([*ADD, *arguments]) == 2
    assert words in capsys.readouterr().err
    assert servers.calls == []
    assert not (opened.fleet.root / "mitigations.yml").exists()


def test_the_same_twice_is_refused(opened: Session, capsys: pytest.CaptureFixture[str]) -> None:
    del opened
    assert run([*ADD, "--route", "owc/x"]) == 0
    assert run([*ADD, "--route", "owc/x"]) == 2
    assert "already" in capsys.readouterr().err


def test_a_block_that_the_catalogue_lacks_never_passes_for_closed(
    opened: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mitigations(opened.fleet.root, [Mitigation("x", "y", "me", "2026", block="typo")])
    assert run(["mitigate", "apply"]) == 1
    assert "closes nothing of `typo`" in capsys.readouterr().err


def test_a_lift_of_what_is_not_there_names_what_is(
    opened: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    del opened
    run([*ADD, "--route", "owc/x"])
    assert run(["mitigate", "lift", "owc-y", "--reason", "x"]) == 2
    assert "owc-x" in capsys.readouterr().err


def test_a_route_that_nobody_declares_is_warned_of(
    opened: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    del opened
    assert run([*ADD, "--route", "owc/typo/v1"]) == 0
    assert "is it spelled right?" in capsys.readouterr().err


def test_two_at_once_both_stay_closed(
    opened: Session, servers: FleetSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = replace(opened, fleet=replace(opened.fleet, mitigations=()))
    assert run([*ADD, "--route", "owc/first"]) == 0
    # The second had read the document before the first wrote it.
    monkeypatch.setattr(mitigate, "open_session", lambda *_, **__: stale)
    assert run([*ADD, "--route", "owc/second"]) == 0
    assert [each.identifier for each in written(opened.fleet.root)] == ["owc-first", "owc-second"]
    assert len(servers.calls) == 2


def test_it_waits_for_nobody_but_another_mitigation(
    opened: Session, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(opened.fleet.settings.state)
    with store.claim("site/heusden", "mitigations/altena", reason="update"):
        assert run([*ADD, "--route", "owc/zgw/v1", "heusden"]) == 0
        assert run([*ADD, "--route", "owc/pdc/v1"]) == 4
        assert "is changing mitigations altena since" in capsys.readouterr().err
        with store.claim("document/mitigations.yml", reason="mitigate"):
            assert run([*ADD, "--route", "owc/woo/v1", "heusden"]) == 4
            assert run(["mitigate", "apply", "heusden"]) == 0
    assert len(written(opened.fleet.root)) == 1


def test_a_store_that_was_put_back_is_refused_until_it_is_told_to_take_over(
    opened: Session, servers: FleetSimulator
) -> None:
    assert run([*ADD, "--route", "owc/zgw/v1", "heusden"]) == 0
    site = servers.servers["web2"].sites.setdefault("heusden", SimulatedSite())
    with open_store(opened.fleet.settings.state).claim("mitigations/heusden", reason="") as claim:
        (mine,) = claim.fences("mitigations").values()
    site.mitigations_fence = replace(mine, token=70)
    assert run(["mitigate", "apply", "heusden"]) == 1
    assert run(["mitigate", "apply", "heusden", "--take-over"]) == 0
    assert site.mitigations_fence.token == 71
