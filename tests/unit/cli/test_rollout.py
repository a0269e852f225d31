"""The verbs of `owc-deploy rollout`, on simulated servers and a real store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.fleet import FleetSimulator
from jsonschema import Draft202012Validator
from unit.cli.sessions import session
from unit.plan.examples import fleet, lock, manifest

from owc_deploy.catalogue.relock import LockChange, Relocked
from owc_deploy.cli import main
from owc_deploy.cli.plan import planned, write_plan
from owc_deploy.cli.rollout_scheduled import worst
from owc_deploy.cli.session import now
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.execution.ports import ReleaseRequest
from owc_deploy.fleet.models import Fleet, FreezeDays, Ring, Server, SiteServers
from owc_deploy.plan.document import plan_to_document
from owc_deploy.resources import resource_folder
from owc_deploy.rollout.names import LOCKS_DOCUMENT
from owc_deploy.store import open_fleet_store

SITES = ("altena", "bergen", "heusden")
SCHEMA = Draft202012Validator(
    json.loads((resource_folder("schemas") / "output" / "rollout.schema.json").read_text("utf-8"))
)
MODULES = ("rollout_start", "rollout_orders", "rollout_status")


@dataclass
class Desk:
    """An operator's desk: a fleet in memory whose verbs find it where they look for documents."""

    fleet: Fleet
    servers: FleetSimulator
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    said: str = field(default="", init=False)

    def owc(self, *arguments: str) -> int:
        for module in MODULES:
            for name, value in (
                ("open_session", lambda _: session(self.fleet, self.servers)),
                ("load_fleet", lambda _: self.fleet),
            ):
                self.patch.setattr(f"owc_deploy.cli.{module}.{name}", value, raising=False)
        code = main.run(["rollout", *arguments])
        captured = self.capsys.readouterr()
        self.said = captured.err
        self.stdout = captured.out
        return code

    def json(self, *arguments: str) -> dict[str, Any]:
        self.code = self.owc(*arguments, "--format", "json")
        document = json.loads(self.stdout)
        for each in document["rollouts"] if "--scheduled" in arguments else [document]:
            if arguments[0] != "list":
                SCHEMA.validate(each)
        return document

    def live(self) -> dict[str, str]:
        return {
            name: site.releases[site.current]["blocks"][0]["version"]
            for server in self.servers.servers.values()
            for name, site in server.sites.items()
        }


def three_sites(root: Path, *, news: str = "1.0.0", rings: Sequence[Ring] = ()) -> Fleet:
    """Altena (canary) and heusden on web1, bergen on web2."""
    place = SiteServers(("web2",), ("web2",))
    made = fleet(
        manifest("altena", ring="canary"),
        manifest("bergen", ring="all", servers=place),
        manifest("heusden", ring="all"),
        locks=tuple(lock(site, news) for site in SITES),
    )
    servers = {name: Server(name, ("web", "database"), ("8.2",)) for name in ("web1", "web2")}
    rings = tuple(rings) or (Ring("canary"), Ring("all"))
    settings = replace(made.settings, state=root / "history.sqlite3", rings=rings)
    return replace(made, root=root, settings=settings, servers=servers)


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    made = three_sites(tmp_path)
    servers = FleetSimulator(["web1", "web2"])
    for name, server in servers.servers.items():
        server.provisioned = provision_fingerprint(made.servers[name])
    return Desk(made, servers, capsys, monkeypatch)


def test_a_rollout_walks_its_rings_to_the_end(desk: Desk) -> None:
    document = desk.json("start", "--yes")
    assert desk.code == 0
    assert document["state"] == "done"
    assert document["counts"] == {"changed": 3}
    assert [ring["ring"] for ring in document["rings"]] == ["canary", "all"]
    assert desk.live() == dict.fromkeys(SITES, "1.0.0")
    assert [servers for method, servers in desk.servers.calls if method == "release"] == [
        ("web1",),
        ("web2", "web1"),
    ]
    again = desk.json("start", "--yes")
    assert (desk.code, again["rollout_id"], again["state"]) == (0, "", "done")
    listed = desk.json("list")["rollouts"]
    assert [(each["state"], each["counts"]) for each in listed] == [("done", {"changed": 3})]


