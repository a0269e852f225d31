"""How long it took to patch: from first seen, past a mitigation, to a release without the hole."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from unit.evidence.test_audit import found, hole
from unit.plan import examples
from unit.store.places import Place

from owc_deploy.evidence.patch_time import (
    MITIGATING,
    RELEASING,
    in_force,
    patch_times,
    patched_since,
    recorded,
    standing,
)
from owc_deploy.fleet.models import Mitigation
from owc_deploy.plan.models import SiteOutcome
from owc_deploy.store import Store
from owc_deploy.store.models import Intent, RecordedOutcome

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MITIGATION = Mitigation("news-v1", "x", "me", "y", route="news/v1", advisory="CVE-2026-1")

TOLD = frozenset({"CVE-2026-1"})


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now

    def later(self, **passed: int) -> None:
        self.now += timedelta(**passed)


def run(store: Store, verb: str, outcome: str = "changed", **details: object) -> None:
    number = store.history.begin_run(
        verb=verb, operator="anna", intents=[Intent("heusden", "web1")]
    )
    store.history.record_outcome(
        number,
        SiteOutcome("heusden", "web1", outcome, details=details),  # type: ignore[arg-type]
    )
    store.history.finish_run(number, outcome)


def test_the_whole_way_of_one_vulnerability(place: Place) -> None:
    clock = Clock()
    store = place.open(clock=clock)
    affected = found(hole())
    run(store, "apply")
    clock.later(hours=1)
    store.findings.seen(recorded(affected))
    (finding,) = affected
    mitigating = lambda: store.history.outcomes(verbs=MITIGATING)  # noqa: E731
    assert in_force(finding, (), mitigating()) == ("", False)
    assert in_force(finding, (MITIGATION,), mitigating()) == ("news-v1", False)
    clock.later(hours=1)
    about = {"mitigation": asdict(MITIGATION), "closed": ["news-v1"]}
    run(store, "mitigate", **about)
    assert in_force(finding, (MITIGATION,), mitigating()) == ("news-v1", True)

    # Locked, and not released: the site has it still.
    (known,) = store.findings.all()
    fixed = examples.lock(news="2.0.0")
    releases = lambda: store.history.outcomes(verbs=RELEASING)  # noqa: E731
    assert patched_since(known, (), TOLD, fixed, releases()) == ""
    clock.later(days=2)
    run(store, "apply", "rolled-back")
    assert patched_since(known, (), TOLD, fixed, releases()) == ""
    run(store, "apply", versions={"news": "2.0.0"})
    at = patched_since(known, (), TOLD, fixed, releases())
    assert at == "2026-11-22T11:00:00.000000+00:00"
    clock.later(hours=1)
    run(store, "apply", "ok", versions={"news": "2.0.0"})
    assert patched_since(known, (), TOLD, fixed, releases()) == at
    # The feed is silent and the version the same: nothing was patched.
    assert patched_since(known, (), TOLD, examples.lock(), releases()) == ""
    assert patched_since(known, affected, TOLD, fixed, releases()) == ""
    store.findings.patched(known, at)

    (time,) = patch_times(store.findings.all(), (), mitigating(), clock())
    assert time.mitigated_at == "2026-11-20T11:00:00.000000+00:00"
    assert (time.patched_at, time.days, time.in_time) == (at, 2.0, True)

    store.findings.seen(recorded(affected))
    (again,) = store.findings.all()
    assert (again.patched_at, again.first_seen_at) == ("", known.first_seen_at)
    clock.later(days=9)
    assert patch_times(store.findings.all(), (), (), clock())[0].in_time is False


def test_a_rollout_patches_and_its_undo_does_not(place: Place) -> None:
    clock = Clock()
    store = place.open(clock=clock)
    store.findings.seen(recorded(found(hole())))
    (known,) = store.findings.all()
    fixed = examples.lock(news="2.0.0")
    clock.later(hours=1)
    run(store, "rollout", versions={"news": "2.0.0"})
    released = store.history.outcomes(verbs=RELEASING)
    assert patched_since(known, (), TOLD, fixed, released) == "2026-11-20T10:00:00.000000+00:00"
    run(store, "rollout")
    assert patched_since(known, (), TOLD, fixed, store.history.outcomes(verbs=RELEASING)) == ""


def test_a_mitigation_that_failed_is_not_in_force(place: Place) -> None:
    store = place.open(clock=Clock())
    run(store, "mitigate", "failed", closed=["news-v1"])
    outcomes = store.history.outcomes(verbs=MITIGATING)
    assert in_force(found(hole())[0], (MITIGATION,), outcomes) == ("news-v1", False)


def releases(store: Store) -> tuple[RecordedOutcome, ...]:
    return store.history.outcomes(verbs=RELEASING)


def test_a_release_without_the_patch_patches_nothing(place: Place) -> None:
    clock = Clock()
    store = place.open(clock=clock)
    store.findings.seen(recorded(found(hole())))
    (known,) = store.findings.all()
    fixed = examples.lock(news="2.0.0")
    clock.later(hours=1)
    run(store, "apply", versions={"news": "1.0.0"})
    assert patched_since(known, (), TOLD, fixed, releases(store)) == ""
    run(store, "apply")
    assert patched_since(known, (), TOLD, fixed, releases(store)) == ""
    run(store, "apply", versions={"news": "2.0.0"})
    assert patched_since(known, (), TOLD, fixed, releases(store))
    # The feed tells nothing of it any more: who knows whether 2.0.0 has it too.
    assert patched_since(known, (), frozenset(), fixed, releases(store)) == ""
    run(store, "rollback")
    assert patched_since(known, (), TOLD, fixed, releases(store)) == ""


def closed_at(store: Store, clock: Clock) -> str:
    outcomes = store.history.outcomes(verbs=MITIGATING)
    return patch_times(store.findings.all(), (), outcomes, clock())[0].mitigated_at


def test_what_was_out_of_reach_is_closed_when_it_is_closed_later(place: Place) -> None:
    clock = Clock()
    store = place.open(clock=clock)
    store.findings.seen(recorded(found(hole())))
    run(store, "mitigate", "unreachable", mitigation=asdict(MITIGATION))
    assert closed_at(store, clock) == ""
    clock.later(hours=2)
    run(store, "mitigate apply", "failed", closed=["news-v1"])
    assert closed_at(store, clock) == ""
    clock.later(hours=1)
    run(store, "mitigate apply", closed=["news-v1"])
    assert closed_at(store, clock) == "2026-11-20T12:00:00.000000+00:00"


def test_only_what_is_closed_after_it_was_seen_counts(place: Place) -> None:
    clock = Clock()
    store = place.open(clock=clock)
    other = replace(MITIGATION, identifier="news", route="", block="news", advisory="CVE-2025-9")
    run(store, "mitigate", mitigation=asdict(other), closed=["news"])
    clock.later(days=1)
    run(store, "mitigate lift", mitigation=asdict(other), closed=[])
    clock.later(days=300)
    store.findings.seen(recorded(found(hole())))
    assert closed_at(store, clock) == ""
    clock.later(days=1)
    run(store, "mitigate", mitigation=asdict(other), closed=["news"])
    assert closed_at(store, clock) == "2027-09-18T09:00:00.000000+00:00"
    store.findings.seen(recorded(found(hole("CVE-2026-2"))))
    (_, later) = store.findings.all()
    outcomes = store.history.outcomes(verbs=MITIGATING)
    assert patch_times([later], (), outcomes, clock())[0].mitigated_at == later.first_seen_at


def test_another_name_makes_no_second_row(place: Place) -> None:
    clock = Clock()
    store = place.open(clock=clock)
    store.findings.seen(recorded(found(hole("GHSA-1"))))
    (first,) = store.findings.all()
    clock.later(days=1)
    store.findings.seen(recorded(found(hole("GHSA-1", "CVE-2026-1"))))
    (known,) = store.findings.all()
    assert (known.vulnerability, known.first_seen_at) == ("CVE-2026-1", first.first_seen_at)
    assert known.names == ("CVE-2026-1", "GHSA-1")
    store.findings.seen(recorded(found(hole("GHSA-1"))))
    assert len(store.findings.all()) == 1
    ghsa = replace(MITIGATION, advisory="GHSA-1")
    run(store, "mitigate", mitigation=asdict(ghsa), closed=["news-v1"])
    assert closed_at(store, clock)
    (finding,) = found(hole("GHSA-1", "CVE-2026-1"))
    outcomes = store.history.outcomes(verbs=MITIGATING)
    assert in_force(finding, (ghsa,), outcomes) == ("news-v1", True)


def test_what_is_dismissed_or_not_told_of_any_more_is_told_so(place: Place) -> None:
    clock = Clock()
    store = place.open(clock=clock)
    affected = found(hole())
    store.findings.seen(recorded(affected))
    (known,) = store.findings.all()
    assert standing(known, affected, TOLD) == ""
    assert standing(known, (), frozenset()) == "not told of any more"
    assert standing(known, (), None) == ""
    dismissed = [replace(each, dismissed="anna: not used") for each in affected]
    assert standing(known, dismissed, TOLD) == "dismissed"
    store.findings.stands(known, "dismissed")
    clock.later(days=30)
    (time,) = patch_times(store.findings.all(), (), (), clock())
    assert (time.standing, time.in_time, time.days) == ("dismissed", None, 0.0)
    store.findings.seen(recorded(affected))
    assert store.findings.all()[0].standing == ""
