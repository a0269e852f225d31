"""Releases of `owc-deploy` beside a copy-based deploy, on one server, in one run.

    python benchmarks/releases.py [--rounds 5] [--sites 10] [--ansistrano PATH]

Needs root. Boots a server and takes it away again. The copy deploy is `benchmarks/copy_deploy`:
what Ansistrano does with its strategy `copy_unarchive`, the same steps in about as many tasks. Its
payload is the whole tree of the very site that owc-deploy updates, as an archive. `--ansistrano`
takes the real roles instead, from the folder that holds `ansistrano.deploy` and
`ansistrano.rollback`. Both take turns, A B A B, so that a busy moment of the machine strikes both;
every figure is of whole commands and the median of the rounds. Run it on an idle machine: it takes
about ten minutes.

The copy deploy does less for its seconds: no database, no look at the site, and nothing undone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from _bench import SERVER, SITE_DISK, Bench, booted, rounds, spread, used_bytes
from _updates import BLOCK, FIRST, Update, add_updates, draw_updates
from rich.console import Console
from rich.table import Table

COPY_DEPLOY = Path(__file__).with_name("copy_deploy")
COPY_ROOT = "/srv/copy"
SITE = "eerste"
KEPT = 5
SHARED_FOLDERS = ["public/wp-content/uploads"]
SHARED_FILES = ["wp-config.php"]
MEGABYTE = 1e6
# Those with which Ansible is fastest: one connection, and pipelining.
SETTINGS = """\
[defaults]
host_key_checking = false
interpreter_python = auto_silent
[ssh_connection]
pipelining = true
ssh_args = -o ControlMaster=auto -o ControlPersist=60s
"""


@dataclass
class CopyDeploy:
    """The peer: whole copies with Ansible's own modules, or Ansistrano itself."""

    bench: Bench
    folder: Path
    ansistrano: Path | None

    @property
    def title(self) -> str:
        return "Ansistrano" if self.ansistrano else "copy deploy"

    def prepare(self) -> int:
        """Pack the live tree of the site, as it would come from a build; return its size."""
        archive = "/tmp/site.tar.gz"  # noqa: S108  on the throw-away server
        self.bench.run(
            f"cd /srv/owc/sites/{SITE}/current/ && tar --exclude=public/wp-content/uploads"
            f" -czf {archive} public wp-config.php && chmod 644 {archive}"
        )
        with self.archive.open("wb") as stream:
            subprocess.run(
                self.bench.lab.ssh_arguments(SERVER, ["cat", archive]), stdout=stream, check=True
            )
        self.bench.run(f"rm {archive}")
        return self.archive.stat().st_size

    @property
    def archive(self) -> Path:
        return self.folder / "site.tar.gz"

    def deploy(self, site: str = SITE) -> float:
        """Deploy once, which must succeed, and return the seconds of the command."""
        return self._play("deploy", site)

    def rollback(self) -> float:
        """Go back once and return the seconds of the command."""
        before = self.live()
        seconds = self._play("rollback", SITE)
        if self.live() == before:
            sys.exit(f"{self.title}: the rollback changed nothing")
        return seconds

    def live(self) -> str:
        """Return which release is live."""
        return self.bench.run(f"readlink -f {COPY_ROOT}/{SITE}/current").strip()

    def tasks(self) -> int:
        """Return how many tasks a deploy has, those that are skipped included."""
        return self._last_output.count("\nTASK [")

    def _play(self, what: str, site: str) -> float:
        variables = self._variables(site)
        if self.ansistrano:
            play = {"hosts": "all", "gather_facts": False, "become": True}
            role = _role(self.ansistrano, what)
            playbook = self.folder / f"{what}.yml"
            playbook.write_text(yaml.safe_dump([{**play, "roles": [role]}]), encoding="utf-8")
        else:
            playbook = COPY_DEPLOY / f"{what}.yml"
        file = self.folder / "variables.yml"
        file.write_text(yaml.safe_dump(variables), encoding="utf-8")
        started = time.perf_counter()
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("--inventory", str(self.bench.lab.inventory_path)),
                *("--extra-vars", f"@{file}", str(playbook)),
            ],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            sys.exit(f"{playbook}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        self._last_output = done.stdout
        return seconds

    def _variables(self, site: str) -> dict[str, Any]:
        if self.ansistrano:
            return {
                "ansistrano_deploy_to": f"{COPY_ROOT}/{site}",
                "ansistrano_deploy_from": str(self.archive),
                "ansistrano_deploy_via": "copy_unarchive",
                "ansistrano_keep_releases": KEPT,
                "ansistrano_shared_paths": SHARED_FOLDERS,
                "ansistrano_shared_files": SHARED_FILES,
                "ansistrano_allow_anonymous_stats": False,
            }
        return {
            "copy_deploy_to": f"{COPY_ROOT}/{site}",
            "copy_deploy_archive": str(self.archive),
            "copy_deploy_keep": KEPT,
            "copy_deploy_shared_folders": SHARED_FOLDERS,
            "copy_deploy_shared_files": SHARED_FILES,
        }

    def _environment(self) -> dict[str, str]:
        """Return an environment in which only these settings of Ansible count."""
        settings = self.folder / "ansible.cfg"
        settings.write_text(SETTINGS, encoding="utf-8")
        roles = {"ANSIBLE_ROLES_PATH": str(self.ansistrano)} if self.ansistrano else {}
        return {**os.environ, "ANSIBLE_CONFIG": str(settings), **roles}


def _role(folder: Path, what: str) -> str:
    """Return the name of Ansistrano's role for deploying or rolling back."""
    found = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and "ansistrano" in path.name and path.name.endswith(what)
    )
    if not found:
        sys.exit(f"{folder} holds no role such as ansistrano.{what}")
    return found[0]


