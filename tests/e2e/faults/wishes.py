"""What the sites of the street are asked to be, and the way back to how they were built."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from e2e.faults.street import COMMIT, POINTS, SERVER, Street, site_of

from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.ports import RollbackRequest
from owc_deploy.fleet.load import load_fleet
from owc_deploy.rollout.names import site_name
from owc_deploy.store import open_fleet_store

STEPS = {site_of(point): point for point in POINTS}
COMMITTED = site_of(COMMIT)
NEIGHBOURS = {"lab-news": "1.0.0", "lab-silent": "1.0.0"}
OLD, NEW = {"lab-fault": "1.0.0"}, {"lab-fault": "2.0.0"}


def manifest(blocks: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """Return what a site's manifest says beside its name."""
    return {
        "locale": "en_US",
        "wordpress": "6.2.*",
        "blocks": {**NEIGHBOURS, **blocks},
        "pages": [{"path": "/", "text": "lab-fault"}],
        **changes,
    }


def want(street: Street, blocks: Mapping[str, Mapping[str, str]], **changes: Any) -> None:
    """Let the manifests and locks of these sites say so."""
    for site, wanted in blocks.items():
        street.write(site, SERVER, **manifest(wanted, **changes))
    street.lock(*blocks)


def take_back(street: Street, releases: Mapping[str, str]) -> None:
    """Bring sites back to these releases with their databases."""
    street.wait_until_over()
    street.wait_until_recovered()
    fleet = load_fleet(street.root)
    seen = street.look()["sites"]
    requests = tuple(
        RollbackRequest(site, release, seen[site]["state"]["current"], restore_database=True)
        for site, release in releases.items()
        if seen[site]["state"]["current"] != release
    )
    if requests:
        names = [site_name(request.site) for request in requests]
        with (
            open_fleet_store(fleet).claim(*names, reason="take back") as claim,
            closing(AnsibleExecutor(fleet)) as executor,
        ):
            for outcome in executor.rollback({SERVER: requests}, fences=claim.fences()):
                assert outcome.outcome == "changed", outcome