def test_without_a_terminal_nothing_begins_unasked(desk: Desk) -> None:
    assert desk.owc("start") == 2
    assert "--yes" in desk.said
    assert desk.live() == {}
    assert desk.json("list")["rollouts"] == []


def test_it_is_halted_by_a_failing_canary_and_goes_on_when_tried_again(desk: Desk) -> None:
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0")
    desk.servers.script("altena", "rolled-back", "it fatals")
    document = desk.json("start", "--yes")
    assert (desk.code, document["state"]) == (6, "halted")
    assert document["counts"] == {"rolled-back": 1, "pending": 2}
    assert desk.live() == dict.fromkeys(SITES, "1.0.0")
    assert desk.owc("status") == 6
    assert "altena on web1: rolled-back: it fatals" in desk.stdout
    assert "Next: owc-deploy rollout retry" in desk.stdout
    assert desk.owc("resume", "--yes") == 2
    assert "--accept-failures" in desk.said
    assert desk.owc("start", "--yes") == 2
    assert "--supersede" in desk.said
    assert desk.json("retry", "--yes")["state"] == "done"
    assert desk.live() == dict.fromkeys(SITES, "2.0.0")


def test_failures_can_be_accepted(desk: Desk) -> None:
    desk.servers.script("altena", "inconclusive", "it cannot be seen")
    assert desk.owc("start", "--yes") == 6
    document = desk.json("resume", "--accept-failures", "--yes", "--reason", "seen by hand")
    assert (desk.code, document["state"]) == (1, "incomplete")
    assert document["counts"] == {"changed": 2, "inconclusive": 1}


def test_what_was_changed_is_undone_since_a_ring(desk: Desk) -> None:
    desk.owc("start", "--yes")
    rings = (Ring("canary"), Ring("all", undo_since="canary"))
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=rings)
    desk.servers.script("heusden", "failed", "the disk is full")
    document = desk.json("start", "--yes")
    assert desk.code == 6
    assert document["counts"] == {"undone": 2, "failed": 1}
    assert desk.live() == dict.fromkeys(SITES, "1.0.0")


def test_an_abort_can_bring_back_what_was_changed(desk: Desk) -> None:
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0")
    desk.servers.script("bergen", "failed", "the disk is full")
    desk.owc("start", "--yes")
    assert desk.live() == {"altena": "2.0.0", "bergen": "1.0.0", "heusden": "2.0.0"}
    document = desk.json("abort", "--undo-since", "canary", "--yes", "--reason", "no")
    assert (desk.code, document["state"]) == (0, "aborted")
    assert desk.live() == dict.fromkeys(SITES, "1.0.0")
    assert desk.owc("resume", "--yes") == 2


def test_a_rollout_waits_for_the_end_of_freeze_days_and_is_walked_on_by_schedule(
    desk: Desk,
) -> None:
    today = now().date()
    tomorrow = today + timedelta(days=1)
    frozen = FreezeDays(today - timedelta(days=1), tomorrow, "elections")
    settings = replace(desk.fleet.settings, freeze_days=(frozen,))
    open_fleet = desk.fleet
    desk.fleet = replace(desk.fleet, settings=settings)
    document = desk.json("start", "--yes", "--detailed-exitcode")
    assert (desk.code, document["state"]) == (10, "waiting")
    assert date.fromisoformat(document["waits_until"][:10]) >= tomorrow
    assert "outside its window" in document["why"]
    assert desk.owc("resume", "--scheduled", "--yes") == 0
    assert desk.live() == {}
    desk.fleet = open_fleet
    (walked,) = desk.json("resume", "--scheduled", "--yes")["rollouts"]
    assert walked["state"] == "done"
    assert desk.json("resume", "--scheduled", "--yes")["rollouts"] == []
    assert desk.owc("resume", "--scheduled", "--yes") == 0


