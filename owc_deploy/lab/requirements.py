"""Whether lab servers can run on this machine, decided before anything is touched."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from owc_deploy.errors import LabError

# Program -> Debian package that brings it.
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "ssh": "openssh-client",
}
_PROGRAM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Host:
    """What of this machine decides whether a lab can run."""

    system: str
    user_id: int
    missing_programs: tuple[str, ...]
    has_overlay: bool
    has_cgroups: bool


def observe_host() -> Host:
    """Look at this machine."""
    filesystems = Path("/proc/filesystems")
    modules = Path("/lib/modules") / platform.release()
    return Host(
        system=platform.system(),
        user_id=os.geteuid(),
        missing_programs=tuple(
            name for name in PROGRAMS if shutil.which(name, path=_PROGRAM_FOLDERS) is None
        ),
        # A filesystem that is a module not loaded yet is not listed; mount loads it.
        has_overlay=modules.is_dir()
        or (filesystems.is_file() and "overlay" in filesystems.read_text(encoding="ascii")),
        has_cgroups=Path("/sys/fs/cgroup").is_dir(),
    )


def refuse_unfit_host(host: Host) -> None:
    """Raise LabError, with the remedy, when lab servers cannot run on `host`."""
    if host.system != "Linux":
        raise LabError(
            f"lab servers need Linux; this is {host.system}",
            hint="use a Debian virtual machine, or a real test server in servers.yml",
        )
    if host.user_id != 0:
        raise LabError("lab servers need root", hint="sudo owc-deploy lab up")
    if host.missing_programs:
        packages = " ".join(sorted({PROGRAMS[name] for name in host.missing_programs}))
        raise LabError(
            f"missing on this machine: {', '.join(host.missing_programs)}",
            hint=f"apt-get install --yes {packages}",
        )
    if not host.has_overlay:
        raise LabError(
            "this kernel has no overlay filesystem",
            hint="modprobe overlay, or use a machine whose kernel has it",
        )
    if not host.has_cgroups:
        raise LabError(
            "no control groups are mounted at /sys/fs/cgroup",
            hint="mount -t cgroup2 none /sys/fs/cgroup, or use a virtual machine",
        )
