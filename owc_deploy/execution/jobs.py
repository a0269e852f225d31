"""What one transaction on a server is asked to do, as data (docs/architecture.md)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from owc_deploy.execution.ports import DecommissionRequest, RollbackRequest
from owc_deploy.fleet.models import Manifest
from owc_deploy.plan.models import Fence

# A server that hears nothing for so long undoes the change: its controller is gone, or the change
# itself cut the two off. A site that is frozen stays frozen so long at most.
CONFIRMATION_SECONDS = 90
# What a release request carries beside a site's specification.
BESIDE = ("release_id", "observed_release", "migrations", "renamed", "post_steps", "mitigations")


def new_transaction_id(now: datetime) -> str:
    """Return a name for a transaction, or a release: its time in UTC, and four random bytes."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def release_job(sent: Mapping[str, Any], fence: Fence) -> dict[str, Any]:
    """Return the job that builds a release and makes it live.

    `sent` is a site's specification with the fields of `BESIDE` in it.
    """
    specification = {key: value for key, value in sent.items() if key not in BESIDE}
    pages = specification["gate"]["pages"]
    # A route in REST may be closed (`owc-deploy mitigate`) and is then no sign of life.
    page = next((each for each in pages if "/wp-json" not in each["path"]), pages[0])
    return {
        "action": "release",
        "site": specification["site"],
        "transaction_id": sent["release_id"],
        "observed_release": sent["observed_release"],
        "fence": asdict(fence),
        "confirmation_seconds": CONFIRMATION_SECONDS,
        "specification": specification,
        "migrations": sent["migrations"],
        "renamed": sent["renamed"],
        "post_steps": sent["post_steps"],
        "mitigations": sent["mitigations"],
        "watch": {
            "domain": specification["domains"][0],
            "path": page["path"],
            "status": page["status"],
            "release_id": sent["release_id"],
        },
    }


def rollback_job(
    request: RollbackRequest, manifest: Manifest | None, fence: Fence | None, now: datetime
) -> dict[str, Any]:
    """Return the job that makes an earlier release of a site live again, or previews that.

    Without a manifest nobody knows where to look for the site from outside. Only a preview has no
    fence.
    """
    watch = None
    if manifest is not None and not request.preview:
        watch = {
            "domain": manifest.domain,
            "path": "/",
            "status": 200,
            "release_id": request.release_id,
        }
    return {
        "action": "preview" if request.preview else "rollback",
        "site": request.site,
        "transaction_id": new_transaction_id(now),
        "observed_release": request.observed_release,
        "fence": None if fence is None else asdict(fence),
        "confirmation_seconds": CONFIRMATION_SECONDS,
        "release_id": request.release_id,
        "restore_database": request.restore_database,
        "watch": watch,
    }


def decommission_job(request: DecommissionRequest, fence: Fence, now: datetime) -> dict[str, Any]:
    """Return the job that takes a site off the air; afterwards there is nothing to look at."""
    return {
        "action": "decommission",
        "site": request.site,
        "transaction_id": new_transaction_id(now),
        "observed_release": request.observed_release,
        "fence": asdict(fence),
        "confirmation_seconds": 0,
        "watch": None,
    }
