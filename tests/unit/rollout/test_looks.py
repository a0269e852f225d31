"""What a look at a server says of a site in a rollout."""

from __future__ import annotations

from typing import Any

import pytest

from owc_deploy.execution.ports import RollbackRequest
from owc_deploy.plan.models import ObservedServer, OutcomeWord
from owc_deploy.rollout.looks import problem_of, way_back
from owc_deploy.rollout.models import RolloutSite
from owc_deploy.rollout.standing import SiteStanding

SITE = RolloutSite("bergen", "web2", "", "default")


def seen(**site: Any) -> ObservedServer:
    return ObservedServer("web2", sites={"bergen": {"php_fpm": "active", **site}})


OURS = SiteStanding(outcome="changed", release_ids=("one", "two"), before="old")
WAYS: list[tuple[str, ObservedServer, RollbackRequest | tuple[OutcomeWord, str]]] = [
    ("ours is live", seen(release_id="two"), RollbackRequest("bergen", "old", "two")),
    ("an earlier one of ours is", seen(release_id="one"), RollbackRequest("bergen", "old", "one")),
    ("it is as it was", seen(release_id="old"), ("ok", "")),
    (
        "somebody else's is",
        seen(release_id="theirs"),
        ("failed", "somebody made theirs live since; it is left as it is"),
    ),
    (
        "it is gone",
        ObservedServer("web2"),
        ("failed", "somebody made nothing live since; it is left as it is"),
    ),
    (
        "nobody knows",
        ObservedServer("web2", "no route to host"),
        ("unreachable", "no route to host"),
    ),
]


@pytest.mark.parametrize(
    ("server", "expected"), [case[1:] for case in WAYS], ids=[case[0] for case in WAYS]
)
def test_the_way_back(
    server: ObservedServer, expected: RollbackRequest | tuple[OutcomeWord, str]
) -> None:
    way = way_back(SITE, OURS, server)
    assert (way if isinstance(way, RollbackRequest) else (way.outcome, way.message)) == expected


THEIRS = SiteStanding(outcome="ok")
PROBLEMS: list[tuple[str, SiteStanding, ObservedServer, tuple[OutcomeWord, str] | None]] = [
    ("ours is live", OURS, seen(release_id="two"), None),
    ("it needed nothing", THEIRS, seen(release_id="theirs"), None),
    (
        "another is live",
        OURS,
        seen(release_id="theirs"),
        ("failed", "after the soak theirs is live, not what the rollout made"),
    ),
    (
        "it is gone",
        OURS,
        ObservedServer("web2"),
        ("failed", "after the soak nothing is live, not what the rollout made"),
    ),
    (
        "its PHP stopped",
        THEIRS,
        seen(php_fpm="failed"),
        ("failed", "after the soak its PHP-FPM is failed"),
    ),
    (
        "a block is inactive",
        OURS,
        seen(release_id="two", drift=[{"what": "plugin news"}, {"what": "theme"}]),
        ("failed", "after the soak it differs: plugin news, theme"),
    ),
    (
        "nobody knows",
        OURS,
        ObservedServer("web2", "no route to host"),
        ("unreachable", "no route to host"),
    ),
]


@pytest.mark.parametrize(
    ("state", "server", "expected"),
    [case[1:] for case in PROBLEMS],
    ids=[case[0] for case in PROBLEMS],
)
def test_what_is_wrong_after_a_soak(
    state: SiteStanding, server: ObservedServer, expected: tuple[OutcomeWord, str] | None
) -> None:
    problem = problem_of(SITE, state, server)
    assert (problem and (problem.outcome, problem.message)) == expected
