"""`owc-deploy notify test`, and what `apply` and `audit` tell the channels."""

from __future__ import annotations

import json
from pathlib import Path

import pyrage
import pytest
from fakes.channels import Webhook, free_port, told_fleet
from fakes.fleet import FleetSimulator
from unit.cli.sessions import session, two_servers
from unit.fleet.fleet_folder import FLEET, write_fleet

from owc_deploy.cli.apply import carry_out
from owc_deploy.cli.main import run
from owc_deploy.cli.plan import planned
from owc_deploy.cli.tell import apply_notice, audit_notice, job_link
from owc_deploy.evidence.audit import Finding
from owc_deploy.execution.ports import ServerOutcome
from owc_deploy.fleet.load import check_fleet, load_fleet
from owc_deploy.fleet.models import NEEDS_A_PERSON, Fleet
from owc_deploy.rollout.apply import Applied
from owc_deploy.store.models import RecordedFinding

CHANNELS = """\
age_identity: identity
notifications:
  - name: beheer-team
    address: {secret: notify-beheer}
  - name: leverancier
    address: {secret: notify-leverancier}
    events: [rollout-ended]
"""


def folder(root: Path, **addresses: str) -> Path:
    identity = pyrage.x25519.Identity.generate()
    secrets: dict[str, bytes] = {
        f"secrets/notify-{name}.age": pyrage.encrypt(address.encode(), [identity.to_public()])
        for name, address in addresses.items()
    }
    files = {"fleet.yml": FLEET + CHANNELS, "identity": f"{identity}\n", **secrets}
    return write_fleet(root, files)


def test_channels_are_read(tmp_path: Path) -> None:
    fleet = load_fleet(folder(tmp_path, beheer="json://a.example", leverancier="json://b.example"))
    first, second = fleet.settings.notifications
    assert (first.name, first.address.secret) == ("beheer-team", "notify-beheer")
    assert first.events == NEEDS_A_PERSON
    assert second.events == ("rollout-ended",)


@pytest.mark.parametrize(
    ("old", "new", "reference", "path"),
    [
        ("leverancier\n", "beheer-team\n", "duplicate-channel", "notifications[1].name"),
        ("{secret: notify-beheer}", "{secret: gone}", "missing-secret", "address.secret"),
        ("{secret: notify-beheer}", "json://a.example/token", "", "notifications[0].address"),
        ("[rollout-ended]", "[rollout-end]", "", "notifications[1].events[0]"),
        ("[rollout-ended]", "[]", "", "notifications[1].events"),
    ],
)
def test_what_is_wrong_with_channels_is_said(
    tmp_path: Path, old: str, new: str, reference: str, path: str
) -> None:
    root = folder(tmp_path, beheer="json://a.example", leverancier="json://b.example")
    (root / "fleet.yml").write_text((FLEET + CHANNELS).replace(old, new, 1))
    (problem,) = check_fleet(root)[1]
    assert problem.path.endswith(path)
    assert problem.line > 0
    assert not reference or problem.reference == reference


def test_every_channel_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Webhook().running() as hook:
        root = folder(
            tmp_path,
            beheer=f"json://127.0.0.1:{hook.port}/kanarie",
            leverancier=f"json://127.0.0.1:{free_port()}/kanarie",
        )
        assert run(["notify", "test", "--fleet", str(root)]) == 1
        said = capsys.readouterr()
        assert said.out == (
            "beheer-team  told\n"
            "leverancier  not told: it could not be reached, or took no message\n"
        )
        assert "kanarie" not in said.out + said.err
        assert run(["notify", "test", "beheer-team", "--fleet", str(root), "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "schema_version": 1,
            "channels": [{"channel": "beheer-team", "trouble": ""}],
        }
    assert [sent["title"] for sent in hook.seen] == ["Test: can you read this (voorbeeld)"] * 2


def test_a_channel_that_is_not_there_is_a_question_of_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path, beheer="json://a.example", leverancier="json://b.example")
    assert run(["notify", "test", "beheer", "--fleet", str(root)]) == 2
    assert "beheer-team, leverancier" in capsys.readouterr().err
    assert run(["notify", "test", "--fleet", str(write_fleet(tmp_path / "other"))]) == 2
    assert "names no channel" in capsys.readouterr().err


