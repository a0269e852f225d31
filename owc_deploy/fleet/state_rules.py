"""What must hold of `state` in fleet.yml, beyond its schema."""

from __future__ import annotations

from collections.abc import Iterator

from owc_deploy.fleet.documents import Document, Finding
from owc_deploy.fleet.models import is_this_machine


def findings(fleet: Document) -> Iterator[Finding]:
    """Find a database elsewhere of which nothing would prove that it is the right one."""
    state = fleet.data.get("state")
    database = (state.get("postgresql") or {}) if isinstance(state, dict) else {}
    host = database.get("host")
    if host is None or is_this_machine(host) or "root_certificate" in database:
        return
    yield Finding(
        fleet.file,
        ("state", "postgresql", "host"),
        "unproven-database",
        f"{host} is another machine, and without root_certificate nothing proves that it is it",
        "root_certificate: the PEM file of the authority that signed its certificate",
    )
