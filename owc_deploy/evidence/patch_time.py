"""How long it took from knowing of a vulnerability to having it patched, per site. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from owc_deploy.evidence.audit import Finding
from owc_deploy.fleet.models import Lock, Mitigation
from owc_deploy.store.models import RecordedFinding, RecordedOutcome

MITIGATING = ("mitigate", "mitigate apply", "mitigate lift")
RELEASING = ("apply", "rollback")
_GOOD = frozenset({"ok", "changed"})


@dataclass(frozen=True, slots=True)
class PatchTime:
    """One vulnerability on one site; times are ISO 8601, empty when not yet.

    `days` counts to when it was patched, or to now. `in_time` says whether the day by which it had
    to be dealt with was kept; `None` where there is none, or that day is yet to come.
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


def recorded(found: Iterable[Finding]) -> tuple[RecordedFinding, ...]:
    """Return what is to be remembered of an audit: what nobody dismissed."""
    return tuple(
        RecordedFinding(
            each.site, each.name, each.vulnerability, each.severity, each.version, each.deal_with_by
        )
        for each in found
        if not each.dismissed
    )


def patched_since(
    known: RecordedFinding,
    found: Iterable[Finding],
    told: frozenset[str],
    lock: Lock | None,
    outcomes: Iterable[RecordedOutcome],
) -> str:
    """Return since when a site no longer has what was found, `""` while it has.

    `told` are the names of all that the sources tell of any version: where they are silent it is
    the feed that changed, not the site. `outcomes` are those of `RELEASING`, newest first. What is
    live must be as the lock says, in another version than the affected one: since the first
    release with it that no other followed.
    """
    if lock is None or known.vulnerability not in told or any(_is_of(known, it) for it in found):
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
        known.vulnerability == finding.vulnerability or known.vulnerability in finding.names
    )


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
        named = mitigation.advisory == finding.vulnerability or mitigation.block == finding.name
        if named and mitigation.concerns(finding.site):
            return (mitigation.identifier, mitigation.identifier in closed)
    return ("", False)


def patch_times(
    known: Iterable[RecordedFinding], outcomes: Iterable[RecordedOutcome], now: datetime
) -> tuple[PatchTime, ...]:
    """Return how long each took, or takes; `outcomes` are those of `MITIGATING`, newest first."""
    first: dict[tuple[str, str], str] = {}
    for outcome in outcomes:
        mitigation = outcome.details.get("mitigation") or {}
        if outcome.run.verb == "mitigate" and outcome.outcome in _GOOD:
            for name in (mitigation.get("advisory"), mitigation.get("block")):
                if name:
                    first[outcome.site, str(name)] = outcome.run.started_at
    return tuple(_patch_time(each, first, now) for each in known)


def _patch_time(
    known: RecordedFinding, mitigated: Mapping[tuple[str, str], str], now: datetime
) -> PatchTime:
    end = datetime.fromisoformat(known.patched_at) if known.patched_at else now
    in_time: bool | None = None
    if known.deal_with_by:
        kept = end.date() <= date.fromisoformat(known.deal_with_by)
        in_time = kept if known.patched_at or not kept else None
    names = (known.vulnerability, known.block)
    return PatchTime(
        vulnerability=known.vulnerability,
        site=known.site,
        block=known.block,
        severity=known.severity,
        first_seen_at=known.first_seen_at,
        mitigated_at=next(
            (mitigated[known.site, name] for name in names if (known.site, name) in mitigated), ""
        ),
        patched_at=known.patched_at,
        deal_with_by=known.deal_with_by,
        days=round((end - datetime.fromisoformat(known.first_seen_at)).total_seconds() / 86400, 1),
        in_time=in_time,
    )
