"""The provision playbook against a real server: what it refuses, what it undoes, who may log in.

What a provisioned server looks like is checked by the molecule scenarios; this is about the runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner
import pytest

from owc_deploy.lab.servers import Lab, lab_down, lab_up
from owc_deploy.resources import resource_folder

pytestmark = pytest.mark.lab

NAME = f"{os.environ.get('OWC_TEST_LABS', 'test')}-provision"


@dataclass(frozen=True)
class Run:
    """How one run of the playbook ended on the server."""

    failed: bool
    changed: tuple[str, ...]
    message: str


Provision = Callable[..., Run]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab_down(NAME)
    try:
        yield lab_up(NAME, ["web1"])
    finally:
        lab_down(NAME)


@pytest.fixture(scope="module")
def provision(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provision]:
    """Give a function that runs the playbook and says which tasks changed something."""
    # Not the user's own folder: a connection kept there may lead to an earlier server.
    connections = tempfile.mkdtemp(prefix="owc-")

    def run(*options: str, **variables: Any) -> Run:
        changed: list[str] = []
        messages: list[str] = []

        def on_event(event: dict[str, Any]) -> bool:
            data = event.get("event_data", {})
            result = data.get("res") or {}
            if event["event"] == "runner_on_ok" and result.get("changed"):
                changed.append(data["task"])
            if event["event"] in {"runner_on_failed", "runner_on_unreachable"}:
                messages.append(str(result.get("msg")))
            return True

        ended = ansible_runner.run(
            private_data_dir=str(tmp_path_factory.mktemp("run")),
            playbook=str(resource_folder("playbooks") / "provision.yml"),
            inventory=str(lab.inventory_path),
            extravars={"owc_provision_fingerprint": "first", **variables},
            cmdline=" ".join(options),
            envvars={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "ANSIBLE_LIBRARY": str(resource_folder("plugins") / "modules"),
                "ANSIBLE_ROLES_PATH": str(resource_folder("roles")),
                "ANSIBLE_PIPELINING": "true",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": connections,
            },
            event_handler=on_event,
            quiet=True,
        )
        return Run(ended.rc != 0, tuple(changed), " ".join(messages))

    yield run
    shutil.rmtree(connections)


@pytest.fixture(scope="module")
def provisioned(provision: Provision) -> Run:
    """Prepare the server, once for all tests below."""
    run = provision()
    assert not run.failed, run.message
    return run


def root(lab: Lab, command: str) -> str:
    return lab.run("web1", ["sh", "-c", command], become=True).stdout


def test_a_php_branch_nobody_offers_is_refused_in_words_before_anything_changes(
    lab: Lab, provision: Provision
) -> None:
    run = provision(owc_php_versions=["8.4"])
    assert run.failed
    assert run.changed == ()
    assert "web1 should offer PHP 8.4, but Debian 12" in run.message
    assert "owc_php_repository" in run.message
    assert root(lab, "ls -d /etc/nginx /etc/owc-deploy 2>/dev/null || true") == ""


def test_a_repository_without_a_key_is_refused(provision: Provision) -> None:
    run = provision(
        owc_php_versions=["8.4"],
        owc_php_repository={"uri": "https://packages.example/php", "suites": ["bookworm"]},
    )
    assert run.failed
    assert run.changed == ()
    assert "signed_by" in run.message


def test_a_mistyped_variable_is_refused(provision: Provision) -> None:
    run = provision("--tags", "base", base_ssh_permit_root_login="yes")
    assert run.failed
    assert run.changed == ()
    assert "base_ssh_permit_root_login" in run.message


def test_the_second_run_changes_nothing(lab: Lab, provisioned: Run, provision: Provision) -> None:
    assert provisioned.changed
    before = root(lab, "cat /etc/owc-deploy/provisioned.json")
    assert json.loads(before)["fingerprint"] == "first"
    assert provision() == Run(failed=False, changed=(), message="")
    assert root(lab, "cat /etc/owc-deploy/provisioned.json") == before


def test_check_mode_foretells_and_changes_nothing(
    lab: Lab, provisioned: Run, provision: Provision
) -> None:
    run = provision("--check", "--tags", "nginx,mariadb,runtime", nginx_hsts_seconds=1)
    assert not run.failed, run.message
    assert any("nginx" in task or "Configure" in task for task in run.changed)
    assert "max-age=31536000" in root(lab, "cat /etc/nginx/snippets/owc-tls.conf")


@pytest.mark.parametrize(
    ("role", "variables", "words", "still_there"),
    [
        (
            "nginx",
            {"nginx_client_max_body_size": "much"},
            "client_max_body_size",
            "grep -c '128m' /etc/nginx/nginx.conf && nginx -t -q",
        ),
        (
            "mariadb",
            {"mariadb_buffer_pool_size": "lots"},
            "innodb-buffer-pool-size",
            "grep -c '384M' /etc/mysql/mariadb.conf.d/60-owc-deploy.cnf && mariadb -e 'SELECT 1'",
        ),
        (
            "base",
            {"base_firewall_extra_ports": [99999]},
            "/etc/nftables.conf would be refused",
            "nft -c -f /etc/nftables.conf && nft list table inet owc_deploy",
        ),
    ],
)
def test_a_setting_the_service_refuses_is_not_left_behind(
    lab: Lab,
    provisioned: Run,
    provision: Provision,
    role: str,
    variables: dict[str, Any],
    words: str,
    still_there: str,
) -> None:
    run = provision("--tags", role, **variables)
    assert run.failed
    assert words in run.message
    assert root(lab, still_there)
    assert root(lab, f"systemctl is-active {'nftables' if role == 'base' else role}") == "active\n"


def test_people_come_and_go(
    lab: Lab, provisioned: Run, provision: Provision, tmp_path: Path
) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True
    )
    person = {
        "name": "anna",
        "sudo": True,
        "ssh_public_keys": [(tmp_path / "key.pub").read_text().strip()],
    }

    def becomes_root() -> bool:
        done = subprocess.run(
            [
                *("ssh", "-F", str(lab.ssh_config_path), "-o", f"IdentityFile={tmp_path / 'key'}"),
                *("-o", "ControlPath=none", "-l", "anna", "web1", "sudo", "-n", "id", "-u"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout == "0\n"

    arrives = provision("--tags", "base", base_users=[person], base_firewall_extra_ports=[9100])
    assert not arrives.failed, arrives.message
    assert becomes_root()
    assert "9100" in root(lab, "nft list table inet owc_deploy")

    leaves = provision("--tags", "base", base_users=[{**person, "state": "absent"}])
    assert not leaves.failed, leaves.message
    assert not becomes_root()
    assert root(lab, "grep -c anna /etc/passwd /etc/sudoers.d/owc-deploy || true").count(":0") == 2
    assert "9100" not in root(lab, "nft list table inet owc_deploy")