def measure(bench: Bench, peer: CopyDeploy, updates: Sequence[Update], sites: int) -> None:
    count = len(updates)
    _write(bench, FIRST)
    bench.owc("lock", SITE)
    first = bench.owc("apply", SITE, "--yes")
    bench.note("fresh server to first live site", f"{first:.1f} s", "", "", "90 s")

    size = peer.prepare()
    print(f"the payload of the {peer.title}: {size / MEGABYTE:.0f} MB, packed", flush=True)
    bench.run(f"mkdir -p {COPY_ROOT}")
    # Once before it counts: its first deploy also makes the folders that every site has.
    peer.deploy()
    print(f"{peer.title}: {peer.tasks()} tasks", flush=True)

    _measure_next_sites(bench, peer, [f"site-{number:03}" for number in range(1, sites)], count)

    ours: dict[str, list[float]] = {"update": [], "rollback": []}
    theirs: dict[str, list[float]] = {"update": [], "rollback": []}
    for update in updates:
        _write(bench, update)
        bench.owc("lock", SITE)
        ours["update"].append(bench.owc("apply", SITE, "--yes"))
        theirs["update"].append(peer.deploy())
        ours["rollback"].append(bench.owc("rollback", SITE, "--yes"))
        theirs["rollback"].append(peer.rollback())
    _compare(bench, "update of one block, command to confirmed", ours, theirs, "update", "a fifth")
    _compare(bench, "rollback, command to live", ours, theirs, "rollback", "under half")

    for number in range(count + 1, sites):
        bench.write(f"site-{number:03}")
    _write(bench, FIRST)
    bench.owc("lock")
    bench.owc("apply", "--yes")
    idle = rounds(count, lambda _: bench.owc("apply", "--yes"))
    copying = statistics.median(theirs["update"]) * sites
    bench.note(
        f"nothing to do, {sites} sites",
        spread(idle),
        f"{copying:.0f} s (derived: it copies each)",
        _ratio(statistics.median(idle), copying),
        "3 s (100 sites)",
    )


def _measure_next_sites(bench: Bench, peer: CopyDeploy, names: Sequence[str], count: int) -> None:
    ours: dict[str, list[float]] = {"site": []}
    theirs: dict[str, list[float]] = {"site": []}
    ours_before = used_bytes(bench, *SITE_DISK)
    theirs_before = used_bytes(bench, COPY_ROOT)
    for name in names[:count]:
        ours["site"].append(bench.create(name))
        theirs["site"].append(peer.deploy(name))
    _compare(bench, "one more site (copy deploy: its files only)", ours, theirs, "site", "5 s")
    ours_grew = (used_bytes(bench, *SITE_DISK) - ours_before) / count
    theirs_grew = (used_bytes(bench, COPY_ROOT) - theirs_before) / count
    bench.note(
        "disk for one more site",
        f"{ours_grew / MEGABYTE:.1f} MB",
        f"{theirs_grew / MEGABYTE:.1f} MB",
        _ratio(ours_grew, theirs_grew),
        "5 MB",
    )


def _compare(
    bench: Bench,
    title: str,
    ours: dict[str, list[float]],
    theirs: dict[str, list[float]],
    key: str,
    goal: str,
) -> None:
    ratio = _ratio(statistics.median(ours[key]), statistics.median(theirs[key]))
    bench.note(title, spread(ours[key]), spread(theirs[key]), ratio, goal)


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}"


def _write(bench: Bench, update: Update) -> None:
    bench.write(SITE, blocks={"lab-woo": "^4.3", BLOCK: update.version})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements for each median")
    parser.add_argument("--sites", type=int, default=10, help="sites on the server in the end")
    parser.add_argument(
        "--ansistrano",
        type=Path,
        metavar="PATH",
        help="the folder with Ansistrano's roles, to compare with them",
    )
    options = parser.parse_args()
    if options.sites <= options.rounds:
        parser.error("--sites must be more than --rounds")
    if options.ansistrano is not None:
        for what in ("deploy", "rollback"):
            _role(options.ansistrano, what)
    # Each round updates to a release that the server has not seen, and goes back.
    updates = draw_updates(options.rounds, 0, 0, seed=1)
    with booted() as bench:
        add_updates(bench.root / "catalogue", updates)
        peer = CopyDeploy(bench, bench.root, options.ansistrano)
        measure(bench, peer, updates, options.sites)
    table = Table(
        "What", "owc-deploy", peer.title, "Ratio", "Goal", title=f"{options.rounds} rounds, in turn"
    )
    for row in bench.rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
