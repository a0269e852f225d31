"""`owc-deploy validate`: for a person, for a program, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.fleet.fleet_folder import FLEET, manifest, write_fleet

from owc_deploy.catalogue.document import render_catalogue
from owc_deploy.catalogue.models import Block, BlockRelease, Kind
from owc_deploy.cli.main import run


def test_a_good_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--fleet", str(write_fleet(tmp_path))]) == 0
    captured = capsys.readouterr()
    assert captured.out == "1 site, no problems\n"


def test_problems_stand_together_by_file_and_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_fleet(
        tmp_path,
        {
            "fleet.yml": FLEET.replace("name: voorbeeld", "name: Voorbeeld"),
            "sites/voorbeeld.yml": manifest(ring="ring: canry", locale="locale: Dutch"),
        },
    )
    assert run(["validate", "--fleet", str(root)]) == 3
    assert capsys.readouterr().out == (
        "fleet.yml:2:7  `Voorbeeld` must be at most 100 lower-case letters, digits, points, hyphens"
        " and underscores, beginning and ending with a letter or digit\n"
        "    write: voorbeeld\n"
        "\n"
        "sites/voorbeeld.yml:10:7  `canry` is not a ring of fleet.yml\n"
        "    write: canary\n"
        "sites/voorbeeld.yml:17:9  `Dutch` must be a WordPress locale such as nl_NL\n"
        "    write: for instance nl_NL\n"
        "\n"
        "3 problems in 2 files\n"
    )


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_fleet(tmp_path, {"sites/voorbeeld.yml": manifest(ring="ring: canry")})
    assert run(["validate", "--fleet", str(root), "--format", "json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "schema_version": 1,
        "sites": None,
        "problems": [
            {
                "file": "sites/voorbeeld.yml",
                "line": 10,
                "column": 7,
                "path": "ring",
                "reference": "unknown-ring",
                "message": "`canry` is not a ring of fleet.yml",
                "suggestion": "canary",
            }
        ],
    }
    write_fleet(tmp_path)
    assert run(["validate", "--fleet", str(root), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "sites": 1,
        "problems": [],
    }


def test_a_folder_that_is_no_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--fleet", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "owc-deploy init" in captured.err


def test_choices_are_held_against_the_catalogue_when_it_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def block(name: str, kind: Kind) -> Block:
        main_file = "main.php" if kind == "plugin" else ""
        version = "7.1.1" if kind in {"core", "language"} else "1.4.0"
        release = BlockRelease(version, version, "0" * 64, 1)
        return Block(name, kind, name, name, main_file, (release,))

    blocks = [
        block("wordpress", "core"),
        block("wp-cli", "tool"),
        block("language-nl_NL", "language"),
        block("example-theme", "theme"),
        block("openwoo", "plugin"),
    ]
    text = manifest(blocks="blocks:\n  openwo: ^1.0\n  openwoo: ^2.0")
    root = write_fleet(tmp_path, {"sites/voorbeeld.yml": text})
    assert run(["validate", "--fleet", str(root)]) == 0
    assert "No catalogue" in capsys.readouterr().err

    write_fleet(
        root, {"sites/voorbeeld.yml": text, "catalogue/catalogue.json": render_catalogue(blocks)}
    )
    assert run(["validate", "--fleet", str(root)]) == 3
    said = capsys.readouterr().out
    assert "sites/voorbeeld.yml:18:11" in said
    assert "write: `openwoo`" in said
    assert "sites/voorbeeld.yml:19:" in said
    assert "2 problems in 1 file" in said

    write_fleet(root, {"sites/voorbeeld.yml": manifest(blocks="blocks: {openwoo: ^1.0}")})
    assert run(["validate", "--fleet", str(root)]) == 0


def test_a_catalogue_that_cannot_be_read_is_no_missing_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_fleet(tmp_path, {"sites/voorbeeld.yml": manifest()})
    fleet = root / "fleet.yml"
    unreadable = "x" * 300  # a name as long as no file system has it
    fleet.write_text(fleet.read_text().replace("catalogue: catalogue", f"catalogue: {unreadable}"))
    assert run(["validate", "--fleet", str(root)]) == 1
    captured = capsys.readouterr()
    assert "cannot be read" in captured.err
    assert captured.out == ""


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--help"]) == 0
    assert "Examples:\n    owc-deploy validate\n" in capsys.readouterr().out
