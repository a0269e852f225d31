"""A fleet without any CI: a Debian machine that was set up as docs/how-to/ci.md says.

Only its timer goes off more often than the one that `init --ci systemd` writes.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from e2e.ci_life import FleetDesk
from e2e.conftest import PREFIX, PREPARED_IMAGE, Town
from e2e.wheels import send
from fakes.fleet_repository import FleetRepository

from owc_deploy import __version__
from owc_deploy.lab.image import USER
from owc_deploy.lab.servers import lab_down, lab_up

pytestmark = pytest.mark.lab

# The ring `canary` is the first of them.
PLACES = {"marken": "web1", "urk": "web2"}
CATALOGUE = "/srv/catalogue"
OWC = "/opt/owc-deploy/bin/owc-deploy"
INSTALL = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends git openssh-client python3-venv > /dev/null
adduser --quiet --system --group --home /var/lib/owc-deploy owc-deploy
python3 -m venv /opt/owc-deploy
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv/wheels
/opt/owc-deploy/bin/pip install --quiet owc-deploy=={__version__}
sudo -u {USER} git init --quiet --bare --initial-branch=main /home/{USER}/fleet.git
su -s /bin/bash owc-deploy -c "ssh-keygen -q -t ed25519 -f ~/.ssh/id_ed25519 -N ''"
cat /var/lib/owc-deploy/.ssh/id_ed25519.pub
"""
SET_UP = """
set -e
su -s /bin/bash owc-deploy << 'END'
set -e
cd
echo "$HOST_KEYS" > ~/.ssh/known_hosts
git clone --quiet "$ORIGIN" ~/fleet
cat ~/fleet/known_hosts >> ~/.ssh/known_hosts
END
install -D -m 755 /var/lib/owc-deploy/fleet/ci/systemd/roll-out /usr/local/lib/owc-deploy/roll-out
install -m 644 /var/lib/owc-deploy/fleet/ci/systemd/owc-deploy.* /etc/systemd/system/
mkdir /etc/systemd/system/owc-deploy.timer.d
cat > /etc/systemd/system/owc-deploy.timer.d/often.conf << 'END'
[Timer]
OnCalendar=
OnCalendar=*:*:0/3
RandomizedDelaySec=0
AccuracySec=100ms
END
systemctl enable --quiet --now owc-deploy.timer
"""


@dataclass
class Machine(FleetDesk):
    """A fleet, and the machine that rolls it out."""

    def inside(self, *command: str) -> str:
        """Run a command on the machine as root and return what it printed."""
        done = self.lab.run("controller", command, become=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def owc(self, *arguments: str) -> Any:
        """Ask owc-deploy on the machine, as its user."""
        command = " ".join((OWC, *arguments, "--fleet ~/fleet --format json"))
        return json.loads(self.inside("su", "-s", "/bin/bash", "owc-deploy", "-c", command))

    def merged(self, version: str) -> None:
        """Merge another version of a block for every site."""
        self.settings()
        self.wish(blocks={"lab-news": version})
        self.merge()

    def merge(self) -> None:
        # On the machine the catalogue stands elsewhere.
        replace(self, catalogue=Path(CATALOGUE)).settings()
        self.repository.merge()

    def states(self) -> list[str]:
        """Return the states of the rollouts, the newest first."""
        rollouts = self.owc("rollout", "list")["rollouts"]
        return [each["state"] for each in rollouts]

    def said(self, *patterns: str) -> int:
        """Return how many lines of the service's journal have one of these words in them."""
        lines = self.inside("journalctl", "--unit=owc-deploy", "--output=cat").splitlines()
        return sum(any(pattern in line for pattern in patterns) for line in lines)

    def eventually(self, condition: Callable[[], bool], timeout_seconds: float = 90) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(self.inside("journalctl", "--unit=owc-deploy", "--lines=80"))
            time.sleep(0.3)

    def after_two_more_ticks(self) -> None:
        # The one that is under way may have looked before.
        ended = ("Finished owc-deploy.service", "Failed to start owc-deploy.service")
        before = self.said(*ended)
        self.eventually(lambda: self.said(*ended) >= before + 3)


@pytest.fixture(scope="module")
def machine(
    town: Town, wheels: Path, catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Set the machine up, with a fleet without sites; servers are prepared already."""
    del town  # its first server, when it was prepared, is what the servers are copies of
    name = f"{PREFIX}-clock"
    try:
        lab = lab_up(name, ["controller"])
        send(lab, "controller", wheels, "/srv/wheels")
        send(lab, "controller", catalogue, CATALOGUE)
        install = subprocess.Popen(
            lab.ssh_arguments("controller", ["sudo", "bash", "-s"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        lab = lab_up(name, ["controller", *PLACES.values()], image_name=PREPARED_IMAGE)
        public, said = install.communicate(INSTALL, timeout=600)
        assert install.returncode == 0, said
        repository = FleetRepository(tmp_path_factory.mktemp("clock"))
        made = Machine(repository, lab, PLACES, catalogue)
        made.begin("systemd")
        repository.git("config", "core.sshCommand", f"ssh -F {lab.ssh_config_path}")
        repository.git("remote", "set-url", "origin", "controller:fleet.git")
        made.merge()
        for server in lab.servers:
            keys = f"/home/{USER}/.ssh/authorized_keys"
            lab.run(server, ["tee", "--append", keys], text_input=public)
        origin = f"{USER}@{lab.servers['controller'].address}:fleet.git"
        known = (lab.folder / "known_hosts").read_text()
        variables = f"export ORIGIN={origin} HOST_KEYS='{known}'\n"
        set_up = variables + SET_UP
        done = lab.run("controller", ["bash", "-s"], become=True, text_input=set_up, check=False)
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        lab_down(name)


def test_a_merged_commit_is_rolled_out_once(machine: Machine) -> None:
    machine.merged("1.0.0")
    machine.eventually(lambda: machine.states()[:1] == ["done"])
    assert machine.activations() == dict.fromkeys(PLACES, 1)
    machine.after_two_more_ticks()
    assert machine.states() == ["done"]
    assert machine.inside("systemctl", "is-enabled", "owc-deploy.timer").strip() == "enabled"


def test_what_was_stopped_half_way_is_gone_on_with(machine: Machine) -> None:
    before = machine.said("ring canary: ")
    machine.merged("1.1.0")
    machine.eventually(lambda: machine.said("ring canary: ") > before)
    machine.inside("systemctl", "stop", "owc-deploy.timer", "owc-deploy.service")
    assert machine.states() == ["interrupted", "done"]
    assert machine.activations()["urk"] == 1
    machine.inside("systemctl", "start", "owc-deploy.timer")
    machine.eventually(lambda: machine.states()[0] == "done")
    assert machine.activations() == dict.fromkeys(PLACES, 2)


def test_a_commit_that_halts_is_not_started_again(machine: Machine) -> None:
    before = machine.states()
    machine.merged("1.2.0")
    machine.eventually(lambda: machine.states()[0] == "halted")
    machine.after_two_more_ticks()
    assert machine.states() == ["halted", *before]
    failed = ("systemctl", "--failed", "--plain")
    machine.eventually(lambda: "owc-deploy.service" in machine.inside(*failed))
    assert machine.activations() == dict.fromkeys(PLACES, 2)
