from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from owc_agent import files, layout, targets, transaction

ID = "20261123T182200Z-1a2b3c4d"
NEWS = {"name": "news", "version": "1.0", "kind": "plugin", "folder": "news", "main_file": "n.php"}
MUST = {
    "name": "must",
    "version": "1.0",
    "kind": "mu-plugin",
    "folder": "must",
    "main_file": "m.php",
}
THEME = {"name": "theme", "version": "1.0", "folder": "theme"}
SPECIFICATION = {"site": "heusden", "theme": THEME, "blocks": [NEWS, MUST], "options": {}}


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a release that is whole."""
    monkeypatch.setattr(layout, "SITES", str(tmp_path))
    folder = tmp_path / "heusden" / "releases" / ID
    blocks = [targets.main_file(block) for block in (THEME, NEWS, MUST)]
    for path in (*targets.TREE_FILES, *blocks):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    document = {
        "release_id": ID,
        "specification": SPECIFICATION,
        "specification_sha256": files.canonical_sha256(SPECIFICATION),
    }
    (folder / "release.json").write_text(json.dumps(document))
    (folder / "state.json").write_text('{"options": {}}')
    return folder


def read() -> targets.Target:
    return targets.read_target(layout.SitePaths("heusden"), ID)


def test_a_whole_release_is_a_target(release: Path) -> None:
    assert read().specification == SPECIFICATION
    assert read().state == {"options": {}}


def remove(path: str) -> Callable[[Path], object]:
    return lambda release: (release / path).unlink()


def write(path: str, text: str) -> Callable[[Path], object]:
    return lambda release: (release / path).write_text(text)


def change(**keys: Any) -> Callable[[Path], object]:
    def changed(release: Path) -> None:
        path = release / "release.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))

    return changed


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda release: release.rename(release.with_name("gone")), "not on this server"),
        (remove("release.json"), "missing or damaged"),
        (write("release.json", "{"), "missing or damaged"),
        (write("release.json", "[]"), "missing or damaged"),
        (change(release_id="20260101T000000Z-00000000"), "another release"),
        (change(specification={**SPECIFICATION, "site": "oss"}), "another release"),
        (
            change(specification={**SPECIFICATION, "options": {"a": 1}}),
            "changed since it was built",
        ),
        (change(specification_sha256=""), "changed since it was built"),
        (remove("state.json"), "no state.json"),
        (remove("public/wp-load.php"), "lacks public/wp-load.php"),
        (write("public/wp-load.php", ""), "lacks public/wp-load.php"),
        (remove(targets.main_file(NEWS)), r"plugins/news/n.php \(of news 1.0\)"),
        (remove(targets.main_file(MUST)), "mu-plugins/m.php"),
        (remove(targets.main_file(THEME)), "themes/theme/style.css"),
    ],
)
def test_what_is_wrong_with_a_release_is_said(
    release: Path, harm: Callable[[Path], object], words: str
) -> None:
    harm(release)
    with pytest.raises(transaction.StepError, match=words):
        read()
