"""Why a server cannot be reached, told apart before or after Ansible says only `unreachable`.

Connects with paramiko the way ssh would for Ansible. The host key is verified always: a server
whose key is not known is never logged in to.
"""

from __future__ import annotations

import getpass
import logging
import os
import shlex
import socket
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from owc_deploy.execution.inventory import is_local
from owc_deploy.fleet.models import Server

if TYPE_CHECKING:
    import paramiko
    from paramiko.auth_strategy import AuthStrategy

Kind = Literal[
    "reachable",
    "local",
    "name-unknown",
    "connection-refused",
    "timed-out",
    "no-route",
    "no-ssh-server",
    "host-key-unknown",
    "host-key-changed",
    "login-refused",
    "not-examined",
]

_SSH_PORT = 22
_CONNECT_SECONDS = 10.0
_LOGIN_SECONDS = 15.0
_SIDE_BY_SIDE = 16
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts"
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_USUAL_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_LOG_CHANNEL = "owc_deploy.execution.paramiko"


@dataclass(frozen=True, slots=True)
class Reachability:
    """Whether a server can be worked on; `message` says why not, `hint` what to type next.

    `not-examined`: what the inventory asks for (a jump host, a password, a template) is left to
    ssh itself.
    """

    server: str
    kind: Kind
    message: str = ""
    hint: str = ""

    @property
    def is_reachable(self) -> bool:
        """Whether nothing was found that stands in the way."""
        return self.kind in {"reachable", "local", "not-examined"}


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    user: str
    key_files: tuple[str, ...]
    known_hosts: tuple[Path, ...]
    key_alias: str | None

    @property
    def place(self) -> str:
        return self.host if self.port == _SSH_PORT else f"{self.host} port {self.port}"

    @property
    def known_as(self) -> str:
        """The name that known_hosts files use for it."""
        if self.key_alias:
            return self.key_alias
        return self.host if self.port == _SSH_PORT else f"[{self.host}]:{self.port}"


def diagnose_all(servers: Iterable[Server]) -> Mapping[str, Reachability]:
    """Diagnose servers side by side; the answer is keyed by server name."""
    wanted = tuple(servers)
    if not wanted:
        return {}
    with ThreadPoolExecutor(min(_SIDE_BY_SIDE, len(wanted))) as pool:
        return {found.server: found for found in pool.map(diagnose, wanted)}


def diagnose(server: Server) -> Reachability:
    """Say whether this server can be logged in to, and what stands in the way if not.

    Never raises for what the network or the server does.
    """
    if is_local(server):
        return Reachability(server.name, "local")
    target = _target(server)
    if target is None:
        return Reachability(server.name, "not-examined")
    connection = _connect(server.name, target)
    if isinstance(connection, Reachability):
        return connection
    with connection:
        return _log_in(server.name, target, connection)


def _ssh_options(server: Server) -> dict[str, str]:
    """Return the `-o` options of the inventory's ssh arguments, keys in lower case."""
    options: dict[str, str] = {}
    for variable in ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"):
        words = iter(shlex.split(str(server.variables.get(variable, ""))))
        for word in words:
            if word.startswith("-o"):
                text = word[2:] or next(words, "")
                key, separator, value = text.partition("=")
                if not separator:
                    key, _, value = text.partition(" ")
                options.setdefault(key.strip().lower(), value.strip())
            elif word.startswith("-J"):
                options.setdefault("proxyjump", word[2:] or next(words, ""))
            elif word.startswith("-F"):
                options.setdefault("configfile", word[2:] or next(words, ""))
            elif word.startswith("-i"):
                options.setdefault("identityfile", word[2:] or next(words, ""))
    return options


