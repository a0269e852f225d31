"""How long it took from knowing of a vulnerability to having it patched, per site. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from owc_deploy.evidence.audit import Finding
from owc_deploy.fleet.models import Lock, Mitigation
from owc_deploy.store.models import RecordedFinding, RecordedOutcome

MITIGATING = ("mitigate", "mitigate apply", "mitigate lift")
RELEASING = ("apply", "rollback", "rollout")
DISMISSED = "dismissed"
SILENT = "not told of any more"
_GOOD = frozenset({"ok", "changed"})


@dataclass(frozen=True, slots=True)
class PatchTime:
    """One vulnerability on one site; times are ISO 8601, empty when not yet.

    `days` counts to when it was patched, or to now. `in_time` says whether the day by which it had
    to be dealt with was kept; `None` where there is none, or that day is yet to come. `standing` is
    that of the finding: where it has one, `days` counts to when it was seen last.
    """

    vulnerability: str
    site: str
    block: str
    severity: str
    first_seen_at: str
    mitigated_at: str
    patched_at: str
    deal_with_by: str
    days: float
    in_time: bool | None
    standing: str


def recorded(found: Iterable[Finding]) -> tuple[RecordedFinding, ...]:
    """Return what is to be remembered of an audit: what nobody dismissed."""
    return tuple(
        RecordedFinding(
            each.site,
            each.name,
            each.vulnerability,
            each.severity,
            each.version,
            each.deal_with_by,
            names=each.names,
        )
        for each in found
        if not each.dismissed
    )


def patched_since(
    known: RecordedFinding,
    found: Iterable[Finding],
    told: frozenset[str] | None,
    lock: Lock | None,
    outcomes: Iterable[RecordedOutcome],
) -> str:
    """Return since when a site no longer has what was found, `""` while it has.

    `told` are the names of all that the sources tell of any version: where they are silent it is
    the feed that changed, not the site; `None` while one of them cannot be had. `outcomes` are
    those of `RELEASING`, newest first. What is live must be as the lock says, in another version
    than the affected one: since the first release with it that no other followed.
    """
    if lock is None or told is None or not known.is_known_as(*told):
        return ""
    if any(_is_of(known, it) for it in found):
        return ""
    version = next((each.version for each in lock.artefacts if each.name == known.block), "")
    if version == known.version:
        return ""
    at = ""
    for each in outcomes:
        if each.site != known.site or each.outcome not in _GOOD:
            continue
        live = each.details.get("versions")
        if (
            not isinstance(live, Mapping)
            or live.get(known.block, "") != version
            or each.run.started_at < known.last_seen_at
        ):
            break
        at = each.run.finished_at or each.run.started_at
    return at


def _is_of(known: RecordedFinding, finding: Finding) -> bool:
    return (finding.site, finding.name) == (known.site, known.block) and (
        known.is_known_as(finding.vulnerability, *finding.names)
    )


def standing(known: RecordedFinding, found: Iterable[Finding], told: frozenset[str] | None) -> str:
    """Return why what was found and not patched is not open either, `""` when it is.

    `told` is `None` while a source cannot be had: then nothing is concluded from its silence.
    """
    if any(each.dismissed and _is_of(known, each) for each in found):
        return DISMISSED
    if told is None:
        return known.standing
    return "" if known.is_known_as(*told) else SILENT


def in_force(
    finding: Finding, mitigations: Iterable[Mitigation], outcomes: Iterable[RecordedOutcome]
) -> tuple[str, bool]:
    """Return what mitigates a finding, and whether its site was seen to refuse.

    A mitigation is of a finding when it names its advisory, or its block.
    """
    newest = next((each for each in outcomes if each.site == finding.site), None)
    closed = (
        newest.details.get("closed", ()) if newest is not None and newest.outcome in _GOOD else ()
    )
    for mitigation in mitigations:
        names = (finding.vulnerability, *finding.names)
        named = mitigation.advisory in names or mitigation.block == finding.name
        if named and mitigation.concerns(finding.site):
            return (mitigation.identifier, mitigation.identifier in closed)
    return ("", False)


def patch_times(
    known: Iterable[RecordedFinding],
    mitigations: Iterable[Mitigation],
    outcomes: Sequence[RecordedOutcome],
    now: datetime,
) -> tuple[PatchTime, ...]:
    """Return how long each took, or takes; `outcomes` are those of `MITIGATING`, newest first.

    `mitigations` are those that there are now; what there was is in the outcomes.
    """
    closed = _closed_over_time(mitigations, outcomes)
    return tuple(
        _patch_time(each, _mitigated_at(each, closed.get(each.site, ())), now) for each in known
    )


@dataclass(frozen=True, slots=True)
class _Closed:
    """From when on these mitigations were in force: the advisory and the block of each."""

    at: str
    about: frozenset[tuple[str, str]]


def _closed_over_time(
    mitigations: Iterable[Mitigation], outcomes: Sequence[RecordedOutcome]
) -> dict[str, list[_Closed]]:
    about = {each.identifier: (each.advisory, each.block) for each in mitigations}
    closed: dict[str, frozenset[str]] = {}
    steps: dict[str, list[_Closed]] = {}
    for outcome in reversed(outcomes):
        made = outcome.details.get("mitigation")
        if made:
            about[made["identifier"]] = (made.get("advisory", ""), made.get("block", ""))
        if "closed" not in outcome.details:
            continue
        told = frozenset(outcome.details["closed"])
        if outcome.outcome not in _GOOD:
            # Not seen to refuse; what it does not name any more is open all the same.
            told &= closed.get(outcome.site, frozenset())
        closed[outcome.site] = told
        at = outcome.run.finished_at or outcome.run.started_at
        of = frozenset(about[identifier] for identifier in told if identifier in about)
        steps.setdefault(outcome.site, []).append(_Closed(at, of))
    return steps


def _mitigated_at(known: RecordedFinding, steps: Sequence[_Closed]) -> str:
    """Return when it was closed first, not before it was seen and not after it was patched."""
    for index, step in enumerate(steps):
        over = any(later.at <= known.first_seen_at for later in steps[index + 1 : index + 2])
        late = known.patched_at and step.at > known.patched_at
        if not over and not late:
            for advisory, block in step.about:
                if known.is_known_as(advisory) or block == known.block:
                    return max(step.at, known.first_seen_at)
    return ""


def _patch_time(known: RecordedFinding, mitigated_at: str, now: datetime) -> PatchTime:
    until = known.patched_at or (known.last_seen_at if known.standing else "")
    end = datetime.fromisoformat(until) if until else now
    in_time: bool | None = None
    if known.deal_with_by and not known.standing:
        kept = end.date() <= date.fromisoformat(known.deal_with_by)
        in_time = kept if known.patched_at or not kept else None
    return PatchTime(
        vulnerability=known.vulnerability,
        site=known.site,
        block=known.block,
        severity=known.severity,
        first_seen_at=known.first_seen_at,
        mitigated_at=mitigated_at,
        patched_at=known.patched_at,
        deal_with_by=known.deal_with_by,
        days=round((end - datetime.fromisoformat(known.first_seen_at)).total_seconds() / 86400, 1),
        in_time=in_time,
        standing=known.standing,
    )
