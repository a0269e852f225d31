"""How far a rollout is, as one document for programs and views. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from owc_deploy.rollout.models import Decision, RolloutRing, RolloutSite, Stand, Wait
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
    # Nobody will look any more what became of it.
    rings = [_ring(ring, standing, is_lost=left and standing.is_over) for ring in rollout.rings]
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
        "counts": dict(Counter(site["outcome"] for ring in rings for site in ring["sites"])),
        "rings": rings,
    }


def _ring(ring: RolloutRing, standing: Standing, *, is_lost: bool) -> dict[str, Any]:
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
            {
                "site": site.site,
                "server": site.server,
                **_site(standing.sites[site.site]),
                **_correction(site, ring, standing, is_lost=is_lost),
            }
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


def _correction(
    site: RolloutSite, ring: RolloutRing, standing: Standing, *, is_lost: bool
) -> dict[str, Any]:
    """Return what is to be said of a site instead of what became of it last, often nothing."""
    state = standing.sites[site.site]
    if is_lost and state.is_under_way:
        words = f"its controller was cut off; next: owc-deploy status {site.site}"
        return {"outcome": "inconclusive", "message": words}
    if ring.name in standing.undo_rings and state.may_have_changed and not state.before:
        words = (
            "the rollout created it, so it has nothing to go back to;"
            f" next: owc-deploy apply --decommission {site.site}, or leave it"
        )
        return {"outcome": "undo-not-attempted", "message": words}
    return {}


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
