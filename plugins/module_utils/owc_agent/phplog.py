"""What a site's PHP wrote to its log, and what of it is new."""

from __future__ import annotations

import re
from typing import NamedTuple

from . import commands, layout

# Enough to recognise what a site keeps saying; a page that warns on every request says a lot.
LINES_BEFORE = 2000
LINES_AFTER = 5000
_MESSAGE = re.compile(r"PHP (?P<kind>[A-Z][A-Za-z ]+?):\s+(?P<text>.+)")
_FATAL = ("Fatal error", "Parse error", "Core error", "Compile error", "Recoverable fatal error")
_RELEASE_PATH = re.compile(r"/srv/owc/sites/[a-z0-9-]+/(?:releases/[0-9TZ]+-[0-9a-f]{8}|current)/")


class Message(NamedTuple):
    """One thing that PHP said, whatever request, release or line it was about."""

    kind: str
    text: str

    @property
    def is_fatal(self) -> bool:
        """Return whether the request ended there."""
        return self.kind in _FATAL

    def __str__(self) -> str:
        return "%s: %s" % (self.kind, self.text)


def messages(lines: "list[str]") -> "dict[Message, None]":
    """Return the distinct messages in lines of the log, in their order."""
    found: "dict[Message, None]" = {}
    for line in lines:
        match = _MESSAGE.search(line)
        if match:
            text = _RELEASE_PATH.sub("", match["text"])
            text = re.sub(r" on line \d+|:\d+$|\d{3,}", "", text)
            found[Message(match["kind"], text.strip()[:300])] = None
    return found


def new_messages(before: "list[str]", after: "list[str]") -> "list[Message]":
    """Return what stands in `after` and is not said in `before` as well; pure."""
    known = messages(before)
    return [message for message in messages(after) if message not in known]


def cursor() -> str:
    """Return the present end of this server's journal, to read on from later."""
    result = commands.run(["journalctl", "--quiet", "--lines=0", "--show-cursor"], check=False)
    found = re.search(r"-- cursor: (\S+)", result.stdout.decode("utf-8", "replace"))
    return found.group(1) if found else ""


def lines_until(paths: layout.SitePaths) -> "list[str]":
    """Return the last lines that this site's PHP logged, oldest first."""
    return _lines(paths, ["--lines=%d" % LINES_BEFORE])


def lines_since(paths: layout.SitePaths, position: str) -> "list[str]":
    """Return what this site's PHP logged after a cursor; nothing when there is no cursor."""
    if not position:
        return []
    return _lines(paths, ["--after-cursor=" + position, "--lines=%d" % LINES_AFTER])


def _lines(paths: layout.SitePaths, options: "list[str]") -> "list[str]":
    arguments = ["journalctl", "--quiet", "--output=cat", "--unit", paths.php_fpm_unit, *options]
    result = commands.run(arguments, check=False)
    return result.stdout.decode("utf-8", "replace").splitlines()
