"""How far a rollout is, as one document for programs and views. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from owc_deploy.rollout.models import Decision, RolloutRing, Stand, Wait
from owc_deploy.rollout.standing import GOOD, SiteStanding, Standing

SCHEMA_VERSION = 1


def report(standing: Standing, decision: Decision, walked_by: str) -> dict[str, Any]:
    """Return a rollout with its rings and sites.

    `decision` is what is to be done next, `walked_by` who does it now, empty for nobody. `state` is
    the rollout's own, or `waiting` or `interrupted` for one that runs and that nobody has to, or
    does, walk.
    """
    rollout = standing.rollout
    state: str = standing.state
    # Where nobody walks it, what somebody has under way is what they left behind.
    left = standing.is_under_way and not walked_by
    wait = decision if isinstance(decision, Wait) and not left else None
    if state == "running" and not walked_by:
        state = "waiting" if wait else "interrupted"
    if state in {"halted", "aborted"} and not isinstance(decision, Stand) and not walked_by:
        state = "interrupted"
    return {
        "schema_version": SCHEMA_VERSION,
        "rollout_id": rollout.rollout_id,
        "fleet": rollout.fleet,
        "cause": rollout.cause,
        "reason": rollout.reason,
        "operator": rollout.operator,
        "created_at": rollout.created_at,
        "emergency": (
            {"reason": rollout.emergency.reason, "approved_by": rollout.emergency.approved_by}
            if rollout.emergency
            else None
        ),
        "state": state,
        "why": wait.why if wait else standing.why,
        "waits_until": _text(wait.until) if wait else None,
        "walked_by": walked_by,
        "counts": dict(Counter(word_of(site) for site in standing.sites.values())),
        "rings": [_ring(ring, standing) for ring in rollout.rings],
    }


def _ring(ring: RolloutRing, standing: Standing) -> dict[str, Any]:
    state = standing.rings[ring.name]
    failing = standing.failing(ring)
    return {
        "ring": ring.name,
        "has_ended": state.has_ended,
        "settled_at": _text(state.settled_at),
        "allowed": {
            "failed": ring.allowed_failed,
            "inconclusive": ring.allowed_inconclusive,
            "unreachable": ring.allowed_unreachable,
        },
        "failing": {kind: len(sites) for kind, sites in failing.items()},
        "sites": [
            {"site": site.site, "server": site.server, **_site(standing.sites[site.site])}
            for site in ring.sites
        ],
    }


def _site(site: SiteStanding) -> dict[str, Any]:
    return {
        "outcome": word_of(site),
        "message": site.undo_message if site.undo is not None else site.message,
        "release_id": site.live if site.outcome == "changed" else "",
        "previous_release_id": site.before,
        "attempts": site.attempts,
        "is_accepted": site.is_accepted,
    }


def word_of(site: SiteStanding) -> str:
    """Return one word for a site: `pending`, `under-way`, `undone`, or its outcome."""
    if site.is_under_way:
        return "under-way"
    if site.undo is not None:
        return "undone" if site.undo in GOOD else f"undo-{site.undo}"
    if site.was_cut_off:
        return "inconclusive"
    return site.outcome or "pending"


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
