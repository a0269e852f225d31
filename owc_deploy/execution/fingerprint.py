"""What a server's provisioning depends on, as one hash."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from owc_deploy.fleet.models import Server
from owc_deploy.resources import resource_folder

# What only the controller reads does not change how a server is prepared.
_NOT_READ_BY_ROLES = frozenset({"owc_supplier", "owc_place"})
# Tests of a role do not change what it does to a server.
_IGNORED = frozenset({"molecule", "__pycache__", "README.md"})


def provision_fingerprint(server: Server) -> str:
    """Return the hash of everything that decides how this server is prepared.

    The roles, the module that writes their files, the provision playbook, and the variables of the
    server that these read. A server that recorded the same hash needs no provisioning.
    """
    prefixes = ("owc_", *(f"{role.name}_" for role in resource_folder("roles").iterdir()))
    variables = {
        name: value
        for name, value in server.variables.items()
        if name.startswith(prefixes) and name not in _NOT_READ_BY_ROLES
    }
    document = json.dumps(
        {"content": _content_hash(), "variables": variables}, sort_keys=True, default=str
    )
    return hashlib.sha256(document.encode()).hexdigest()


@functools.cache
def _content_hash() -> str:
    roles = resource_folder("roles")
    files = [(path.relative_to(roles).as_posix(), path) for path in roles.rglob("*")]
    files.append(("provision.yml", resource_folder("playbooks") / "provision.yml"))
    files.append(("owc_files.py", resource_folder("plugins") / "modules" / "owc_files.py"))
    digest = hashlib.sha256()
    for name, path in sorted(files):
        if path.is_file() and not _IGNORED.intersection(Path(name).parts):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()
