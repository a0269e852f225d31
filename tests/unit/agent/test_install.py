from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from owc_agent import install, layout


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_every_user_can_read_the_agent_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    root = tmp_path / "agent"
    monkeypatch.setattr(layout, "AGENT_ROOT", str(root))
    before = os.umask(umask)
    try:
        run = install.install()
    finally:
        os.umask(before)
    folder = Path(run).parent
    for path in (root, folder, folder / "owc_agent"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    for path in (Path(run), folder / "owc_agent" / "driver.php"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert (root / "current").resolve() == folder
    assert sorted(path.name for path in root.iterdir()) == sorted(["current", folder.name])


def test_installing_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "AGENT_ROOT", str(tmp_path))
    run = install.install()
    inode = Path(run).stat().st_ino
    assert install.install() == run
    assert Path(run).stat().st_ino == inode


@pytest.mark.parametrize("damaged", ["owc_agent/files.py", "owc_agent/driver.php", "run.py"])
def test_a_damaged_agent_is_noticed_and_put_there_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    monkeypatch.setattr(layout, "AGENT_ROOT", str(tmp_path))
    run = Path(install.install())
    file = run.parent / damaged
    whole = file.read_bytes()
    assert asked(run) == "not asked"
    file.write_bytes(b"<?php" if damaged.endswith("php") else b"a = 1\n")
    if damaged != "run.py":
        assert asked(run) == "absent"
    assert install.install() == str(run)
    assert file.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["current", run.parent.name])


def asked(run: Path) -> str:
    """Ask the agent in a folder of its own something that it does not know."""
    script = (
        f"import sys, runpy; sys.path.insert(0, {str(run.parent)!r});"
        f" from owc_agent import layout; layout.AGENT_ROOT = {str(run.parent.parent)!r};"
        f" sys.argv = [{str(run)!r}, 'answer'];"
        f" runpy.run_path({str(run)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", script],
        input='{"ask": "nothing", "arguments": {}}',
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    return "absent" if answer.get("absent") else "not asked" if answer["failed"] else "?"
