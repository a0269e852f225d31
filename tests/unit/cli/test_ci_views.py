"""JUnit and Markdown: every site with its own word, and text from elsewhere is only text."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from fakes.fleet import FleetSimulator
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from unit.cli.sessions import session, two_servers
from unit.fleet.fleet_folder import MANIFEST, write_fleet

from owc_deploy.cli.apply import carry_out
from owc_deploy.cli.junit_view import junit
from owc_deploy.cli.main import run
from owc_deploy.cli.markdown_view import (
    MAXIMUM_LENGTH,
    code,
    outcomes_markdown,
    plan_markdown,
)
from owc_deploy.cli.plan import planned, show_plan
from owc_deploy.cli.rows import Row, Verdict, rows_of_plan
from owc_deploy.cli.view import plain
from owc_deploy.plan.models import Change, Plan, PlannedMigration, ServerPlan, SitePlan

OURS = {
    *("h3", "h4", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "ul", "li", "strong"),
    *("details", "summary"),
}


class Rendered(html.parser.HTMLParser):
    """What a forge would show of a document: its elements, and the text in each code element."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.codes: list[str] = []
        self.outside = ""
        self.open: list[str] = []
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(document))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.open.append(tag)
        if tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "code" in self.open:
            self.codes[-1] += data
        else:
            self.outside += data


def rendered(document: str) -> Rendered:
    found = Rendered(document)
    assert found.tags <= OURS
    assert found.attributes == []
    assert found.open == []
    return found


HOSTILE = [
    "@burgemeester look",
    "#1 !2 ~label $3 %4 &5 owner/repo#6",
    "/close",
    "| a | b |",
    "\\| a \\\\| b",
    "`` ` ```",
    "</code><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[log](https://elsewhere.example) ![x](https://elsewhere.example/x.png)",
    "https://elsewhere.example www.elsewhere.example a@b.example",
    "<!-- owc-deploy plan --> </details></summary>",
    "# heading\n\n- list\n\n```\nfence\n```\n---\n/merge",
    ":smile: **bold** _em_ ~~gone~~ &lt;b&gt; &#64;all",
    "\u202eback \x1b[31m \x00 \u2028",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(text: str) -> None:
    document = f"before\n\n| {code(text)} | x |\n|---|---|\n| {code(text)} | {code('x')} |\n"
    found = rendered(document)
    shown = plain(text)
    assert found.codes == [shown, shown, "x"]
    # What a forge looks for in the source, before it is Markdown to it.
    assert not re.search(r"[@#!~$:&`\\<>\[\]*_|](?!\d)", code(text)[6:-7].replace("&#", ""))
    assert "www." not in code(text)


@given(st.text(min_size=1, max_size=200))
def test_any_text_is_only_text(text: str) -> None:
    found = rendered(f"| a | b |\n|---|---|\n| {code(text)} | {code('x')} |\n")
    shown = plain(text)
    assert found.codes[-1] == "x"
    assert [each.strip() for each in found.codes[:-1]] == ([shown.strip()] if shown.strip() else [])


def test_a_long_text_is_cut() -> None:
    assert code("x" * 1000) == f"<code>{'x' * 299}\N{HORIZONTAL ELLIPSIS}</code>"


def parsed(document: str) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314  our own


def changes(number: int) -> tuple[Change, ...]:
    return tuple(
        Change(f"option o{index}", None, f"<{index}>|", "the manifest") for index in range(number)
    )


def a_plan(*sites: SitePlan, servers: tuple[ServerPlan, ...] = ()) -> Plan:
    return Plan("a" * 64, "2026-11-23T18:22:00+00:00", "voorbeeld", {}, servers, sites)


SITES = (
    SitePlan("altena", "web1", "canary", "none"),
    SitePlan(
        "heusden",
        "web1",
        "canary",
        "update",
        (Change("block openwoo", "4.2.1", "4.3.0", "the lock"),),
        migrations=(PlannedMigration("openwoo", "4.2.1", "4.3.0", (("x",),), reversible=False),),
        warnings=("the guarantee of openwoo ends on 2026-12-31",),
    ),
    SitePlan("oss", "web2", "all", "held", reason="the lock is older than the manifest"),
    SitePlan("vught", "web2", "all", "not-attempted", reason="web2 did not answer"),
    SitePlan("zeist", "web1", "all", "not-attempted", reason="it is live on web3"),
    SitePlan("best", "web1", "all", "create", changes(9)),
)
SERVERS = (
    ServerPlan("web1", "provision", "its roles changed"),
    ServerPlan("web2", "unreachable", "no route to host"),
)


def test_a_plan_says_what_changes_and_first_what_needs_a_person() -> None:
    document = plan_markdown(a_plan(*SITES, servers=SERVERS))
    found = rendered(document)
    headings = [line for line in document.splitlines() if line.startswith("#### ")]
    assert [re.sub(r"</?code>", "", line) for line in headings] == [
        "#### held: oss on web2, ring all",
        "#### not-attempted: vught on web2, ring all",
        "#### not-attempted: zeist on web1, ring all",
        "#### update: heusden on web1, ring canary",
        "#### create: best on web1, ring all",
    ]
    assert "1 create, 1 held, 2 not-attempted, 1 unchanged, 1 update." in document
    assert {"block openwoo", "4.2.1", "4.3.0", "the lock"} <= set(found.codes)
    assert "the way back is a restore of the database" in found.outside
    assert "9 changes" in found.outside
    assert document.count("<details>") == 1
    assert "is not reached" in found.outside


def test_a_document_is_cut_before_it_is_too_long() -> None:
    sites = [
        SitePlan(f"site-{number}", "web1", "all", "update", changes(8)) for number in range(200)
    ]
    document = plan_markdown(a_plan(*sites))
    rendered(document)
    assert len(document) <= MAXIMUM_LENGTH + 100
    shown = document.count("#### ")
    assert document.endswith(f"\n{200 - shown} more are in the log of the job.\n")
    one = plan_markdown(a_plan(SitePlan("huge", "web1", "all", "update", changes(5000))))
    assert "and 4950 more" in one


ROWS = [
    Row("altena", "web1", "canary", "ok", seconds=0.2),
    Row("heusden", "web1", "canary", "changed", seconds=1.9),
    Row("oss", "web2", "all", "rolled-back", "the page / answers <500>\x00", 8.0),
    Row("vught", "web2", "all", "unreachable", "no route to host"),
    Row("zeist", "web2", "all", "not-attempted", "the rollout halted"),
    Row("", "web2", "", "failed", "apt is locked"),
]


def test_outcomes_begin_with_what_went_wrong() -> None:
    document = outcomes_markdown("Applied", ROWS)
    found = rendered(document)
    names = [text for text in found.codes if text in {row.name for row in ROWS}]
    assert names == ["oss", "server web2", "vught", "zeist", "heusden"]
    assert "**rolled-back**" in document
    assert "1 changed, 1 failed, 1 not-attempted, 1 ok, 1 rolled-back, 1 unreachable." in document


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        ("ok", "passed"),
        ("changed", "passed"),
        ("update", "passed"),
        ("failed", "failed"),
        ("rolled-back", "failed"),
        ("unreachable", "error"),
        ("busy", "error"),
        ("inconclusive", "error"),
        ("not-attempted", "skipped"),
        ("held", "skipped"),
        ("a word of tomorrow", "error"),
    ],
)
def test_what_ci_makes_of_a_word(outcome: str, verdict: Verdict) -> None:
    assert Row("s", "w", "r", outcome).verdict == verdict


