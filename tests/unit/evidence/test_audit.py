from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from unit.plan import examples

from owc_deploy.catalogue.feeds import Affected, Statement, Vulnerability
from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.evidence.audit import Finding, findings
from owc_deploy.fleet.constraints import parse_version


def hole(*names: str, below: str = "2.0", **more: Any) -> Vulnerability:
    made = Vulnerability(
        names=names or ("CVE-2026-1",),
        package="news",
        affected=(Affected(high=parse_version(below)),),
        fixed_in=(below,),
        severity="high",
        published="2026-11-20",
        summary="news are sent to another",
        source="osv.json",
    )
    return replace(made, **more)


def found(
    *vulnerabilities: Vulnerability,
    statements: tuple[Statement, ...] = (),
    advisories: tuple[Advisory, ...] = (),
) -> tuple[Finding, ...]:
    locks = {"heusden": examples.lock(), "breda": examples.lock("breda", news="2.0.0")}
    news = replace(examples.catalogue().blocks["news"], advisories=advisories)
    catalogue = Catalogue({"news": news}, examples.sha256(2))
    return findings(locks, catalogue, vulnerabilities, statements)


def test_a_site_with_an_affected_version_is_found_and_has_a_week() -> None:
    (finding,) = found(hole())
    assert (finding.site, finding.name, finding.version) == ("heusden", "news", "1.0.0")
    assert (finding.fixed_in, finding.deal_with_by) == (("2.0",), "2026-11-27")
    assert not finding.is_overdue(date(2026, 11, 27))
    assert finding.is_overdue(date(2026, 11, 28))


def test_what_is_not_urgent_has_no_day() -> None:
    assert found(hole(severity="medium"))[0].deal_with_by == ""


def test_the_union_of_all_sources_counts_and_one_hole_is_told_once() -> None:
    sources = (
        hole("OWC-1", "CVE-2026-1"),
        hole("CVE-2026-1", below="2.0.1", source="wordfence.json", severity="critical"),
    )
    both = found(*sources)
    assert [(each.site, each.vulnerability) for each in both] == [
        ("breda", "CVE-2026-1"),
        ("heusden", "CVE-2026-1"),
    ]
    assert both[1].sources == ("osv.json", "wordfence.json")
    assert (both[1].severity, both[1].fixed_in) == ("critical", ("2.0", "2.0.1"))


def test_what_the_catalogue_knows_counts_as_well() -> None:
    advisory = Advisory("CVE-2026-1", "<2", "high", "as the steward says")
    (finding,) = found(hole(), advisories=(advisory,))
    assert finding.sources == ("osv.json", "catalogue")
    (finding,) = found(advisories=(advisory,))
    assert (finding.sources, finding.deal_with_by) == (("catalogue",), "")


def test_wordpress_itself_is_looked_at() -> None:
    (first, _) = found(hole(package="wordpress", below="7.2"))
    assert (first.name, first.version) == ("wordpress", "7.1.1")


def test_a_statement_dismisses_with_author_and_reason() -> None:
    for product in ("owc:block/news", "owc:block/news@1.0.0", "owc:site/heusden"):
        said = Statement("OWC-1", frozenset({product}), "not used", "Gemeente Buren", "2026-11-21")
        (finding,) = found(hole("CVE-2026-1", "OWC-1"), statements=(said,))
        assert finding.dismissed == "Gemeente Buren, 2026-11-21: not used"
        assert not finding.is_overdue(date(2030, 1, 1))
    for product in ("owc:block/other", "owc:block/news@2.0.0", "owc:site/breda"):
        said = Statement("OWC-1", frozenset({product}), "not used", "Gemeente Buren", "2026-11-21")
        (finding,) = found(hole("CVE-2026-1", "OWC-1"), statements=(said,))
        assert finding.dismissed == ""


def test_one_hole_is_one_finding_in_whatever_order_its_names_are_told() -> None:
    both = found(hole("GHSA-1"), hole("CVE-2026-1"), hole("GHSA-1", "CVE-2026-1"))
    assert [(each.vulnerability, each.names) for each in both] == [
        ("CVE-2026-1", ("CVE-2026-1", "GHSA-1"))
    ]
