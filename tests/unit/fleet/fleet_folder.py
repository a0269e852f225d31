"""A good fleet on disk that tests then damage in one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FLEET = """\
schema_version: 1
name: voorbeeld
catalogue: catalogue
rings:
  - name: canary
  - name: everyone
"""

SERVERS = """\
web:
  hosts:
    web1:
      ansible_host: 192.0.2.11
    web2:
      ansible_host: 192.0.2.12
database:
  hosts:
    web1:
    web2:
"""

MANIFEST = """\
schema_version: 1
site: voorbeeld
municipality:
  name: Gemeente Voorbeeld
environment: production
url: https://www.voorbeeld.example
servers:
  web: [web1]
  database: [web1]
ring: canary
php: 8.2
wordpress: ^7.1
theme:
  name: example-theme
tls:
  policy: internal
"""


def write_fleet(root: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """Write a fleet with one good manifest, other files added or put in their place."""
    documents: dict[str, str | bytes] = {
        "fleet.yml": FLEET,
        "servers.yml": SERVERS,
        "sites/voorbeeld.yml": MANIFEST,
        **(files or {}),
    }
    for name, content in documents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def manifest(**replaced: str) -> str:
    """Return the good manifest with lines replaced: `manifest(ring="ring: other")`."""
    lines = []
    for line in MANIFEST.splitlines():
        key = line.split(":")[0]
        lines.append(replaced.pop(key, line))
    return "\n".join([*lines, *replaced.values()]) + "\n"


def other_site(site: str) -> str:
    """Return a good manifest for another site."""
    return MANIFEST.replace("voorbeeld", site)
