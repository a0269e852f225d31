"""The variables of one run: what goes into them, and how they reach Ansible unseen."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from owc_deploy.errors import ExecutionError
from owc_deploy.fleet.models import Server
from owc_deploy.fleet.secrets import Sensitive

PIPE_NAME = "variables.owc-run"
_POLL_SECONDS = 0.01


def is_local(server: Server) -> bool:
    """Whether the server is the machine this runs on, so that no ssh is involved."""
    return server.variables.get("ansible_connection") in {"local", "ansible.builtin.local"}


def require_host_key_checking(servers: tuple[Server, ...]) -> None:
    """Raise ExecutionError when the inventory replaces the arguments that keep host keys checked.

    `ansible_ssh_common_args` adds to them and comes after, where it cannot weaken them.
    """
    for server in servers:
        arguments = str(server.variables.get("ansible_ssh_args", "StrictHostKeyChecking=yes"))
        if not re.search(r"StrictHostKeyChecking[= ]yes", arguments):
            raise ExecutionError(
                f"ansible_ssh_args of {server.name} would let ssh accept any host key",
                context="it replaces all of owc-deploy's own arguments for ssh",
                hint="use ansible_ssh_common_args in servers.yml",
            )


def run_variables(
    servers: tuple[Server, ...],
    *,
    variables: Mapping[str, Any],
    variables_per_server: Mapping[str, Mapping[str, Any]],
    secrets_per_server: Mapping[str, Mapping[str, Any]],
    effective_user: str,
) -> dict[str, dict[str, Any]]:
    """Return the host variables of each server, secrets revealed: never log or store the result.

    A server whose login is not root, and whose inventory says nothing of `ansible_become`, is told
    to become root, since every task needs that.
    """
    document: dict[str, dict[str, Any]] = {}
    for server in servers:
        merged: dict[str, Any] = {}
        login = server.variables.get("ansible_user") or server.variables.get("ansible_ssh_user")
        if is_local(server):
            login = effective_user
        if login not in {None, "root"} and "ansible_become" not in server.variables:
            merged["ansible_become"] = True
        merged.update(variables)
        merged.update(variables_per_server.get(server.name, {}))
        merged.update(secrets_per_server.get(server.name, {}))
        document[server.name] = {name: _revealed(value) for name, value in merged.items()}
    return document


def _revealed(value: Any) -> Any:
    if isinstance(value, Sensitive):
        return value.reveal()
    if isinstance(value, Mapping):
        return {str(key): _revealed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(item) for item in value]
    return value


class VariablesPipe:
    """A named pipe in `folder` that hands `document` to the first reader, once.

    A pipe because its content exists in the kernel only: nothing to find on disk, during the run or
    after a crash. `folder` must be private (0700).
    """

    def __init__(self, folder: Path, document: Mapping[str, Any]) -> None:
        self.path = folder / PIPE_NAME
        self._content = json.dumps(document, ensure_ascii=False).encode()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="owc-variables", daemon=True)

    def __enter__(self) -> Self:
        os.mkfifo(self.path, 0o600)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _feed(self) -> None:
        # Opening without blocking fails until a reader is there, so that a run which dies before
        # reading cannot leave this thread behind.
        descriptor = -1
        while descriptor < 0 and not self._stopped.is_set():
            try:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    return
                time.sleep(_POLL_SECONDS)
        if descriptor < 0:
            return
        remaining = memoryview(self._content)
        with contextlib.suppress(BrokenPipeError):
            while remaining and not self._stopped.is_set():
                try:
                    remaining = remaining[os.write(descriptor, remaining) :]
                except BlockingIOError:
                    time.sleep(_POLL_SECONDS)
        os.close(descriptor)
