from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from owc_agent import layout, probe


@pytest.mark.parametrize(
    ("owned", "seen", "same"),
    [
        (1, "1", True),
        (True, "1", True),
        (False, "", True),
        (None, "", True),
        (0, "0", True),
        (0, "", False),
        (1.0, "1", True),
        (-2.0, "-2", True),
        (1.5, "1.5", True),
        (1.5, "1", False),
        (float("inf"), "1", False),
        ("Gemeente 's-Hertogenbosch", "Gemeente &#039;s-Hertogenbosch", True),
        ("Werk & Inkomen", "Werk &amp; Inkomen", True),
        ("Werk & Inkomen", "Werk &lt; Inkomen", False),
        ("a", "b", False),
        ({"a": 1}, {"a": "1", "editor": "x"}, True),
        ({"a": {"b": 1}}, {"a": {"b": "2"}}, False),
        ({"a": 1}, "text", False),
        ([1, 2], ["1", "2"], True),
        ([1, 2], ["2", "1"], False),
        ([], [], True),
    ],
)
def test_options_are_compared_as_wordpress_keeps_them(owned: Any, seen: Any, same: bool) -> None:
    assert probe.same_value(owned, seen) is same


SPECIFICATION = {
    "theme": {"folder": "theme"},
    "options": {"blogname": "Gemeente"},
    "blocks": [{"kind": "plugin", "folder": "a", "main_file": "a.php", "header_version": "1"}],
}
OBSERVED = {"active_plugins": ["a/a.php"], "theme": "theme", "php_fpm": "active", "cron": "active"}


def test_no_drift() -> None:
    assert probe.find_drift(SPECIFICATION, {"blogname": "Gemeente"}, OBSERVED) == []


def test_every_kind_of_drift_is_found() -> None:
    observed = {"active_plugins": ["b/b.php"], "theme": "x", "php_fpm": "failed", "cron": "active"}
    drift = probe.find_drift(SPECIFICATION, {"blogname": "Hacked"}, observed)
    assert [item["what"] for item in drift] == [
        "plugin a/a.php",
        "plugin b/b.php",
        "theme",
        "option blogname",
        "php_fpm",
    ]


@pytest.mark.parametrize(
    ("option", "number"),
    [
        ("60717", 60717),
        (60717, 60717),
        (None, 0),
        ("", 0),
        ("abc", 0),
        ("-1", 0),
        ("1.5", 0),
        ("9" * 5000, 0),
        ("\u0661", 0),
        (["60717"], 0),
        ({"a": 1}, 0),
        (False, 0),
    ],
)
def test_whatever_a_site_keeps_as_its_database_version_is_a_number(
    option: Any, number: int
) -> None:
    assert probe.whole_number(option) == number


RELEASE = "20261123T182200Z-1a2b3c4d"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.SitePaths:
    monkeypatch.setattr(layout, "SITES", str(tmp_path / "sites"))
    monkeypatch.setattr(layout, "RUN", str(tmp_path / "run"))
    paths = layout.SitePaths("voorbeeld")
    release = Path(paths.release(RELEASE))
    release.mkdir(parents=True)
    document = {"specification": SPECIFICATION, "specification_sha256": "a" * 64}
    (release / "release.json").write_text(json.dumps(document))
    Path(paths.current).symlink_to(f"releases/{RELEASE}")
    return paths


OPTIONS = {"active_plugins": ["a/a.php"], "stylesheet": "theme", "blogname": "Gemeente"}
STATES = {"owc-php-fpm@voorbeeld.service": "active", "owc-cron@voorbeeld.timer": "active"}


def test_a_site_as_it_should_be(site: layout.SitePaths) -> None:
    observed = probe.observe_site(site, OPTIONS, "", STATES, "")
    assert observed["release_id"] == RELEASE
    assert observed["specification"] == SPECIFICATION
    assert observed["drift"] == []
    assert observed["transaction"] == ""


@pytest.mark.parametrize(("state", "transaction"), [("active", RELEASE), ("inactive", "")])
def test_what_is_under_way_is_told_apart_from_what_was_killed(
    site: layout.SitePaths, state: str, transaction: str
) -> None:
    Path(site.run).mkdir(parents=True)
    Path(site.job(RELEASE)).touch()
    observed = probe.observe_site(site, OPTIONS, "", {**STATES, site.transaction_unit: state}, "")
    assert observed["transaction"] == transaction


def test_a_site_whose_options_cannot_be_read_says_so_and_nothing_else(
    site: layout.SitePaths,
) -> None:
    observed = probe.observe_site(site, {}, "Unknown column 'option_name'", STATES, "")
    assert observed["specification"] == SPECIFICATION
    assert observed["drift"] == [
        {"what": "probe", "before": "readable", "after": "Unknown column 'option_name'"}
    ]


def test_options_of_another_type_than_expected_are_harmless(site: layout.SitePaths) -> None:
    options = {"active_plugins": "x", "stylesheet": ["theme"], "db_version": {"a": 1}}
    observed = probe.observe_site(site, options, "", STATES, "")
    assert observed["theme"] == ""
    assert observed["database_version"] == 0
    assert observed["active_plugins"] == []


def test_a_damaged_release_is_the_trouble_of_its_own_site(site: layout.SitePaths) -> None:
    whole = probe.observe_site(site, OPTIONS, "", STATES, "")
    damaged = {"specification": {"theme": {}}, "specification_sha256": "a" * 64}
    (Path(site.release(RELEASE)) / "release.json").write_text(json.dumps(damaged))
    observed = probe.observe_site(site, OPTIONS, "", STATES, "")
    assert observed.keys() == whole.keys()
    assert observed["release_id"] == RELEASE
    assert [(item["what"], item["before"]) for item in observed["drift"]] == [("probe", "readable")]


def test_all_are_asked_at_once() -> None:
    asked: list[list[str]] = []

    def ask(names: list[str]) -> dict[str, Any]:
        asked.append(names)
        return dict.fromkeys(names, 1)

    failures: dict[str, str] = {}
    assert probe.ask_each(["a", "b"], ask, failures) == {"a": 1, "b": 1}
    assert asked == [["a", "b"]]
    assert failures == {}
    assert probe.ask_each([], ask, failures) == {}
    assert asked == [["a", "b"]]


@pytest.mark.parametrize("names", [["a", "bad", "c"], ["bad"]])
def test_when_one_cannot_be_read_the_others_still_are(names: list[str]) -> None:
    def ask(some: list[str]) -> dict[str, Any]:
        if "bad" in some:
            raise ValueError("torn")
        return dict.fromkeys(some, 1)

    failures: dict[str, str] = {}
    found = probe.ask_each(names, ask, failures)
    assert sorted(found) == [name for name in names if name != "bad"]
    assert failures == {"bad": "torn"}
