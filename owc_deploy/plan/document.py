"""A plan as a JSON file, and back; what was changed in between is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from owc_deploy.errors import PlanStaleError, UsageError
from owc_deploy.plan.models import Change, Plan, PlannedMigration, ServerPlan, SitePlan
from owc_deploy.plan.specification import canonical_sha256

SCHEMA_VERSION = 1


def plan_to_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as a JSON document."""
    return {"schema_version": SCHEMA_VERSION, **asdict(plan)}


def plan_from_text(text: str | bytes) -> Plan:
    """Return the plan that a saved file holds.

    Raises UsageError when it is no plan of this version, PlanStaleError when it was edited.
    """
    try:
        document = json.loads(text)
        version = document.pop("schema_version")
        plan = _plan(document) if version == SCHEMA_VERSION else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"this is not a plan that this version can read: {error}",
            hint="owc-deploy plan --out FILE",
        ) from error
    if plan is None:
        raise UsageError(
            f"the plan has schema_version {version}; this version reads {SCHEMA_VERSION}",
            hint="owc-deploy plan --out FILE",
        )
    if canonical_sha256(replace(plan, plan_id="")) != plan.plan_id:
        raise PlanStaleError(
            "the plan was changed after it was made", hint="owc-deploy plan --out FILE"
        )
    return plan


def _plan(document: Mapping[str, Any]) -> Plan:
    return Plan(
        **{
            **document,
            "servers": tuple(_server(server) for server in document["servers"]),
            "sites": tuple(_site(site) for site in document["sites"]),
        }
    )


def _server(document: Mapping[str, Any]) -> ServerPlan:
    return ServerPlan(**{**document, "artefacts": tuple(document["artefacts"])})


def _site(document: Mapping[str, Any]) -> SitePlan:
    return SitePlan(
        **{
            **document,
            "changes": tuple(Change(**change) for change in document["changes"]),
            "migrations": tuple(_migration(item) for item in document["migrations"]),
            "renamed": tuple(document["renamed"]),
            "post_steps": _commands(document["post_steps"]),
            "warnings": tuple(document["warnings"]),
            "mitigations": tuple(document["mitigations"]),
        }
    )


def _migration(document: Mapping[str, Any]) -> PlannedMigration:
    return PlannedMigration(**{**document, "commands": _commands(document["commands"])})


def _commands(document: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(command) for command in document)
