"""The way to a Temporal cluster."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import Client
from temporalio.service import TLSConfig

from owc_deploy.errors import EngineError
from owc_deploy.fleet.models import Fleet, TemporalCluster, TemporalTls
from owc_deploy.fleet.secrets import read_secret


def cluster_of(fleet: Fleet) -> TemporalCluster:
    """Return the cluster that fleet.yml names.

    Raises EngineError when it names none.
    """
    cluster = fleet.settings.engine
    if not isinstance(cluster, TemporalCluster):
        raise EngineError(
            f"the fleet in {fleet.root} does not run its rollouts on Temporal",
            hint="engine: {temporal: {address: ...}} in fleet.yml (docs/how-to/temporal.md)",
        )
    return cluster


async def connect(fleet: Fleet) -> Client:
    """Return a connection to the fleet's cluster.

    Raises EngineError when it cannot be reached, and SecretError.
    """
    cluster = cluster_of(fleet)
    api_key = None
    if cluster.api_key is not None:
        api_key = read_secret(fleet.settings, fleet.root, cluster.api_key).reveal().strip()
    tls = _tls(fleet, cluster.tls) if cluster.tls is not None else False
    try:
        return await Client.connect(
            cluster.address, namespace=cluster.namespace, tls=tls, api_key=api_key
        )
    except RuntimeError as error:
        raise EngineError(
            f"Temporal at {cluster.address} cannot be reached",
            context=str(error),
            hint=f"temporal operator cluster health --address {cluster.address}",
        ) from error


def _tls(fleet: Fleet, tls: TemporalTls) -> TLSConfig:
    key = None
    if tls.client_key is not None:
        key = read_secret(fleet.settings, fleet.root, tls.client_key).reveal().encode()
    return TLSConfig(
        server_root_ca_cert=_bytes_of(tls.root_certificate),
        client_cert=_bytes_of(tls.client_certificate),
        client_private_key=key,
    )


def _bytes_of(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"{path} cannot be read: {error.strerror}",
            hint="correct engine in fleet.yml, or put the file there",
        ) from error
