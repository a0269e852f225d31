"""Which sites have which known vulnerabilities, and until when something has to be done. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from owc_deploy.catalogue.feeds import Statement, Told, Vulnerability
from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.catalogue.resolve import advisories_of
from owc_deploy.fleet.constraints import parse_version
from owc_deploy.fleet.models import Lock, LockedArtefact

# BIO2 8.08.01: where likelihood and damage are both high, within a week. How likely it is that a
# hole is used is not in these feeds, so of the high and critical ones it is taken to be.
URGENT = frozenset({"high", "critical"})
URGENT_DAYS = 7
CATALOGUE = "catalogue"
_ORDER = ("critical", "high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Finding:
    """One vulnerability in one artefact of one site.

    `fixed_in` are the releases that the sources name, `deal_with_by` is a date or empty, `sources`
    tell who says that it is affected. `dismissed` says who decided that it is not, and why. `names`
    are all that the vulnerability is known by.
    """

    site: str
    name: str
    version: str
    vulnerability: str
    severity: str
    summary: str
    fixed_in: tuple[str, ...]
    deal_with_by: str
    sources: tuple[str, ...]
    dismissed: str = ""
    names: tuple[str, ...] = ()

    def is_overdue(self, today: date) -> bool:
        """Return whether the day by which it had to be dealt with is past."""
        by = self.deal_with_by
        return bool(by) and not self.dismissed and date.fromisoformat(by) < today


def findings(
    locks: Mapping[str, Lock],
    catalogue: Catalogue,
    vulnerabilities: Iterable[Vulnerability],
    statements: Iterable[Statement],
) -> tuple[Finding, ...]:
    """Return everything that is known to be wrong with these sites, the most severe first.

    A version is affected when any source says so: they are known to disagree, and the safe side is
    the one that is looked into.
    """
    by_package: dict[str, list[Vulnerability]] = {}
    for vulnerability in vulnerabilities:
        by_package.setdefault(vulnerability.package, []).append(vulnerability)
    said = tuple(statements)
    found = [
        finding
        for site, lock in sorted(locks.items())
        for artefact in lock.artefacts
        for finding in _of_artefact(site, artefact, catalogue, by_package, said)
    ]
    return tuple(sorted(found, key=lambda each: (_rank(each.severity), each.site, each.name)))


def all_names(told: Told, catalogue: Catalogue) -> frozenset[str]:
    """Return the names of every vulnerability that is known of, whatever it affects."""
    ours = (item.identifier for block in catalogue.blocks.values() for item in block.advisories)
    return frozenset([*ours, *(name for each in told.vulnerabilities for name in each.names)])


def _of_artefact(
    site: str,
    artefact: LockedArtefact,
    catalogue: Catalogue,
    by_package: Mapping[str, list[Vulnerability]],
    statements: tuple[Statement, ...],
) -> Iterable[Finding]:
    version = parse_version(artefact.version)
    told: dict[str, list[Vulnerability | Advisory]] = {}
    known: dict[str, str] = {}
    for package in dict.fromkeys((artefact.name, artefact.folder)):
        # Those of many names first: they tell which of the others are one and the same.
        for vulnerability in sorted(by_package.get(package, ()), key=lambda each: -len(each.names)):
            if vulnerability.concerns(version):
                # One hole under several names is one finding.
                name = next((known[n] for n in vulnerability.names if n in known), "")
                name = name or _best(vulnerability.names)
                known.update(dict.fromkeys(vulnerability.names, name))
                told.setdefault(name, []).append(vulnerability)
    for advisory in advisories_of(catalogue, artefact.name, artefact.version):
        told.setdefault(known.get(advisory.identifier, advisory.identifier), []).append(advisory)
    for name, sources in told.items():
        names = frozenset(alias for alias, known_as in known.items() if known_as == name) | {name}
        dismissed = _dismissal(site, artefact, names, statements)
        yield replace(
            _finding(site, artefact, name, sources), dismissed=dismissed, names=tuple(sorted(names))
        )


def _finding(
    site: str,
    artefact: LockedArtefact,
    name: str,
    sources: list[Vulnerability | Advisory],
) -> Finding:
    published = [each for each in sources if isinstance(each, Vulnerability)]
    severity = min((each.severity.lower() for each in sources), key=_rank)
    days = sorted(each.published for each in published if each.published)
    by = ""
    if severity in URGENT and days:
        by = (date.fromisoformat(days[0]) + timedelta(days=URGENT_DAYS)).isoformat()
    return Finding(
        site=site,
        name=artefact.name,
        version=artefact.version,
        vulnerability=name,
        severity=severity,
        summary=next((each.summary for each in sources if each.summary), ""),
        fixed_in=tuple(dict.fromkeys(each for item in published for each in item.fixed_in)),
        deal_with_by=by,
        sources=tuple(
            dict.fromkeys(
                each.source if isinstance(each, Vulnerability) else CATALOGUE for each in sources
            )
        ),
    )


def _dismissal(
    site: str,
    artefact: LockedArtefact,
    names: frozenset[str],
    statements: tuple[Statement, ...],
) -> str:
    block = f"owc:block/{artefact.name}"
    products = {block, f"{block}@{artefact.version}", f"owc:site/{site}"}
    for statement in statements:
        if statement.vulnerability in names and statement.products & products:
            return f"{statement.author}, {statement.at}: {statement.reason}"
    return ""


def _best(names: tuple[str, ...]) -> str:
    return next((name for name in names if name.startswith("CVE-")), names[0])


def _rank(severity: str) -> int:
    return _ORDER.index(severity) if severity in _ORDER else len(_ORDER)
