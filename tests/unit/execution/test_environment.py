from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.environment import (
    ansible_settings,
    run_folder,
    runtime_folder,
    scrubbed,
)
from owc_deploy.execution.fingerprint import provision_fingerprint
from owc_deploy.fleet.models import Server


@pytest.fixture(autouse=True)
def _own_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_run_has_a_private_folder_that_goes_with_it() -> None:
    with run_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("")
    assert not folder.exists()


def test_it_goes_also_when_the_run_fails() -> None:
    def fail() -> Path:
        with run_folder() as folder:
            raise ZeroDivisionError(folder)

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert not caught.value.args[0].exists()


def test_what_a_dead_process_left_is_deleted_and_what_a_living_one_uses_is_not() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    dead = runtime_folder() / f"run-{ended}-x"
    living = runtime_folder() / f"run-{os.getppid()}-x"
    dead.mkdir()
    living.mkdir()
    with run_folder():
        assert not dead.exists()
        assert living.exists()


def test_a_folder_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / f"owc-deploy-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(ExecutionError, match="not a private folder"):
        runtime_folder()


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"owc-deploy-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExecutionError, match="not a private folder"):
        runtime_folder()


def test_nothing_of_the_callers_environment_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "ANSIBLE_HOST_KEY_CHECKING", "PYTHONPATH", "LD_PRELOAD"):
        monkeypatch.setenv(name, "x")
    prepared = {**os.environ, "AWX_ISOLATED_DATA_DIR": "/run/x"}
    environment = scrubbed(prepared, {"ANSIBLE_FORKS": "5"})
    assert {name for name in environment if not name.startswith(("ANSIBLE_", "AWX_"))} <= {
        "HOME",
        "USER",
        "LOGNAME",
        "SSH_AUTH_SOCK",
        "TZ",
        "PATH",
        "LC_ALL",
    }
    assert environment["ANSIBLE_FORKS"] == "5"
    assert environment["AWX_ISOLATED_DATA_DIR"] == "/run/x"
    assert "ANSIBLE_HOST_KEY_CHECKING" not in environment


def test_host_keys_are_checked_whatever_the_inventory_says(tmp_path: Path) -> None:
    settings = ansible_settings(tmp_path, tmp_path)
    assert settings["ANSIBLE_HOST_KEY_CHECKING"] == "true"
    assert settings["ANSIBLE_SSH_ARGS"].startswith("-o StrictHostKeyChecking=yes ")


def test_only_an_ansible_cfg_of_the_fleet_counts(tmp_path: Path) -> None:
    run, fleet = tmp_path / "run", tmp_path / "fleet"
    run.mkdir()
    fleet.mkdir()
    assert ansible_settings(run, fleet)["ANSIBLE_CONFIG"] == str(run / "ansible.cfg")
    (fleet / "ansible.cfg").write_text("[defaults]\n")
    assert ansible_settings(run, fleet)["ANSIBLE_CONFIG"] == str(fleet / "ansible.cfg")


def test_the_fingerprint_follows_the_servers_own_variables_and_no_others() -> None:
    def fingerprint(**variables: object) -> str:
        return provision_fingerprint(Server("web1", ("web",), (), variables))

    plain = fingerprint(owc_php_versions=["8.2"], ansible_host="198.51.100.2")
    assert len(plain) == 64
    assert plain == fingerprint(ansible_host="198.51.100.3", owc_php_versions=["8.2"])
    assert plain != fingerprint(owc_php_versions=["8.2", "8.3"], ansible_host="198.51.100.2")
    assert plain == fingerprint(
        owc_php_versions=["8.2"], owc_supplier="supplier-nl", owc_place="delft"
    )


# Runs in a process namespace of its own, as in a container, and asks for a folder there.
IN_A_CONTAINER = """
from owc_deploy.execution.environment import run_folder
with run_folder() as folder:
    print(folder.name)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes namespaces")
def test_a_controller_in_a_container_leaves_the_folders_of_others_alone(tmp_path: Path) -> None:
    gone = runtime_folder() / "run-999999999-left"
    gone.mkdir()
    with run_folder() as folder:
        subprocess.run(
            ["unshare", "--pid", "--mount-proc", "--fork", sys.executable, "-c", IN_A_CONTAINER],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            check=True,
        )
        assert folder.is_dir()
        assert not gone.exists()
    assert list(runtime_folder().glob("*run-*")) == []
