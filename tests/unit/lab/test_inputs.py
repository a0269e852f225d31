"""Inputs are taken out of packages as pinned, or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from owc_deploy.errors import LabError
from owc_deploy.lab import inputs as module
from owc_deploy.lab.inputs import INPUTS, Input, Package, ensure_inputs, tree_sha256


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = module.inputs_folder()
    folder.mkdir(parents=True)
    return folder


def nested_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.php", "<?php // whole\n")
        archive.writestr("wp-config.php", "<?php // a builder's\n")
        archive.writestr("wp-content/database/index.php", "<?php\n")
        archive.writestr("wp-content/plugins/index.php", "<?php\n")
    return buffer.getvalue()


def make_package(folder, files):
    package = Package("@made/up", "1.0.0", "")
    with tarfile.open(folder / package.file_name, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    digest = hashlib.sha256((folder / package.file_name).read_bytes()).hexdigest()
    return replace(package, sha256=digest)


def make_input(package, tmp_path):
    expected = tmp_path / "expected"
    for name, text in {
        "index.php": "<?php // whole\n",
        "wp-content/plugins/index.php": "<?php\n",
        "style.css": "body {}",
    }.items():
        (expected / name).parent.mkdir(parents=True, exist_ok=True)
        (expected / name).write_text(text)
    return Input(
        name="wordpress",
        version="1.0",
        package=package,
        sources=("package/core.zip", "package/static"),
        folder="wordpress",
        tree_sha256=tree_sha256(expected),
        take=next(item.take for item in INPUTS if item.name == "wordpress"),
    )


FILES = {
    "package/core.zip": nested_zip(),
    "package/static/style.css": b"body {}",
    "package/static-not/other.css": b"no",
    "package/readme.md": b"no",
}


def test_a_zip_and_a_folder_make_one_tree_without_what_a_builder_left(cache, tmp_path, monkeypatch):
    item = make_input(make_package(cache, FILES), tmp_path)
    made = ensure_inputs(inputs=(item,))["wordpress-1.0.zip"]
    with zipfile.ZipFile(made) as archive:
        assert archive.namelist() == [
            "wordpress/index.php",
            "wordpress/style.css",
            "wordpress/wp-content/plugins/index.php",
        ]
    before = made.read_bytes()
    made.unlink()
    assert ensure_inputs(inputs=(item,))["wordpress-1.0.zip"].read_bytes() == before


def test_a_changed_tree_is_refused(cache, tmp_path):
    files = {**FILES, "package/static/style.css": b"body { color: red }"}
    item = make_input(make_package(cache, files), tmp_path)
    with pytest.raises(LabError, match="is not what was pinned"):
        ensure_inputs(inputs=(item,))


def test_a_file_that_climbs_out_is_refused(cache, tmp_path):
    files = {**FILES, "package/static/../../../../evil.php": b"no"}
    item = make_input(make_package(cache, files), tmp_path)
    with pytest.raises(LabError, match="climbs out"):
        ensure_inputs(inputs=(item,))


def test_without_npm_the_remedy_is_named(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as refused:
        module.ensure_package(module.STUDIO)
    assert "npm" in refused.value.hint


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("wp-includes/version.php", True),
        ("wp-content/index.php", True),
        ("wp-content/themes/index.php", True),
        ("wp-content/plugins/akismet/index.php", False),
        ("wp-content/plugins/hello.php", False),
        ("wp-content/database/index.php", False),
        ("wp-config.php", False),
        ("wp-config-sample.php", True),
    ],
)
def test_wordpress_comes_without_plugins_and_themes(path, taken):
    core = next(item for item in INPUTS if item.name == "wordpress")
    assert core.take(PurePosixPath(path)) is taken


def test_every_input_is_pinned():
    assert all(len(item.tree_sha256) == len(item.package.sha256) == 64 for item in INPUTS)
    assert len({item.file_name for item in INPUTS}) == len(INPUTS)
