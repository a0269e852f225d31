"""What a look at a server says of a site in a rollout. Pure."""

from __future__ import annotations

from dataclasses import replace

from owc_deploy.execution.ports import RollbackRequest
from owc_deploy.fleet.models import Fleet
from owc_deploy.plan.models import ObservedServer, OutcomeWord, Plan, SiteOutcome, SitePlan
from owc_deploy.rollout.apply import RELEASING
from owc_deploy.rollout.models import RolloutSite
from owc_deploy.rollout.rings import is_as_started
from owc_deploy.rollout.standing import SiteStanding

SEEN = "seen on the server: it was changed before the controller was cut off"
MOVED = (
    "its manifest or lock is not the one the rollout was started with any more;"
    " next: owc-deploy rollout start --supersede"
)


def without_plan(
    fleet: Fleet, site: RolloutSite, state: SiteStanding, server: ObservedServer
) -> SiteOutcome | None:
    """Return how it ended for a site that cannot be planned for, `None` when it can."""
    if server.unreachable:
        return SiteOutcome(site.site, site.server, "unreachable", server.unreachable)
    if is_as_started(fleet, site):
        return None
    live = _live(site, server)
    if live in state.release_ids:
        return SiteOutcome(site.site, site.server, "changed", SEEN, live, state.before)
    return SiteOutcome(site.site, site.server, "not-attempted", MOVED, live, live)


def with_plan(plan: Plan, site: SitePlan, state: SiteStanding) -> SiteOutcome | None:
    """Return how it ended for a site to which nothing is done, `None` when something is."""
    live = site.observed_release
    if site.action == "none":
        if live in state.release_ids:
            return replace(unchanged(site, "changed", SEEN), previous_release_id=state.before)
        return unchanged(site, "ok", "")
    if site.action not in RELEASING:
        return unchanged(site, "not-attempted", site.reason)
    server = next(each for each in plan.servers if each.server == site.server)
    if server.action == "provision":
        words = f"{site.server} is to be prepared first; next: owc-deploy provision {site.server}"
        return unchanged(site, "not-attempted", words)
    return None


def unchanged(plan: SitePlan, word: OutcomeWord, message: str) -> SiteOutcome:
    """Return the outcome of a site on which what the plan saw live stays so."""
    live = plan.observed_release
    return SiteOutcome(plan.site, plan.server, word, message, live, live)


def problem_of(
    site: RolloutSite, state: SiteStanding, server: ObservedServer
) -> SiteOutcome | None:
    """Return what is wrong with a site after its soak, `None` when nothing is."""
    if server.unreachable:
        return SiteOutcome(site.site, site.server, "unreachable", server.unreachable)
    seen = server.sites.get(site.site, {})
    live = _live(site, server)
    wrong = ""
    if state.outcome == "changed" and live not in state.release_ids:
        wrong = f"after the soak {live or 'nothing'} is live, not what the rollout made"
    elif seen.get("php_fpm") != "active":
        wrong = f"after the soak its PHP-FPM is {seen.get('php_fpm', 'gone')}"
    elif seen.get("drift"):
        wrong = f"after the soak it differs: {', '.join(str(d['what']) for d in seen['drift'])}"
    if not wrong:
        return None
    return SiteOutcome(site.site, site.server, "failed", wrong, live, live)


def way_back(
    site: RolloutSite, state: SiteStanding, server: ObservedServer
) -> RollbackRequest | SiteOutcome:
    """Return what brings a site back to what it was, or how it ended where that needs nothing."""
    if server.unreachable:
        return SiteOutcome(site.site, site.server, "unreachable", server.unreachable)
    live = _live(site, server)
    if live == state.before:
        return SiteOutcome(site.site, site.server, "ok", "", live, live)
    if live not in state.release_ids:
        words = f"somebody made {live or 'nothing'} live since; it is left as it is"
        return SiteOutcome(site.site, site.server, "failed", words, live, live)
    return RollbackRequest(site.site, state.before, live)


def _live(site: RolloutSite, server: ObservedServer) -> str:
    return str(server.sites.get(site.site, {}).get("release_id", ""))
