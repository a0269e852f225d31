"""Putting the agent on the server, one folder per version, so that a unit can run it.

Ansible brings these very files inside the module `owc_agent` and throws them away when it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pkgutil
import shutil
import tempfile

from . import files, layout
from .driver_php import DRIVER

RUN = """import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if sys.argv[1:] == ["answer"]:
    try:
        from owc_agent.answers import main
    except Exception:
        # A file of it is damaged: whoever asks puts it here anew.
        print('\\n{"absent": true}')
        sys.exit()
else:
    from owc_agent.entry import main
main()
"""


def sources() -> "dict[str, bytes]":
    """Return the agent's files by their relative path, as they were sent."""
    package = __name__.rpartition(".")[0]
    names = sorted(module.name for module in pkgutil.iter_modules(_package_path()))
    found = {"run.py": RUN.encode(), "owc_agent/driver.php": DRIVER.encode()}
    for name in ("__init__", *names):
        content = pkgutil.get_data(package, name + ".py")
        if content is not None:
            found["owc_agent/%s.py" % name] = content
    return found


def _package_path() -> "list[str]":
    return [os.path.dirname(__file__)]


def run_path(content: "dict[str, bytes]") -> str:
    """Return where the `run.py` of an agent of this content is, on a server that has it."""
    digest = hashlib.sha256()
    for path in sorted(content):
        digest.update(path.encode() + b"\0" + content[path] + b"\0")
    return os.path.join(layout.AGENT_ROOT, digest.hexdigest()[:16], "run.py")


def running() -> str:
    """Return the `run.py` of the agent that this code belongs to, on a server that has it."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "run.py")


def is_whole() -> bool:
    """Return whether the agent that runs is what its folder is named after."""
    folder = os.path.dirname(running())
    here = {
        name: _content(os.path.join(folder, name)) for name in ("run.py", "owc_agent/driver.php")
    }
    return run_path({**sources(), **here}) == running()


def make_current(run: str) -> None:
    """Let an installed agent be the one that finishes or undoes what was interrupted."""
    current = os.path.join(layout.AGENT_ROOT, "current")
    files.point_link(current, os.path.basename(os.path.dirname(run)))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def install() -> str:
    """Put this version of the agent on the server, unless it is there; return its `run.py`."""
    content = sources()
    run = run_path(content)
    folder = os.path.dirname(run)
    if any(_content(os.path.join(folder, path)) != text for path, text in content.items()):
        os.makedirs(layout.AGENT_ROOT, exist_ok=True)
        staging = tempfile.mkdtemp(dir=layout.AGENT_ROOT)
        package = os.path.join(staging, "owc_agent")
        os.mkdir(package)
        for opened in (layout.AGENT_ROOT, staging, package):
            # Sites' users read the driver here, whatever the umask of who deploys.
            os.chmod(opened, 0o755)
        for path, text in content.items():
            files.write_atomic(os.path.join(staging, path), text)
        # What is damaged makes way; a transaction that runs from it has read all it needs.
        aside = tempfile.mkdtemp(dir=layout.AGENT_ROOT)
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, os.path.join(aside, "damaged"))
        try:
            os.rename(staging, folder)
        except OSError:
            # Somebody else was quicker.
            shutil.rmtree(staging)
            if not os.path.exists(run):
                raise
        finally:
            shutil.rmtree(aside)
    make_current(run)
    return run
