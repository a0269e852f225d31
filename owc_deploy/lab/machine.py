"""One lab server's processes and control groups on this machine.

Everything here can be found again without a record, from the server's folder alone, so that what
a killed controller left behind is cleaned up like anything else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from owc_deploy.errors import LabError
from owc_deploy.lab.image import INIT
from owc_deploy.lab.mounts import mount_points

CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_PARENT = "owc-lab"
# All lab servers together count as so many ordinary processes where the processor is wanted. As one
# they starve: two test runners beside four servers would leave each server a twelfth.
_SHARE = 10
# The file of a control group that holds its share, and what an ordinary one has: cgroup 2 and 1.
_SHARES = (("cpu.weight", 100), ("cpu.shares", 1024))
_KILL_TIMEOUT_SECONDS = 20
_POLL_SECONDS = 0.05

# Moves itself into the control groups named before `--`, then becomes the program named after it.
_ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'


def start(
    folder: Path,
    *,
    machine: str,
    hostname: str,
    bridge: str,
    binds: Iterable[tuple[Path, str]],
) -> int:
    """Boot the server whose disk is mounted at `folder/root`; return the process id of nspawn.

    It runs in a session and in control groups of its own, so that it outlives this process and
    two servers never share a unit's group. `binds` are (folder here, path inside).
    """
    groups = make_cgroups(machine)
    arguments = [
        "sh",
        "-c",
        _ENTER_CGROUPS,
        "sh",
        *(str(group / "cgroup.procs") for group in groups),
        "--",
        "systemd-nspawn",
        "--quiet",
        f"--directory={folder / 'root'}",
        f"--machine={machine}",
        f"--hostname={hostname}",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
        "--kill-signal=SIGRTMIN+4",
        f"--network-bridge={bridge}",
        *(f"--bind={source}:{target}" for source, target in binds),
        INIT,
    ]
    with (folder / "console.log").open("ab") as console:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    return process.pid


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when there is none.

    With the process id it names a process for good: ids are used again.
    """
    fields = _stat_fields(pid)
    return None if fields is None or fields[0] in {"Z", "X"} else int(fields[19])


def server_processes(folder: Path, machine: str) -> tuple[int, ...]:
    """Return every process of a server: its nspawn, all below it, all in its control groups."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    wanted = f"--directory={folder / 'root'}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        pid = int(entry.name)
        fields = _stat_fields(pid)
        if fields is None or fields[0] in {"Z", "X"}:
            continue
        parents[pid] = int(fields[1])
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if wanted in command and b"systemd-nspawn" in command:
                found.add(pid)
    for group in _cgroups(machine):
        for listing in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in listing.read_text().split() if line != "0")
    while children := {pid for pid in parents if parents[pid] in found} - found:
        found |= children
    found.discard(os.getpid())
    return tuple(sorted(found))


def kill(folder: Path, machine: str) -> bool:
    """Kill every process of a server and wait until all are gone; return whether there were any.

    Raises LabError when one survives.
    """
    killed = False
    deadline = time.monotonic() + _KILL_TIMEOUT_SECONDS
    while processes := server_processes(folder, machine):
        killed = True
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(processes)
        if time.monotonic() > deadline:
            raise LabError(
                f"processes of {folder.name} do not end: {', '.join(map(str, processes))}",
                hint=f"look at them with: ps -fp {','.join(map(str, processes))}",
            )
        time.sleep(_POLL_SECONDS)
    return killed


def power_off(folder: Path, machine: str, *, pid: int, timeout_seconds: float = 60) -> None:
    """Shut a server down in order, so that its disk is whole; kill what remains after that."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_seconds
    while start_time(pid) is not None and time.monotonic() < deadline:
        _reap((pid,))
        time.sleep(_POLL_SECONDS)
    kill(folder, machine)


def make_cgroups(machine: str) -> tuple[Path, ...]:
    """Make a group for the server in every hierarchy of this machine."""
    groups = []
    for hierarchy in _hierarchies():
        parent = hierarchy / _CGROUP_PARENT
        group = parent / machine
        group.mkdir(parents=True, exist_ok=True)
        for name, ordinary in _SHARES:
            if (parent / name).is_file():
                (parent / name).write_text(str(_SHARE * ordinary), encoding="ascii")
        if hierarchy.name == "cpuset":
            # A new group of this hierarchy takes no process until it has processors and memory.
            for path in (parent, group):
                for name in ("cpuset.cpus", "cpuset.mems"):
                    value = (path.parent / name).read_text(encoding="ascii")
                    (path / name).write_text(value, encoding="ascii")
        groups.append(group)
    return tuple(groups)


def remove_cgroups(machine: str) -> None:
    """Remove the server's groups, and the common parent once it is empty."""
    for group in _cgroups(machine):
        deadline = time.monotonic() + _KILL_TIMEOUT_SECONDS
        while group.is_dir():
            for path in sorted(group.rglob("*"), key=lambda item: len(item.parts), reverse=True):
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()
            if group.is_dir():
                # The kernel empties a group a moment after its last process has ended.
                if time.monotonic() > deadline:
                    raise LabError(f"the control group {group} cannot be removed")
                time.sleep(_POLL_SECONDS)
        with contextlib.suppress(OSError):
            group.parent.rmdir()


def machines_with_cgroups(prefix: str) -> tuple[str, ...]:
    """Return the machines, whose names begin with `prefix`, that have a control group."""
    return tuple(
        sorted(
            {
                group.name
                for hierarchy in _hierarchies()
                for group in (hierarchy / _CGROUP_PARENT).glob(f"{prefix}*")
                if group.is_dir()
            }
        )
    )


def _hierarchies() -> tuple[Path, ...]:
    if (CGROUP_ROOT / "cgroup.controllers").is_file():
        return (CGROUP_ROOT,)
    mounted = set(mount_points())
    return tuple(path for path in sorted(CGROUP_ROOT.iterdir()) if path in mounted)


def _cgroups(machine: str) -> tuple[Path, ...]:
    groups = (hierarchy / _CGROUP_PARENT / machine for hierarchy in _hierarchies())
    return tuple(group for group in groups if group.is_dir())


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the command's name: state, parent, ..."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _reap(pids: Iterable[int]) -> None:
    """Collect those that are children of this process, so that they do not stay as zombies."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
