"""What is told of each site, in one form for every view that CI systems read; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from owc_deploy.cli.plan_view import change_words
from owc_deploy.plan.models import Plan, SitePlan

if TYPE_CHECKING:  # 0.08 s that `validate` need not pay
    from owc_deploy.rollout.apply import Applied

Verdict = Literal["passed", "failed", "error", "skipped"]

# What was not tried is neither good nor bad. What is not known here counts as an error, so that no
# new word ever passes for a success.
_VERDICTS: Mapping[str, Verdict] = {
    "ok": "passed",
    "changed": "passed",
    "none": "passed",
    "create": "passed",
    "update": "passed",
    "repair": "passed",
    "decommission": "passed",
    "provision": "passed",
    "failed": "failed",
    "rolled-back": "failed",
    "undone": "failed",
    "held": "skipped",
    "pending": "skipped",
    "not-attempted": "skipped",
}


@dataclass(frozen=True, slots=True)
class Row:
    """How it stands with one site, or with one server where `site` is empty.

    `outcome` is the word of an outcome or of a plan's action, `details` more than one line.
    """

    site: str
    server: str
    ring: str
    outcome: str
    message: str = ""
    seconds: float = 0.0
    details: str = ""

    @property
    def verdict(self) -> Verdict:
        """Return what CI is to make of it."""
        return _VERDICTS.get(self.outcome, "error")

    @property
    def name(self) -> str:
        """What the row is about."""
        return self.site or f"server {self.server}"


def rows_of_applied(applied: Applied, plan: Plan) -> tuple[Row, ...]:
    """Return a row for each server that was prepared and each site."""
    rings = {site.site: site.ring for site in plan.sites}
    servers = (
        Row("", server.server, "", server.status, server.message, server.seconds)
        for server in applied.servers
    )
    sites = (
        Row(each.site, each.server, rings[each.site], each.outcome, each.message, each.seconds)
        for each in applied.outcomes
    )
    return (*servers, *sites)


def rows_of_rollout(document: Mapping[str, Any]) -> tuple[Row, ...]:
    """Return a row for each site of a rollout, from its report."""
    return tuple(
        Row(site["site"], site["server"], ring["ring"], site["outcome"], site["message"])
        for ring in document["rings"]
        for site in ring["sites"]
    )


def rows_of_plan(plan: Plan) -> tuple[Row, ...]:
    """Return a row for each server that has to be prepared or cannot be reached, and each site.

    A site for which could not be said what it needs is `inconclusive`, as nothing is attempted by a
    plan.
    """
    servers = (
        Row("", server.server, "", server.action, server.reason)
        for server in plan.servers
        if server.action != "none"
    )
    unreachable = {server.server for server in plan.servers if server.action == "unreachable"}
    return (*servers, *(_planned(site, unreachable) for site in plan.sites))


def _planned(site: SitePlan, unreachable: set[str]) -> Row:
    outcome: str = site.action
    if site.action == "not-attempted":
        outcome = "unreachable" if site.server in unreachable else "inconclusive"
    details = "\n".join(_detail_lines(site))
    return Row(site.site, site.server, site.ring, outcome, site.reason, details=details)


def _detail_lines(site: SitePlan) -> Iterator[str]:
    yield from (f"warning: {warning}" for warning in site.warnings)
    yield from (change_words(change) for change in site.changes)