def _target(server: Server) -> _Target | None:
    """Return where ssh would connect to, or `None` where only ssh itself can tell."""
    import paramiko  # noqa: PLC0415  0.18 s that only trouble must pay

    variables = server.variables
    connection = [value for name, value in variables.items() if name.startswith("ansible_")]
    if any(isinstance(value, str) and "{{" in value for value in connection):
        return None
    if any(name in variables for name in ("ansible_password", "ansible_ssh_pass")):
        return None
    if variables.get("ansible_connection", "ssh") not in {"ssh", "smart", "ansible.builtin.ssh"}:
        return None
    name = str(variables.get("ansible_host") or variables.get("ansible_ssh_host") or server.name)
    options = _ssh_options(server)
    file = Path(options.get("configfile", "~/.ssh/config")).expanduser()
    configured: dict[str, Any] = {}
    if file.is_file():
        configured = dict(paramiko.SSHConfig.from_path(str(file)).lookup(name))
    if any({**configured, **options}.get(key) for key in ("proxyjump", "proxycommand")):
        return None
    identity = variables.get("ansible_ssh_private_key_file") or variables.get(
        "ansible_private_key_file"
    )
    identities = [identity] if identity else [options.get("identityfile", "")]
    identities += configured.get("identityfile", [])
    known = options.get("userknownhostsfile") or configured.get("userknownhostsfile")
    files = (*_file_names(known or _USER_KNOWN_HOSTS), _GLOBAL_KNOWN_HOSTS)
    port = variables.get("ansible_port") or variables.get("ansible_ssh_port")
    user = variables.get("ansible_user") or variables.get("ansible_ssh_user")
    return _Target(
        host=str(configured.get("hostname", name)),
        port=int(port or options.get("port") or configured.get("port") or _SSH_PORT),
        user=str(user or options.get("user") or configured.get("user") or getpass.getuser()),
        key_files=tuple(str(Path(path).expanduser()) for path in identities if path),
        known_hosts=tuple(Path(path).expanduser() for path in files),
        key_alias=options.get("hostkeyalias") or configured.get("hostkeyalias"),
    )


def _file_names(text: str) -> list[str]:
    """Split ssh's list of files; paramiko takes the quotes from a single one with spaces."""
    return [text] if Path(text).expanduser().is_file() else shlex.split(text)


