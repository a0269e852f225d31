"""Closing on every site what mitigations.yml says: one call for each server, with all its sites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.execution.ports import Executor, Fences, ProgressCallback
from owc_deploy.fleet.models import Fleet, Mitigation
from owc_deploy.plan.mitigations import rules
from owc_deploy.plan.models import SiteOutcome


def concerned(fleet: Fleet, mitigation: Mitigation) -> tuple[str, ...]:
    """Return the sites on which a mitigation is to be closed, sorted."""
    return tuple(site for site in sorted(fleet.manifests) if mitigation.concerns(site))


def mitigate(
    fleet: Fleet,
    catalogue: Catalogue,
    executor: Executor,
    sites: Iterable[str],
    *,
    fences: Fences,
    on_progress: ProgressCallback | None = None,
) -> tuple[SiteOutcome, ...]:
    """Make these sites' mitigations what the fleet's are and return how it ended for each.

    `fences` say whose the mitigations of each site are.

    A server out of reach costs its own sites only; whoever asks again later closes them.
    """
    requests: dict[str, dict[str, tuple[Mapping[str, Any], ...]]] = {}
    for site in sites:
        server = fleet.manifests[site].servers.web[0]
        requests.setdefault(server, {})[site] = rules(fleet.mitigations, catalogue, site)
    return executor.mitigate(requests, fences=fences, on_progress=on_progress)
