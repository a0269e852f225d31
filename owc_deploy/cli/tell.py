"""What verbs tell the fleet's notification channels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from owc_deploy.cli.view import narrate
from owc_deploy.fleet.models import Fleet, NotificationEvent
from owc_deploy.notify.message import Notice
from owc_deploy.notify.notifier import Notifier
from owc_deploy.rollout.apply import GOOD, Applied
from owc_deploy.rollout.models import Event, NewEvent, Rollout
from owc_deploy.rollout.ports import Journal
from owc_deploy.rollout.progress import PASSING
from owc_deploy.store.models import RecordedFinding

if TYPE_CHECKING:  # 0.05 s that only `audit` must pay
    from owc_deploy.evidence.audit import Finding

_LINES = 20
# Outcomes of a site that somebody should look into now; others may be better the next time.
_WRONG = frozenset({"failed", "rolled-back", "inconclusive", "not-attempted"})


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


@dataclass(frozen=True)
class TellingJournal:
    """A rollout's journal that also tells the channels, once an event is written down."""

    journal: Journal
    rollout: Rollout
    notifier: Notifier

    def append(self, *events: NewEvent) -> None:
        """See `Journal.append`."""
        self.journal.append(*events)
        tell_events(self.notifier, self.rollout, events)

    def events(self, *, after: int = 0) -> Sequence[Event]:
        """See `Journal.events`."""
        return self.journal.events(after=after)


class WorkerNotices:
    """Tells the channels of what a worker wrote down; `narrate` hears of those it could not tell.

    A worker's checkout changes under it: each time its fleet is another one, so are the channels.
    """

    def __init__(self, narrate: Callable[[str], None]) -> None:
        self._narrate = narrate
        self._known: tuple[Fleet, Notifier] | None = None

    def __call__(self, fleet: Fleet, rollout: Rollout, events: Sequence[NewEvent]) -> None:
        """Tell of events that are written down."""
        known = self._known
        if known is None or known[0] is not fleet:
            known = self._known = (fleet, Notifier(fleet, self._narrate))
        tell_events(known[1], rollout, events)


def tell_events(notifier: Notifier, rollout: Rollout, events: Iterable[NewEvent]) -> None:
    """Tell the channels of what happened in a rollout, in one message where it is of one kind.

    A server that is given up may have hundreds of sites.
    """
    notices = (rollout_notice(rollout, event, job_link()) for event in events)
    for _, alike in groupby(filter(None, notices), key=lambda notice: notice.event):
        first, *others = alike
        text = _listed([first.text, *(notice.text for notice in others)])
        notifier.tell(replace(first, text=text))


def rollout_notice(rollout: Rollout, event: NewEvent, link: str) -> Notice | None:
    """Return what is told of an event of a rollout, `None` for what nobody has to hear."""
    body = event.body
    command = f"owc-deploy rollout status {rollout.rollout_id}"

    def notice(kind: NotificationEvent, text: str) -> Notice:
        return Notice(kind, rollout.fleet, rollout.cause, text, command, link)

    match event.kind:
        case "rollout-started":
            return notice(
                "rollout-started",
                f"{len(rollout.sites)} site" + ("s" if len(rollout.sites) != 1 else ""),
            )
        case "ring-ended":
            return notice("ring-ended", f"ring {body['ring']} has ended")
        case "rollout-paused" | "rollout-halted" | "rollout-aborted" as kind:
            return notice(kind, str(body["why"]))
        case "rollout-ended" if body["word"] == "incomplete":
            return notice("rollout-incomplete", "sites were left as they were")
        case "rollout-ended" if body["word"] != "aborted":
            return notice("rollout-ended", f"the rollout is {body['word']}")
        case "site-ended" | "undo-ended" if _is_to_look_into(body, rollout):
            return notice("site-failed", _in_words(event.site, body))
        case "ring-checked":
            problems = body["problems"].items()
            wrong = [
                _in_words(s, found) for s, found in problems if _is_to_look_into(found, rollout)
            ]
            return notice("site-failed", _listed(wrong)) if wrong else None
    return None


def _is_to_look_into(ended: Mapping[str, Any], rollout: Rollout) -> bool:
    """Return whether a turn of a site ended in a way that the rollout leaves to people."""
    is_last = ended.get("given_up") or ended.get("attempt", 0) >= rollout.limits.attempts
    return ended["outcome"] in _WRONG or bool(is_last and ended["outcome"] in PASSING)


def _in_words(site: str, ended: Mapping[str, Any]) -> str:
    return f"{site}: {ended['outcome']}: {ended['message']}"


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
