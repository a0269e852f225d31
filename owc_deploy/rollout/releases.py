"""The releases of one batch: from what was planned to what is sent, and what is written before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from owc_deploy.errors import SecretError
from owc_deploy.execution.ports import ReleaseRequest, SiteSecret
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import Fence, Plan, SiteOutcome
from owc_deploy.rollout.apply import in_words, sent
from owc_deploy.rollout.looks import unchanged
from owc_deploy.rollout.models import NewEvent
from owc_deploy.rollout.secrets import site_secrets
from owc_deploy.rollout.standing import Standing


@dataclass(frozen=True, slots=True)
class Release:
    """What one site's server is sent: the specification with what stands beside it, and secrets."""

    site: str
    server: str
    sent: Mapping[str, Any]
    secrets: tuple[SiteSecret, ...] = ()

    @property
    def release_id(self) -> str:
        """The name of the release that is to be made live."""
        return str(self.sent["release_id"])

    @property
    def observed_release(self) -> str:
        """What was seen live, `""` for nothing; the server refuses when it is another by then."""
        return str(self.sent["observed_release"])


def releases(fleet: Fleet, plan: Plan, now: datetime) -> tuple[list[Release], list[SiteOutcome]]:
    """Return a release for each site of a plan, and the outcomes of those that lack a secret."""
    made, refused = [], []
    for site in plan.sites:
        try:
            secrets = site_secrets(fleet, site.site, now) if site.new_certificate else ()
        except SecretError as error:
            refused.append(unchanged(site, "not-attempted", in_words(error)))
        else:
            made.append(Release(site.site, site.server, sent(site, now), secrets))
    return made, refused


def intents(
    made: Iterable[Release], standing: Standing, fences: Mapping[str, Fence]
) -> tuple[NewEvent, ...]:
    """Return what is written down before anything is sent."""
    return tuple(
        NewEvent(
            "site-intended",
            release.site,
            {
                "server": release.server,
                "release_id": release.release_id,
                "observed_release": release.observed_release,
                "attempt": standing.sites[release.site].attempts + 1,
                "fencing_token": fences[release.site].token,
            },
        )
        for release in made
    )


def release_requests(made: Sequence[Release], plan: Plan) -> dict[str, ReleaseRequest]:
    """Return one request for each server, with the artefacts that it lacks."""
    lacking = {server.server: server.artefacts for server in plan.servers}
    requests = {}
    for server in dict.fromkeys(release.server for release in made):
        here = [release for release in made if release.server == server]
        requests[server] = ReleaseRequest(
            specifications=tuple(release.sent for release in here),
            parallel=len(here),
            artefacts=lacking[server],
            secrets=tuple(secret for release in here for secret in release.secrets),
        )
    return requests
