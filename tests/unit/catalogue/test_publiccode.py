"""publiccode files that are wrong in every way that was seen, and bytes that are no file at all."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.catalogue.catalogues import block, catalogue, release

from owc_deploy.catalogue.publiccode import corrected, hints_of, judge
from owc_deploy.fleet.yaml_reader import MAXIMUM_BYTES

FILE = Path("publiccode.yml")
GOOD = f"""\
publiccodeYmlVersion: "0.4"
name: Voorbeeldblok
url: https://github.com/OpenWebconcept/plugin-voorbeeld
softwareVersion: 1.2.0
releaseDate: 2026-06-01
platforms: [web]
developmentStatus: stable
softwareType: addon
description:
  nl:
    shortDescription: Een blok dat er alleen in tests is.
    longDescription: "{"Een blok. " * 20}"
    features: [niets]
legal:
  license: EUPL-1.2
  mainCopyrightOwner: Gemeente Buren
maintenance:
  type: contract
  contacts:
    - name: Webbeheer
      email: webbeheer@buren.example
  contractors:
    - name: Leverancier B.V.
      until: 2027-12-31
localisation:
  localisationReady: true
  availableLanguages: [nl]
dependsOn:
  open:
    - name: WordPress
      versionMin: "6.7"
"""
OFFERED = catalogue(
    block(
        "voorbeeld",
        release("1.0", source="https://github.com/openwebconcept/plugin-voorbeeld.git"),
        licence="GPL-3.0-or-later",
    )
)


def test_a_good_file() -> None:
    judged = judge(FILE, GOOD.encode())
    assert judged.problems == ()
    hints = hints_of(judged.data)
    assert hints.details == {
        "title": "Voorbeeldblok",
        "licence": "EUPL-1.2",
        "support": "webbeheer@buren.example",
        "source": "https://github.com/OpenWebconcept/plugin-voorbeeld",
    }
    assert hints.contracts_until == (("Leverancier B.V.", "2027-12-31"),)


@pytest.mark.parametrize(
    ("before", "after", "line", "path", "reference"),
    [
        ("name: Voorbeeldblok\n", "", 1, "", "missing-key"),
        ("  license: EUPL-1.2\n", "", 14, "legal", "missing-key"),
        ("license: EUPL-1.2", "license: EUPL", 15, "legal.license", "licence"),
        ("license: EUPL-1.2", "license: 12", 15, "legal.license", "licence"),
        ("platforms: [web]", "platforms: web", 6, "platforms", "type"),
        ("developmentStatus: stable", "developmentStatus: Production", 7, "developmentStatus", ""),
        ("softwareType: addon", "softwareType: softwareAddon", 8, "softwareType", ""),
        ("localisationReady: true", "localisationReady: maybe", 0, "localisation.", "type"),
        ("  mainCopyrightOwner: Gemeente Buren\n", "", 14, "legal", "no-owner"),
        ("      until: 2027-12-31\n", "", 23, "maintenance.contractors[0]", "missing-key"),
        ("      until: 2027-12-31\n", "", 17, "maintenance", "no-end-of-support"),
        ("2027-12-31", "2027-02-31", 24, "maintenance.contractors[0].until", "date"),
        ("2027-12-31", "eind 2027", 24, "maintenance.contractors[0].until", ""),
        ("releaseDate: 2026-06-01", "releaseDate: 1-6-2026", 5, "releaseDate", ""),
        ("      versionMin", "    - versionMin", 0, "dependsOn.open[1]", "missing-key"),
        ("url: https://", "url: git@", 3, "url", ""),
        ("Een blok. " * 20, "Kort.", 12, "description.nl.longDescription", "too-short"),
        ("name: Voorbeeldblok", "name: a\nname: b", 3, "name", ""),
        ("name: Voorbeeldblok", "name: a: b", 2, "", "yaml"),
    ],
)
def test_what_is_wrong(before: str, after: str, line: int, path: str, reference: str) -> None:
    assert before in GOOD
    problems = judge(FILE, GOOD.replace(before, after, 1).encode()).problems
    assert any(
        problem.path.startswith(path)
        and reference in problem.reference
        and line in {0, problem.line}
        and problem.column > 0
        for problem in problems
    ), problems


def test_nobody_to_turn_to() -> None:
    begin, end = GOOD.index("  contacts:"), GOOD.index("localisation:")
    problems = judge(FILE, (GOOD[:begin] + GOOD[end:]).encode()).problems
    assert {problem.reference for problem in problems} == {
        "no-maintainer",
        "no-end-of-support",
        "no-contractor",
    }


def test_another_licence_than_the_catalogue() -> None:
    (problem,) = judge(FILE, GOOD.encode(), OFFERED).problems
    assert (problem.reference, problem.line) == ("other-licence", 15)
    assert "GPL-3.0-or-later of voorbeeld" in problem.message


def test_tabs_are_named_and_become_spaces() -> None:
    tabbed = GOOD.replace("    - name: WordPress", "\t\t- name: WordPress").replace(
        "      versionMin", "\t\t\tversionMin"
    )
    judged = judge(FILE, tabbed.encode())
    assert [(p.line, p.column, p.reference) for p in judged.problems] == [
        (30, 1, "tab"),
        (31, 1, "tab"),
    ]
    assert judged.data["dependsOn"] == {"open": [{"name": "WordPress", "versionMin": "6.7"}]}
    text = corrected(judged)
    assert text is not None
    assert "\t" not in text
    assert judge(FILE, text.encode()).problems == ()


def test_tabs_that_could_mean_two_things_are_left() -> None:
    judged = judge(FILE, b"legal:\n  license:\n\trepoOwner: x\n")
    assert {problem.reference for problem in judged.problems} == {"tab"}
    assert "only its author" in judged.problems[0].suggestion
    assert corrected(judged) is None


def test_keys_come_in_order_and_what_is_missing_is_said() -> None:
    lines = GOOD.replace("name: Voorbeeldblok\n", "").splitlines()
    moved = "\n".join((*lines[12:15], "# of old", *lines[:12], *lines[15:])) + "\n"
    text = corrected(judge(FILE, moved.encode()))
    assert text is not None
    assert text.startswith("# Still to be said or mended, by who knows it:\n#   line 1: `name`")
    keys = [line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()]
    assert keys[:2] == ["publiccodeYmlVersion", "url"]
    assert keys.index("legal") == keys.index("description") + 1
    assert "# of old" in text
    assert judge(FILE, text.encode()).data == judge(FILE, moved.encode()).data


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"- a\n",
        b"just text",
        BOMB.encode(),
        b"[" * 100_000,
        b"a: " * 1000,
        b"name: " + b"x" * (MAXIMUM_BYTES + 1),
        b"name: 'a\n",
        b"name: \x1b[31m\n",
        b"name: !!python/object:os.system x\n",
        b"---\nname: a\n---\nname: b\n",
    ],
)
def test_what_is_refused(raw: bytes) -> None:
    judged = judge(FILE, raw)
    assert judged.problems
    assert all("\x1b" not in problem.message for problem in judged.problems)
    corrected(judged)


_PIECES = st.sampled_from(
    [*GOOD.splitlines(keepends=True), "\t", "\n", "  ", "- ", ": ", "&a ", "*a", "'", '"', "{", "]"]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=30).map("".join)))
def test_no_bytes_break_it(content: Any) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    judged = judge(FILE, raw, OFFERED)
    hints_of(judged.data)
    text = corrected(judged)
    if text is not None:
        assert judge(FILE, text.encode()).data == judged.data
