"""The real runner: on this machine over `connection: local`, and on a lab server over ssh."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fleet import fences
from integration.bench import CANARY, Bench, Watcher, ends, run_folders, wait_for

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.environment import runtime_folder
from owc_deploy.execution.ports import Progress, RollbackRequest
from owc_deploy.execution.runner import PlaybookRequest, PlaybookResult, run_playbook
from owc_deploy.fleet.inventory import read_servers
from owc_deploy.fleet.models import Fleet, FleetSettings
from owc_deploy.fleet.secrets import Sensitive
from owc_deploy.lab.servers import Lab, lab_down, lab_up

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    yield
    assert run_folders() == []


ECHO_VALUE = "name: Echo\nowc_echo:\n  value: '{{ owc_value }}'"


def test_data_arrives_as_it_was_sent_and_is_never_a_template(bench: Bench) -> None:
    value = {"title": "{{ 6 * 7 }}", "naam": "Gemeente “Súdwest-Fryslân”", "list": [1, None, True]}
    result = run_playbook(bench.request(bench.play(ECHO_VALUE), variables={"owc_value": value}))
    answer = result.servers["here"]
    assert (answer.status, answer.error) == ("ok", "")
    assert answer.results["owc_echo"]["observed"] == value
    assert answer.seconds > 0


def test_each_server_gets_its_own_and_one_failure_leaves_the_others_alone(bench: Bench) -> None:
    playbook = bench.play(f"{ECHO_VALUE}\n  fail: '{{{{ owc_fail | default(\"\") }}}}'")
    events: list[Progress] = []
    result = run_playbook(
        bench.request(
            playbook,
            "here",
            "there",
            "gone",
            variables_per_server={
                "here": {"owc_value": 1},
                "there": {"owc_value": 2, "owc_fail": "de schijf is vol"},
                "gone": {"owc_value": 3},
            },
        ),
        on_progress=events.append,
    )
    assert {name: answer.status for name, answer in result.servers.items()} == {
        "here": "ok",
        "there": "failed",
        "gone": "unreachable",
    }
    assert result.servers["here"].results["owc_echo"]["observed"] == 1
    assert result.servers["there"].error == "Echo: de schijf is vol"
    assert "refused" in result.servers["gone"].error
    assert Progress("here", "Echo", "started") in events
    assert Progress("here", "Echo", "ok") in events
    assert Progress("there", "Echo", "failed") in events
    assert Progress("gone", "Echo", "unreachable") in events


def test_a_result_of_two_megabytes_arrives_whole(bench: Bench) -> None:
    value = "0123456789abcdef" * 131_072
    result = run_playbook(bench.request(bench.play(ECHO_VALUE), variables={"owc_value": value}))
    assert result.servers["here"].results["owc_echo"]["observed"] == value


def test_the_users_own_group_and_host_variables_work_as_usual(bench: Bench) -> None:
    (bench.folder / "group_vars").mkdir()
    (bench.folder / "group_vars" / "web.yml").write_text("motto: '{{ 6 * 7 }} from the group'\n")
    (bench.folder / "host_vars").mkdir()
    (bench.folder / "host_vars" / "here.yml").write_text("owner: the host\n")
    playbook = bench.play("name: Echo\nowc_echo:\n  value: '{{ motto }}, {{ owner }}'")
    result = run_playbook(bench.request(playbook))
    assert result.servers["here"].results["owc_echo"]["observed"] == "42 from the group, the host"


def test_vaulted_group_variables_open_with_the_fleets_password_file(
    bench: Bench, tmp_path: Path
) -> None:
    password = tmp_path / "vault-password"
    password.write_text("open sesame\n")
    (bench.folder / "group_vars").mkdir()
    variables = bench.folder / "group_vars" / "web.yml"
    variables.write_text("motto: from the vault\n")
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible-vault"),
            "encrypt",
            "--vault-password-file",
            password,
            variables,
        ],
        check=True,
        capture_output=True,
    )
    assert "from the vault" not in variables.read_text()
    playbook = bench.play("name: Echo\nowc_echo:\n  value: '{{ motto }}'")
    result = run_playbook(bench.request(playbook, vault_password_file=password))
    assert result.servers["here"].results["owc_echo"]["observed"] == "from the vault"


@pytest.mark.parametrize("fails", [False, True])
def test_a_secret_shows_up_nowhere(
    bench: Bench, fails: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    message = "'{{ owc_secrets[0].content }} refused'" if fails else "''"
    playbook = bench.play(
        "name: Place private keys\nowc_echo:\n  secret: '{{ owc_secrets }}'\n  seconds: 0.5\n"
        f"  fail: {message}\nno_log: true",
        "name: Go on\nowc_echo:\n  value: 1\n  seconds: 0.3",
    )
    secrets = [{"site": "heusden", "path": "tls/privkey.pem", "content": Sensitive(CANARY)}]
    request = bench.request(playbook, secrets_per_server={"here": {"owc_secrets": secrets}})
    events: list[Progress] = []
    watcher = Watcher()
    watcher.start()
    try:
        result = run_playbook(request, on_progress=events.append)
    finally:
        watcher.stop()
    assert watcher.processes_seen > 0
    assert watcher.files_seen > 0
    assert watcher.found == set()
    if fails:
        assert result.servers["here"].status == "failed"
        assert "hidden because it handles secrets" in result.servers["here"].error
    else:
        assert result.servers["here"].status == "ok"
    output = capfd.readouterr()
    for text in (repr(request), repr(result), repr(events), caplog.text, output.out, output.err):
        assert CANARY not in text
    home = Path.home() / ".ansible"
    for path in home.rglob("*") if home.is_dir() else ():
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()


def test_the_secret_did_reach_the_module(bench: Bench) -> None:
    playbook = bench.play("name: Count\nowc_echo:\n  secret: '{{ owc_secret }}'")
    secrets = {"here": {"owc_secret": Sensitive(CANARY)}}
    result = run_playbook(bench.request(playbook, secrets_per_server=secrets))
    assert result.servers["here"].results["owc_echo"]["secret_length"] == len(CANARY)


def test_ansible_gets_an_environment_of_our_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "false")
    monkeypatch.setenv("MY_TOKEN", CANARY)
    playbook = bench.play("name: Echo\nowc_echo:\n  value: \"{{ lookup('env', 'MY_TOKEN') }}\"")
    result = run_playbook(bench.request(playbook))
    assert result.servers["here"].results["owc_echo"]["observed"] == ""


def test_a_playbook_that_cannot_be_read_is_an_error_with_ansibles_words(bench: Bench) -> None:
    playbook = bench.folder / "broken.yml"
    playbook.write_text("- hosts: all\n  tasks: {\n")
    with pytest.raises(ExecutionError, match="could not run the playbook") as caught:
        run_playbook(bench.request(playbook))
    assert "broken.yml" in (caught.value.context or "")


def test_an_inventory_that_cannot_be_read_is_an_error(bench: Bench) -> None:
    bench.inventory.write_text("web: [unclosed\n")
    with pytest.raises(ExecutionError) as caught:
        run_playbook(bench.request(bench.play(ECHO_VALUE)))
    assert "servers.yml" in (caught.value.context or "")


def test_without_an_ssh_client_nothing_is_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutionError, match="no ssh client"):
        run_playbook(bench.request(bench.play(ECHO_VALUE), "gone"))


def test_no_servers_is_no_run(bench: Bench) -> None:
    assert run_playbook(
        PlaybookRequest(bench.folder / "absent.yml", (), bench.inventory)
    ) == PlaybookResult({})


SLOW = "name: Wait\nowc_echo:\n  seconds: 30\n  sentinel: '{{ owc_sentinel }}'"


def test_too_long_is_said_and_nothing_goes_on_here(bench: Bench) -> None:
    sentinel = bench.folder / "sentinel"
    began = time.monotonic()
    result = run_playbook(
        bench.request(
            bench.play(SLOW), variables={"owc_sentinel": str(sentinel)}, timeout_seconds=4
        )
    )
    assert time.monotonic() - began < 12
    answer = result.servers["here"]
    assert (answer.status, answer.timed_out) == ("failed", True)
    assert answer.error == "not finished within 4 seconds"
    assert ends(wait_for(sentinel))


@pytest.mark.parametrize("number", SIGNALS)
def test_the_operator_stops_a_run_and_every_process_of_it(
    bench: Bench, number: signal.Signals
) -> None:
    sentinel = bench.folder / "sentinel"
    request = bench.request(bench.play(SLOW), variables={"owc_sentinel": str(sentinel)})
    # A shell starts its background jobs with SIGINT ignored, and CI is such a job: what has to come
    # back is whatever was there.
    handlers = [signal.getsignal(each) for each in SIGNALS]

    def stop() -> None:
        wait_for(sentinel)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_playbook(request)
    thread.join()
    assert time.monotonic() - began < 20
    assert ends(wait_for(sentinel))
    assert [signal.getsignal(each) for each in SIGNALS] == handlers


def test_a_bug_in_our_own_callback_does_not_leave_ansible_running(bench: Bench) -> None:
    sentinel = bench.folder / "sentinel"
    request = bench.request(bench.play(SLOW), variables={"owc_sentinel": str(sentinel)})

    def broken(event: Progress) -> None:
        wait_for(sentinel)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_playbook(request, on_progress=broken)
    assert ends(wait_for(sentinel))


def test_what_a_killed_controller_left_is_deleted_by_the_next_run(bench: Bench) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    stale = runtime_folder() / f"run-{ended.stdout.strip()}-stale"
    stale.mkdir()
    (stale / "file").write_text("")
    run_playbook(bench.request(bench.play(ECHO_VALUE), variables={"owc_value": 1}))
    assert not stale.exists()


# Over ssh, on a lab server.

LAB = f"{os.environ.get('OWC_TEST_LABS', 'test')}-execution"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield lab_up(LAB, ("web1",))
    lab_down(LAB)


@pytest.fixture
def fleet(lab: Lab, tmp_path: Path) -> Fleet:
    root = tmp_path / "fleet"
    root.mkdir()
    shutil.copy(lab.inventory_path, root / "servers.yml")
    servers, problems = read_servers(root)
    assert problems == ()
    assert servers is not None
    settings = FleetSettings("test", root / "catalogue", root / "history.sqlite3", ())
    return Fleet(root, settings, servers, {}, {})


def changed(fleet: Fleet, **variables: object) -> Fleet:
    """Return the fleet with variables of web1 that are in its inventory too."""
    (fleet.root / "host_vars").mkdir(exist_ok=True)
    (fleet.root / "host_vars" / "web1.yml").write_text(json.dumps(variables))
    web1 = fleet.servers["web1"]
    merged = replace(web1, variables={**web1.variables, **variables})
    return replace(fleet, servers={"web1": merged})


@pytest.mark.lab
def test_a_fresh_server_is_observed_over_ssh(fleet: Fleet) -> None:
    (seen,) = AnsibleExecutor(fleet).probe((fleet.servers["web1"],))
    assert seen.unreachable == ""
    assert (seen.provisioned, seen.store, seen.sites) == ("", frozenset(), {})
    assert seen.facts["hostname"] == "web1"


@pytest.mark.lab
def test_a_secret_shows_up_nowhere_over_ssh_either(fleet: Fleet, bench: Bench) -> None:
    playbook = bench.play(
        "name: Place private keys\nowc_echo:\n  secret: '{{ owc_secret }}'\n  seconds: 1\n"
        "no_log: true",
        "name: Say what is not secret\nowc_echo:\n  value: 1",
    )
    watcher = Watcher()
    watcher.start()
    try:
        result = run_playbook(
            PlaybookRequest(
                playbook,
                tuple(fleet.servers.values()),
                fleet.root / "servers.yml",
                secrets_per_server={"web1": {"owc_secret": Sensitive(CANARY)}},
            )
        )
    finally:
        watcher.stop()
    assert result.servers["web1"].status == "ok", result.servers["web1"].error
    # /proc of this machine shows the processes of the lab server too: its own argv is covered.
    assert watcher.found == set()
    journal = run_playbook(
        PlaybookRequest(
            bench.play("name: Read\nansible.builtin.command: journalctl --no-pager -n 200"),
            tuple(fleet.servers.values()),
            fleet.root / "servers.yml",
        )
    )
    said = journal.servers["web1"].results["ansible.builtin.command"]["stdout"]
    assert "ansible" in said  # it does log what is not secret
    assert CANARY not in said


@pytest.mark.lab
@pytest.mark.parametrize("off", [{}, {"ansible_host_key_checking": False}])
def test_an_unknown_host_key_is_never_accepted(fleet: Fleet, off: dict[str, object]) -> None:
    known = fleet.root / "known_hosts"
    known.write_text("")
    unknown = changed(
        fleet,
        ansible_ssh_common_args=f"-o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null"
        " -o StrictHostKeyChecking=no -o ControlPath=none",
        **off,
    )
    (seen,) = AnsibleExecutor(unknown).probe((unknown.servers["web1"],))
    assert f"is in none of {known}" in seen.unreachable
    assert "ssh-keyscan" in seen.unreachable
    assert known.read_text() == ""


@pytest.mark.lab
def test_a_server_without_sites_answers_for_each_site_that_was_asked_for(fleet: Fleet) -> None:
    executor = AnsibleExecutor(fleet)
    asked = (
        RollbackRequest("heusden", "20261123T182200Z-1a2b3c4d", ""),
        RollbackRequest("breda", "20261123T182200Z-1a2b3c4d", ""),
    )
    mine = fences("heusden", "breda")
    outcomes = executor.rollback({"web1": asked}, fences=mine)
    assert [(outcome.site, outcome.outcome) for outcome in outcomes] == [
        ("heusden", "failed"),
        ("breda", "failed"),
    ]
    assert all(outcome.message for outcome in outcomes)
