"""`engine` in fleet.yml: what walks rollouts, and a cluster that proves what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.fleet.fleet_folder import FLEET, write_fleet

from owc_deploy.fleet.load import check_fleet, load_fleet
from owc_deploy.fleet.models import SecretReference, TemporalCluster, TemporalTls

DATABASE = "state: {postgresql: {host: localhost, database: a, user: b}}\n"


def fleet_with(root: Path, engine: str, state: str = DATABASE) -> Path:
    return write_fleet(root, {"fleet.yml": f"{FLEET}{state}engine: {engine}\n"})


def test_the_process_that_was_started_walks_unless_something_else_is_said(tmp_path: Path) -> None:
    assert load_fleet(write_fleet(tmp_path)).settings.engine == "embedded"
    assert load_fleet(fleet_with(tmp_path, "embedded", "")).settings.engine == "embedded"


def test_a_cluster_with_everything(tmp_path: Path) -> None:
    engine = (
        "{temporal: {address: 'temporal.example:7233', namespace: owc, api_key: {secret: key},"
        " tls: {root_certificate: trust/ca.pem, client_certificate: /etc/owc/worker.pem,"
        " client_key: {secret: worker}}}}"
    )
    cluster = TemporalCluster(
        "temporal.example:7233",
        "owc",
        TemporalTls(
            tmp_path / "trust" / "ca.pem", Path("/etc/owc/worker.pem"), SecretReference("worker")
        ),
        SecretReference("key"),
    )
    assert load_fleet(fleet_with(tmp_path, engine)).settings.engine == cluster
    assert cluster.host == "temporal.example"


@pytest.mark.parametrize("address", ["localhost:7233", "127.0.0.1:7233", "[::1]:7233"])
def test_on_this_machine_it_needs_no_tls(tmp_path: Path, address: str) -> None:
    settings = load_fleet(fleet_with(tmp_path, f"{{temporal: {{address: '{address}'}}}}")).settings
    assert settings.engine == TemporalCluster(address)


def test_authorities_of_this_machine_will_do(tmp_path: Path) -> None:
    engine = "{temporal: {address: 't.example:7233', tls: {}}}"
    settings = load_fleet(fleet_with(tmp_path, engine)).settings
    assert settings.engine == TemporalCluster("t.example:7233", tls=TemporalTls())


@pytest.mark.parametrize(
    ("engine", "state", "reference", "path"),
    [
        (
            "{temporal: {address: 'localhost:7233'}}",
            "",
            "engine-needs-database",
            "engine.temporal",
        ),
        (
            "{temporal: {address: 'localhost:7233'}}",
            "state: history.sqlite3\n",
            "engine-needs-database",
            "engine.temporal",
        ),
        (
            "{temporal: {address: 't.example:7233'}}",
            DATABASE,
            "unproven-engine",
            "engine.temporal.address",
        ),
        (
            "{temporal: {address: 't.example:7233', tls: {client_certificate: a.pem}}}",
            DATABASE,
            "half-a-certificate",
            "engine.temporal.tls.client_certificate",
        ),
        ("{temporal: {address: t.example}}", DATABASE, "format", "engine.temporal.address"),
        ("{temporal: {}}", DATABASE, "missing-key", "engine.temporal"),
        (
            "{temporal: {address: 'localhost:7233', api_key: geheim}}",
            DATABASE,
            "type",
            "engine.temporal.api_key",
        ),
        ("dbos", DATABASE, "not-allowed", "engine"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, engine: str, state: str, reference: str, path: str
) -> None:
    (problem, *_) = check_fleet(fleet_with(tmp_path, engine, state))[1]
    assert (problem.reference, problem.path) == (reference, path)


def test_a_place_is_near_workers(tmp_path: Path) -> None:
    servers = "web: {hosts: {web1: {owc_place: delft}, web2: {}}}\ndatabase: {hosts: {web1: {}}}\n"
    fleet = load_fleet(write_fleet(tmp_path, {"servers.yml": servers}))
    assert [server.place for server in fleet.servers.values()] == ["delft", "default"]
