"""What holds for every role: described arguments, names of its own, templates that parse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(folder.name for folder in ROLES.iterdir() if folder.is_dir())
TEMPLATES = sorted(ROLES.glob("*/templates/**/*.j2"))
TASK_FILES = sorted([*ROLES.glob("*/tasks/*.yml"), *ROLES.glob("*/handlers/*.yml")])

# Variables of servers.yml that a role may read beside its own, as docs/architecture.md lists them.
HOST_VARIABLES = {
    "owc_php_versions",
    "owc_php_repository",
    "owc_acme_directory_url",
    "owc_acme_ca_file",
    "owc_ssh_port",
    "owc_firewall_extra_ports",
}


def _document(role: str, path: str) -> Any:
    file = ROLES / role / path
    return yaml.safe_load(file.read_text()) if file.exists() else {}


def test_every_role_is_here() -> None:
    assert set(NAMES) == {"base", "nginx", "php", "mariadb", "redis", "tls", "runtime"}


@pytest.mark.parametrize("role", NAMES)
def test_defaults_and_described_arguments_are_the_same(role: str) -> None:
    specs = _document(role, "meta/argument_specs.yml")["argument_specs"]
    assert set(specs["main"]["options"]) == set(_document(role, "defaults/main.yml"))
    for spec in specs.values():
        assert spec["short_description"]
        assert all(option["description"] for option in spec["options"].values())


@pytest.mark.parametrize("role", NAMES)
def test_described_defaults_are_the_real_ones(role: str) -> None:
    options = _document(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    for name, value in _document(role, "defaults/main.yml").items():
        if isinstance(value, str) and "{{" in value:
            continue
        if "default" in options[name]:
            assert options[name]["default"] == value, name


@pytest.mark.parametrize("role", NAMES)
def test_names_are_the_roles_own(role: str) -> None:
    assert all(name.startswith(f"{role}_") for name in _document(role, "defaults/main.yml"))
    assert all(name.startswith(f"__{role}_") for name in _document(role, "vars/main.yml") or {})


@pytest.mark.parametrize("role", NAMES)
def test_every_public_variable_is_explained(role: str) -> None:
    lines = (ROLES / role / "defaults/main.yml").read_text().splitlines()
    for number, line in enumerate(lines):
        if not re.match(rf"{role}_", line):
            continue
        paragraph = number
        while paragraph > 0 and lines[paragraph - 1].strip() not in {"", "---"}:
            paragraph -= 1
        assert lines[paragraph].startswith("#"), line


@pytest.mark.parametrize("role", NAMES)
def test_only_declared_host_variables_are_read(role: str) -> None:
    text = "".join(
        file.read_text()
        for file in sorted((ROLES / role).rglob("*"))
        if file.suffix in {".yml", ".j2"}
    )
    read = set(re.findall(r"\b(owc_[a-z_]+) \| default", text))
    assert read <= HOST_VARIABLES


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROLES)))
def test_templates_parse_and_say_who_manages_them(template: Path) -> None:
    text = template.read_text()
    jinja2.Environment(autoescape=True).parse(text)
    assert text.endswith("\n")
    assert "Managed by owc-deploy" in text or template.name == "sandbox.j2"


@pytest.mark.parametrize("file", TASK_FILES, ids=lambda path: str(path.relative_to(ROLES)))
def test_tasks_use_builtin_modules_and_our_own(file: Path) -> None:
    known = {"name", "when", "loop", "loop_control", "notify", "register", "listen", "vars"} | {
        "changed_when",
        "failed_when",
        "check_mode",
        "tags",
    }
    for task in yaml.safe_load(file.read_text()):
        modules = set(task) - known
        assert len(modules) == 1, task["name"]
        module = modules.pop()
        assert module.startswith(("ansible.builtin.", "owc_")), task["name"]


def test_every_templated_file_exists() -> None:
    for file in TASK_FILES:
        for name in re.findall(
            r"lookup\('ansible\.builtin\.template', '([^']+)'\)", file.read_text()
        ):
            assert (file.parents[1] / "templates" / name).is_file(), name