def test_a_schedule_leaves_a_paused_rollout_alone(desk: Desk) -> None:
    desk.servers.script("altena", "failed")
    desk.owc("start", "--yes")
    assert desk.owc("resume", "--scheduled", "--yes") == 6
    assert "altena" not in desk.live()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--emergency",), "a reason and a second person"),
        (("--emergency", "--reason", "exploited"), "a reason and a second person"),
        (("--approved-by", "J. de Vries"), "belongs to --emergency"),
        (("--version", "^2.0"), "--block"),
        (("--block", "news", "--withdrawn", "news"), "one of"),
        (("--block", "no-such-block"), "no site has no-such-block"),
        (("--block", ""), "not an empty word"),
        (("--withdrawn", ""), "not an empty word"),
        (("--advisory", "", "--emergency", "--reason", "x", "--approved-by", "y"), "empty word"),
        (("--patience", "nan"), "--patience"),
        (("--patience", "inf"), "--patience"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    desk: Desk, arguments: tuple[str, ...], words: str
) -> None:
    assert desk.owc("start", "--yes", *arguments) == 2
    assert words in desk.said
    assert desk.live() == {}


def test_an_emergency_needs_a_second_person_and_passes_over_freeze_days(desk: Desk) -> None:
    today = now().date()
    frozen = FreezeDays(today - timedelta(days=1), today + timedelta(days=1), "elections")
    desk.fleet = replace(desk.fleet, settings=replace(desk.fleet.settings, freeze_days=(frozen,)))
    desk.patch.setattr("getpass.getuser", lambda: "beheer")
    reason = ("--emergency", "--reason", "being exploited")
    for myself in ("Beheer", "beheer@heusden.example"):
        assert desk.owc("start", "--yes", *reason, "--approved-by", myself) == 2
    desk.patch.setenv("GITLAB_CI", "true")
    desk.patch.setenv("GITLAB_USER_LOGIN", "anna")
    for myself in ("anna", "beheer"):
        assert desk.owc("start", "--yes", *reason, "--approved-by", myself) == 2
    document = desk.json("start", "--yes", *reason, "--approved-by", "J. de Vries")
    assert document["state"] == "done"
    assert document["operator"].startswith("anna via beheer@")
    assert document["emergency"] == {"reason": "being exploited", "approved_by": "J. de Vries"}


def test_a_newer_rollout_takes_the_place_of_one_that_waits(desk: Desk) -> None:
    desk.servers.script("altena", "failed")
    desk.owc("start", "--yes")
    document = desk.json("start", "--supersede", "--yes")
    assert document["state"] == "done"
    states = [each["state"] for each in desk.json("list")["rollouts"]]
    assert states == ["done", "aborted"]


def test_a_lock_that_somebody_changes_meanwhile_is_not_written_over(desk: Desk) -> None:
    planned_with = desk.fleet

    def answered(_question: str, *, yes: bool) -> None:
        del yes
        desk.fleet = three_sites(desk.fleet.root, news="2.0.0")

    desk.patch.setattr("owc_deploy.cli.rollout_start.confirm", answered)
    assert desk.fleet is planned_with
    assert desk.owc("start", "--yes") == 2
    assert "lock of altena, bergen, heusden changed meanwhile" in desk.said
    assert desk.json("list")["rollouts"] == []


def test_a_small_rollout_does_not_end_a_larger_one_unasked(desk: Desk) -> None:
    desk.owc("start", "altena", "--yes")
    desk.servers.servers["web2"].unreachable = "no route"
    larger = desk.json("start", "--yes")
    assert larger["state"] == "waiting"
    # Altena is as it should be: that is no reason to leave bergen.
    assert desk.json("start", "altena", "--supersede", "--yes")["state"] == "done"
    assert desk.json("status")["rollout_id"] == larger["rollout_id"]
    desk.fleet = replace(
        desk.fleet, locks={**desk.fleet.locks, "heusden": lock("heusden", "2.0.0")}
    )
    assert desk.json("start", "heusden", "--supersede", "--yes")["state"] == "done"
    assert f"rollout {larger['rollout_id']} would end without bergen" in desk.said
    assert desk.json("status", larger["rollout_id"])["state"] == "aborted"


