"""Which release `owc-deploy rollback` goes back to."""

from __future__ import annotations

from typing import Any

import pytest

from owc_deploy.cli.rollback import choose_target
from owc_deploy.errors import UsageError

ONE, TWO, THREE, FOUR = (f"2026110{day}T000000Z-0000000{9 - day}" for day in range(1, 5))


def observed(live: str, *activated: str) -> dict[str, Any]:
    """Return what a probe says: `activated` is the newest activation first."""
    return {"release_id": live, "releases": [{"release_id": release} for release in activated]}


@pytest.mark.parametrize(
    ("seen", "wanted", "target"),
    [
        (observed(THREE, THREE, TWO, ONE), "", TWO),
        (observed(TWO, TWO, THREE, ONE), "", ONE),
        (observed(FOUR, FOUR, TWO, THREE, ONE), "", TWO),
        (observed(THREE, THREE, TWO, ONE), ONE, ONE),
        (observed(ONE, ONE, TWO), TWO, TWO),
        (observed("", TWO, ONE), "", TWO),
    ],
    ids=[
        "the one before",
        "a second time goes further back",
        "the broken one left before is not live again",
        "the one named",
        "forward when named",
        "nothing live",
    ],
)
def test_the_target(seen: dict[str, Any], wanted: str, target: str) -> None:
    assert choose_target("heusden", seen, wanted) == target


@pytest.mark.parametrize(
    ("seen", "wanted", "message", "context"),
    [
        (observed(ONE, ONE), "", "no earlier release", None),
        ({}, "", "no earlier release", None),
        (observed(ONE, ONE, TWO), "", f"older than {ONE}", f"possible, going forward: {TWO}"),
        (observed(TWO, TWO, ONE), THREE, f"{THREE} is not", f"possible: {ONE}"),
        (observed(TWO, TWO, ONE), TWO, f"{TWO} is not", f"possible: {ONE}"),
    ],
    ids=["the only one", "no site", "only newer ones", "an unknown one", "the live one"],
)
def test_a_target_that_is_not_there_is_refused(
    seen: dict[str, Any], wanted: str, message: str, context: str | None
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        choose_target("heusden", seen, wanted)
    assert raised.value.context == context
