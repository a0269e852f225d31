"""What a lab remembers, and what it hands to ssh and Ansible."""

from __future__ import annotations

import json
import stat
import subprocess
from ipaddress import IPv4Address, IPv4Network

import pytest
import yaml

from owc_deploy.errors import UsageError
from owc_deploy.lab import state
from owc_deploy.lab.image import Image
from owc_deploy.lab.keys import ensure_key_pair
from owc_deploy.lab.servers import Lab, LabServer, lab_up
from owc_deploy.lab.state import ServerRecord


def record(tmp_path, name="web1", address="198.51.100.2", release="bookworm"):
    (tmp_path / "servers" / name).mkdir(parents=True, exist_ok=True)
    return ServerRecord(
        name=name,
        address=IPv4Address(address),
        pid=4242,
        started=99,
        image=Image(release=release, layers=(tmp_path / "image",)),
    )


def test_a_server_is_remembered_whole(tmp_path):
    written = record(tmp_path)
    state.write_server(tmp_path, written)
    assert state.read_server(tmp_path, "web1") == written
    assert state.read_servers(tmp_path) == {"web1": written}


def test_what_was_never_written_or_is_damaged_is_absent(tmp_path):
    assert state.read_server(tmp_path, "web1") is None
    record(tmp_path)
    (tmp_path / "servers/web1/server.json").write_text('{"address": "198')
    assert state.read_servers(tmp_path) == {}


def test_the_range_is_remembered(tmp_path):
    assert state.read_range(tmp_path) is None
    state.write_range(tmp_path, IPv4Network("198.51.100.32/27"))
    assert state.read_range(tmp_path) == IPv4Network("198.51.100.32/27")


def test_client_files_allow_no_unknown_host(tmp_path):
    records = {
        "web1": record(tmp_path),
        "web2": record(tmp_path, "web2", "198.51.100.3", "trixie"),
    }
    state.write_keys(tmp_path)
    state.write_client_files(tmp_path, records)
    known = (tmp_path / "known_hosts").read_text().splitlines()
    assert [line.split()[:2] for line in known] == [
        ["web1,198.51.100.2", "ssh-ed25519"],
        ["web2,198.51.100.3", "ssh-ed25519"],
    ]
    options = subprocess.run(
        ["ssh", "-G", "-F", tmp_path / "ssh_config", "web2"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "hostname 198.51.100.3" in options
    assert "stricthostkeychecking true" in options
    assert f"userknownhostsfile {tmp_path / 'known_hosts'}" in options


def test_the_inventory_is_one_ansible_reads(tmp_path):
    state.write_keys(tmp_path)
    state.write_client_files(tmp_path, {"web1": record(tmp_path, release="trixie")})
    document = yaml.safe_load((tmp_path / "servers.yml").read_text())
    children = document["all"]["children"]
    assert children["web"]["hosts"]["web1"] == {
        "ansible_host": "198.51.100.2",
        "owc_php_versions": ["8.4"],
    }
    assert list(children["database"]["hosts"]) == ["web1"]
    assert document["all"]["vars"]["ansible_user"] == "deploy"
    assert document["all"]["vars"]["ansible_become"] is True
    assert "StrictHostKeyChecking=yes" in document["all"]["vars"]["ansible_ssh_common_args"]


def test_a_key_is_made_once_and_is_private(tmp_path):
    first = ensure_key_pair(tmp_path / "key")
    assert ensure_key_pair(tmp_path / "key") == first
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    said = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True
    ).stdout
    assert said.split()[:2] == first.split()[:2]


def test_commands_reach_the_server_word_by_word(tmp_path):
    lab = Lab("lab", "bookworm", tmp_path, {"web1": LabServer("web1", "198.51.100.2", "running")})
    arguments = lab.ssh_arguments("web1", ["echo", "two words", "$HOME; rm"])
    assert arguments[-1] == "echo 'two words' '$HOME; rm'"
    with pytest.raises(UsageError, match="has no server web9; it has web1"):
        lab.ssh_arguments("web9")


@pytest.mark.parametrize("name", ["", "Web1", "1web", "web_1", "../etc", "web1-", "a" * 25, "a.b"])
def test_names_that_could_be_anything_else_are_refused(name):
    with pytest.raises(UsageError, match="cannot be a name"):
        lab_up("lab", [name])


def test_documents_carry_a_version(tmp_path):
    state.write_server(tmp_path, record(tmp_path))
    assert json.loads((tmp_path / "servers/web1/server.json").read_text())["schema_version"] == 1
