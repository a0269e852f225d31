"""What a server may suffer: no power, no room, no network, an order to go down."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import Any
from unittest import mock

from e2e.conftest import PREFIX
from e2e.faults.street import SERVER, Street

from owc_deploy.lab import machine, state
from owc_deploy.lab.servers import Lab, lab_up

LAB = f"{PREFIX}-faults"


def boot(disk: Path) -> Lab:
    """Boot the server with its sites and databases on a disk of its own, which can be filled."""
    start = machine.start
    folders = (("owc", "/srv/owc"), ("mysql", "/var/lib/mysql"))

    def start_with_disk(folder: Path, *, binds: Iterable[tuple[Path, str]], **given: Any) -> int:
        own = [(disk / name, target) for name, target in folders]
        return start(folder, binds=(*binds, *own), **given)

    for name, _ in folders:
        (disk / name).mkdir(exist_ok=True)
    with mock.patch.object(machine, "start", start_with_disk):
        return lab_up(LAB, [SERVER])


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Give a file system of that size; unlike a server's own it can be filled without harm here."""
    folder.mkdir()
    # Every hard link counts as an inode on this kind.
    options = f"size={megabytes}m,nr_inodes=0,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "owc-fault", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def cut_the_power(street: Street) -> None:
    """End every process of the server at once."""
    machine.kill(state.server_folder(street.lab.folder, SERVER), machine_of(street))


def shut_down(street: Street) -> None:
    """Shut the server down as its own `poweroff` does."""
    record = state.read_server(street.lab.folder, SERVER)
    assert record is not None
    folder = state.server_folder(street.lab.folder, SERVER)
    machine.power_off(folder, machine_of(street), pid=record.pid, timeout_seconds=150)


def machine_of(street: Street) -> str:
    return state.machine_name(street.lab.name, SERVER)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk, and take whatever becomes free, as a log that runs wild does."""
    filler = disk / "filler"
    enough = threading.Event()

    def fill(stream: RawIOBase) -> None:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass

    def keep_filling(stream: RawIOBase) -> None:
        while not enough.wait(0.01):
            fill(stream)

    with filler.open("wb", buffering=0) as stream:
        fill(stream)
        thread = threading.Thread(target=keep_filling, args=(stream,))
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()
            filler.unlink()


@contextmanager
def cut_off(address: str) -> Iterator[None]:
    """Let nothing pass between this machine and a server."""
    rules = (("OUTPUT", "--destination"), ("INPUT", "--source"))
    for chain, which in rules:
        rule = ["iptables", "--wait", "--insert", chain, which, address, "--jump", "DROP"]
        subprocess.run(rule, check=True)
    try:
        yield
    finally:
        for chain, which in rules:
            rule = ["iptables", "--wait", "--delete", chain, which, address, "--jump", "DROP"]
            subprocess.run(rule, check=True)
        # What lies between forgot them meanwhile. Where the kernel cannot, it only takes longer.
        subprocess.run(["ss", "--kill", "dst", address], check=False, capture_output=True)
