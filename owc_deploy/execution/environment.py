"""Where a run lives on this machine, and the environment Ansible gets."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from owc_deploy.errors import ExecutionError
from owc_deploy.resources import resource_folder

_KEPT = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TZ")
# ansible-runner adds these itself and its callback needs them.
_RUNNER_KEYS = ("AWX_ISOLATED_DATA_DIR", "ANSIBLE_STDOUT_CALLBACK", "ANSIBLE_CALLBACK_PLUGINS")
# Ansible's ssh_args come first on ssh's command line and ssh keeps the first value it sees, so
# neither the inventory nor ~/.ssh/config can turn host key checking off.
_SSH_ARGUMENTS = (
    "-o StrictHostKeyChecking=yes -o ControlMaster=auto -o ControlPersist=60s"
    " -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
)


_LOCK = "lock"


def runtime_folder() -> Path:
    """Return this user's folder for runs, in memory where the system offers that, mode 0700.

    Raises ExecutionError when somebody else owns what should be ours.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    candidates = [Path(given)] if given else []
    candidates += [Path("/dev/shm"), Path(tempfile.gettempdir())]  # noqa: S108  private below
    base = next(path for path in candidates if path.is_dir() and os.access(path, os.W_OK))
    folder = base / f"owc-deploy-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ExecutionError(
            f"{folder} is not a private folder of this user",
            context="the data of a run is kept there while it runs",
            hint=f"rm -r {folder}",
        )
    return folder


@contextlib.contextmanager
def run_folder() -> Iterator[Path]:
    """Give a fresh private folder for one run and delete it afterwards, whatever happens.

    Folders that killed controllers left behind are deleted too.
    """
    runtime = runtime_folder()
    for left in runtime.glob("run-*-*"):
        if not _is_in_use(left):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"new-run-{os.getpid()}-", dir=runtime))
    with (made / _LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Nobody finds it before it is locked.
        folder = made.rename(runtime / made.name.removeprefix("new-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_in_use(folder: Path) -> bool:
    """Return whether a controller has this folder, also one in a container of its own.

    A process that cannot be seen from here may be in such a one: its lock can.
    """
    if Path("/proc", folder.name.split("-")[1]).exists():
        return True
    try:
        with (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def require_ssh() -> None:
    """Raise ExecutionError when this machine has no ssh client."""
    if not shutil.which("ssh"):
        raise ExecutionError(
            "this machine has no ssh client", hint="apt-get install openssh-client"
        )


def ansible_settings(run: Path, fleet_root: Path) -> dict[str, str]:
    """Return the ANSIBLE_* variables of one run; `fleet_root` may hold an ansible.cfg."""
    plugins = resource_folder("plugins")
    configuration = fleet_root / "ansible.cfg"
    if not configuration.is_file():
        # An empty one, so that what the operator keeps at home does not change how a fleet runs.
        configuration = run / "ansible.cfg"
        configuration.touch()
    control = runtime_folder() / "ssh"
    control.mkdir(mode=0o700, exist_ok=True)
    return {
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_LIBRARY": str(plugins / "modules"),
        "ANSIBLE_MODULE_UTILS": str(plugins / "module_utils"),
        "ANSIBLE_ACTION_PLUGINS": str(plugins / "action"),
        "OWC_MODULE_UTILS": str(plugins / "module_utils"),
        "ANSIBLE_ROLES_PATH": str(resource_folder("roles")),
        "ANSIBLE_INVENTORY_PLUGINS": str(Path(__file__).parent / "inventory_plugins"),
        "ANSIBLE_INVENTORY_ENABLED": "owc_run,yaml",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_LOCAL_TEMP": str(run / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control),
        "ANSIBLE_SSH_ARGS": _SSH_ARGUMENTS,
        "ANSIBLE_HOST_KEY_CHECKING": "true",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_TIMEOUT": "15",
        "ANSIBLE_GATHERING": "explicit",
        # What a fleet's own ansible.cfg says of these would take away the words of errors, and do
        # again what may have begun.
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_SSH_RETRIES": "0",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_DISPLAY_OK_HOSTS": "false",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "false",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_NOCOWS": "true",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        # ansible-runner's callback drops any result above this many characters: keep them whole.
        "MAX_EVENT_RES": str(1 << 30),
    }


def scrubbed(prepared: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the Ansible process: what it needs and nothing of the caller's.

    `prepared` is what ansible-runner made of the caller's environment.
    """
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    path = os.environ.get("PATH", os.defpath)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    environment["LC_ALL"] = "C.UTF-8"
    environment.update(settings)
    environment.update({key: prepared[key] for key in _RUNNER_KEYS if key in prepared})
    return environment
