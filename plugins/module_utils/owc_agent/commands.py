"""Starting programs: argument lists only, a time limit always, secrets never."""

from __future__ import annotations

import subprocess
from typing import Optional

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
}


class CommandError(Exception):
    """A program failed, timed out or could not be started; the message holds its last words."""


def run(
    arguments: "list[str]",
    *,
    stdin: bytes = b"",
    timeout_seconds: float = 60,
    user: Optional[str] = None,
    check: bool = True,
    cwd: str = "/",
) -> "subprocess.CompletedProcess[bytes]":
    """Run a program to its end, as `user` (with that user's groups) when given.

    Raises CommandError when it cannot be started, takes longer than `timeout_seconds` or, with
    `check`, exits with another code than 0.
    """
    try:
        result = subprocess.run(
            arguments,
            input=stdin,
            capture_output=True,
            timeout=timeout_seconds,
            env=ENVIRONMENT,
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandError("%s took longer than %g s" % (arguments[0], timeout_seconds)) from None
    except OSError as error:
        raise CommandError("%s could not be started: %s" % (arguments[0], error)) from error
    if check and result.returncode != 0:
        raise CommandError(
            "%s failed with code %d: %s" % (arguments[0], result.returncode, last_words(result))
        )
    return result


def last_words(result: "subprocess.CompletedProcess[bytes]", limit: int = 600) -> str:
    """Return the end of what a program printed, for a person."""
    text = (result.stderr or b"") + (result.stdout or b"")
    return text.decode("utf-8", "replace").strip()[-limit:]