def _connect(server: str, target: _Target) -> socket.socket | Reachability:
    look = f"ssh -p {target.port} {target.user}@{target.host}"
    try:
        return socket.create_connection((target.host, target.port), timeout=_CONNECT_SECONDS)
    except socket.gaierror:
        return Reachability(
            server,
            "name-unknown",
            f"the name {target.host} does not resolve",
            f"getent hosts {target.host}; or set ansible_host of {server} in servers.yml",
        )
    except ConnectionRefusedError:
        return Reachability(
            server,
            "connection-refused",
            f"{target.place} refuses the connection: no ssh server listens there",
            look,
        )
    except TimeoutError:
        return Reachability(
            server,
            "timed-out",
            f"{target.place} did not answer within {_CONNECT_SECONDS:g} seconds:"
            " it is down, or a firewall drops us",
            look,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        return Reachability(server, "no-route", f"{target.place} cannot be reached: {reason}", look)


def _log_in(server: str, target: _Target, connection: socket.socket) -> Reachability:
    import paramiko  # noqa: PLC0415

    class Reject(paramiko.MissingHostKeyPolicy):
        """Stops at a key that is in no file, remembering what was offered."""

        def missing_host_key(
            self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
        ) -> None:
            del client, hostname
            raise _UnknownHostKeyError(f"{key.get_name()} {key.fingerprint}")

    channel = logging.getLogger(_LOG_CHANNEL)
    channel.propagate = False
    channel.addHandler(logging.NullHandler())
    client = paramiko.SSHClient()
    client.set_log_channel(_LOG_CHANNEL)
    client.set_missing_host_key_policy(Reject())
    for file in target.known_hosts:
        if file.is_file() and os.access(file, os.R_OK):
            client.get_host_keys().load(str(file))
    keys = _load_keys(target)
    try:
        client.connect(
            target.key_alias or target.host,
            port=_SSH_PORT if target.key_alias else target.port,
            sock=connection,
            timeout=_CONNECT_SECONDS,
            banner_timeout=_CONNECT_SECONDS,
            auth_timeout=_LOGIN_SECONDS,
            auth_strategy=_strategy(target.user, keys),
        )
    except _UnknownHostKeyError as error:
        return _unknown_key(server, target, error.fingerprint)
    except paramiko.BadHostKeyException as error:
        return _changed_key(server, target, error)
    except paramiko.AuthenticationException:
        return _login_refused(server, target, keys)
    except (paramiko.SSHException, EOFError, OSError) as error:
        return Reachability(
            server,
            "no-ssh-server",
            f"{target.place} answers, but not as an ssh server: {str(error) or 'it hung up'}",
            f"ssh -v -p {target.port} {target.user}@{target.host}",
        )
    finally:
        client.close()
    return Reachability(server, "reachable")


@dataclass(frozen=True, slots=True)
class _Keys:
    """The private keys ssh would offer; `missing`, `locked` and `foreign` are files it cannot.

    `foreign` ones, such as hardware tokens, only ssh itself can use.
    """

    usable: tuple[paramiko.PKey, ...]
    missing: tuple[str, ...]
    locked: tuple[str, ...]
    foreign: tuple[str, ...]


def _load_keys(target: _Target) -> _Keys:
    import paramiko  # noqa: PLC0415
    from paramiko.pkey import UnknownKeyType  # noqa: PLC0415

    usable: list[paramiko.PKey] = []
    missing: list[str] = []
    locked: list[str] = []
    foreign: list[str] = []
    usual = [str(Path(name).expanduser()) for name in _USUAL_KEYS]
    for file in target.key_files or [name for name in usual if Path(name).is_file()]:
        try:
            usable.append(paramiko.PKey.from_path(file))
        except OSError:
            missing.append(file)
        except (TypeError, paramiko.PasswordRequiredException):
            locked.append(file)
        except (ValueError, paramiko.SSHException, UnknownKeyType):
            foreign.append(file)
    usable.extend(paramiko.Agent().get_keys())
    return _Keys(tuple(usable), tuple(missing), tuple(locked), tuple(foreign))


def _strategy(user: str, keys: _Keys) -> AuthStrategy:
    import paramiko  # noqa: PLC0415
    from paramiko.auth_strategy import (  # noqa: PLC0415
        AuthSource,
        AuthStrategy,
        InMemoryPrivateKey,
    )

    class Strategy(AuthStrategy):
        """Offers every key, in ssh's order."""

        def get_sources(self) -> Iterator[AuthSource]:
            for key in keys.usable:
                yield InMemoryPrivateKey(user, key)

    return Strategy(ssh_config=paramiko.SSHConfig())


class _UnknownHostKeyError(Exception):
    def __init__(self, fingerprint: str) -> None:
        super().__init__(fingerprint)
        self.fingerprint = fingerprint


def _unknown_key(server: str, target: _Target, fingerprint: str) -> Reachability:
    readable = [file for file in target.known_hosts if file.is_file()]
    # paramiko does not read host certificates; ssh does, so nothing can be concluded.
    if any("@cert-authority" in file.read_text(errors="replace") for file in readable):
        return Reachability(server, "not-examined")
    file = target.known_hosts[0]
    return Reachability(
        server,
        "host-key-unknown",
        f"the host key of {target.place} is in none of"
        f" {', '.join(str(path) for path in target.known_hosts)}; it offers {fingerprint}",
        f"ssh-keyscan -p {target.port} {target.host} >> {shlex.quote(str(file))}"
        " (first compare the fingerprint with the server's own:"
        " ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
    )


def _changed_key(server: str, target: _Target, error: paramiko.BadHostKeyException) -> Reachability:
    file, line = _known_line(target, error.expected_key)
    return Reachability(
        server,
        "host-key-changed",
        f"the host key of {target.place} is not the one in {file} line {line}: it was"
        f" {error.expected_key.fingerprint} and is {error.key.fingerprint} now."
        " The server was reinstalled, or somebody is in between",
        f"if it was reinstalled: ssh-keygen -f {shlex.quote(str(file))}"
        f" -R {shlex.quote(target.known_as)} && ssh-keyscan -p {target.port} {target.host}"
        f" >> {shlex.quote(str(file))}",
    )


def _known_line(target: _Target, key: paramiko.PKey) -> tuple[Path, int]:
    """Return the file and the line, from 1, that holds this key."""
    encoded = key.get_base64()
    for file in target.known_hosts:
        if file.is_file():
            lines = file.read_text(errors="replace").splitlines()
            for number, line in enumerate(lines, 1):
                if encoded in line:
                    return file, number
    return target.known_hosts[0], 0


def _login_refused(server: str, target: _Target, keys: _Keys) -> Reachability:
    if keys.foreign:
        return Reachability(server, "not-examined")
    hint = f"ssh-copy-id -p {target.port} {target.user}@{target.host}"
    offered = ", ".join(target.key_files) or "the keys of the ssh agent and of ~/.ssh"
    reason = f"user {target.user} with {offered} is not let in"
    if keys.missing:
        reason = f"the private key {', '.join(keys.missing)} cannot be read"
        hint = f"set ansible_ssh_private_key_file of {server} in servers.yml"
    elif keys.locked:
        reason = f"{', '.join(keys.locked)} has a passphrase, and no ssh agent holds it"
        hint = f"ssh-add {shlex.quote(keys.locked[0])}"
    elif not keys.usable:
        reason = f"user {target.user} has no key to offer: none in ~/.ssh, none in an ssh agent"
    return Reachability(
        server, "login-refused", f"{target.place} refuses the login: {reason}", hint
    )
