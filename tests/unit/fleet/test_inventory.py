"""servers.yml is read as Ansible reads it; ansible-inventory itself is the judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from owc_deploy.errors import Problem
from owc_deploy.fleet.inventory import read_servers
from owc_deploy.fleet.models import Server

NESTED = """\
all:
  vars: {who: all, only_all: yes, owc_php_versions: ["8.2"]}
  hosts:
    lonely:
web:
  vars: {who: web}
  hosts:
    web[1:3]:
      ansible_host: 192.0.2.1
  children:
    fast:
      vars: {who: fast, mode: 022}
      hosts:
        web2:
        web9: {own: 1}
database:
  hosts: {web1: {who: host}, web2: }
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def read(root: Path, files: dict[str, str]) -> dict[str, Server]:
    servers, problems = read_servers(write(root, files))
    assert problems == ()
    assert servers is not None
    return dict(servers)


FILES = {
    "servers.yml": NESTED,
    "group_vars/all.yml": "from_file: all\nwho: all-file\n",
    "group_vars/web/a.yml": "from_file: web\nowc_supplier: supplier-nl\n",
    "group_vars/web/b.yml": "from_file: web-b\n",
    "group_vars/fast": "deep: fast\n",
    "host_vars/web1.yml": "who: host-file\nowc_php_versions: [8.4]\n",
}


def test_groups_hosts_and_variables_are_what_ansible_says(tmp_path: Path) -> None:
    servers = read(tmp_path, FILES)
    program = Path(sys.executable).with_name("ansible-inventory")
    said = json.loads(
        subprocess.run(
            [program, "-i", tmp_path / "servers.yml", "--list"], capture_output=True, check=True
        ).stdout
    )["_meta"]["hostvars"]
    assert set(servers) == {"lonely", "web1", "web2", "web3", "web9"}
    for name, server in servers.items():
        ours = dict(server.variables)
        theirs = said[name]
        if "owc_php_versions" in ours:
            theirs["owc_php_versions"] = [str(one) for one in theirs["owc_php_versions"]]
        assert ours == theirs, name


def test_php_versions_come_from_the_merged_variables(tmp_path: Path) -> None:
    servers = read(tmp_path, FILES)
    assert servers["web1"].php_versions == ("8.4",)
    assert servers["web3"].php_versions == ("8.2",)
    assert servers["web9"].groups == ("fast", "web")
    assert servers["lonely"].groups == ()


def test_the_supplier_comes_from_the_merged_variables(tmp_path: Path) -> None:
    servers = read(tmp_path, FILES)
    assert [servers[name].supplier for name in ("web3", "lonely")] == ["supplier-nl", ""]


def test_without_the_variable_the_distribution_s_php_is_assumed(tmp_path: Path) -> None:
    servers = read(tmp_path, {"servers.yml": "web: {hosts: {a: }}\n"})
    assert servers["a"].php_versions == ("8.2",)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "web: {hosts: }\n", "web:\n"])
def test_an_inventory_without_servers_is_fine(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, {"servers.yml": text}) == {}


def test_vaulted_values_and_files_are_left_closed(tmp_path: Path) -> None:
    servers = read(
        tmp_path,
        {
            "servers.yml": "web: {hosts: {a: {token: !vault '$ANSIBLE_VAULT;1'}}}",
            "group_vars/web.yml": "$ANSIBLE_VAULT;1.1;AES256\n3061\n",
        },
    )
    assert str(servers["a"].variables["token"]) == "(encrypted)"


@pytest.mark.parametrize(
    ("files", "reference", "place", "suggestion"),
    [
        ({"servers.yml": "web: {host: {a: }}"}, "unknown-key", "servers.yml:1", "hosts"),
        ({"servers.yml": "web: {hosts: [a]}"}, "type", "servers.yml:1", ""),
        ({"servers.yml": "web: {hosts: {'a b': }}"}, "host-name", "servers.yml:1", "web1"),
        ({"servers.yml": "web: {hosts: {'web[3:1]': }}"}, "host-range", "servers.yml:1", "web[1"),
        ({"servers.yml": "web: {hosts: {'web[a:c]': }}"}, "host-name", "servers.yml:1", "web[1"),
        (
            {"servers.yml": "web: {hosts: {a: {owc_php_version: x}}}"},
            "unknown-variable",
            "servers.yml:1",
            "owc_php_versions",
        ),
        (
            {"servers.yml": "web: {hosts: {a: }}", "group_vars/web.yml": "\nowc_ssh_prt: 22\n"},
            "unknown-variable",
            "group_vars/web.yml:2",
            "owc_ssh_port",
        ),
        (
            {"servers.yml": "web: {hosts: {a: }}", "host_vars/a.yml": "owc_ssh_port: ssh\n"},
            "type",
            "host_vars/a.yml:1",
            "22",
        ),
        ({"servers.yml": "a-b: {hosts: {a: }}"}, "unknown-key", "servers.yml:1", "all, web"),
    ],
)
def test_problems_of_an_inventory(
    tmp_path: Path, files: dict[str, str], reference: str, place: str, suggestion: str
) -> None:
    problem: Problem
    (problem,) = read_servers(write(tmp_path, files))[1]
    assert problem.reference == reference
    assert f"{problem.file}:{problem.line}" == place
    assert suggestion in problem.suggestion
