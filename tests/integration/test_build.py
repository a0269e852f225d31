"""Artefacts built from a commit, in a real server that is gone afterwards."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from owc_deploy.catalogue.read import artefact_path, read_catalogue
from owc_deploy.cli.main import run
from owc_deploy.lab.servers import lab_names

pytestmark = pytest.mark.lab

BLOCK = """\
schema_version: 1
name: base
kind: plugin
title: Base
folder: base
main_file: base.php
repository: {repository}
recipe:
  subfolder: plugins/base
  composer: true
  packages: [npm]
  commands:
    - [node, plugins/base/make.js, "a b; touch /tmp/shell"]
    - [npm, install]
    - [npm, run, make]
  prune: [wp-content, tests, make.js, style.js]
every_release:
  php: ">=8.1"
releases:
  - version: 1.1.0
    tag: v1.1.0
  - version: 1.0.0
    tag: v1.0.0
    header_version: 0.9.9
"""
# The library comes from the repository itself: nothing outside is asked.
COMPOSER = {
    "name": "ours/base",
    "require": {"ours/library": "*"},
    "repositories": [{"type": "path", "url": "library", "options": {"symlink": False}}],
}
MAKE = """\
const fs = require("fs");
process.chdir("plugins/base");
fs.mkdirSync("build");
fs.writeFileSync("build/words.json", JSON.stringify(process.argv.slice(2)));
fs.writeFileSync("build/user.txt", String(process.getuid()));
fs.mkdirSync("node_modules/left/pad", { recursive: true });
fs.writeFileSync("node_modules/left/pad/index.js", "");
"""


def builders() -> list[str]:
    """The servers that builds have made; other tests have labs of their own at the same time."""
    return [name for name in lab_names() if name.startswith("build-")]


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Steward", "-c", "user.email=steward@voorbeeld.example")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def repository(folder: Path) -> Path:
    block = folder / "plugins/base"
    for name, text in {
        "base.php": "<?php\n/**\n * Plugin Name: Base\n * Version: 0.9.9\n */\n",
        "composer.json": json.dumps(COMPOSER),
        "library/composer.json": '{"name": "ours/library", "version": "1.0.0", '
        '"autoload": {"psr-4": {"Ours\\\\": "src/"}}}',
        "library/src/Thing.php": "<?php\nnamespace Ours;\nclass Thing {}\n",
        "make.js": MAKE,
        "../../package.json": '{"scripts": {"make": "node plugins/base/style.js"}}',
        "style.js": 'require("fs").writeFileSync("plugins/base/build/style.css", "a{}");',
        "tests/test.php": "<?php\n",
        "wp-content/plugins/other/other.php": "<?php\n/* Plugin Name: Other */\n",
    }.items():
        (block / name).parent.mkdir(parents=True, exist_ok=True)
        (block / name).write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "The first")
    git(folder, "tag", "v1.0.0")
    text = (block / "base.php").read_text()
    (block / "base.php").write_text(text.replace("0.9.9", "1.1.0"))
    git(folder, "commit", "--quiet", "--all", "--message", "The second")
    git(folder, "tag", "--annotate", "--message", "1.1.0", "v1.1.0")
    return folder


def test_a_recipe_is_followed_twice_to_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "base.yml"
    source.write_text(BLOCK.format(repository=repository(tmp_path / "repository")))
    before = builders()
    arguments = ["catalogue", "build", str(source), "--release", "1.0.0"]
    for name in ("one", "two"):
        assert run([*arguments, "--catalogue", str(tmp_path / name)]) == 0, capsys.readouterr().err
    one, two = (read_catalogue(tmp_path / name) for name in ("one", "two"))
    assert one == two
    release = one.blocks["base"].releases[0]
    assert (release.version, release.header_version, release.php) == ("1.0.0", "0.9.9", ">=8.1")
    assert len(release.commit) == 40
    with zipfile.ZipFile(artefact_path(tmp_path / "one", release.sha256)) as archive:
        names = set(archive.namelist())
        words = json.loads(archive.read("base/build/words.json"))
        user = archive.read("base/build/user.txt")
    assert int(user) > 0
    assert words == ["a b; touch /tmp/shell"]
    assert {"base/build/style.css", "base/base.php", "base/vendor/autoload.php"} <= names
    assert "base/vendor/ours/library/src/Thing.php" in names
    pruned = ("base/wp-content", "base/tests", "base/node_modules", "base/make.js", "base/.git")
    assert not [name for name in names if name.startswith(pruned)]
    assert builders() == before


def test_what_cannot_be_built_says_why_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = repository(tmp_path / "repository")
    text = BLOCK.format(repository=here).replace("packages: [npm]", "packages: []")
    files = {
        "unreachable": text.replace(str(here), "https://git.voorbeeld.invalid/base"),
        "untagged": text.replace("tag: v1.1.0", "tag: v9.9.9"),
        "moved": text.replace("tag: v1.1.0", "tag: v1.1.0\n    commit: 0123456"),
        "failing": text.replace("[npm, install]", "['false']").replace("[node, ", "[echo, "),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.yml").write_text(content)
    before = builders()
    paths = [str(tmp_path / f"{name}.yml") for name in files]
    assert run(["catalogue", "build", *paths, "--catalogue", str(tmp_path / "one")]) == 1
    err = capsys.readouterr().err
    assert "its source cannot be reached (https://git.voorbeeld.invalid/base)" in err
    assert "the repository has no tag v9.9.9" in err
    assert "the repository has no commit 0123456" in err
    assert "`false` of its recipe failed" in err
    assert not (tmp_path / "one").exists()
    assert builders() == before
