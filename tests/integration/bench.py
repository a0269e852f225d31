"""A small playbook with a module of its own, and eyes that look for a secret while it runs."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from owc_deploy.execution.environment import runtime_folder
from owc_deploy.execution.runner import PlaybookRequest
from owc_deploy.fleet.models import Server

CANARY = "canary-3f1c6e0b9a7d42e8"

ECHO = """
from ansible.module_utils.basic import AnsibleModule
import os, sys, time
def main():
    module = AnsibleModule({
        "value": {"type": "raw"}, "seconds": {"type": "float", "default": 0},
        "secret": {"type": "raw", "no_log": True}, "fail": {"type": "str", "default": ""},
        "sentinel": {"type": "str", "default": ""},
    })
    p = module.params
    if p["sentinel"]:
        open(p["sentinel"], "w").write(str(os.getpid()))
    time.sleep(p["seconds"])
    if p["fail"]:
        module.fail_json(msg=p["fail"])
    module.exit_json(changed=False, observed=p["value"], secret_length=len(str(p["secret"] or "")))
main()
"""

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
"""


class Bench:
    """A folder with an inventory, a module and a playbook."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "library").mkdir()
        (folder / "library" / "owc_echo.py").write_text(ECHO)
        self.inventory = folder / "servers.yml"
        self.inventory.write_text(
            json.dumps(
                {
                    "web": {
                        "hosts": {
                            "here": {"ansible_connection": "local"},
                            "there": {"ansible_connection": "local"},
                            "gone": {"ansible_host": "127.0.0.1", "ansible_port": 1},
                        }
                    }
                }
            )
        )

    def servers(self, *names: str) -> tuple[Server, ...]:
        local = {"ansible_connection": "local"}
        return tuple(Server(name, ("web",), (), {} if name == "gone" else local) for name in names)

    def play(self, *tasks: str) -> Path:
        path = self.folder / "play.yml"
        indented = ["    - " + task.strip().replace("\n", "\n      ") for task in tasks]
        path.write_text(PLAY + "\n".join(indented) + "\n")
        return path

    def request(self, playbook: Path, *names: str, **extra: object) -> PlaybookRequest:
        return PlaybookRequest(
            playbook,
            self.servers(*(names or ("here",))),
            self.inventory,
            **extra,  # type: ignore[arg-type]
        )


def run_folders() -> list[Path]:
    return [
        path
        for path in runtime_folder().glob("run-*")
        if path.name.split("-")[1] == str(os.getpid())
    ]


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(path)


def ends(process_id: int) -> bool:
    """Whether a process that was told to end does so, soon."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{process_id}/stat").read_text()
        except OSError:
            return True
        if status.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


class Watcher(threading.Thread):
    """Looks for the canary in argv, environment and the run's files while a run goes on."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.found: set[str] = set()
        self.files_seen = 0
        self.processes_seen = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            self._look()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _look(self) -> None:
        processes = [
            process / name
            for process in Path("/proc").glob("[0-9]*")
            for name in ("cmdline", "environ")
        ]
        for path in processes:
            self.processes_seen += b"playbook_process" in self._content(path)
        for folder in run_folders():
            # The pipe is not opened: reading would take what is meant for Ansible.
            for parent, _, names in os.walk(folder):
                for path in (Path(parent, name) for name in names):
                    if path.is_file():
                        self.files_seen += 1
                        self._content(path)

    def _content(self, path: Path) -> bytes:
        try:
            content = path.read_bytes()
        except OSError:  # it has gone meanwhile
            return b""
        if CANARY.encode() in content:
            self.found.add(str(path))
        return content
