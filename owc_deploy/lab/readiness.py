"""Whether a lab server answers, and what its console said when it does not."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from owc_deploy.errors import LabError
from owc_deploy.lab import machine
from owc_deploy.lab.commands import tail
from owc_deploy.lab.state import ServerRecord, server_folder

BOOT_TIMEOUT_SECONDS = 120
_SSH_PORT = 22
_CONNECT_TIMEOUT_SECONDS = 1.0
_POLL_SECONDS = 0.2
_UP = frozenset({"running", "degraded"})


def wait_until_ready(
    lab: str, folder: Path, record: ServerRecord, timeout_seconds: float = BOOT_TIMEOUT_SECONDS
) -> float:
    """Wait until a server has booted and lets its user in; return the seconds it took.

    Raises LabError, with the end of the console's log, when it does not.
    """
    began = time.monotonic()
    console = server_folder(folder, record.name) / "console.log"
    seen = "no answer"
    while time.monotonic() - began < timeout_seconds:
        if machine.start_time(record.pid) != record.started:
            raise LabError(
                f"{record.name} stopped while it booted",
                context=_console_tail(console),
                hint=f"owc-deploy lab down --lab {lab}",
            )
        if _port_open(str(record.address)):
            seen = system_state(folder, record)
            if seen in _UP:
                return time.monotonic() - began
        time.sleep(_POLL_SECONDS)
    raise LabError(
        f"{record.name} did not come up in {timeout_seconds:.0f} seconds: {seen}",
        context=_console_tail(console),
        hint=(
            "systemd-nspawn cannot boot a server inside most containers: use a machine or a "
            f"virtual machine; clean up with: owc-deploy lab down --lab {lab}"
        ),
    )


def system_state(folder: Path, record: ServerRecord) -> str:
    """Return what systemd says of a server: `running`, `degraded`, `starting`, or `no answer`."""
    command = ("ssh", "-F", str(folder / "ssh_config"), record.name)
    try:
        result = subprocess.run(
            [*command, "systemctl", "is-system-running"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    return result.stdout.strip() or "no answer"


def _port_open(address: str) -> bool:
    try:
        with socket.create_connection((address, _SSH_PORT), timeout=_CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def _console_tail(console: Path) -> str:
    try:
        return tail(console.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return "the console said nothing"