def test_junit_has_a_case_for_each_site() -> None:
    document = parsed(junit("apply", ROWS))
    assert [suite.get("name") for suite in document] == ["ring canary", "ring all", "servers"]
    counts = {"tests": "6", "failures": "2", "errors": "1", "skipped": "1", "time": "10.1"}
    assert document.attrib == {"name": "owc-deploy apply", **counts}
    cases = {case.get("name"): case for case in document.iter("testcase")}
    assert list(cases) == ["altena", "heusden", "oss", "vught", "zeist", "server web2"]
    failure = cases["oss"].find("failure")
    assert failure is not None
    assert failure.attrib == {"message": "the page / answers <500>\ufffd", "type": "rolled-back"}
    assert cases["vught"].find("error") is not None
    assert cases["zeist"].find("skipped") is not None
    assert [child.tag for child in cases["heusden"]] == ["system-out"]


@given(st.text(max_size=100))
def test_junit_can_be_read_whatever_a_server_says(text: str) -> None:
    row = Row("oss", "web2", "all", "failed", text, details=text)
    (case,) = parsed(junit("apply", [row])).iter("testcase")
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == plain(text or "failed")


def test_a_plan_that_cannot_be_made_is_an_error() -> None:
    rows = rows_of_plan(a_plan(*SITES, servers=SERVERS))
    assert [(row.name, row.outcome, row.verdict) for row in rows] == [
        ("server web1", "provision", "passed"),
        ("server web2", "unreachable", "error"),
        ("altena", "none", "passed"),
        ("heusden", "update", "passed"),
        ("oss", "held", "skipped"),
        ("vught", "unreachable", "error"),
        ("zeist", "inconclusive", "error"),
        ("best", "create", "passed"),
    ]
    assert "block openwoo: 4.2.1 -> 4.3.0" in rows[3].details


@pytest.fixture
def servers() -> FleetSimulator:
    return FleetSimulator(["web1", "web2"])


def test_apply_and_plan_speak_each_format(
    tmp_path: Path, servers: FleetSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = session(two_servers(tmp_path), servers)
    plan = planned(opened, (), ())
    for output_format in ("junit", "markdown"):
        capsys.readouterr()
        show_plan(plan, "plan", output_format)
        said = capsys.readouterr().out
        if output_format == "junit":
            assert parsed(said).get("tests") == "4"
        else:
            assert {"altena", "heusden"} <= set(rendered(said).codes)
    servers.script("heusden", "rolled-back", "broken")
    options = {"yes": True, "reason": "", "take_over": False}
    assert carry_out(opened, plan, output_format="junit", **options) == 1
    document = parsed(capsys.readouterr().out)
    assert (document.get("failures"), document.get("errors")) == ("1", "0")
    again = planned(session(two_servers(tmp_path), servers), (), ())
    assert carry_out(opened, again, output_format="markdown", **options) == 0
    assert "1 changed, 1 ok." in capsys.readouterr().out


def test_validate_speaks_each_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_fleet(tmp_path, {"sites/voorbeeld.yml": MANIFEST.replace("canary", "@canary|")})
    assert run(["validate", "--fleet", str(root), "--format", "json"]) == 3
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert run(["validate", "--fleet", str(root), "--format", "junit"]) == 3
    document = parsed(capsys.readouterr().out)
    assert document.get("failures") == str(len(problems)) != "0"
    assert run(["validate", "--fleet", str(root), "--format", "markdown"]) == 3
    found = rendered(capsys.readouterr().out)
    assert f"sites/voorbeeld.yml:{problems[0]['line']}" in found.codes
    good = write_fleet(tmp_path / "good")
    for output_format in ("junit", "markdown"):
        assert run(["validate", "--fleet", str(good), "--format", output_format]) == 0
        assert "1 site" in capsys.readouterr().out


def test_nothing_to_do_is_said() -> None:
    assert "1 unchanged." in plan_markdown(a_plan(replace(SITES[0])))
    assert "no sites." in outcomes_markdown("Applied", [])
