from __future__ import annotations

import os
import stat
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
