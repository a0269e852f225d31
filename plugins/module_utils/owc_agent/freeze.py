"""Keeping a site from being written to while its data changes; it goes on being read.

The site's own PHP keeps to it (`freeze.php` in every release): a request that writes holds a shared
lock while it lasts and is refused with 503 while the site is frozen. So once `freeze` returns, no
write is under way and none begins, and every write that was acknowledged is in the database.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import time

from . import files, layout

# A request that writes may last as long as PHP lets it (max_execution_time) and a little more.
DRAIN_SECONDS = 120.0
_POLL_SECONDS = 0.05


class StillWritingError(Exception):
    """A request or scheduled task that writes has not ended in time."""


def freeze(paths: layout.SitePaths, reason: str, drain_seconds: float = DRAIN_SECONDS) -> None:
    """Refuse every new write and wait for those under way.

    Raises StillWritingError when one does not end; the site is frozen still.
    """
    group = pwd.getpwnam(paths.user).pw_gid
    document = '{"reason": "%s"}\n' % reason
    files.write_atomic(paths.frozen, document.encode(), 0o640, (0, group))
    deadline = time.monotonic() + drain_seconds
    with open(paths.writing_lock, "a", encoding="ascii") as stream:
        os.chmod(paths.writing_lock, 0o644)
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StillWritingError(
                        "a request or scheduled task that writes has not ended in %d seconds"
                        % drain_seconds
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return


def thaw(paths: layout.SitePaths) -> None:
    """Let writes through again; it is no error when they were."""
    files.remove_file(paths.frozen)
