"""One owner per site on real servers: work goes on beside, and the overtaken cannot confirm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Town
from e2e.faults.changing import descendants, signal_all

from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.ports import DecommissionRequest, RollbackRequest
from owc_deploy.fleet.load import load_fleet
from owc_deploy.plan.models import Fence
from owc_deploy.store import open_fleet_store

pytestmark = pytest.mark.lab


def eventually(condition: Callable[[], Any], what: str, timeout_seconds: float = 120) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_seconds} s still not: {what}"
        time.sleep(0.05)


@contextmanager
def applying(town: Town, site: str) -> Iterator[subprocess.Popen[str]]:
    """Begin to apply a site and give the controller once its transaction is under way."""
    command = [sys.executable, "-m", "owc_deploy", "apply", site, "--yes", "--format", "json"]
    process = subprocess.Popen(
        [*command, "--reason", "advisory 12", "--fleet", str(town.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        eventually(
            lambda: is_under_way(town, site) or process.poll() is not None, f"{site} is changed"
        )
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        if process.poll() is None:
            signal_all(signal.SIGKILL, descendants(process.pid))
        process.communicate()


def is_under_way(town: Town, site: str) -> bool:
    unit = f"owc-transaction-{site}.service"
    return town.run("web1", "systemctl", "show", "-P", "ActiveState", unit).strip() == "active"


def is_provisional(town: Town, site: str) -> bool:
    listed = town.run("web1", "ls", f"/run/owc-deploy/{site}")
    return ".provisional.json" in listed


def lives(process_ids: Sequence[int]) -> list[int]:
    return [pid for pid in process_ids if Path(f"/proc/{pid}").exists()]


def wants(town: Town, site: str, version: str, **changes: Any) -> None:
    town.write(site, blocks={"lab-woo": "^4.3", "lab-news": version}, **changes)
    town.lock(site)


def fence_of(town: Town, site: str, name: str = "fence.json") -> Fence:
    return Fence(**json.loads(town.run("web1", "cat", f"/srv/owc/sites/{site}/{name}")))


def leases(town: Town) -> list[str]:
    store = open_fleet_store(load_fleet(town.root))
    with store._database.reading() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT name FROM leases")]


def test_other_sites_go_on_beside_and_of_one_site_exactly_one_wins(town: Town) -> None:
    for site in ("zeewolde", "zwolle"):
        town.create(site)
        wants(town, site, "1.1.0")
    with applying(town, "zeewolde") as first:
        unit = "owc-transaction-zeewolde.service"
        town.run("web1", "systemctl", "kill", "--signal=STOP", unit)
        # It stands still, in the middle of its work; its controller waits, with its lease.
        assert town.apply("zwolle").outcome("zwolle")["outcome"] == "changed"
        refused = town.owc("apply", "zeewolde", "--yes", check=False)
        assert town.status("zeewolde")["state"] == "changing"
        town.run("web1", "systemctl", "kill", "--signal=CONT", unit)
        out, err = first.communicate(timeout=300)
    assert refused.code == 4
    assert f":{first.pid} is changing site zeewolde since" in refused.stderr
    assert "apply: advisory 12" in refused.stderr
    assert "--take-over" in refused.stderr
    assert first.returncode == 0, err
    assert json.loads(out)["outcomes"][0]["outcome"] == "changed"
    for site in ("zeewolde", "zwolle"):
        assert "lab-news 1.1.0" in town.get(site).body
    assert leases(town) == []


def test_servers_refuse_a_token_that_is_older(town: Town) -> None:
    town.create("zandvoort")
    before = town.status("zandvoort")["release_id"]
    wants(town, "zandvoort", "1.1.0")
    town.apply("zandvoort")
    live = town.status("zandvoort")["release_id"]
    town.owc("mitigate", "apply", "zandvoort")
    newest = fence_of(town, "zandvoort")
    mode = town.run("web1", "stat", "-c", "%a %U", "/srv/owc/sites/zandvoort/fence.json")
    assert mode.split() == ["600", "root"]
    older = {"zandvoort": replace(newest, token=newest.token - 1, owner="bo@elsewhere:1")}
    elsewhere = {"zandvoort": Fence("another", 1, "cor@elsewhere:2")}
    with closing(AnsibleExecutor(load_fleet(town.root))) as executor:
        back = {"web1": (RollbackRequest("zandvoort", before, live),)}
        outcomes = [
            *executor.rollback(back, fences=older),
            *executor.decommission(
                {"web1": (DecommissionRequest("zandvoort", live),)}, fences=older
            ),
        ]
        for outcome in outcomes:
            assert (outcome.outcome, outcome.release_id) == ("busy", live)
            assert outcome.message == (
                f"a newer controller, {newest.owner}, has taken this site over"
            )
        (standing,) = executor.fence({"web1": ("zandvoort",)}, fences=older)
        assert (standing.newer, standing.transaction_id) == (newest, "")
        mine = fence_of(town, "zandvoort", "mitigations-fence.json")
        older = {"zandvoort": replace(mine, token=mine.token - 1)}
        (closed,) = executor.mitigate({"web1": {"zandvoort": []}}, fences=older)
        assert closed.outcome == "busy"
        (foreign,) = executor.rollback(back, fences=elsewhere)
    assert foreign.outcome == "changed"
    assert f"another history store, by {newest.owner}" in foreign.details["notes"][0]
    assert fence_of(town, "zandvoort") == elsewhere["zandvoort"]
    assert town.apply("zandvoort").outcome("zandvoort")["outcome"] == "changed"


def test_a_killed_controller_that_was_overtaken_cannot_confirm(town: Town) -> None:
    town.create("zierikzee")
    wants(town, "zierikzee", "1.1.0")
    with applying(town, "zierikzee") as dead:
        family = descendants(dead.pid)
        signal_all(signal.SIGSTOP, family)
        eventually(lambda: is_provisional(town, "zierikzee"), "it waits to be confirmed")
        (waiting,) = town.run(
            "web1", "sh", "-c", "ls /run/owc-deploy/zierikzee | sed -n 's/.job.json//p'"
        ).split()
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
    # What carries the transaction on this side outlives its controller, and will want to confirm.
    pilots = lives(family)
    assert pilots
    wants(town, "zierikzee", "1.0.0", title="Zierikzee twee", pages=[{"path": "/"}])
    taken = town.apply("zierikzee")
    assert "taking over site zierikzee from" in taken.stderr
    assert "that process is gone" in taken.stderr
    assert "zierikzee: how it ended is not known" in taken.stderr
    assert f"zierikzee: {waiting} waits to be confirmed" in taken.stderr
    assert "planning again" in taken.stderr
    assert taken.outcome("zierikzee")["outcome"] == "changed"
    live = town.status("zierikzee")["release_id"]
    signal_all(signal.SIGCONT, reversed(pilots))
    eventually(lambda: not lives(pilots), "the dead controller's pilots have ended")
    assert town.status("zierikzee")["release_id"] == live
    assert town.status("zierikzee")["state"] == "live"
    assert "Zierikzee twee" in town.get("zierikzee").body
    journal = town.run("web1", "cat", f"/srv/owc/sites/zierikzee/journal/{waiting}.jsonl")
    finish = json.loads(journal.strip().splitlines()[-1])["finish"]
    assert finish["outcome"] == "rolled-back"
    assert finish["message"].startswith("confirm: a newer controller, ")
    history = town.owc("history", "zierikzee", "--format", "json").document
    assert [item["outcome"] for item in history["outcomes"]][:2] == ["changed", "interrupted"]


def test_a_cancelled_run_frees_its_site_at_once(town: Town) -> None:
    town.create("zutphen")
    wants(town, "zutphen", "1.1.0")
    with applying(town, "zutphen") as cancelled:
        cancelled.send_signal(signal.SIGTERM)
        _, err = cancelled.communicate(timeout=60)
    assert cancelled.returncode == 130, err
    assert "Stopped." in err
    assert leases(town) == []
    assert town.apply("zutphen").code == 0
    assert "lab-news 1.1.0" in town.get("zutphen").body
    assert town.status("zutphen")["state"] == "live"
