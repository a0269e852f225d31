"""What goes wrong beside the sites: a server out of reach, a lost controller, two operators."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from e2e.conftest import Town

pytestmark = pytest.mark.lab


def test_a_server_out_of_reach_costs_only_its_own_sites(town: Town, tmp_path: Path) -> None:
    shutil.copytree(town.root, tmp_path / "fleet")
    elsewhere = Town(tmp_path / "fleet", town.lab)
    inventory = elsewhere.root / "servers.yml"
    servers = yaml.safe_load(inventory.read_text())
    servers["all"]["children"]["web"]["hosts"]["web2"]["ansible_port"] = 2
    inventory.write_text(yaml.safe_dump(servers))
    elsewhere.write("neerpelt", "web1")
    elsewhere.write("nijkerk", "web2")
    elsewhere.lock("neerpelt", "nijkerk")
    result = elsewhere.apply("neerpelt", "nijkerk", check=False)
    assert result.code == 1
    assert result.outcome("neerpelt")["outcome"] == "changed"
    assert result.outcome("nijkerk")["outcome"] == "unreachable"
    assert "did not answer" in result.outcome("nijkerk")["message"]
    assert "Gemeente Neerpelt" in elsewhere.get("neerpelt").body


def test_a_killed_controller_leaves_a_release_that_ends_by_itself(town: Town) -> None:
    town.create("ommen")
    town.write("ommen", blocks={"lab-woo": "^4.3", "lab-news": "1.1.0"})
    town.lock("ommen")
    process = subprocess.Popen(
        [sys.executable, "-m", "owc_deploy", "apply", "ommen", "--yes", "--fleet", str(town.root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    unit = "owc-transaction-ommen.service"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if "active" in town.run("web1", "systemctl", "show", "-P", "ActiveState", unit).split():
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    while town.run("web1", "systemctl", "show", "-P", "ActiveState", unit).strip() == "active":
        time.sleep(0.2)
    # Confirmed by what of the controller lived on, or undone by the server: one of the two in full.
    body = town.get("ommen").body
    assert ("lab-news 1.1.0" in body) != ("lab-news 1.0.0" in body)
    assert town.status("ommen")["state"] == "live"
    wanted = "ok" if "lab-news 1.1.0" in body else "changed"
    assert town.apply("ommen").outcome("ommen")["outcome"] == wanted
    assert "lab-news 1.1.0" in town.get("ommen").body
    history = town.owc("history", "ommen", "--format", "json").document
    outcomes = [item["outcome"] for item in history["outcomes"]]
    # `running` for as long as the killed controller's lease has not lapsed.
    assert {"running", "interrupted"} & set(outcomes[:2])
    town.write("ommen", blocks={"lab-woo": "^4.3", "lab-news": "1.0.0"})
    town.lock("ommen")
    assert town.apply("ommen").outcome("ommen")["outcome"] == "changed"
    history = town.owc("history", "ommen", "--format", "json").document
    assert "interrupted" in [item["outcome"] for item in history["outcomes"]]


def test_two_operators_at_once_cannot_both_change_the_fleet(town: Town) -> None:
    town.create("putten")
    town.write("putten", title="Putten twee", pages=[{"path": "/"}])
    town.lock("putten")
    command = [sys.executable, "-m", "owc_deploy", "apply", "putten", "--yes", "--format", "json"]
    command += ["--fleet", str(town.root)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=300) for process in both]
    codes = sorted(process.returncode for process in both)
    # Either the second met the lease, or it came after and its plan was stale or had nothing to do.
    assert codes in ([0, 4], [0, 0], [0, 1])
    changed = [
        item
        for out, _ in ended
        if out
        for item in json.loads(out)["outcomes"]
        if item["outcome"] == "changed"
    ]
    assert len(changed) == 1
    assert town.status("putten")["state"] == "live"


def test_a_stale_plan_is_refused(town: Town) -> None:
    town.create("reusel")
    town.write("reusel", title="Reusel twee", pages=[{"path": "/"}])
    town.lock("reusel")
    saved = town.root / "reusel.plan.json"
    town.owc("plan", "reusel", "--out", str(saved))
    town.write("reusel", title="Reusel drie", pages=[{"path": "/"}])
    town.lock("reusel")
    refused = town.owc("apply", "--plan", str(saved), "--yes", check=False)
    assert refused.code == 5
    assert "owc-deploy plan" in refused.stderr
    assert "Gemeente Reusel" in town.get("reusel").body
