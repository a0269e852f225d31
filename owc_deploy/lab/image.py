"""The base image that every lab server starts from: a small Debian, made once and kept.

An image is keyed by everything that went into it, so that a changed recipe, mirror or certificate
makes a new one and an interrupted build is never mistaken for a whole one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from owc_deploy.errors import LabError
from owc_deploy.lab.commands import run_command
from owc_deploy.lab.mounts import remove_tree, unmount_below

Release = Literal["bookworm", "trixie"]
RELEASES: tuple[Release, ...] = ("bookworm", "trixie")
PHP_VERSIONS: Mapping[Release, str] = {"bookworm": "8.2", "trixie": "8.4"}

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "iproute2",
    "ca-certificates",
    "sudo",
)
USER = "deploy"
_BUILD_TIMEOUT_SECONDS = 1800
_APT_SETTINGS = (
    "Acquire::http",
    "Acquire::https",
    "Acquire::Check-",
    "Acquire::Languages",
    "Acquire::Retries",
)
_HOST_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_FILE_MODE = 0o644
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

INIT = "/usr/local/sbin/owc-lab-init"
# On the older control groups nspawn shows the controllers read-only. systemd would then accept
# MemoryMax= and enforce nothing; the group is this server's own, so it may write there.
_INIT_SCRIPT = """\
#!/bin/sh
for controller in memory pids; do
    if [ -d "/sys/fs/cgroup/$controller" ]; then
        mount -o remount,bind,rw,nosuid,nodev,noexec none "/sys/fs/cgroup/$controller"
    fi
done
exec /lib/systemd/systemd "$@"
"""


@dataclass(frozen=True, slots=True)
class AptSource:
    """One line of what the host's apt reads: repository address, suite, component."""

    address: str
    suite: str
    component: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything an image is made from. `files` maps a path in the image to its text."""

    release: Release
    packages: tuple[str, ...]
    mirror: str
    files: Mapping[str, str]
    commands: tuple[tuple[str, ...], ...]

    @property
    def key(self) -> str:
        """Name of the image folder: the release and a hash of the whole recipe."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.release}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Image:
    """A disk to start from: read-only layers, uppermost first, and the release they carry."""

    release: Release
    layers: tuple[Path, ...]


def cache_folder() -> Path:
    """Return the folder that keeps what is expensive to make or fetch."""
    return Path(platformdirs.user_cache_dir("owc-deploy"))


def archives_folder(release: Release) -> Path:
    """Return the folder of Debian packages that servers of one release share."""
    return cache_folder() / "archives" / release


def snapshots_folder() -> Path:
    """Return the folder of images made from provisioned servers."""
    return cache_folder() / "images" / "snapshots"


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on the file `path` for the time of the block.

    Yields its descriptor: a program that is handed it keeps the lock until it ends as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def base_image(release: Release, narrate: Callable[[str], None]) -> Image:
    """Return the base image of a Debian release, made first where it is not cached.

    Raises LabError when debootstrap or a step of the recipe fails.
    """
    recipe = make_recipe(
        release,
        sources=host_apt_sources(),
        apt_settings=host_apt_settings(),
        host_codename=host_codename(),
        certificates=host_certificates(),
    )
    folder = cache_folder() / "images" / recipe.key
    if not folder.is_dir():
        with locked(folder.with_name(f"{recipe.key}.lock")) as lock:
            if not folder.is_dir():
                _build(recipe, folder, lock, narrate)
    return Image(release=release, layers=(folder,))


def make_recipe(
    release: Release,
    *,
    sources: tuple[AptSource, ...],
    apt_settings: tuple[str, ...],
    host_codename: str,
    certificates: Mapping[str, str],
) -> Recipe:
    """Return the recipe for `release`, using the host's own mirrors, proxies and authorities.

    `sources` are those of the host's release `host_codename`; its suites are renamed to those of
    `release`. Without a usable source the mirror is empty and debootstrap's default is used.
    """
    own = [
        AptSource(source.address, source.suite.replace(host_codename, release, 1), source.component)
        for source in sources
        if host_codename
        and source.suite in {host_codename, f"{host_codename}-updates", f"{host_codename}-security"}
        and source.component == "main"
    ]
    mirror = next((source.address for source in own if source.suite == release), "")
    files = {
        "/etc/apt/apt.conf.d/90owc-lab": "".join(
            f"{line}\n"
            for line in (
                *apt_settings,
                'APT::Install-Recommends "true";',
                'APT::Keep-Downloaded-Packages "true";',
                'Binary::apt::APT::Keep-Downloaded-Packages "true";',
            )
        ),
        # A lab disk is thrown away; waiting for it to be written safely only costs time.
        "/etc/dpkg/dpkg.cfg.d/owc-lab": "force-unsafe-io\n",
        "/etc/ssh/sshd_config.d/10-owc-lab.conf": (
            "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nUseDNS no\n"
        ),
        INIT: _INIT_SCRIPT,
        "/etc/default/locale": "LANG=C.UTF-8\n",
        f"/etc/sudoers.d/{USER}": f"{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n",
        **{
            f"{_HOST_CERTIFICATES}/{name}": certificate
            for name, certificate in certificates.items()
        },
    }
    if mirror:
        files["/etc/apt/sources.list"] = "".join(
            f"deb {source.address} {source.suite} {source.component}\n" for source in own
        )
    return Recipe(
        release=release,
        packages=PACKAGES,
        mirror=mirror,
        files=files,
        commands=(
            ("useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", USER),
            ("chmod", "0440", f"/etc/sudoers.d/{USER}"),
            ("chmod", "0755", INIT),
            ("update-ca-certificates",),
            ("systemctl", "enable", "systemd-networkd.service", "ssh.service"),
            ("systemctl", "mask", "systemd-networkd-wait-online.service"),
            ("apt-get", "update"),
        ),
    )


