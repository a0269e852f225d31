"""Putting the agent on the server, one folder per version, so that a unit can run it.

Ansible brings these very files inside the module it sends and throws them away when it ends; a
transaction must outlive that.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import shutil
import tempfile

from . import entry, files, layout  # entry: brings every file of the agent along
from .driver_php import DRIVER

RUN = """import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
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
    return [os.path.dirname(entry.__file__)]


def install() -> str:
    """Put this version of the agent on the server, if it is not there; return its `run.py`."""
    content = sources()
    digest = hashlib.sha256()
    for path in sorted(content):
        digest.update(path.encode() + b"\0" + content[path] + b"\0")
    folder = os.path.join(layout.AGENT_ROOT, digest.hexdigest()[:16])
    run = os.path.join(folder, "run.py")
    if not os.path.exists(run):
        os.makedirs(layout.AGENT_ROOT, exist_ok=True)
        staging = tempfile.mkdtemp(dir=layout.AGENT_ROOT)
        package = os.path.join(staging, "owc_agent")
        os.mkdir(package)
        for opened in (layout.AGENT_ROOT, staging, package):
            # Sites' users read the driver here, whatever the umask of who deploys.
            os.chmod(opened, 0o755)
        for path, text in content.items():
            files.write_atomic(os.path.join(staging, path), text)
        try:
            os.rename(staging, folder)
        except OSError:
            shutil.rmtree(staging)
            if not os.path.exists(run):
                raise
    files.point_link(os.path.join(layout.AGENT_ROOT, "current"), os.path.basename(folder))
    return run
