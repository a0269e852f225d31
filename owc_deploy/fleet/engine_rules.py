"""What must hold of `engine` in fleet.yml, beyond its schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from owc_deploy.fleet.documents import Document, Finding
from owc_deploy.fleet.models import TemporalCluster, is_this_machine


def findings(fleet: Document) -> Iterator[Finding]:
    """Find a Temporal cluster that workers could not use, or that would be spoken to in clear."""
    engine = fleet.data.get("engine")
    if not isinstance(engine, dict):
        return
    state = fleet.data.get("state")
    if not isinstance(state, dict):
        yield Finding(
            fleet.file,
            ("engine", "temporal"),
            "engine-needs-database",
            "workers on several machines need one history, and `state` is a file on one of them",
            "state: {postgresql: {host: HOST, database: owc_deploy, user: owc_deploy}}; see"
            " docs/how-to/team.md",
        )
    cluster = engine.get("temporal") or {}
    yield from _tls(fleet, cluster)


def _tls(fleet: Document, cluster: dict[str, Any]) -> Iterator[Finding]:
    here = ("engine", "temporal")
    tls = cluster.get("tls")
    host = TemporalCluster(str(cluster.get("address", ""))).host
    if tls is None and not is_this_machine(host):
        yield Finding(
            fleet.file,
            (*here, "address"),
            "unproven-engine",
            f"{host} is another machine, and without tls nothing proves that it is it",
            "tls: {root_certificate: trust/temporal-ca.pem}; or tls: {} for an authority that this"
            " machine believes",
        )
    names = {"client_certificate", "client_key"} & set(tls or {})
    if len(names) == 1:
        (present,) = names
        yield Finding(
            fleet.file,
            (*here, "tls", present),
            "half-a-certificate",
            f"{present} alone proves nothing",
            "client_certificate and client_key, both",
        )
