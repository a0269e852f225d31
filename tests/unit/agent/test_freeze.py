from __future__ import annotations

import fcntl
import os
import pwd
import threading
import time
from pathlib import Path

import pytest

from owc_agent import freeze, layout


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.SitePaths:
    monkeypatch.setattr(layout, "SITES", str(tmp_path))
    site = layout.SitePaths("heusden")
    Path(site.shared).mkdir(parents=True)
    monkeypatch.setattr(site, "user", pwd.getpwuid(os.getuid()).pw_name)
    return site


def test_a_frozen_site_says_so_until_it_thaws(paths: layout.SitePaths) -> None:
    freeze.freeze(paths, "release r1")
    assert Path(paths.frozen).read_text() == '{"reason": "release r1"}\n'
    freeze.thaw(paths)
    freeze.thaw(paths)
    assert not Path(paths.frozen).exists()


def test_who_writes_is_waited_for(paths: layout.SitePaths) -> None:
    Path(paths.writing_lock).touch()
    with Path(paths.writing_lock).open() as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        done = []
        thread = threading.Thread(target=lambda: done.append(freeze.freeze(paths, "x")))
        thread.start()
        time.sleep(0.2)
        # Nobody new may begin, while those under way are waited for.
        assert Path(paths.frozen).exists()
        assert done == []
        fcntl.flock(writer, fcntl.LOCK_UN)
        thread.join(5)
    assert done == [None]


def test_a_write_that_does_not_end_is_said(paths: layout.SitePaths) -> None:
    Path(paths.writing_lock).touch()
    with Path(paths.writing_lock).open() as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        with pytest.raises(freeze.StillWritingError, match="has not ended"):
            freeze.freeze(paths, "x", drain_seconds=0.1)
