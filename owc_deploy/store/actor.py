"""Who is at work, as the store writes it."""

from __future__ import annotations

import getpass
import socket


def this_actor() -> str:
    """Return who this process works for: user and machine, such as `anna@controller`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