def apply(fleet: Fleet, servers: FleetSimulator) -> int:
    opened = session(fleet, servers)
    words = {"output_format": "json", "reason": ""}
    return carry_out(opened, planned(opened, (), ()), yes=True, take_over=False, **words)


def test_an_apply_that_failed_is_told_and_one_that_did_not_is_not(tmp_path: Path) -> None:
    servers = FleetSimulator(["web1", "web2"])
    with Webhook().running() as hook:
        address = f"json://127.0.0.1:{hook.port}/x"
        fleet = told_fleet(tmp_path, {"beheer": address}, whole=two_servers(tmp_path))
        servers.script("heusden", "rolled-back", "the page / answers 500")
        assert apply(fleet, servers) == 1
        assert apply(fleet, servers) == 0
    (sent,) = hook.seen
    assert sent["title"] == "Apply failed: 1 of 2 sites (test)"
    assert sent["message"].startswith("heusden on web2: rolled-back: the page / answers 500")
    assert "Next: owc-deploy status" in sent["message"]


def test_a_channel_that_cannot_be_told_does_not_change_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = FleetSimulator(["web1", "web2"])
    addresses = {"beheer": f"json://127.0.0.1:{free_port()}/x"}
    fleet = told_fleet(tmp_path, addresses, whole=two_servers(tmp_path))
    servers.script("heusden", "failed")
    assert apply(fleet, servers) == 1
    assert "beheer was not told of apply-failed" in capsys.readouterr().err


def finding(site: str, name: str = "CVE-2026-1", **more: str) -> Finding:
    return Finding(site, "news", "1.0.0", name, "high", "", ("2.0",), "2026-12-01", (), **more)


def remembered(site: str, **more: str) -> RecordedFinding:
    return RecordedFinding(site, "news", "CVE-2026-1", "high", "1.0.0", "2026-12-01", **more)


def test_only_holes_that_were_not_open_already_are_told(tmp_path: Path) -> None:
    fleet = two_servers(tmp_path)
    found = [
        finding("altena"),
        finding("heusden"),
        finding("heusden", "CVE-2026-2", dismissed="not used"),
        finding("vught"),
    ]
    known = [remembered("altena"), remembered("heusden", patched_at="2026-11-01T00:00:00+00:00")]
    notice = audit_notice(fleet, found, known, "")
    assert notice is not None
    assert notice.subject == "2 sites affected"
    assert notice.text.splitlines() == [
        "heusden: news 1.0.0: CVE-2026-1, high, fixed in 2.0",
        "vught: news 1.0.0: CVE-2026-1, high, fixed in 2.0",
    ]
    assert audit_notice(fleet, found[:1], known, "") is None


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    found = [finding(f"site-{number}") for number in range(50)]
    notice = audit_notice(two_servers(tmp_path), found, [], "")
    assert notice is not None
    assert notice.text.splitlines()[-1] == "and 30 more"


def test_servers_that_could_not_be_prepared_are_told(tmp_path: Path) -> None:
    applied = Applied((ServerOutcome("web1", "failed", "apt is locked"),), ())
    notice = apply_notice(two_servers(tmp_path), applied, "")
    assert (notice.subject, notice.text) == ("servers", "server web1: failed: apt is locked")


@pytest.mark.parametrize(
    ("environment", "link"),
    [
        ({}, ""),
        ({"GITHUB_SERVER_URL": "https://git.example"}, ""),
        (
            {
                "GITHUB_SERVER_URL": "https://git.example",
                "GITHUB_REPOSITORY": "owc/fleet",
                "GITHUB_RUN_ID": "7",
            },
            "https://git.example/owc/fleet/actions/runs/7",
        ),
        ({"CI_JOB_URL": "https://gitlab.example/j/1"}, "https://gitlab.example/j/1"),
    ],
)
def test_the_page_of_the_job_is_found(environment: dict[str, str], link: str) -> None:
    assert job_link(environment) == link
