"""Ansible inventory plugin: one run's host variables, read once from a named pipe.

Specifications and secrets so reach Ansible through the kernel only: no file, argument or
environment variable ever holds them. Loaded by Ansible, never by owc_deploy itself.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: owc_run
short_description:
  - Reads one JSON object, server name to variables, from a named pipe ending in C(.owc-run).
  - Strings stay data. They are never marked as trusted, so Ansible does not expand templates in
    them.
options: {}
"""


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # Ansible is untyped
    """Adds the variables to hosts that the fleet's own inventory has already defined."""

    NAME = "owc_run"
    trusted_by_default = False

    def verify_file(self, path: str) -> bool:
        """Claim our own pipe and nothing else."""
        return path.endswith(".owc-run") and stat.S_ISFIFO(Path(path).stat().st_mode)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Read the pipe to its end and set every variable."""
        super().parse(inventory, loader, path, cache)
        for server, variables in json.loads(Path(path).read_text(encoding="utf-8")).items():
            self._populate_host_vars([server], variables)
