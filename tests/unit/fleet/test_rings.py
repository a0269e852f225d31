"""Rings: how shares are rounded, what fleet.yml says of them, and which one a site is in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.fleet.fleet_folder import FLEET, manifest, write_fleet

from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import FailureBudget, Ring, RolloutLimits, Share
from owc_deploy.fleet.rings import rings_of

SHARES = st.builds(Share, st.integers(0, 100), st.booleans())


@pytest.mark.parametrize(
    ("share", "sites", "wave", "allowance"),
    [
        (Share(3), 10, 3, 3),
        (Share(3), 2, 2, 2),
        (Share(3), 0, 1, 0),
        (Share(0), 10, 1, 0),
        (Share(25, is_percentage=True), 10, 3, 2),
        (Share(25, is_percentage=True), 8, 2, 2),
        (Share(25, is_percentage=True), 3, 1, 0),
        (Share(25, is_percentage=True), 0, 1, 0),
        (Share(1, is_percentage=True), 300, 3, 3),
        (Share(1, is_percentage=True), 301, 4, 3),
        (Share(100, is_percentage=True), 7, 7, 7),
    ],
)
def test_shares_of_a_ring(share: Share, sites: int, wave: int, allowance: int) -> None:
    assert (share.rounded_up(sites), share.rounded_down(sites)) == (wave, allowance)


@given(share=SHARES, sites=st.integers(1, 10_000))
def test_a_share_keeps_within_the_ring(share: Share, sites: int) -> None:
    assert 1 <= share.rounded_up(sites) <= sites
    assert 0 <= share.rounded_down(sites) <= sites
    assert share.rounded_down(sites) <= share.rounded_up(sites)


def test_a_share_is_written_as_in_the_documents() -> None:
    assert str(Share(3)) == "3"
    assert str(Share(25, is_percentage=True)) == "25%"


RINGS = (
    Ring("canary"),
    Ring("pilot", {"stage": "pilot"}),
    Ring("woo-pilot", {"stage": "pilot", "kind": "woo"}),
)


@pytest.mark.parametrize(
    ("ring", "labels", "rings"),
    [
        ("", {}, ()),
        ("canary", {}, ("canary",)),
        ("elsewhere", {}, ()),
        ("pilot", {}, ("pilot",)),
        ("pilot", {"stage": "pilot"}, ("pilot",)),
        ("", {"stage": "pilot"}, ("pilot",)),
        ("", {"stage": "late"}, ()),
        ("", {"kind": "woo"}, ()),
        ("", {"kind": "woo", "stage": "pilot"}, ("pilot", "woo-pilot")),
        ("canary", {"stage": "pilot"}, ("canary", "pilot")),
    ],
)
def test_a_site_is_in_the_ring_it_names_and_in_those_that_choose_it(
    ring: str, labels: dict[str, str], rings: tuple[str, ...]
) -> None:
    assert rings_of(ring, labels, RINGS) == rings


WRITTEN = """\
  - name: pilot
    labels: {stage: pilot, weight: 8.10}
    waves: [1, 5, 25%]
    soak_minutes: 1440
    failure_budget: {failed: 1, unreachable: 10%}
    undo_since: canary
rollouts:
  sites_at_once: 4
  sites_at_once_per_supplier: 2
"""


def test_rings_become_the_values_they_describe(tmp_path: Path) -> None:
    settings = load_fleet(write_fleet(tmp_path, {"fleet.yml": FLEET + WRITTEN})).settings
    assert settings.rings == (
        Ring("canary"),
        Ring("everyone"),
        Ring(
            "pilot",
            labels={"stage": "pilot", "weight": "8.10"},
            waves=(Share(1), Share(5), Share(25, is_percentage=True)),
            soak_minutes=1440,
            failure_budget=FailureBudget(
                failed=Share(1), unreachable=Share(10, is_percentage=True)
            ),
            undo_since="canary",
        ),
    )
    assert settings.rollouts == RolloutLimits(sites_at_once=4, sites_at_once_per_supplier=2)


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    settings = load_fleet(write_fleet(tmp_path)).settings
    assert settings.rings == (Ring("canary"), Ring("everyone"))
    assert settings.rings[0].failure_budget == FailureBudget(
        Share(0), Share(0), Share(25, is_percentage=True)
    )
    assert settings.rollouts == RolloutLimits(8, 2, None, 3, 60)


@pytest.mark.parametrize(
    ("changes", "ring"),
    [
        ({}, "canary"),
        ({"ring": "labels: {stage: pilot, weight: 8.10, kind: woo}"}, "pilot"),
        ({"ring": "labels: {stage: late}", "environment": "environment: test"}, ""),
    ],
)
def test_a_loaded_site_knows_its_ring(tmp_path: Path, changes: dict[str, str], ring: str) -> None:
    files = {"fleet.yml": FLEET + WRITTEN, "sites/voorbeeld.yml": manifest(**changes)}
    assert load_fleet(write_fleet(tmp_path, files)).manifests["voorbeeld"].ring == ring
