"""Start programs of this machine for the lab, and explain the ones that fail."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from owc_deploy.errors import LabError

_TAIL_LINES = 20


def run_command(
    arguments: Sequence[str],
    *,
    context: str,
    timeout_seconds: float = 120,
    keep_open: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it said.

    `keep_open` is a descriptor handed to it, such as a lock's: should this process be killed, the
    lock is held until the program has ended too.

    Raises LabError, with the end of its output, when it fails or takes too long.
    """
    try:
        result = subprocess.run(
            list(arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
            pass_fds=() if keep_open is None else (keep_open,),
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"{arguments[0]} did not finish within {timeout_seconds:.0f} seconds", context=context
        ) from error
    except OSError as error:
        raise LabError(f"{arguments[0]} cannot be started: {error}", context=context) from error
    if result.returncode != 0:
        raise LabError(
            f"{arguments[0]} failed with exit code {result.returncode}",
            context=f"{context}\n{tail(result.stdout + result.stderr)}",
        )
    return result


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a program's output."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