def host_codename() -> str:
    """Return the code name of this machine's Debian release, empty on another distribution."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if values.get("ID", "").strip('"') != "debian":
        return ""
    return values.get("VERSION_CODENAME", "").strip('"')


def host_apt_sources() -> tuple[AptSource, ...]:
    """Return the package sources this machine's apt reads; none where it cannot be asked."""
    try:
        listed = run_command(
            [
                "apt-get",
                "indextargets",
                "--format",
                "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                "Created-By: Packages",
            ],
            context="reading this machine's package sources",
        ).stdout
    except LabError:
        return ()
    fields = (line.split() for line in listed.splitlines())
    return tuple(dict.fromkeys(AptSource(*field) for field in fields if len(field) == 3))  # noqa: PLR2004


def host_apt_settings() -> tuple[str, ...]:
    """Return this machine's apt settings that say how packages are fetched."""
    try:
        dump = run_command(
            ["apt-config", "dump", "Acquire"], context="reading this machine's apt settings"
        ).stdout
    except LabError:
        return ()
    settings = [line for line in dump.splitlines() if line.startswith(_APT_SETTINGS)]
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy")
        if proxy and '"' not in proxy:
            settings.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return tuple(settings)


def host_certificates() -> Mapping[str, str]:
    """Return the certificate authorities that were added to this machine, by file name."""
    if not _HOST_CERTIFICATES.is_dir():
        return {}
    return {
        path.name: path.read_text(encoding="ascii")
        for path in sorted(_HOST_CERTIFICATES.glob("*.crt"))
    }


def _build(recipe: Recipe, folder: Path, lock: int, narrate: Callable[[str], None]) -> None:
    started = time.monotonic()
    narrate(f"making the {recipe.release} base image (once, about a minute)")
    partial = folder.with_name(f"{folder.name}.partial")
    unmount_below(partial)
    remove_tree(partial)
    partial.mkdir(parents=True)
    archives = archives_folder(recipe.release)
    archives.mkdir(parents=True, exist_ok=True)
    context = f"making the {recipe.release} base image in {partial}"
    run_command(
        [
            "debootstrap",
            "--foreign",
            "--variant=minbase",
            f"--cache-dir={archives}",
            f"--include={','.join(recipe.packages)}",
            recipe.release,
            str(partial),
            *([recipe.mirror] if recipe.mirror else []),
        ],
        context=context,
        timeout_seconds=_BUILD_TIMEOUT_SECONDS,
        keep_open=lock,
    )
    _write_files(recipe, partial, only="/etc/dpkg/")
    run_command(
        ["chroot", str(partial), "/debootstrap/debootstrap", "--second-stage"],
        context=context,
        timeout_seconds=_BUILD_TIMEOUT_SECONDS,
        keep_open=lock,
    )
    _write_files(recipe, partial, only="/")
    shutil.copyfile("/etc/resolv.conf", partial / "etc/resolv.conf")
    for command in recipe.commands:
        run_command(
            ["chroot", str(partial), "/usr/bin/env", "-i", f"PATH={_PATH}", *command],
            context=context,
            timeout_seconds=_BUILD_TIMEOUT_SECONDS,
            keep_open=lock,
        )
    for key in (partial / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for package in (partial / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    partial.rename(folder)
    narrate(f"base image ready after {time.monotonic() - started:.0f} s")


def _write_files(recipe: Recipe, root: Path, *, only: str) -> None:
    for name, text in recipe.files.items():
        if name.startswith(only):
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(_FILE_MODE)
