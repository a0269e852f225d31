"""A server's disk: an overlay over an image, given the server's identity before it boots."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from owc_deploy.errors import LabError
from owc_deploy.lab.commands import run_command
from owc_deploy.lab.image import USER, Image, archives_folder, snapshots_folder
from owc_deploy.lab.keys import ensure_key_pair
from owc_deploy.lab.mounts import mount_root, remove_tree
from owc_deploy.lab.state import ServerRecord

_COPY_TIMEOUT_SECONDS = 300
_PRIVATE_MODE = 0o600
_STUB_RESOLVER = Path("/run/systemd/resolve/resolv.conf")


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a server this one and no other."""

    hostname: str
    machine: str
    interface: ipaddress.IPv4Interface
    gateway: ipaddress.IPv4Address
    authorized_key: str


def prepare(folder: Path, image: Image, identity: Identity) -> None:
    """Mount the disk of a server and write its identity on it.

    Raises LabError when the image is no longer there.
    """
    missing = [str(layer) for layer in image.layers if not layer.is_dir()]
    if missing:
        raise LabError(
            f"the image of {identity.hostname} is gone: {', '.join(missing)}",
            hint="owc-deploy lab down, then owc-deploy lab up",
        )
    seed_archives(folder, image)
    root = mount_root(folder, image.layers)
    host_key = folder / "ssh_host_ed25519_key"
    ensure_key_pair(host_key)
    _write(root / "etc/ssh/ssh_host_ed25519_key", host_key.read_text(encoding="ascii"))
    (root / "etc/ssh/ssh_host_ed25519_key").chmod(_PRIVATE_MODE)
    _write(root / "etc/hostname", f"{identity.hostname}\n")
    _write(
        root / "etc/hosts",
        f"127.0.0.1 localhost\n127.0.1.1 {identity.hostname}\n::1 localhost ip6-localhost\n",
    )
    _write(
        root / "etc/machine-id", hashlib.sha256(identity.machine.encode()).hexdigest()[:32] + "\n"
    )
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    _write(root / "etc/resolv.conf", _resolver())
    # Sorts before Debian's 80-container-host0.network, which would ask for an address instead.
    _write(
        root / "etc/systemd/network/10-host0.network",
        "[Match]\nName=host0\n\n"
        f"[Network]\nAddress={identity.interface}\nGateway={identity.gateway}\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
    )
    home = root / "home" / USER
    _write(home / ".ssh/authorized_keys", f"{identity.authorized_key}\n")
    owner = home.stat()
    for path in (home / ".ssh", home / ".ssh/authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)


def throw_away(folder: Path) -> None:
    """Remove what was written on an unmounted disk."""
    for name in ("upper", "work", "root", "archives"):
        remove_tree(folder / name)


def keep_snapshot(folder: Path, image: Image, image_name: str) -> None:
    """Keep what was written on a disk, whose server is shut down, as an image."""
    target = snapshots_folder() / image_name
    partial = target.with_name(f"{image_name}.partial")
    remove_tree(partial)
    partial.mkdir(parents=True)
    # Deleted files and replaced folders are marked with devices and attributes; cp keeps both.
    run_command(
        ["cp", "--archive", str(folder / "upper"), str(partial / "upper")],
        context=f"keeping the image {image_name}",
        timeout_seconds=_COPY_TIMEOUT_SECONDS,
    )
    layers = [str(target / "upper"), *(str(layer) for layer in image.layers)]
    (partial / "image.json").write_text(
        json.dumps({"schema_version": 1, "release": image.release, "layers": layers}),
        encoding="utf-8",
    )
    remove_tree(target)
    partial.rename(target)


def snapshot_image(image_name: str) -> Image:
    """Return the image kept under a name.

    Raises LabError when there is none, or the base image below it has been replaced.
    """
    try:
        document = json.loads(
            (snapshots_folder() / image_name / "image.json").read_text(encoding="utf-8")
        )
    except FileNotFoundError as error:
        raise LabError(f"there is no image {image_name}") from error
    image = Image(
        release=document["release"], layers=tuple(Path(path) for path in document["layers"])
    )
    if not all(layer.is_dir() for layer in image.layers):
        raise LabError(f"the base of image {image_name} is gone; make the image again")
    return image


def has_snapshot(image_name: str) -> bool:
    """Return whether servers can start from the image of that name."""
    try:
        snapshot_image(image_name)
    except LabError:
        return False
    return True


def remove_snapshot(image_name: str) -> None:
    """Remove a kept image; nothing happens when there is none."""
    remove_tree(snapshots_folder() / image_name)


def seed_archives(folder: Path, image: Image) -> None:
    """Give a server the Debian packages that earlier servers fetched.

    Each server has a folder of its own, since apt locks it; the files in it are shared.
    """
    own, shared = folder / "archives", archives_folder(image.release)
    (own / "partial").mkdir(parents=True, exist_ok=True)
    shared.mkdir(parents=True, exist_ok=True)
    for package in shared.glob("*.deb"):
        _share(package, own / package.name)


def harvest_archives(folder: Path, record: ServerRecord | None) -> None:
    """Keep the Debian packages that a stopped server fetched, for later servers."""
    if record is None:
        return
    shared = archives_folder(record.image.release)
    for package in (folder / "archives").glob("*.deb"):
        _share(package, shared / package.name)


def _share(source: Path, target: Path) -> None:
    """Link a file, or copy it where the two are on different file systems."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f"{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.rename(target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _resolver() -> str:
    """Return the resolver's settings; a resolver on this machine's loopback is of no use inside."""
    text = Path("/etc/resolv.conf").read_text(encoding="utf-8")
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver ")]
    if all(ipaddress.ip_address(server).is_loopback for server in servers) and (
        _STUB_RESOLVER.is_file()
    ):
        return _STUB_RESOLVER.read_text(encoding="utf-8")
    return text
