"""`owc-deploy init`: a fleet that explains itself and is good from the start; and `completion`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from owc_deploy.cli.main import run
from owc_deploy.fleet import schema_check
from owc_deploy.fleet.load import check_fleet, load_fleet

EXPECTED = {
    "fleet.yml",
    "servers.yml",
    "sites/voorbeeld.yml",
    ".gitignore",
    "secrets/README.md",
    "locks/README.md",
    ".owc-deploy/schemas/fleet.schema.json",
    ".owc-deploy/schemas/servers.schema.json",
    ".owc-deploy/schemas/site.schema.json",
    ".owc-deploy/schemas/lock.schema.json",
}


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [[], ["--self-hosted"]])
def test_what_init_writes_validates(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "new" / "fleet"
    assert run(["init", *options, str(root)]) == 0
    assert files(root) >= EXPECTED
    said = capsys.readouterr().out
    assert "owc-deploy validate" in said
    assert "owc-deploy plan" in said
    assert run(["validate", "--fleet", str(root)]) == 0
    fleet = load_fleet(root)
    assert list(fleet.manifests) == ["voorbeeld"]


def test_self_hosted_is_this_machine(tmp_path: Path) -> None:
    run(["init", "--self-hosted", str(tmp_path)])
    (server,) = load_fleet(tmp_path).servers.values()
    assert server.variables["ansible_connection"] == "local"
    assert server.groups == ("database", "web")


@pytest.mark.parametrize("options", [[], ["--self-hosted"]])
def test_every_key_is_explained(tmp_path: Path, options: list[str]) -> None:
    run(["init", *options, str(tmp_path)])
    for file, schema, part in [
        ("fleet.yml", "fleet", None),
        ("sites/voorbeeld.yml", "site", None),
        ("servers.yml", "servers", "variables"),
    ]:
        text = (tmp_path / file).read_text()
        document = schema_check.schema(schema)  # type: ignore[arg-type]
        properties = document["$defs"][part]["properties"] if part else document["properties"]
        for key in properties:
            assert re.search(rf"^ *(# )? *{key}:", text, re.MULTILINE), f"{file}: {key}"


def test_the_commented_keys_are_good_too(tmp_path: Path) -> None:
    run(["init", str(tmp_path)])
    for file in ("fleet.yml", "sites/voorbeeld.yml"):
        path = tmp_path / file
        path.write_text(
            re.sub(
                r"^( *)# ( *(?:- )?(?!yaml)[a-z0-9_-]+:(?: .*)?)$",
                r"\1\2",
                path.read_text(),
                flags=re.MULTILINE,
            )
        )
    path = tmp_path / "sites" / "voorbeeld.yml"
    text = path.read_text().replace("#   - voorbeeld.example", "  - voorbeeld.example")
    # The certificate belongs to another policy than the one that is chosen.
    text = re.sub(r"^  (certificate|private_key|  secret):.*\n", "", text, flags=re.MULTILINE)
    path.write_text(text)
    (tmp_path / "secrets" / "notify-beheer.age").touch()
    assert check_fleet(tmp_path)[1] == ()
    site = load_fleet(tmp_path).manifests["voorbeeld"]
    assert site.aliases == ("voorbeeld.example",)
    assert [block.name for block in site.blocks] == ["cmb2", "openpub-base", "openwoo"]
    assert site.redirects
    assert site.administrators
    assert site.pages


def test_modelines_point_at_schemas_that_are_there(tmp_path: Path) -> None:
    run(["init", str(tmp_path)])
    for file in ("fleet.yml", "servers.yml", "sites/voorbeeld.yml"):
        first = (tmp_path / file).read_text().splitlines()[0]
        target = first.removeprefix("# yaml-language-server: $schema=")
        assert ((tmp_path / file).parent / target).resolve().is_file()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "servers.yml").write_text("mine")
    assert run(["init", str(tmp_path)]) == 2
    assert files(tmp_path) == {"servers.yml"}
    assert (tmp_path / "servers.yml").read_text() == "mine"
    assert "servers.yml already" in capsys.readouterr().err


def test_schemas_are_written_again(tmp_path: Path) -> None:
    run(["init", str(tmp_path)])
    schema = tmp_path / ".owc-deploy" / "schemas" / "site.schema.json"
    schema.write_text("old")
    assert run(["init", "--schemas", str(tmp_path)]) == 0
    assert schema.read_text() != "old"


def test_git_keeps_the_schemas_and_not_the_state(tmp_path: Path) -> None:
    run(["init", str(tmp_path)])
    (tmp_path / ".owc-deploy" / "history.sqlite3").write_text("x")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    listed = subprocess.run(
        ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert ".owc-deploy/history.sqlite3" not in listed
    assert ".owc-deploy/schemas/site.schema.json" in listed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_OWC_DEPLOY_COMPLETE" in capsys.readouterr().out


def test_completion_completes_verbs() -> None:
    finished = subprocess.run(
        [Path(sys.executable).with_name("owc-deploy")],
        env={
            **os.environ,
            "_OWC_DEPLOY_COMPLETE": "bash_complete",
            "COMP_WORDS": "owc-deploy vali",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout.strip() == "plain,validate"
