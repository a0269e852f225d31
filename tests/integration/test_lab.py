"""Real lab servers: made, reset, kept as an image, and gone without a trace, also after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from owc_deploy.errors import LabError, UsageError
from owc_deploy.lab import disks, machine, mounts, network, state
from owc_deploy.lab.servers import Lab, lab_down, lab_names, lab_reset, lab_up, load_lab

pytestmark = pytest.mark.lab

PREFIX = os.environ.get("OWC_TEST_LABS", "test")
NAME = f"{PREFIX}-lab"
OTHER = f"{PREFIX}-lab-other"
IMAGE = f"{PREFIX}-image"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab_down(NAME)
    try:
        yield lab_up(NAME)
    finally:
        lab_down(NAME)


@pytest.fixture
def other() -> Iterator[str]:
    lab_down(OTHER)
    try:
        yield OTHER
    finally:
        lab_down(OTHER)
        disks.remove_snapshot(IMAGE)


def leftovers(name: str) -> list[str]:
    """Say everything of a lab that is on this machine."""
    folder = state.lab_folder(name)
    bridge = network.interface_name("owc", name)
    rules = "".join(
        subprocess.run(
            ["iptables", "--wait", "-t", table, "-S"], capture_output=True, text=True, check=True
        ).stdout
        for table in ("nat", "filter")
    )
    interfaces = subprocess.run(
        ["ip", "-brief", "link"], capture_output=True, text=True, check=True
    ).stdout
    return [
        *(str(path) for path in mounts.mount_points() if folder in path.parents),
        *machine.machines_with_cgroups(f"{name}."),
        *(line for line in rules.splitlines() if f" {bridge} " in f"{line} "),
        *(line for line in interfaces.splitlines() if line.startswith((bridge, f"vb-{name}."))),
        *([str(folder)] if folder.exists() else []),
        *(
            str(pid)
            for server in ("web1", "web2")
            for pid in machine.server_processes(
                state.server_folder(folder, server), state.machine_name(name, server)
            )
        ),
    ]


def owc_deploy(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "owc_deploy", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_servers_are_debian_with_an_unprivileged_user(lab):
    assert lab.run("web1", ["cat", "/etc/hostname"]).stdout == "web1\n"
    assert lab.run("web2", ["id", "--user", "--name"]).stdout == "deploy\n"
    assert lab.run("web1", ["id", "--user"], become=True).stdout == "0\n"
    assert lab.run("web1", ["systemctl", "is-system-running"]).stdout == "running\n"


def test_a_lab_does_not_count_as_one_process_where_the_processor_is_wanted(lab):
    del lab
    shares = [
        int(file.read_text()) / int((file.parent.parent / "cpu.shares").read_text())
        for file in machine.CGROUP_ROOT.glob("*/owc-lab/cpu.shares")
    ] + [int(file.read_text()) / 100 for file in machine.CGROUP_ROOT.glob("owc-lab/cpu.weight")]
    assert shares
    assert set(shares) == {10.0}


def test_a_second_up_changes_nothing(lab):
    said: list[str] = []
    again = lab_up(NAME, narrate=said.append)
    assert again.servers == lab.servers
    assert said == [
        f"{name} is already running at {lab.servers[name].address}" for name in ("web1", "web2")
    ]


def test_a_server_with_another_key_is_not_spoken_to(lab):
    known = lab.folder / "known_hosts"
    text = known.read_text()
    keys = [line.split()[-1] for line in text.splitlines()]
    known.write_text(
        text.replace(keys[0], "swap").replace(keys[1], keys[0]).replace("swap", keys[1])
    )
    try:
        refused = lab.run("web1", ["true"], check=False)
    finally:
        known.write_text(text)
    assert refused.returncode == 255
    assert lab.run("web1", ["true"]).returncode == 0


def test_units_are_sandboxed_and_limited(lab):
    sandbox = (
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "RestrictNamespaces=yes",
        "SystemCallFilter=@system-service",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
    )
    options = [word for setting in sandbox for word in ("--property", setting)]

    def attempt(*command: str, extra: tuple[str, ...] = ()) -> int:
        words = ["systemd-run", "--wait", "--quiet", "--collect", *options, *extra, *command]
        return lab.run("web1", words, become=True, check=False).returncode

    assert attempt("true") == 0
    assert attempt("touch", "/etc/owned") != 0
    assert attempt("unshare", "--user", "true") != 0
    hungry = ("python3", "-c", "bytearray(200 << 20)")
    assert attempt(*hungry) == 0
    assert attempt(*hungry, extra=("--property", "MemoryMax=50M")) != 0


def test_units_of_one_server_are_not_those_of_another(lab):
    lab.run("web1", ["systemd-run", "--unit", "mine", "sleep", "600"], become=True)
    lab.run("web2", ["systemd-run", "--unit", "mine", "sleep", "600"], become=True)
    lab.run("web1", ["systemctl", "stop", "mine"], become=True)
    assert lab.run("web2", ["systemctl", "is-active", "mine"], check=False).stdout == "active\n"
    lab.run("web2", ["systemctl", "stop", "mine"], become=True)


def test_both_servers_install_packages_at_once_and_share_what_was_fetched(lab):
    def install(server: str) -> int:
        words = ["apt-get", "install", "--yes", "--no-install-recommends", "nftables"]
        return lab.run(server, words, become=True, check=False).returncode

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(install, ("web1", "web2"))) == [0, 0]
    lab.run("web1", ["nft", "add", "table", "inet", "trial"], become=True)
    assert "trial" in lab.run("web1", ["nft", "list", "ruleset"], become=True).stdout
    assert "trial" not in lab.run("web2", ["nft", "list", "ruleset"], become=True).stdout
    lab_reset(NAME, ["web1"])
    archives = lab.run("web1", ["ls", "/var/cache/apt/archives"]).stdout
    assert "nftables_" in archives
    assert lab.run("web1", ["test", "-e", "/usr/sbin/nft"], check=False).returncode == 1


def test_a_reset_throws_away_one_disk_only(lab):
    for server in ("web1", "web2"):
        lab.run(server, ["touch", "/home/deploy/mark"])
    began = time.monotonic()
    lab.reset("web1")
    seconds = time.monotonic() - began
    assert lab.run("web1", ["test", "-e", "/home/deploy/mark"], check=False).returncode == 1
    assert lab.run("web2", ["test", "-e", "/home/deploy/mark"]).returncode == 0
    assert seconds < 60


def test_another_lab_stands_beside_it_and_goes_alone(lab, other):
    beside = lab_up(other, ["web1"])
    addresses = {server.address for made in (lab, beside) for server in made.servers.values()}
    assert len(addresses) == 3
    assert {NAME, OTHER} <= set(lab_names())
    assert beside.run("web1", ["true"]).returncode == 0
    assert lab_down(other)
    assert leftovers(other) == []
    assert lab.run("web1", ["true"]).returncode == 0
    assert not lab_down(other)


def test_a_kept_disk_starts_another_server(lab, other):
    lab.run("web2", ["sh", "-c", "echo kept | sudo tee /etc/mark && sudo rm /etc/issue"])
    lab.snapshot("web2", IMAGE)
    assert disks.has_snapshot(IMAGE)
    started = lab_up(other, ["web1"], image_name=IMAGE)
    assert started.run("web1", ["cat", "/etc/mark"]).stdout == "kept\n"
    assert started.run("web1", ["test", "-e", "/etc/issue"], check=False).returncode == 1
    assert started.run("web1", ["hostname"]).stdout == "web1\n"
    assert lab.run("web2", ["cat", "/etc/mark"]).stdout == "kept\n"


def test_an_image_that_is_not_there_is_refused(other):
    with pytest.raises(LabError, match="no image"):
        lab_up(other, ["web1"], image_name="never-made")
    assert leftovers(other) == []


@pytest.mark.parametrize("seconds", [0.7, 1.5, 2.5])
def test_nothing_is_left_after_a_killed_up(other, seconds):
    process = subprocess.Popen(
        [sys.executable, "-m", "owc_deploy", "lab", "up", "--lab", other],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    process.kill()
    process.wait()
    lab_down(other)
    assert leftovers(other) == []


def test_up_heals_what_a_killed_up_left(other):
    process = subprocess.Popen(
        [sys.executable, "-m", "owc_deploy", "lab", "up", "--lab", other],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "web2 starting" in line:
            break
    process.kill()
    process.wait()
    (state.server_folder(state.lab_folder(other), "web2") / "server.json").unlink(missing_ok=True)
    healed = lab_up(other)
    assert [server.state for server in healed.servers.values()] == ["running", "running"]
    for server in ("web1", "web2"):
        assert healed.run(server, ["hostname"]).stdout == f"{server}\n"
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,sid=,args="], capture_output=True, text=True, check=True
    ).stdout
    leaders = [words for words in map(str.split, listed.splitlines()) if words[0] == words[1]]
    for server in ("web1", "web2"):
        root = state.server_folder(state.lab_folder(other), server) / "root"
        assert sum(f"--directory={root}" in words for words in leaders) == 1


def test_a_killed_server_is_seen_and_booted_with_its_disk(other):
    made = lab_up(other, ["web1"])
    made.run("web1", ["sh", "-c", "touch /home/deploy/mark && sync"])
    record = state.read_server(made.folder, "web1")
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)
    assert load_lab(other).servers["web1"].state == "stopped"
    again = lab_up(other, ["web1"])
    assert again.run("web1", ["test", "-e", "/home/deploy/mark"]).returncode == 0


def test_down_finds_servers_whose_state_is_gone(other):
    made = lab_up(other, ["web1"])
    (made.folder / "lab.json").unlink()
    (made.folder / "servers/web1/server.json").unlink()
    assert lab_down(other)
    assert leftovers(other) == []


def test_the_verbs(other):
    absent = owc_deploy("lab", "status", "--lab", other)
    assert absent.returncode == 1
    assert f"owc-deploy lab up --lab {other}" in absent.stderr

    up = owc_deploy("lab", "up", "web1", "--lab", other)
    assert up.returncode == 0, up.stderr
    assert Path(up.stdout.strip()).name == "servers.yml"
    assert "web1 ready after" in up.stderr

    status = json.loads(owc_deploy("lab", "status", "--lab", other, "--format", "json").stdout)
    assert [server["state"] for server in status["servers"]] == ["running"]

    ran = owc_deploy(
        "lab", "ssh", "web1", "--lab", other, "--", "sh", "-c", "echo two words; exit 7"
    )
    assert (ran.returncode, ran.stdout) == (7, "two words\n")
    assert owc_deploy("lab", "ssh", "web9", "--lab", other).returncode == 2

    ping = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            "all",
            "--inventory",
            up.stdout.strip(),
            "--module-name",
            "ansible.builtin.command",
            "--args",
            "id --user --name",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ping.returncode == 0, ping.stdout
    assert "root" in ping.stdout

    assert owc_deploy("lab", "reset", "web1", "--lab", other).returncode == 0
    down = owc_deploy("lab", "down", "--lab", other)
    assert down.returncode == 0
    assert f"lab {other} removed" in down.stderr
    nothing = owc_deploy("lab", "down", "--lab", other)
    assert (nothing.returncode, leftovers(other)) == (0, [])
    assert "nothing to remove" in nothing.stderr


def test_a_server_that_the_lab_lacks_is_refused(lab):
    with pytest.raises(UsageError, match="has no server web9"):
        lab_reset(NAME, ["web9"])
