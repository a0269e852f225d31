"""servers.yml: an ordinary Ansible inventory, read without starting Ansible.

Only what decisions need is understood: groups, hosts, and their variables merged in Ansible's own
order. Running Ansible on the same file is `owc_deploy.execution`'s work.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from owc_deploy.errors import Problem
from owc_deploy.fleet import documents, schema_check
from owc_deploy.fleet.documents import Document, Finding
from owc_deploy.fleet.models import DEFAULT_PLACE, Server
from owc_deploy.fleet.yaml_reader import PathKeys

FILE = Path("servers.yml")
DEFAULT_PHP_VERSIONS = ("8.2",)

_HOST_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,252}[a-zA-Z0-9])?\Z")
_RANGE = re.compile(r"([^\[\]]*)\[([0-9]+):([0-9]+)(?::([0-9]+))?\](.*)\Z", re.DOTALL)
_MAXIMUM_HOSTS = 10_000
_EXAMPLE = "web: {hosts: {web1: {ansible_host: ADDRESS}}} in servers.yml, and the same for database"
_VAULT_HEADER = b"$ANSIBLE_VAULT;"


@dataclass(slots=True)
class _Group:
    """One group while the inventory is read; `depth` is its distance from `all`."""

    depth: int = 0
    hosts: set[str] = field(default_factory=set)
    parents: set[str] = field(default_factory=set)
    variables: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Inventory:
    groups: dict[str, _Group] = field(default_factory=lambda: {"all": _Group()})
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_servers(root: Path) -> tuple[Mapping[str, Server] | None, tuple[Problem, ...]]:
    """Read servers.yml with its group_vars/ and host_vars/; `None` when it cannot be read."""
    raw = documents.read_bytes(root, FILE)
    if isinstance(raw, Problem):
        return (None, (dataclasses.replace(raw, suggestion=raw.suggestion or _EXAMPLE),))
    document, found = documents.parse_document(FILE, raw, "servers", "ansible")
    if document is None:
        return ({} if not found else None, found)
    problems = list(found)
    inventory = _Inventory()
    for name, group in document.data.items():
        _read_group(inventory, name, group, (name,), parent="" if name == "all" else "all", depth=1)
    problems += [documents.to_problem(finding, raw) for finding in inventory.findings]
    group_files: dict[str, dict[str, Any]] = {}
    for name in inventory.groups:
        group_files[name], found = _variables_beside(root, "group_vars", name)
        problems += found
    servers = {}
    for name in sorted(inventory.hosts):
        host_files, found = _variables_beside(root, "host_vars", name)
        problems += found
        servers[name] = _server(inventory, name, group_files, host_files)
    return (servers, tuple(problems))


def _read_group(
    inventory: _Inventory, name: str, group: Any, path: PathKeys, *, parent: str, depth: int
) -> None:
    entry = inventory.groups.setdefault(name, _Group())
    entry.depth = max(entry.depth, 0 if name == "all" else depth)
    if parent:
        entry.parents.add(parent)
    group = group or {}
    variables = group.get("vars") or {}
    entry.variables |= variables
    inventory.findings += _unknown_variables(FILE, variables, (*path, "vars"))
    for pattern, host_variables in (group.get("hosts") or {}).items():
        here = (*path, "hosts", pattern)
        inventory.findings += _unknown_variables(FILE, host_variables or {}, here)
        for host in _expand(inventory, pattern, here):
            entry.hosts.add(host)
            inventory.hosts.setdefault(host, {}).update(host_variables or {})
    for child, inner in (group.get("children") or {}).items():
        _read_group(
            inventory, child, inner, (*path, "children", child), parent=name, depth=depth + 1
        )


def _expand(inventory: _Inventory, pattern: str, path: PathKeys) -> Iterator[str]:
    """Give the hosts a name stands for: `web[1:3]` is web1, web2 and web3."""
    match = _RANGE.match(pattern)
    if match is None:
        if _HOST_NAME.match(pattern):
            yield pattern
        else:
            inventory.findings.append(
                Finding(
                    FILE,
                    path,
                    "host-name",
                    f"`{pattern}` is not a host name this tool reads",
                    "a name such as web1, or a range such as web[1:3]; a port goes in ansible_port",
                    at_key=True,
                )
            )
        return
    before, first, last, step, after = match.groups()
    numbers = range(int(first), int(last) + 1, int(step or 1) or 1)
    if not numbers or len(numbers) > _MAXIMUM_HOSTS:
        inventory.findings.append(
            Finding(
                FILE,
                path,
                "host-range",
                f"`{pattern}` stands for {len(numbers)} hosts",
                "a range from low to high, such as web[1:3]",
                at_key=True,
            )
        )
        return
    for number in numbers:
        yield from _expand(inventory, f"{before}{number:0{len(first)}}{after}", path)


def _unknown_variables(file: Path, variables: Mapping[str, Any], path: PathKeys) -> list[Finding]:
    """Find `owc_` variables that nothing reads: nearly always a typing mistake."""
    known = schema_check.schema("variables")["properties"]
    findings = []
    for name in variables:
        if name.startswith("owc_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            findings.append(
                Finding(
                    file,
                    (*path, name),
                    "unknown-variable",
                    f"`{name}` is not a variable of owc-deploy",
                    close[0] if close else f"one of: {', '.join(known)}",
                    at_key=True,
                )
            )
    return findings


def _variables_beside(
    root: Path, folder: str, name: str
) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """Read group_vars/NAME.yml and the other places where Ansible looks."""
    base = root / folder
    if not base.is_dir():
        return ({}, ())
    files = [Path(folder) / f"{name}{ending}" for ending in ("", ".yml", ".yaml", ".json")]
    if (base / name).is_dir():
        files += sorted(
            path.relative_to(root)
            for path in (base / name).rglob("*")
            if path.suffix in {"", ".yml", ".yaml", ".json"} and not path.name.startswith(".")
        )
    variables: dict[str, Any] = {}
    problems: list[Problem] = []
    for file in files:
        if not (root / file).is_file():
            continue
        raw = documents.read_bytes(root, file)
        if isinstance(raw, Problem):
            problems.append(raw)
        elif not raw.startswith(_VAULT_HEADER):
            document, found = documents.parse_document(file, raw, "variables", "ansible")
            problems += found
            if document is not None:
                variables |= document.data
                problems += _problems(document)
    return (variables, tuple(problems))


def _problems(document: Document) -> list[Problem]:
    findings = _unknown_variables(document.file, document.data, ())
    return [documents.to_problem(finding, document.raw) for finding in findings]


def _server(
    inventory: _Inventory,
    name: str,
    group_files: Mapping[str, Mapping[str, Any]],
    host_files: Mapping[str, Any],
) -> Server:
    groups = {group for group, entry in inventory.groups.items() if name in entry.hosts}
    waiting = list(groups)
    while waiting:
        for parent in inventory.groups[waiting.pop()].parents - groups:
            groups.add(parent)
            waiting.append(parent)
    ordered = sorted(groups | {"all"}, key=lambda group: (inventory.groups[group].depth, group))
    variables: dict[str, Any] = {}
    for group in ordered:
        variables |= inventory.groups[group].variables
    for group in ordered:
        variables |= group_files[group]
    variables |= inventory.hosts[name]
    variables |= host_files
    return Server(
        name=name,
        groups=tuple(sorted(groups - {"all"})),
        php_versions=tuple(variables.get("owc_php_versions") or DEFAULT_PHP_VERSIONS),
        variables=variables,
        supplier=variables.get("owc_supplier") or "",
        place=variables.get("owc_place") or DEFAULT_PLACE,
    )
