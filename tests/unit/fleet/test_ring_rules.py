"""Rings: what is refused, with its place and what to write; and that no site is in two or lost."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.fleet.fleet_folder import FLEET, MANIFEST, manifest, write_fleet

from owc_deploy.errors import Problem
from owc_deploy.fleet.documents import Document
from owc_deploy.fleet.load import check_fleet
from owc_deploy.fleet.ring_rules import site_findings

RINGS = """\
  - name: pilot
    labels: {stage: pilot}
    waves: [1, 25%]
    soak_minutes: 60
    failure_budget: {unreachable: 10%}
    undo_since: canary
  - name: woo-pilot
    labels: {stage: pilot, kind: woo}
"""


def problems(root: Path, rings: str = RINGS, site: str = MANIFEST) -> tuple[Problem, ...]:
    files = {"fleet.yml": FLEET + rings, "sites/voorbeeld.yml": site}
    return check_fleet(write_fleet(root, files))[1]


# What is replaced in fleet.yml, by what, the problem's reference, its place, its line, words in the
# message and in the suggestion.
FLEET_ROWS = [
    ("woo-pilot", "canary", "duplicate-ring", "rings[3].name", 13, "listed twice", "list it once"),
    (
        "{stage: pilot, kind: woo}",
        "{stage: pilot}",
        "duplicate-labels",
        "rings[3].labels",
        14,
        "`pilot` has the same labels",
        "other labels",
    ),
    (
        "undo_since: canary",
        "undo_since: canry",
        "unknown-ring",
        "rings[2].undo_since",
        12,
        "not a ring",
        "canary",
    ),
    (
        "undo_since: canary",
        "undo_since: zzz",
        "unknown-ring",
        "rings[2].undo_since",
        12,
        "not a ring",
        "one of: canary, everyone, pilot",
    ),
    (
        "undo_since: canary",
        "undo_since: woo-pilot",
        "later-ring",
        "rings[2].undo_since",
        12,
        "`woo-pilot` comes after `pilot`",
        "one of: canary, everyone, pilot",
    ),
    ("[1, 25%]", "[0]", "out-of-range", "rings[2].waves[0]", 9, "at least 1", ""),
    ("[1, 25%]", "[0%]", "format", "rings[2].waves[0]", 9, "from 1% to 100%", ""),
    ("[1, 25%]", "[101%]", "format", "rings[2].waves[0]", 9, "from 1% to 100%", ""),
    ("[1, 25%]", "[1, half]", "format", "rings[2].waves[1]", 9, "from 1% to 100%", ""),
    ("[1, 25%]", "[2.5]", "type", "rings[2].waves[0]", 9, "a whole number or text", ""),
    ("[1, 25%]", "25%", "type", "rings[2].waves", 9, "a list", ""),
    ("60", "43201", "out-of-range", "rings[2].soak_minutes", 10, "at most 43200", ""),
    ("10%", "101%", "format", "rings[2].failure_budget.unreachable", 11, "0% to 100%", ""),
    ("10%", "-1", "out-of-range", "rings[2].failure_budget.unreachable", 11, "at least 0", ""),
    (
        "unreachable",
        "unreachabel",
        "unknown-key",
        "rings[2].failure_budget.unreachabel",
        11,
        "",
        "unreachable",
    ),
    ("stage: pilot}", "stage: }", "empty", "rings[2].labels.stage", 8, "text", ""),
    ("stage: pilot}", "Stage: pilot}", "name", "rings[2].labels.Stage", 8, "lower-case", ""),
]


@pytest.mark.parametrize(
    ("old", "new", "reference", "path", "line", "words", "instead"), FLEET_ROWS
)
def test_what_is_refused_of_rings(
    tmp_path: Path,
    old: str,
    new: str,
    reference: str,
    path: str,
    line: int,
    words: str,
    instead: str,
) -> None:
    (problem,) = problems(tmp_path, RINGS.replace(old, new, 1))
    assert (problem.reference, problem.path, problem.line) == (reference, path, line)
    assert words in problem.message
    assert instead in problem.suggestion


@pytest.mark.parametrize("since", ["canary", "everyone", "pilot"])
def test_what_was_changed_since_this_ring_or_an_earlier_one_can_be_undone(
    tmp_path: Path, since: str
) -> None:
    assert problems(tmp_path, RINGS.replace("since: canary", f"since: {since}")) == ()


def labelled(*, ring: str = "", **labels: str) -> str:
    named = f"ring: {ring}\n" if ring else ""
    return manifest(ring=f"{named}labels: {json.dumps(labels)}")


# What the manifest says, the problem's reference, its place, its line, words in the message, and
# the suggestion.
SITE_ROWS = [
    (
        labelled(stage="late"),
        "no-ring",
        "",
        1,
        "this production site is in no ring",
        "ring: woo-pilot, or one of: canary, everyone, pilot",
    ),
    (
        labelled(ring="canary", stage="pilot"),
        "several-rings",
        "ring",
        10,
        "may be in one: `canary`, which it names, `pilot`, whose labels it has (stage: pilot)",
        "leave out `ring` or the label `stage`",
    ),
    (
        labelled(kind="woo", stage="pilot"),
        "several-rings",
        "labels",
        10,
        "`woo-pilot`, whose labels it has (stage: pilot, kind: woo)",
        "leave out the label `kind`",
    ),
    (
        labelled(ring="canary", kind="woo", stage="pilot"),
        "several-rings",
        "ring",
        10,
        "in 3 rings",
        "leave out the label `stage`",
    ),
    (labelled(ring="canry", stage="pilot"), "unknown-ring", "ring", 10, "not a ring", "canary"),
]


@pytest.mark.parametrize(("site", "reference", "path", "line", "words", "instead"), SITE_ROWS)
def test_what_is_refused_of_a_site(
    tmp_path: Path, site: str, reference: str, path: str, line: int, words: str, instead: str
) -> None:
    (problem,) = problems(tmp_path, site=site)
    assert (problem.reference, problem.path, problem.line) == (reference, path, line)
    assert words in problem.message
    assert problem.suggestion == instead


@pytest.mark.parametrize("environment", ["acceptance", "test"])
def test_only_production_has_to_be_in_a_ring(tmp_path: Path, environment: str) -> None:
    site = labelled().replace("production", environment)
    assert problems(tmp_path, site=site) == ()
    site = labelled(kind="woo", stage="pilot").replace("production", environment)
    (problem,) = problems(tmp_path, site=site)
    assert problem.reference == "several-rings"


@pytest.mark.parametrize(
    ("rings", "site", "references"),
    [
        (RINGS.replace("kind: woo", "kind: [woo]"), labelled(stage="pilot"), ["type"]),
        (RINGS.replace("labels:", "label:", 1), labelled(stage="pilot"), ["unknown-key"]),
        (RINGS.replace("name: pilot", "weight: 1"), labelled(), ["missing-key", "unknown-key"]),
        (RINGS, manifest(ring="ring: Canary"), ["format"]),
        (RINGS, manifest(ring="ring:"), ["empty"]),
        (RINGS, manifest(ring="labels: {stage: [pilot]}"), ["type"]),
        (RINGS, manifest(ring="labels: pilot"), ["type"]),
        (RINGS, labelled(a="b").replace("production", "prod"), ["not-allowed"]),
    ],
)
def test_one_mistake_is_one_problem(
    tmp_path: Path, rings: str, site: str, references: list[str]
) -> None:
    assert sorted(one.reference for one in problems(tmp_path, rings, site)) == references


# No production site is in two rings or in none ---------------------------------------------------

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y"]), max_size=3)
NAMES = ("one", "two", "three")
FLEETS = st.lists(LABELS, min_size=1, max_size=3).map(
    lambda selectors: [
        {"name": name, "labels": labels} for name, labels in zip(NAMES, selectors, strict=False)
    ]
)
SITES = st.fixed_dictionaries(
    {"environment": st.sampled_from(["production", "acceptance", "test"]), "labels": LABELS},
    optional={"ring": st.sampled_from(NAMES)},
)


def memberships(site: dict[str, Any], rings: list[dict[str, Any]]) -> list[str]:
    """Say in other words than the code which rings a site is in."""
    chosen = [
        ring["name"]
        for ring in rings
        if ring["labels"] and {**site["labels"], **ring["labels"]} == site["labels"]
    ]
    return sorted({*chosen, *([site["ring"]] if "ring" in site else [])})


@settings(max_examples=150, deadline=None)
@given(rings=FLEETS, site=SITES)
def test_in_a_good_fleet_every_production_site_is_in_exactly_one_ring(
    rings: list[dict[str, Any]], site: dict[str, Any]
) -> None:
    fleet = {**yaml.safe_load(FLEET), "rings": rings}
    written = {**yaml.safe_load(manifest(php='php: "8.2"')), **site}
    if "ring" not in site:
        del written["ring"]
    files = {"fleet.yml": json.dumps(fleet), "sites/voorbeeld.yml": json.dumps(written)}
    with tempfile.TemporaryDirectory() as folder:
        loaded, found = check_fleet(write_fleet(Path(folder), files))
    references = {problem.reference for problem in found}
    where = memberships(site, rings)
    if "unknown-ring" not in references:
        wanted = [1] if site["environment"] == "production" else [0, 1]
        assert (len(where) in wanted) == references.isdisjoint({"no-ring", "several-rings"})
    if loaded is not None:
        assert [loaded.manifests["voorbeeld"].ring] == (where or [""])


@settings(max_examples=100, deadline=None)
@given(rings=FLEETS, site=SITES)
def test_doing_what_is_suggested_leaves_one_ring(
    rings: list[dict[str, Any]], site: dict[str, Any]
) -> None:
    fleet = Document(Path("fleet.yml"), b"", {"rings": rings})
    for finding in site_findings([Document(Path("x.yml"), b"", dict(site))], fleet):
        words = finding.suggestion  # of several ways out, the first is taken
        if finding.reference == "no-ring":
            better = {**site, "ring": words.removeprefix("ring: ").split(",")[0]}
        elif words.startswith("leave out `ring`"):
            better = {key: value for key, value in site.items() if key != "ring"}
        elif words.startswith("leave out the label"):
            left_out = words.split("`")[1]
            labels = {key: value for key, value in site["labels"].items() if key != left_out}
            better = {**site, "labels": labels}
        else:
            continue
        assert not list(site_findings([Document(Path("x.yml"), b"", better)], fleet))
