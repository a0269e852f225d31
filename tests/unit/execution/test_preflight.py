"""Preflight against a real ssh server: paramiko's, in this process, on 127.0.0.1."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from owc_deploy.execution.preflight import diagnose, diagnose_all
from owc_deploy.fleet.models import Server


class _Door(paramiko.ServerInterface):
    def __init__(self, allowed: paramiko.PKey) -> None:
        self._allowed = allowed

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        allowed = username == "deploy" and key == self._allowed
        return paramiko.AUTH_SUCCESSFUL if allowed else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "publickey"


class SshServer:
    """Listens on 127.0.0.1; `host_key` may be replaced between connections."""

    def __init__(self, allowed: paramiko.PKey) -> None:
        self.host_key: paramiko.PKey = paramiko.ECDSAKey.generate()
        self.hangs_up = False
        self._allowed = allowed
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self.hangs_up:
                connection.close()
                continue
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            try:
                transport.start_server(event=threading.Event(), server=_Door(self._allowed))
            except paramiko.SSHException:
                transport.close()

    def close(self) -> None:
        self._socket.close()

    def known_line(self) -> str:
        key = self.host_key
        return f"[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    paramiko.ECDSAKey.generate().write_private_key_file(str(path))
    return path


@pytest.fixture
def ssh(key_file: Path) -> Iterator[SshServer]:
    server = SshServer(paramiko.ECDSAKey.from_private_key_file(str(key_file)))
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def known(tmp_path: Path, ssh: SshServer) -> Path:
    path = tmp_path / "known hosts"
    path.write_text("# ours\n" + ssh.known_line())
    return path


@pytest.fixture
def web1(ssh: SshServer, known: Path, key_file: Path) -> Server:
    return Server(
        "web1",
        ("web",),
        (),
        {
            "ansible_host": "127.0.0.1",
            "ansible_port": ssh.port,
            "ansible_user": "deploy",
            "ansible_ssh_private_key_file": str(key_file),
            "ansible_ssh_common_args": f"-o 'UserKnownHostsFile=\"{known}\"'",
        },
    )


def but(server: Server, **variables: object) -> Server:
    return Server(server.name, server.groups, (), {**server.variables, **variables})


def test_a_server_that_lets_us_in(web1: Server) -> None:
    found = diagnose(web1)
    assert (found.kind, found.message, found.is_reachable) == ("reachable", "", True)


def test_an_unknown_host_key_says_which_files_and_how_to_add_it(
    web1: Server, ssh: SshServer, known: Path
) -> None:
    known.write_text("")
    found = diagnose(web1)
    assert found.kind == "host-key-unknown"
    assert not found.is_reachable
    assert str(known) in found.message
    assert ssh.host_key.fingerprint in found.message
    assert found.hint.startswith(f"ssh-keyscan -p {ssh.port} 127.0.0.1 >> '{known}'")


def test_a_changed_host_key_says_file_line_and_both_remedies(
    web1: Server, ssh: SshServer, known: Path
) -> None:
    before = ssh.host_key
    ssh.host_key = paramiko.ECDSAKey.generate()
    found = diagnose(web1)
    assert found.kind == "host-key-changed"
    assert f"{known} line 2" in found.message
    assert before.fingerprint in found.message
    assert ssh.host_key.fingerprint in found.message
    assert f"ssh-keygen -f '{known}' -R '[127.0.0.1]:{ssh.port}'" in found.hint
    assert "ssh-keyscan" in found.hint


def test_a_refused_login_names_user_and_key(web1: Server, key_file: Path) -> None:
    found = diagnose(but(web1, ansible_user="stranger"))
    assert found.kind == "login-refused", found
    assert f"user stranger with {key_file}" in found.message
    assert "ssh-copy-id" in found.hint


def test_a_key_file_that_is_not_there(web1: Server, tmp_path: Path) -> None:
    found = diagnose(but(web1, ansible_ssh_private_key_file=str(tmp_path / "absent")))
    assert found.kind == "login-refused", found
    assert "absent" in found.message


def test_a_key_with_a_passphrase_and_no_agent(web1: Server, tmp_path: Path) -> None:
    path = tmp_path / "locked"
    paramiko.ECDSAKey.generate().write_private_key_file(str(path), password="hush")
    found = diagnose(but(web1, ansible_ssh_private_key_file=str(path)))
    assert found.kind == "login-refused", found
    assert "passphrase" in found.message
    assert found.hint == f"ssh-add {path}"


def test_a_port_where_nothing_listens(web1: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    found = diagnose(but(web1, ansible_port=port))
    assert found.kind == "connection-refused"
    assert f"127.0.0.1 port {port}" in found.message


def test_something_that_is_not_ssh(web1: Server, ssh: SshServer) -> None:
    ssh.hangs_up = True
    assert diagnose(web1).kind == "no-ssh-server"


def test_a_name_that_does_not_resolve(web1: Server) -> None:
    found = diagnose(but(web1, ansible_host="web1.invalid"))
    assert found.kind == "name-unknown"
    assert "web1.invalid" in found.message


def test_ssh_config_is_read_as_ssh_does(
    web1: Server, ssh: SshServer, known: Path, key_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".ssh" / "config").write_text(
        f"Host front\n  HostName 127.0.0.1\n  Port {ssh.port}\n  User deploy\n"
        f'  IdentityFile {key_file}\n  UserKnownHostsFile "{known}"\n'
    )
    assert diagnose(Server("front", ("web",), (), {})).kind == "reachable"


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_ssh_common_args": "-o ProxyJump=bastion"},
        {"ansible_ssh_common_args": "-J bastion"},
        {"ansible_password": "x"},
        {"ansible_host": "{{ inventory_hostname }}.example"},
        {"ansible_connection": "community.docker.docker"},
    ],
)
def test_what_only_ssh_itself_can_tell_is_left_to_it(
    web1: Server, variables: dict[str, object]
) -> None:
    found = diagnose(but(web1, **variables))
    assert (found.kind, found.is_reachable) == ("not-examined", True)


def test_this_machine_needs_no_ssh() -> None:
    assert diagnose(Server("here", (), (), {"ansible_connection": "local"})).kind == "local"


def test_side_by_side_each_has_its_own_answer(web1: Server) -> None:
    servers = [
        Server("a", (), (), {"ansible_connection": "local"}),
        web1,
        Server("b", (), (), {"ansible_host": "b.invalid"}),
    ]
    assert {name: found.kind for name, found in diagnose_all(servers).items()} == {
        "a": "local",
        "web1": "reachable",
        "b": "name-unknown",
    }
    assert diagnose_all([]) == {}
