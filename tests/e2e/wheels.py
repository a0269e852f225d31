"""owc-deploy as it is installed on a server: a wheel, and those of what it needs."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from owc_deploy.lab.servers import Lab

_REPOSITORY = Path(__file__).parents[2]
# The Python of Debian 12, for which the wheels are fetched.
_TARGET = ("--python-version=3.11", "--only-binary=:all:", "--platform=any")
_PLATFORMS = tuple(f"--platform={name}_x86_64" for name in ("manylinux2014", "manylinux_2_28"))


def make_wheels(folder: Path) -> None:
    """Build our wheel into a folder and fetch the others beside it, for PostgreSQL too."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(_REPOSITORY)]
    subprocess.run(build, check=True)
    wheel = next(folder.glob("owc_deploy-*.whl"))
    fetch = [*pip, "download", *_TARGET, *_PLATFORMS, "--dest", str(folder), f"{wheel}[postgres]"]
    subprocess.run(fetch, check=True)


def send(lab: Lab, server: str, folder: Path, target: str) -> None:
    """Copy a folder to a server, owned by root, as `target`, whose parent exists."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(folder, Path(target).name, filter=_of_root)
    command = lab.ssh_arguments(server, ["sudo", "tar", "-x", "-C", str(Path(target).parent)])
    subprocess.run(command, input=content.getvalue(), check=True)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode |= 0o755 if member.isdir() else 0o444
    return member
