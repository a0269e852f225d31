"""Labs: named Debian servers on this machine, made in seconds and gone without a trace.

A lab's state is in `/var/lib/owc-deploy/lab/<lab>/`; `servers.yml` in it is an Ansible inventory
and `ssh_config` what ssh needs. The disks are overlays over one cached image, so a reset throws a
folder away.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from owc_deploy.errors import LabError, UsageError
from owc_deploy.lab import disks, machine, network, readiness, state
from owc_deploy.lab.image import Image, Release, base_image, locked
from owc_deploy.lab.mounts import remove_tree, unmount_below
from owc_deploy.lab.requirements import observe_host, refuse_unfit_host
from owc_deploy.lab.state import ServerRecord

Narrate = Callable[[str], None]

DEFAULT_LAB = "lab"
DEFAULT_SERVERS = ("web1", "web2")
# A host name of at most 24 characters, so that the machine's name fits in one of 64.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,22}[a-z0-9])?")
_LOCKS = Path("/run/lock")


@dataclass(frozen=True, slots=True)
class LabServer:
    """A server of a lab; `state` is `running`, `degraded`, `starting` or `stopped`."""

    name: str
    address: str
    state: str


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab whose servers were made; its methods do what the verbs do."""

    name: str
    release: Release
    folder: Path
    servers: Mapping[str, LabServer]

    @property
    def inventory_path(self) -> Path:
        """The Ansible inventory: every server in the groups web and database."""
        return self.folder / "servers.yml"

    @property
    def ssh_config_path(self) -> Path:
        """What `ssh -F` needs to reach the servers by name."""
        return self.folder / "ssh_config"

    def ssh_arguments(self, server: str, command: Sequence[str] = ()) -> list[str]:
        """Return the command line that runs `command` on a server, or opens a shell there.

        Raises UsageError when the lab has no such server.
        """
        if server not in self.servers:
            raise UsageError(
                f"lab {self.name} has no server {server}; it has {', '.join(self.servers)}",
                hint=f"owc-deploy lab up --lab {self.name} {server}",
            )
        remote = [shlex.join(command)] if command else []
        return ["ssh", "-F", str(self.ssh_config_path), server, *remote]

    def run(
        self,
        server: str,
        command: Sequence[str],
        *,
        become: bool = False,
        text_input: str = "",
        timeout_seconds: float = 600,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a server as its user, or as root with `become`.

        Raises CalledProcessError when `check` is set and it fails, TimeoutExpired when it lasts.
        """
        prefix = ("sudo", "--non-interactive") if become else ()
        return subprocess.run(
            self.ssh_arguments(server, (*prefix, *command)),
            input=text_input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=check,
        )

    def reset(self, *servers: str, narrate: Narrate = lambda _: None) -> None:
        """Give the servers, all by default, a new disk and boot them."""
        lab_reset(self.name, servers, narrate=narrate)

    def snapshot(self, server: str, image_name: str, narrate: Narrate = lambda _: None) -> None:
        """Keep a server's disk as the image `image_name`, which other servers can start from.

        The server is shut down in order and booted again. An image of that name is replaced.
        """
        lab_snapshot(self.name, server, image_name, narrate=narrate)

    def down(self, narrate: Narrate = lambda _: None) -> None:
        """Remove the lab and everything that belongs to it."""
        lab_down(self.name, narrate=narrate)


def lab_up(
    name: str = DEFAULT_LAB,
    servers: Sequence[str] = DEFAULT_SERVERS,
    *,
    release: Release = "bookworm",
    image_name: str | None = None,
    narrate: Narrate = lambda _: None,
) -> Lab:
    """Make the servers that are not there, boot those that stand still, and wait for all.

    `image_name` is an image kept with `Lab.snapshot`, for servers made now; otherwise they start
    from the base image of `release`.

    Raises LabError when this machine cannot run servers, or one does not come up.
    """
    for word in (name, *servers):
        _check_name(word)
    refuse_unfit_host(observe_host())
    image = disks.snapshot_image(image_name) if image_name else base_image(release, narrate)
    with _lab_lock(name):
        folder = state.lab_folder(name)
        _ensure_network(name)
        state.write_keys(folder)
        waiting = []
        for server in servers:
            record = state.read_server(folder, server)
            if record is not None and machine.start_time(record.pid) == record.started:
                narrate(f"{server} is already running at {record.address}")
                continue
            waiting.append(_boot(name, server, record, image, narrate))
        _settle(name, waiting, narrate)
    return load_lab(name)


def lab_reset(name: str, servers: Sequence[str] = (), *, narrate: Narrate = lambda _: None) -> Lab:
    """Throw the disks of the servers, all by default, away and boot them from their image.

    Raises LabError when there is no such lab, UsageError when it has no such server.
    """
    _check_name(name)
    refuse_unfit_host(observe_host())
    with _lab_lock(name):
        lab = load_lab(name)
        for server in servers:
            lab.ssh_arguments(server)
        _ensure_network(name)
        waiting = []
        for server in servers or tuple(lab.servers):
            record = state.read_server(lab.folder, server)
            if record is None:
                raise LabError(f"the state of {server} is damaged", hint=_down_hint(name))
            _stop(name, server)
            disks.throw_away(state.server_folder(lab.folder, server))
            narrate(f"{server} reset")
            waiting.append(_boot(name, server, record, record.image, narrate))
        _settle(name, waiting, narrate)
    return load_lab(name)


def lab_snapshot(
    name: str, server: str, image_name: str, *, narrate: Narrate = lambda _: None
) -> None:
    """Keep the disk of a server as an image; see `Lab.snapshot`.

    Raises LabError when the server is not running.
    """
    _check_name(image_name)
    with _lab_lock(name):
        lab = load_lab(name)
        lab.ssh_arguments(server)
        folder = state.server_folder(lab.folder, server)
        record = state.read_server(lab.folder, server)
        if record is None or machine.start_time(record.pid) != record.started:
            raise LabError(
                f"{server} is not running", hint=f"owc-deploy lab up --lab {name} {server}"
            )
        machine.power_off(folder, state.machine_name(name, server), pid=record.pid)
        disks.keep_snapshot(folder, record.image, image_name)
        narrate(f"{server} kept as image {image_name}")
        _stop(name, server)
        _settle(name, [_boot(name, server, record, record.image, narrate)], narrate)


def lab_down(name: str = DEFAULT_LAB, *, narrate: Narrate = lambda _: None) -> bool:
    """Remove a lab: processes, mounts, control groups, bridge, rules, state.

    Works from what is found on the machine, not from records, so that the leftovers of a killed
    `up` go as well. Returns whether there was anything.
    """
    _check_name(name)
    refuse_unfit_host(observe_host())
    with _lab_lock(name):
        folder = state.lab_folder(name)
        found = folder.is_dir()
        for server in _servers_found(name):
            found = True
            _stop(name, server)
            disks.throw_away(state.server_folder(folder, server))
            narrate(f"{server} removed")
        unmount_below(folder)
        found = network.remove_bridge(_bridge(name)) or found
        remove_tree(folder)
        with locked(_LOCKS / "owc-deploy-lab.lock"):
            state.forget_root_when_empty()
    narrate(f"lab {name} removed" if found else f"there is no lab {name}; nothing to remove")
    return found


def load_lab(name: str = DEFAULT_LAB) -> Lab:
    """Return the lab as it is now.

    Raises LabError when there is no such lab, or this machine cannot have one.
    """
    _check_name(name)
    refuse_unfit_host(observe_host())
    folder = state.lab_folder(name)
    records = state.read_servers(folder)
    if not records:
        raise LabError(f"there is no lab {name}", hint=f"owc-deploy lab up --lab {name}")
    return Lab(
        name=name,
        release=next(iter(records.values())).image.release,
        folder=folder,
        servers={
            server: LabServer(
                name=server, address=str(record.address), state=_state(folder, record)
            )
            for server, record in records.items()
        },
    )


def lab_names() -> tuple[str, ...]:
    """Return the labs that have state on this machine."""
    return tuple(
        path.name
        for path in sorted(state.ROOT.glob("*"))
        if path.is_dir() and _NAME.fullmatch(path.name)
    )


def _boot(
    lab: str, server: str, record: ServerRecord | None, image: Image, narrate: Narrate
) -> ServerRecord:
    """Start a server without waiting for it, after removing what an earlier one left."""
    folder = state.lab_folder(lab)
    server_folder = state.server_folder(folder, server)
    machine_name = state.machine_name(lab, server)
    _stop(lab, server)
    if record is None:
        disks.throw_away(server_folder)  # of an `up` that was killed before it took note
    range_ = state.read_range(folder)
    if range_ is None:
        raise LabError(f"the state of lab {lab} is damaged", hint=_down_hint(lab))
    address = record.address if record else network.free_address(range_, _addresses(folder))
    image = record.image if record else image
    server_folder.mkdir(parents=True, exist_ok=True)
    (server_folder / "console.log").unlink(missing_ok=True)
    disks.prepare(
        server_folder,
        image,
        disks.Identity(
            hostname=server,
            machine=machine_name,
            interface=ipaddress.IPv4Interface(f"{address}/{range_.prefixlen}"),
            gateway=network.gateway(range_),
            authorized_key=state.public_key(folder),
        ),
    )
    pid = machine.start(
        server_folder,
        machine=machine_name,
        hostname=server,
        bridge=_bridge(lab),
        binds=((server_folder / "archives", "/var/cache/apt/archives"),),
    )
    started = machine.start_time(pid)
    new = ServerRecord(name=server, address=address, pid=pid, started=started or 0, image=image)
    state.write_server(folder, new)
    narrate(f"{server} starting at {address}")
    return new


def _settle(lab: str, records: Sequence[ServerRecord], narrate: Narrate) -> None:
    """Write what clients need and wait until every server booted just now answers."""
    folder = state.lab_folder(lab)
    state.write_client_files(folder, state.read_servers(folder))
    if not records:
        return
    with ThreadPoolExecutor(max_workers=len(records)) as pool:
        for record, seconds in zip(
            records,
            pool.map(lambda record: readiness.wait_until_ready(lab, folder, record), records),
            strict=True,
        ):
            narrate(f"{record.name} ready after {seconds:.1f} s")


def _stop(lab: str, server: str) -> None:
    """End a server and unmount its disk; its upper layer stays."""
    folder = state.server_folder(state.lab_folder(lab), server)
    machine_name = state.machine_name(lab, server)
    machine.kill(folder, machine_name)
    unmount_below(folder)
    machine.remove_cgroups(machine_name)
    disks.harvest_archives(folder, state.read_server(folder.parent.parent, server))


def _ensure_network(lab: str) -> None:
    folder = state.lab_folder(lab)
    with locked(_LOCKS / "owc-deploy-lab.lock"):
        range_ = state.read_range(folder)
        if range_ is None:
            network.remove_bridge(_bridge(lab))  # of a lab whose state is gone
            others = (state.read_range(state.lab_folder(name)) for name in lab_names())
            range_ = network.choose_range(
                (*network.networks_in_use(), *(other for other in others if other))
            )
            state.write_range(folder, range_)
        state.remember_forwarding()
        network.make_bridge(_bridge(lab), range_)
        network.set_forwarding(on=True)


def _servers_found(lab: str) -> tuple[str, ...]:
    prefix = state.machine_name(lab, "")
    by_group = (name.removeprefix(prefix) for name in machine.machines_with_cgroups(prefix))
    by_folder = (path.name for path in (state.lab_folder(lab) / "servers").glob("*"))
    return tuple(sorted({*by_group, *by_folder}))


def _addresses(folder: Path) -> tuple[ipaddress.IPv4Address, ...]:
    return tuple(record.address for record in state.read_servers(folder).values())


def _state(folder: Path, record: ServerRecord) -> str:
    if machine.start_time(record.pid) != record.started:
        return "stopped"
    return readiness.system_state(folder, record)


def _bridge(lab: str) -> str:
    return network.interface_name("owc", lab)


def _lab_lock(name: str) -> AbstractContextManager[int]:
    return locked(_LOCKS / f"owc-deploy-lab-{name}.lock")


def _down_hint(name: str) -> str:
    return f"owc-deploy lab down --lab {name}"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a name here",
            hint="use at most 24 of a-z, 0-9 and -, beginning with a letter",
        )
