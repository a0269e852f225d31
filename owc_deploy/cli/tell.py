"""What verbs tell the fleet's notification channels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from owc_deploy.cli.view import narrate
from owc_deploy.fleet.models import Fleet
from owc_deploy.notify.message import Notice
from owc_deploy.notify.notifier import Notifier
from owc_deploy.rollout.apply import GOOD, Applied
from owc_deploy.store.models import RecordedFinding

if TYPE_CHECKING:  # 0.05 s that only `audit` must pay
    from owc_deploy.evidence.audit import Finding

_LINES = 20


def notifier(fleet: Fleet) -> Notifier:
    """Return who tells a fleet's channels; what it cannot tell it says on stderr."""
    return Notifier(fleet, narrate)


def job_link(environment: Mapping[str, str] = os.environ) -> str:
    """Return the page of the CI job that this runs in, empty outside GitHub, Forgejo and GitLab."""
    if "CI_JOB_URL" in environment:
        return environment["CI_JOB_URL"]
    parts = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    if not all(part in environment for part in parts):
        return ""
    server, repository, run = (environment[part] for part in parts)
    return f"{server}/{repository}/actions/runs/{run}"


def apply_notice(fleet: Fleet, applied: Applied, link: str) -> Notice:
    """Return what is told of an apply that did not do all that was planned."""
    wrong = [outcome for outcome in applied.outcomes if outcome.outcome not in GOOD]
    lines = [
        f"server {server.server}: {server.status}: {server.message}"
        for server in applied.servers
        if server.status != "ok"
    ]
    lines += [f"{each.site} on {each.server}: {each.outcome}: {each.message}" for each in wrong]
    return Notice(
        "apply-failed",
        fleet.settings.name,
        f"{len(wrong)} of {len(applied.outcomes)} sites" if wrong else "servers",
        _listed(lines),
        "owc-deploy status",
        link,
    )


def audit_notice(
    fleet: Fleet, found: Iterable[Finding], known: Sequence[RecordedFinding], link: str
) -> Notice | None:
    """Return what is told of holes that were not open already, `None` when there are none."""
    still = [each for each in known if not each.patched_at and not each.standing]
    new = [
        item
        for item in found
        if not item.dismissed
        and not any(
            (each.site, each.block) == (item.site, item.name)
            and each.is_known_as(item.vulnerability, *item.names)
            for each in still
        )
    ]
    if not new:
        return None
    lines = [
        f"{item.site}: {item.name} {item.version}: {item.vulnerability}, {item.severity},"
        f" fixed in {', '.join(item.fixed_in) or 'no release yet'}"
        for item in new
    ]
    sites = len({item.site for item in new})
    subject = f"{sites} site{'s' if sites != 1 else ''} affected"
    command = "owc-deploy audit"
    return Notice("audit-finding", fleet.settings.name, subject, _listed(lines), command, link)


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    return "\n".join([*lines[:_LINES], *more])
