"""`ansible-playbook` as this tool starts it: the same command, quicker to start and to end.

Run as a script with ansible-playbook's arguments; or with `--standby`, to import Ansible at once
and read the arguments, a JSON list, from standard input when they are known.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from typing import Any

# Importing Ansible makes half a million objects that all stay; collecting them again and again
# during start-up costs 0.1 s.
_GARBAGE_THRESHOLD = 100_000
# prctl(2): the signal to get when the thread that started this one's process ends.
_PR_SET_PDEATHSIG = 1


def _main() -> int:
    gc.set_threshold(_GARBAGE_THRESHOLD)
    # The action plugin's own code, and the agent's of which it uses a part.
    sys.path.append(os.environ["OWC_MODULE_UTILS"])
    # Ansible's ssh connection is OpenSSH; it imports paramiko (0.1 s) for a plugin that newer
    # versions no longer have. `None` makes that import fail, which Ansible expects.
    modules: dict[str, Any] = sys.modules
    modules["paramiko"] = None
    from ansible.cli.playbook import main  # noqa: PLC0415  after the two lines above

    if sys.argv[1:] == ["--standby"]:
        # A controller that was killed can tell nobody.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        told = sys.stdin.buffer.readline()
        if not told:
            return 0
        sys.argv[1:] = json.loads(told)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv[0] = "ansible-playbook"
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, int):
            return end.code
        return 0 if end.code is None else 1
    return 0


if __name__ == "__main__":
    CODE = _main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Freeing every object takes 0.2 s more; the run's folder is deleted by who started us.
    os._exit(CODE)
