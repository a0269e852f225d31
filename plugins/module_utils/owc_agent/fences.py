"""Who may change a site: the newest controller that was heard of, by its fencing token.

A controller that lost its lease may not know that yet, and may be about to change the site or to
confirm a change. So every change says whose it is, and the highest token of each store is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Any, Optional

from . import files, jobs, layout

# Nobody holds them for longer than a write to the disk takes.
LOCK_SECONDS = 30.0


class OvertakenError(Exception):
    """A newer controller has taken the site over."""

    def __init__(self, newer: "dict[str, Any]") -> None:
        super().__init__("a newer controller, %s, has taken this site over" % newer["owner"])
        self.newer = newer


def take(path: str, paths: layout.SitePaths, fence: Any) -> "list[str]":
    """Keep in `path` that a site is changed by this controller from here on; return notes.

    `fence` has `store`, `token` and `owner`. Raises OvertakenError, and changes nothing, when one
    with a higher token of the same store was here already. Tokens of two stores say nothing about
    each other: the one that came last is kept, which is worth a note.
    """
    wanted = checked(fence)
    with _locked(paths):
        present = read(path)
        same_store = present is not None and present["store"] == wanted["store"]
        if present is not None and same_store and present["token"] > wanted["token"]:
            raise OvertakenError(present)
        if present != wanted:
            os.makedirs(paths.root, mode=0o750, exist_ok=True)
            files.write_json(path, wanted, 0o600)
    if present is None or same_store:
        return []
    return [
        "until now this site was changed from another history store, by %s; if that is still used,"
        " two controllers may change the site without knowing of each other" % present["owner"]
    ]


def check(path: str, fence: Any) -> None:
    """Raise OvertakenError when another controller came after this one."""
    present = read(path)
    if present is not None and present != checked(fence):
        raise OvertakenError(present)


@contextlib.contextmanager
def kept(path: str, paths: layout.SitePaths, fence: Any) -> "Iterator[None]":
    """Let no other controller take the site over inside the block.

    Raises OvertakenError when one has already.
    """
    with _locked(paths):
        check(path, fence)
        yield


def without_overtaken(items: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Return what a controller asks of sites (`site`, `fence`) without those it has lost."""
    answers = {item["site"]: _taken(item) for item in items}
    return [item for item in items if answers[item["site"]] is None]


def announce(items: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Take sites over for a controller; say of each what is under way there.

    Each item has `site`, `fence`, and whether to `insist` where another store's controller is at
    work just now. An answer has `site`, `newer` (the fence of whoever keeps the site from this
    controller, `None` for nobody), `transaction_id` of what is under way, `""` for nothing, whether
    that is `provisional`, and the `trouble` that there was with this site. What is under way for an
    earlier controller is undone before its next step, or while it waits to be confirmed.
    """
    going_on = jobs.under_way([item["site"] for item in items])
    return [
        {**_announced(item, going_on[item["site"]]), **going_on[item["site"]]} for item in items
    ]


def _announced(item: "dict[str, Any]", going_on: "dict[str, Any]") -> "dict[str, Any]":
    try:
        newer = _at_work_elsewhere(item, going_on) or _taken(item)
    except OSError as error:
        return {"site": item["site"], "newer": None, "trouble": str(error)}
    return {"site": item["site"], "newer": newer, "trouble": ""}


def _at_work_elsewhere(
    item: "dict[str, Any]", going_on: "dict[str, Any]"
) -> "Optional[dict[str, Any]]":
    """Return the fence of another store whose controller is at work and is not to be disturbed."""
    present = read(layout.SitePaths(item["site"]).fence)
    if present is None or present["store"] == checked(item["fence"])["store"]:
        return None
    return present if going_on["transaction_id"] and not item["insist"] else None


def _taken(item: "dict[str, Any]") -> "Optional[dict[str, Any]]":
    """Take a site over; return the fence of whoever has taken it over from this controller."""
    paths = layout.SitePaths(item["site"])
    try:
        take(paths.fence, paths, item["fence"])
    except OvertakenError as error:
        return error.newer
    return None


def read(path: str) -> "Optional[dict[str, Any]]":
    """Return the fence that is kept in `path`, `None` when there is none that can be read."""
    document = files.read_json(path)
    try:
        return None if document is None else checked(document)
    except layout.NameRefusedError:
        return None


def checked(fence: Any) -> "dict[str, Any]":
    """Return a fence with nothing beside it; raise NameRefusedError for what is none."""
    if isinstance(fence, dict):
        store, token, owner = fence.get("store"), fence.get("token"), fence.get("owner")
        if isinstance(store, str) and type(token) is int and isinstance(owner, str):
            return {"store": store, "token": token, "owner": owner}
    raise layout.NameRefusedError("not a fence: %r" % (fence,))


@contextlib.contextmanager
def _locked(paths: layout.SitePaths) -> "Iterator[None]":
    """Hold the fences of a site; raises TimeoutError when a disk that hangs keeps another there."""
    for folder in (layout.RUN, paths.run):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    with open(paths.fence_lock, "w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("whose site %s is cannot be told" % paths.site) from None
                time.sleep(0.02)
        yield
