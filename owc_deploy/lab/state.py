"""What a lab remembers on disk, and the files it writes for ssh and Ansible."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from owc_deploy.lab import network
from owc_deploy.lab.image import PHP_VERSIONS, USER, Image
from owc_deploy.lab.keys import ensure_key_pair

ROOT = Path("/var/lib/owc-deploy/lab")
_FORWARDING_WAS_OFF = ROOT / ".forwarding-was-off"
_FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A server as it was started: `pid` and `started` (clock ticks since boot) name its nspawn."""

    name: str
    address: ipaddress.IPv4Address
    pid: int
    started: int
    image: Image


def lab_folder(lab: str) -> Path:
    """Return the folder of a lab's state."""
    return ROOT / lab


def server_folder(folder: Path, server: str) -> Path:
    """Return the folder of a server's disk and logs, in the lab's `folder`."""
    return folder / "servers" / server


def machine_name(lab: str, server: str) -> str:
    """Return the name under which nspawn and the control groups know a server.

    Names hold no dot, so that lab `a` and lab `a-b` never claim each other's servers.
    """
    return f"{lab}.{server}"


def read_range(folder: Path) -> ipaddress.IPv4Network | None:
    """Return the lab's range of addresses, None before it has one."""
    document = _read(folder / "lab.json")
    return None if document is None else ipaddress.IPv4Network(str(document["network"]))


def write_range(folder: Path, range_: ipaddress.IPv4Network) -> None:
    """Remember the lab's range of addresses."""
    folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    _write(folder / "lab.json", {"schema_version": 1, "network": str(range_)})


def read_server(folder: Path, server: str) -> ServerRecord | None:
    """Return what is remembered of a server, None when nothing is."""
    document = _read(server_folder(folder, server) / "server.json")
    if document is None:
        return None
    return ServerRecord(
        name=server,
        address=ipaddress.IPv4Address(document["address"]),
        pid=document["pid"],
        started=document["started"],
        image=Image(
            release=document["release"], layers=tuple(Path(path) for path in document["layers"])
        ),
    )


def read_servers(folder: Path) -> Mapping[str, ServerRecord]:
    """Return every server that is remembered, by name."""
    names = sorted(path.parent.name for path in (folder / "servers").glob("*/server.json"))
    records = {name: read_server(folder, name) for name in names}
    return {name: record for name, record in records.items() if record is not None}


def write_server(folder: Path, record: ServerRecord) -> None:
    """Remember a server."""
    _write(
        server_folder(folder, record.name) / "server.json",
        {
            "schema_version": 1,
            "address": str(record.address),
            "pid": record.pid,
            "started": record.started,
            "release": record.image.release,
            "layers": [str(path) for path in record.image.layers],
        },
    )


def write_keys(folder: Path) -> None:
    """Make the key that opens every server of the lab, once."""
    ensure_key_pair(folder / "id_ed25519")


def public_key(folder: Path) -> str:
    """Return the public line of the lab's key."""
    return ensure_key_pair(folder / "id_ed25519")


def write_client_files(folder: Path, records: Mapping[str, ServerRecord]) -> None:
    """Write `known_hosts`, `ssh_config` and the inventory `servers.yml`."""
    known_hosts, key = folder / "known_hosts", folder / "id_ed25519"
    host_keys = {
        name: ensure_key_pair(server_folder(folder, name) / "ssh_host_ed25519_key")
        for name in records
    }
    _replace(
        known_hosts,
        "".join(f"{name},{record.address} {host_keys[name]}\n" for name, record in records.items()),
    )
    _replace(
        folder / "ssh_config",
        "".join(
            f"Host {name}\n"
            f"  HostName {record.address}\n"
            f"  HostKeyAlias {record.address}\n"
            f"  User {USER}\n"
            f"  IdentityFile {key}\n"
            "  IdentitiesOnly yes\n"
            "  StrictHostKeyChecking yes\n"
            f"  UserKnownHostsFile {known_hosts}\n"
            "  GlobalKnownHostsFile /dev/null\n"
            "  LogLevel ERROR\n"
            "  BatchMode yes\n"
            "  ConnectTimeout 10\n"
            for name, record in records.items()
        ),
    )
    _replace(
        folder / "servers.yml",
        yaml.safe_dump(inventory(folder, records), sort_keys=False, width=1000),
    )


def inventory(folder: Path, records: Mapping[str, ServerRecord]) -> dict[str, object]:
    """Return the Ansible inventory: each server carries both sites and their databases."""
    common = (
        f"-o UserKnownHostsFile={folder / 'known_hosts'} -o GlobalKnownHostsFile=/dev/null "
        "-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    )
    return {
        "all": {
            "vars": {
                "ansible_user": USER,
                "ansible_become": True,
                "ansible_ssh_private_key_file": str(folder / "id_ed25519"),
                "ansible_ssh_common_args": common,
                "ansible_python_interpreter": "/usr/bin/python3",
            },
            "children": {
                "web": {
                    "hosts": {
                        name: {
                            "ansible_host": str(record.address),
                            "owc_php_versions": [PHP_VERSIONS[record.image.release]],
                        }
                        for name, record in records.items()
                    }
                },
                "database": {"hosts": {name: {} for name in records}},
            },
        }
    }


def remember_forwarding() -> None:
    """Note, once, that this machine did not pass packets on before the first lab."""
    if not network.forwarding():
        _FORWARDING_WAS_OFF.parent.mkdir(parents=True, exist_ok=True)
        _FORWARDING_WAS_OFF.touch()


def forget_root_when_empty() -> None:
    """After the last lab, set packet forwarding back as it was and remove the state's root."""
    if not ROOT.is_dir() or any(path.is_dir() for path in ROOT.iterdir()):
        return
    if _FORWARDING_WAS_OFF.exists():
        network.set_forwarding(on=False)
        _FORWARDING_WAS_OFF.unlink()
    with contextlib.suppress(OSError):
        ROOT.rmdir()
        ROOT.parent.rmdir()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _write(path: Path, document: Mapping[str, object]) -> None:
    _replace(path, json.dumps(document, indent=2))


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)  # noqa: PTH105  the name says that the target is replaced
