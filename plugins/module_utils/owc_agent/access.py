"""A way in for an administrator that needs no password to be made, shown or sent."""

from __future__ import annotations

import os
from typing import Any

from . import files, layout, wordpress


def access_link(site: str, login: str) -> str:
    """Return a link with which `login` sets a password once; WordPress lets it lapse in a day.

    Raises WordPressError when the site is not live or there is no such user.
    """
    paths = layout.SitePaths(site)
    release_id = paths.current_release()
    if not release_id or os.path.exists(paths.decommissioned):
        raise wordpress.WordPressError("%s is not live" % paths.site)
    document: Any = files.read_json(os.path.join(paths.release(release_id), "release.json"))
    url = document["specification"]["url"]
    report = wordpress.drive(paths, release_id, "access", {"url": url, "login": login})
    return str(report["link"])