def test_what_an_aborted_rollout_left_under_way_is_inconclusive(desk: Desk) -> None:
    def killed(*arguments: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    with desk.patch.context() as patch:
        patch.setattr(desk.servers, "release", killed)
        assert desk.owc("start", "--yes") == 130
    document = desk.json("abort", "--yes")
    assert document["counts"] == {"inconclusive": 1, "pending": 2}
    site = document["rings"][0]["sites"][0]
    assert site["message"] == "its controller was cut off; next: owc-deploy status altena"


def test_an_abort_says_what_it_cannot_bring_back(desk: Desk) -> None:
    """A site that the rollout created has no release to go back to."""
    desk.servers.script("bergen", "failed", "the disk is full")
    desk.owc("start", "--yes")
    document = desk.json("abort", "--undo-since", "canary", "--yes")
    assert desk.code == 1
    assert document["counts"] == {"undo-not-attempted": 2, "failed": 1}
    site = document["rings"][0]["sites"][0]
    assert site["message"].endswith("owc-deploy apply --decommission altena, or leave it")
    assert desk.live() == {"altena": "1.0.0", "heusden": "1.0.0"}


def halted_while_undoing(desk: Desk) -> None:
    """Halt a rollout, with altena's server lost before altena is brought back."""
    desk.owc("start", "--yes")
    rings = (Ring("canary"), Ring("all", undo_since="canary"))
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=rings)
    desk.servers.script("heusden", "failed", "the disk is full")
    rollback = desk.servers.rollback

    def lost(*arguments: Any, **more: Any) -> Any:
        desk.servers.servers["web1"].unreachable = "no route"
        return rollback(*arguments, **more)

    desk.patch.setattr(desk.servers, "rollback", lost)
    desk.code = desk.owc("start", "--yes")
    desk.patch.setattr(desk.servers, "rollback", rollback)


def test_a_halt_that_waits_to_undo_is_no_success(desk: Desk) -> None:
    halted_while_undoing(desk)
    assert desk.code == 6
    assert desk.owc("status") == 6
    assert desk.owc("resume", "--scheduled", "--yes") == 6


def test_what_undoes_is_not_superseded_halfway(desk: Desk) -> None:
    halted_while_undoing(desk)
    assert desk.owc("start", "--supersede", "--yes") == 2
    assert "rollout resume" in desk.said
    assert "is aborted" not in desk.said
    later = now() + timedelta(minutes=2)
    desk.servers.servers["web1"].unreachable = ""
    desk.patch.setattr("owc_deploy.cli.rollout_walk.now", lambda: later)
    document = desk.json("resume", "--yes")
    assert document["counts"] == {"undone": 2, "failed": 1}


