"""Who is written down as having done something, on a terminal and in a CI job."""

from __future__ import annotations

import pytest

from owc_deploy.store.actor import this_actor


@pytest.mark.parametrize(
    ("environment", "actor"),
    [
        ({}, "runner@ci1"),
        ({"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "anna"}, "anna via runner@ci1"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "bot[bot]"}, "bot[bot] via runner@ci1"),
        # Only a job is believed, and nothing that could be taken for more than a login.
        ({"GITLAB_USER_LOGIN": "anna"}, "runner@ci1"),
        ({"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "anna via root@ci1"}, "runner@ci1"),
        ({"GITLAB_CI": "true"}, "runner@ci1"),
    ],
)  # fmt: skip
def test_the_actor_is_named(
    environment: dict[str, str], actor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "runner")
    monkeypatch.setattr("socket.gethostname", lambda: "ci1")
    assert this_actor(environment) == actor
