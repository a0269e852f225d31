"""What a rollout is to bring: which sites, and what the catalogue still offers them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.plan.examples import catalogue, fleet, lock, manifest

from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.catalogue.relock import LockChange
from owc_deploy.errors import UsageError
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout import aims
from owc_deploy.rollout.aims import Aim
from owc_deploy.store.models import RecordedFinding

ALL = frozenset[str]()


def two_sites() -> Fleet:
    """Altena has news 1.0.0 locked, heusden 2.0.0."""
    return fleet(
        manifest("altena"),
        manifest("heusden"),
        locks=(lock("altena", "1.0.0"), lock("heusden", "2.0.0")),
    )


def listed(**changes: str | tuple[Advisory, ...] | None) -> Catalogue:
    """The catalogue in which `withdrawn` names a release, and `advisories` are known."""
    made = catalogue()
    block = made.blocks["news"]
    releases = tuple(
        replace(r, withdrawn="it loses data") if r.version == changes.get("withdrawn") else r
        for r in block.releases
    )
    known = changes.get("advisories") or ()
    assert isinstance(known, tuple)
    return replace(made, blocks={"news": replace(block, releases=releases, advisories=known)})


def offered(aim: Aim) -> list[str]:
    return [release.version for release in aim.catalogue.blocks["news"].releases]


def finding(version: str, **changes: str) -> RecordedFinding:
    made = RecordedFinding("altena", "news", "CVE-2026-1", "high", version, "", names=("WF-9",))
    return replace(made, **changes)  # type: ignore[arg-type]


def test_locks_as_they_are_concern_every_site_or_those_named() -> None:
    aim = aims.to_locks(two_sites(), catalogue(), ALL)
    assert aim.sites == {"altena", "heusden"}
    assert aim.blocks == ALL
    assert aims.to_locks(two_sites(), catalogue(), {"altena"}).sites == {"altena"}


def test_a_block_is_offered_as_far_as_it_keeps_to_the_constraint() -> None:
    aim = aims.to_block(two_sites(), catalogue(), ALL, "news", "^2.0")
    assert aim.sites == {"altena", "heusden"}
    assert aim.blocks == {"news"}
    assert offered(aim) == ["2.0.0"]
    only = aims.to_block(two_sites(), catalogue(), frozenset({"altena"}), "news", "*")
    assert only.sites == {"altena"}
    assert offered(only) == ["2.0.0", "1.0.0"]


def test_sites_with_a_withdrawn_release_move_off_it() -> None:
    aim = aims.off_withdrawn(two_sites(), listed(withdrawn="1.0.0"), ALL, "news")
    assert aim.sites == {"altena"}
    assert offered(aim) == ["2.0.0"]


@pytest.mark.parametrize("name", ["CVE-2026-1", "WF-9"])
def test_sites_that_audit_saw_with_a_vulnerability_move_off_it(name: str) -> None:
    aim = aims.off_advisory(two_sites(), catalogue(), ALL, name, [finding("1.0.0")])
    assert aim.sites == {"altena"}
    assert aim.blocks == {"news"}
    assert offered(aim) == ["2.0.0"]


def test_an_advisory_of_the_catalogue_itself_needs_no_audit() -> None:
    known = Advisory("OWC-1", "<2", "high", "it leaks")
    aim = aims.off_advisory(two_sites(), listed(advisories=(known,)), ALL, "OWC-1", [])
    assert aim.sites == {"altena"}
    assert offered(aim) == ["2.0.0"]


def test_what_has_no_fix_yet_does_not_hold_back_what_has() -> None:
    both = [finding("1.0.0"), finding("1.0.0", block="theme")]
    aim = aims.off_advisory(two_sites(), catalogue(), ALL, "CVE-2026-1", both)
    assert (aim.sites, aim.blocks) == ({"altena"}, {"news"})
    assert aim.cause == "the fix of CVE-2026-1 in news; there is none yet in theme"
    with pytest.raises(UsageError, match="no release of theme without CVE-2026-1") as refused:
        aims.off_advisory(two_sites(), catalogue(), ALL, "CVE-2026-1", both[1:])
    assert "mitigate add --block theme" in refused.value.hint


@pytest.mark.parametrize(
    "impossible",
    [
        lambda: aims.to_block(two_sites(), catalogue(), ALL, "forms", "*"),
        lambda: aims.to_block(two_sites(), catalogue(), ALL, "news", "^9.0"),
        lambda: aims.off_withdrawn(two_sites(), catalogue(), ALL, "news"),
        lambda: aims.off_withdrawn(two_sites(), catalogue(), ALL, "no-such-block"),
        lambda: aims.off_advisory(two_sites(), catalogue(), ALL, "CVE-2026-2", []),
        lambda: aims.off_advisory(
            two_sites(), catalogue(), ALL, "CVE-2026-1", [finding("1.0.0", patched_at="2026")]
        ),
    ],
)
def test_what_concerns_no_site_is_refused(impossible: object) -> None:
    assert callable(impossible)
    with pytest.raises(UsageError):
        impossible()


def test_a_block_that_the_catalogue_does_not_list_any_more_is_refused() -> None:
    unlisted = replace(catalogue(), blocks={})
    with pytest.raises(UsageError, match="the catalogue has no news"):
        aims.to_block(two_sites(), unlisted, ALL, "news", "^2.0")
    with pytest.raises(UsageError, match="no release of news without WF-9"):
        aims.off_advisory(two_sites(), unlisted, ALL, "WF-9", [finding("1.0.0")])


def test_a_constraint_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match="not a version constraint"):
        aims.to_block(two_sites(), catalogue(), ALL, "news", "newest")


@pytest.mark.parametrize(
    ("before", "after", "goes_back"),
    [
        ("2.0.0", "1.0.0", True),
        ("10.0.0", "9.0.0", True),
        ("1.0.0", "2.0.0", False),
        ("1.0.0", "1.0.0", False),
        (None, "1.0.0", False),
        ("1.0.0", None, False),
    ],
)
def test_a_block_that_is_to_be_newer_does_not_go_back(
    before: str | None, after: str | None, goes_back: bool
) -> None:
    aim = aims.to_block(two_sites(), catalogue(), ALL, "news", "*")
    change = LockChange("news", before, after)
    assert aim.going_back([change]) == ((change,) if goes_back else ())
    assert aim.going_back([replace(change, name="other")]) == ()
    assert aims.to_locks(two_sites(), catalogue(), ALL).going_back([change]) == ()