def test_an_abort_that_was_cut_off_while_it_undid_is_resumed(desk: Desk) -> None:
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0")
    desk.servers.script("bergen", "failed", "the disk is full")
    desk.owc("start", "--yes")

    def killed(*arguments: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    with desk.patch.context() as patch:
        patch.setattr(desk.servers, "rollback", killed)
        assert desk.owc("abort", "--undo-since", "canary", "--yes") == 130
    assert "interrupted; next: owc-deploy rollout resume 2" in desk.said
    assert desk.owc("status") == 6
    assert "Next: owc-deploy rollout resume" in desk.stdout
    assert desk.json("resume", "--yes")["state"] == "aborted"
    assert desk.live() == dict.fromkeys(SITES, "1.0.0")


def test_a_saved_plan_without_anything_to_release_does_not_mean_every_site(desk: Desk) -> None:
    executor = desk.servers
    for name, server in executor.servers.items():
        server.unreachable = f"{name} is away"
    plan = planned(session(desk.fleet, executor), (), ())
    file = desk.fleet.root / "monday.plan.json"
    write_plan(file, plan_to_document(plan))
    for server in executor.servers.values():
        server.unreachable = ""
    assert desk.owc("start", "--plan", str(file), "--yes") == 2
    assert "releases nothing" in desk.said
    assert desk.live() == {}


def test_a_schedule_passes_over_a_rollout_that_somebody_walks(desk: Desk) -> None:
    desk.servers.servers["web1"].unreachable = "no route"
    assert desk.owc("start", "altena", "--yes") == 0
    assert desk.owc("start", "bergen", "--yes") == 0
    assert desk.owc("start", "heusden", "--yes") == 0
    store = open_fleet_store(desk.fleet)
    newest, _ = store.rollouts.identifiers(unfinished=True)
    later = now() + timedelta(minutes=2)
    desk.patch.setattr("owc_deploy.cli.rollout_walk.now", lambda: later)
    desk.servers.servers["web1"].unreachable = ""
    with store.claim(f"rollout/{newest}", reason="another controller"):
        assert desk.owc("resume", "--scheduled", "--yes", "--format", "json") == 4
    rollouts = json.loads(desk.stdout)["rollouts"]
    assert [each["state"] for each in rollouts] == ["running", "done"]
    assert "another controller" in desk.said


@pytest.mark.parametrize("more", [("20261127T001500Z-1a2b3c4d",), ("--accept-failures",)])
def test_a_schedule_decides_nothing(desk: Desk, more: tuple[str, ...]) -> None:
    assert desk.owc("resume", "--scheduled", "--yes", *more) == 2
    assert "--scheduled" in desk.said


def renews(desk: Desk, *, before: str, after: str) -> None:
    """Let locks be renewed so, as the catalogue of these tests lists little."""
    change = LockChange("news", before, after)

    def relocked(_: object, __: object, sites: Sequence[str], **___: object) -> Sequence[Relocked]:
        return [Relocked(site, lock(site, after), changes=(change,)) for site in sites]

    desk.patch.setattr("owc_deploy.cli.rollout_wish.relock", relocked)


def written(desk: Desk) -> list[str]:
    return sorted(file.name for file in (desk.fleet.root / "locks").glob("*"))


def test_locks_are_renewed_for_a_block(desk: Desk) -> None:
    renews(desk, before="1.0.0", after="2.0.0")
    assert desk.json("start", "--block", "news", "--yes")["state"] == "done"
    assert desk.live() == dict.fromkeys(SITES, "2.0.0")
    assert written(desk) == [f"{site}.lock.yml" for site in SITES]


def test_locks_are_left_alone_when_the_rollout_may_not_begin(desk: Desk) -> None:
    desk.servers.script("altena", "failed")
    desk.owc("start", "--yes")
    renews(desk, before="1.0.0", after="2.0.0")
    assert desk.owc("start", "--block", "news", "--yes") == 2
    assert written(desk) == []


def test_only_one_rollout_begins_at_a_time(desk: Desk) -> None:
    renews(desk, before="1.0.0", after="2.0.0")
    store = open_fleet_store(desk.fleet)
    desk.patch.setattr("owc_deploy.store.holders.Process.is_gone", lambda _: False)
    with store.claim(LOCKS_DOCUMENT, reason="a rollout begins"):
        assert desk.owc("start", "--block", "news", "--yes") == 4
    assert written(desk) == []
    assert desk.live() == {}


def test_a_block_does_not_go_back_to_an_older_release(desk: Desk) -> None:
    renews(desk, before="2.0.0", after="1.0.0")
    for more in ((), ("--skip-refused",)):
        assert desk.owc("start", "--block", "news", "--yes", *more) == 3
        assert "altena: news would go back" in desk.said
    assert desk.live() == {}


def test_what_is_told_to_a_rollout_that_is_walked_is_left_to_whoever_walks_it(desk: Desk) -> None:
    desk.servers.script("altena", "failed")
    desk.owc("start", "--yes")
    store = open_fleet_store(desk.fleet)
    rollout_id = store.rollouts.identifiers()[0]
    with store.claim(f"rollout/{rollout_id}", reason="another controller"):
        assert desk.owc("retry", "--yes") == 4
    assert "written down; " in desk.said
    assert desk.json("status")["counts"] == {"pending": 3}


def test_a_site_whose_lock_changed_says_what_to_type(desk: Desk) -> None:
    desk.servers.script("altena", "failed")
    desk.owc("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0")
    assert desk.owc("retry", "--yes") == 6
    assert "owc-deploy rollout start --supersede" in desk.stdout
    assert desk.owc("start", "--supersede", "--yes") == 0
    assert desk.live() == dict.fromkeys(SITES, "2.0.0")


SOAKING = (Ring("canary", soak_minutes=60), Ring("all"))


def newest(desk: Desk) -> dict[str, Any]:
    return desk.json("status", desk.json("list")["rollouts"][0]["rollout_id"])


def test_a_soak_is_not_passed_over_by_what_is_merged_meanwhile(desk: Desk) -> None:
    desk.fleet = three_sites(desk.fleet.root, rings=SOAKING)
    first = desk.json("start", "--yes")
    assert first["state"] == "waiting"
    second = desk.json("start", "--supersede", "--yes")
    assert second["rollout_id"] != first["rollout_id"]
    assert (second["state"], second["waits_until"]) == ("waiting", first["waits_until"])
    assert second["counts"] == {"changed": 1, "pending": 2}
    assert list(desk.live()) == ["altena"]
    # What changes the canary is soaked anew.
    desk.fleet = three_sites(desk.fleet.root, rings=SOAKING, news="2.0.0")
    third = desk.json("start", "--supersede", "--yes")
    assert third["counts"] == {"changed": 1, "pending": 2}
    assert desk.live() == {"altena": "2.0.0"}
    assert [each["state"] for each in desk.json("list")["rollouts"]] == [
        *("waiting", "aborted", "aborted")
    ]


def test_a_rollout_is_aborted_when_what_it_was_to_bring_is_taken_back(desk: Desk) -> None:
    desk.owc("start", "--yes")
    good = desk.fleet
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0")
    desk.servers.script("altena", "rolled-back", "it fatals")
    assert desk.owc("start", "--yes") == 6
    desk.fleet = good
    assert desk.owc("start", "--yes") == 0
    assert newest(desk)["state"] == "halted"
    assert desk.owc("start", "--supersede") == 2
    assert newest(desk)["state"] == "halted"
    assert desk.owc("start", "--supersede", "--yes") == 0
    assert newest(desk)["state"] == "aborted"
    assert desk.owc("resume", "--scheduled", "--yes") == 0


def test_a_rollout_that_a_person_paused_gives_its_place_to_none(desk: Desk) -> None:
    desk.fleet = three_sites(desk.fleet.root, rings=SOAKING)
    desk.owc("start", "--yes")
    desk.owc("pause", "--reason", "the help desk is called")
    assert desk.owc("start", "--supersede", "--yes") == 2
    assert "the help desk is called" in desk.said
    assert desk.owc("resume", "--scheduled", "--yes") == 0
    assert "is left alone: it was paused: the help desk is called" in desk.said
    assert list(desk.live()) == ["altena"]
    assert newest(desk)["state"] == "paused"


def test_what_a_rollout_undoes_is_undone_before_another_takes_its_place(desk: Desk) -> None:
    desk.owc("start", "--yes")
    rings = (Ring("canary"), Ring("all", undo_since="canary"))
    desk.fleet = three_sites(desk.fleet.root, news="2.0.0", rings=rings)
    desk.servers.script("heusden", "failed", "the disk is full")
    web2, release = desk.servers.servers["web2"], desk.servers.release

    def then_lost(requests: Mapping[str, ReleaseRequest], **more: Any) -> Any:
        outcomes = release(requests, **more)
        web2.unreachable = "no answer" if "web2" in requests else ""
        return outcomes

    desk.patch.setattr(desk.servers, "release", then_lost)
    document = desk.json("start", "--yes")
    assert (desk.code, document["counts"]) == (6, {"undone": 1, "undo-unreachable": 1, "failed": 1})
    assert desk.owc("start", "--supersede", "--yes") == 2
    assert "is still undoing what it changed" in desk.said
    assert newest(desk)["rollout_id"] == document["rollout_id"]
    web2.unreachable = ""
    later = now() + timedelta(minutes=2)
    desk.patch.setattr("owc_deploy.cli.rollout_walk.now", lambda: later)
    desk.servers.release = release  # type: ignore[method-assign]
    assert desk.json("start", "--supersede", "--yes")["counts"] == {"changed": 3}
    undone = desk.json("status", document["rollout_id"])
    assert (undone["state"], undone["counts"]) == ("aborted", {"undone": 2, "failed": 1})


def test_a_schedule_leaves_a_rollout_alone_whose_documents_changed(desk: Desk) -> None:
    desk.fleet = three_sites(desk.fleet.root, rings=SOAKING)
    first = desk.json("start", "--yes")
    desk.fleet = three_sites(desk.fleet.root, rings=SOAKING, news="2.0.0")
    (walked,) = desk.json("resume", "--scheduled", "--yes")["rollouts"]
    assert walked["rollout_id"] == first["rollout_id"]
    assert desk.code == 1
    assert "bergen, heusden are not those it was started with" in desk.said
    assert "--supersede" in desk.said
    assert desk.live() == {"altena": "1.0.0"}


def test_a_schedule_goes_on_with_what_it_may(desk: Desk) -> None:
    """Somebody else walks one of two rollouts."""
    desk.fleet = three_sites(desk.fleet.root, rings=SOAKING)
    frozen = FreezeDays(now().date(), now().date() + timedelta(days=1), "elections")
    open_fleet = desk.fleet
    desk.fleet = replace(desk.fleet, settings=replace(desk.fleet.settings, freeze_days=(frozen,)))
    other = desk.json("start", "bergen", "--yes")["rollout_id"]
    desk.fleet = open_fleet
    held = desk.json("start", "altena", "--yes")["rollout_id"]
    assert desk.owc("resume", "--scheduled") == 2
    assert "--yes" in desk.said
    later = now() + timedelta(hours=2)
    desk.patch.setattr("owc_deploy.cli.rollout_walk.now", lambda: later)
    with open_fleet_store(desk.fleet).claim(f"rollout/{held}", reason="by hand"):
        assert desk.owc("resume", "--scheduled", "--yes", "--format", "json") == 4
    assert "by hand" in desk.said
    rollouts = json.loads(desk.stdout)["rollouts"]
    states = {each["rollout_id"]: each["state"] for each in rollouts}
    assert states == {other: "done", held: "running"}


@pytest.mark.parametrize(
    ("codes", "expected"), [((0,), 0), ((0, 4), 4), ((4, 1), 1), ((1, 6, 4), 6), ((0, 10), 10)]
)
def test_the_worst_of_several_rollouts_counts(codes: tuple[int, ...], expected: int) -> None:
    assert worst(codes) == expected


def test_a_site_that_left_the_fleet_is_not_attempted(desk: Desk) -> None:
    rings = (Ring("canary", soak_minutes=60), Ring("all"))
    desk.fleet = three_sites(desk.fleet.root, rings=rings)
    first = desk.json("start", "--yes")
    without = {name: each for name, each in desk.fleet.manifests.items() if name != "bergen"}
    desk.fleet = replace(desk.fleet, manifests=without)
    desk.patch.setattr("owc_deploy.cli.rollout_walk.now", lambda: now() + timedelta(hours=2))
    assert desk.owc("resume", "--scheduled", "--yes") == 1
    document = desk.json("resume", "--yes")
    words = {site["site"]: site for ring in document["rings"] for site in ring["sites"]}
    assert document["rollout_id"] == first["rollout_id"]
    assert words["bergen"]["outcome"] == "not-attempted"
    assert words["heusden"]["outcome"] == "changed"
