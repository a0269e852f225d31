"""The whole life of a fleet's repository from CI alone: GitLab's jobs, and a shorter one GitHub's.

The tests of one life follow each other. Their jobs are the shell of the workflow as it stands in
the commit they run for (`fakes.runners`); they work with real servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from e2e.ci_life import TOKEN, FleetLife, programs, words
from e2e.conftest import Town
from fakes.fleet_repository import FleetRepository
from fakes.forge import Forge
from fakes.git_server import git_server
from fakes.runners import GithubRunner, GitlabRunner
from fakes.workflow import Cancelling, Runner
from unit.store.places import place_at
from unit.store.postgresql_server import PASSWORD, running_server

from owc_deploy.fleet.models import PostgresqlState

pytestmark = pytest.mark.lab

# The ring `canary` is the first of them.
ISLANDS = {"ameland": "web1", "texel": "web2", "vlieland": "web1"}
SHOALS = {"griend": "web1", "rottum": "web2"}
FIRST, SECOND, BROKEN = "1.0.0", "1.1.0", "1.2.0"


def news(version: str) -> dict[str, Any]:
    return {"blocks": {"lab-news": version}}


@dataclass
class Gitlab(FleetLife):
    """A project with a merge request, and a runner whose machines are thrown away."""

    runner: GitlabRunner
    forge: Forge
    database: PostgresqlState
    newest: str = ""

    def soak_for(self, *, minutes: int) -> None:
        """Write fleet.yml: the history's password is among the secrets, opened with the login."""
        state = {
            "host": "127.0.0.1",
            "port": self.database.port,
            "database": self.database.database,
            "user": self.database.user,
            "password": {"secret": "history"},
        }
        more = {"state": {"postgresql": state}, "age_identity": "~/.ssh/id_ed25519"}
        self.settings(soak_minutes=minutes, **more)

    def job(self, name: str, commit: str, cancelling: Cancelling | None = None) -> Runner:
        return self.runner.run(name, commit, cancelling=cancelling)

    def asked(self, name: str, commit: str) -> tuple[int, Runner]:
        """Run a job of the merge request; return how its script ended."""
        request = {"CI_API_V4_URL": self.forge.address, "CI_MERGE_REQUEST_IID": "7"}
        job = self.runner.run(name, commit, request)
        return job.results["script"].returncode, job

    def merged(self, cancelling: Cancelling | None = None) -> tuple[int, Runner]:
        """Merge what stands on the desk and run the job that starts its rollout."""
        self.newest = self.repository.merge()
        return self.start(cancelling)

    def start(self, cancelling: Cancelling | None = None) -> tuple[int, Runner]:
        job = self.job("start", self.newest, cancelling)
        return job.results["script"].returncode, job

    def ordered(self, order: str) -> tuple[int, Runner]:
        """Run the job of what a person orders from the form."""
        job = self.runner.run("order", self.newest, {"OWC_ORDER": order})
        return job.results["script"].returncode, job

    def tick(self, cancelling: Cancelling | None = None) -> tuple[int, Runner]:
        """Run the job of the schedule."""
        job = self.job("resume", self.newest, cancelling)
        return job.results["script"].returncode, job


@pytest.fixture(scope="module")
def gitlab(
    town: Town, catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gitlab]:
    """Return a fleet on GitLab whose history is in PostgreSQL."""
    root = tmp_path_factory.mktemp("gitlab")
    repository = FleetRepository(root)
    variables = {**programs(root / "bin"), "OWC_COMMENT_TOKEN": TOKEN}
    key = town.lab.folder / "id_ed25519"
    runner = GitlabRunner(
        root / "runner", repository.repository, variables, {"OWC_SSH_KEY": str(key)}
    )
    with running_server() as server, Forge().running() as forge:
        database = server.new_database()
        authority = runner.build / ".owc-deploy" / "internal-ca" / "certificate.pem"
        place = place_at(root / "unused", database)
        life = Gitlab(
            repository, town.lab, ISLANDS, catalogue, place, authority, runner, forge, database
        )
        life.begin("gitlab")
        life.keep_secret("history", PASSWORD)
        life.soak_for(minutes=1)
        yield life


def test_a_merge_request_has_one_comment_that_follows_it(gitlab: Gitlab) -> None:
    gitlab.wish(**news(FIRST))
    commit = gitlab.repository.propose()
    for name in ("validate", "plan"):
        code, job = gitlab.asked(name, commit)
        assert code == 0, job.said
    (comment,) = gitlab.forge.comments.values()
    for site, server in ISLANDS.items():
        assert f"#### create: {site} on {server}, ring" in words(comment)
    assert TOKEN not in job.said
    gitlab.clone.write("texel", "web2", ring="nergens", **news(FIRST))
    commit = gitlab.repository.propose()
    assert [gitlab.asked(name, commit)[0] for name in ("validate", "plan")] == [3, 3]
    (comment,) = gitlab.forge.comments.values()
    assert "sites/texel.yml" in words(comment)
    assert "nergens" in words(comment)
    assert "create" not in comment
    gitlab.wish("texel", **news(FIRST))
    assert gitlab.asked("plan", gitlab.repository.propose())[0] == 0
    (comment,) = gitlab.forge.comments.values()
    assert "3 create" in comment


def test_a_merge_rolls_out_to_the_canary_which_soaks(gitlab: Gitlab) -> None:
    gitlab.newest = gitlab.repository.merge()
    # Another test may have prepared them for a fleet of its own.
    code, job = gitlab.ordered("provision")
    assert code == 0, job.said
    code, job = gitlab.start()
    assert code == 0, job.said
    assert gitlab.activations() == {"ameland": 1, "texel": 0, "vlieland": 0}
    assert f"lab-news {FIRST}" in gitlab.page("ameland").body
    assert gitlab.standing().rollout.operator == f"anna via root@runner-{gitlab.runner.jobs}"
    suites = ET.parse(gitlab.runner.build / "junit.xml").getroot()  # noqa: S314  our own
    assert {case.get("name") for case in suites.iter("testcase")} == set(ISLANDS)
    # The key was there for the job only.
    assert not list(gitlab.runner.root.glob("home-*/.ssh/id_*"))
    assert gitlab.tick()[0] == 0
    assert gitlab.outcomes() == {"ameland": "changed", "texel": None, "vlieland": None}


def test_another_merge_does_not_change_how_long_it_soaks(gitlab: Gitlab) -> None:
    before = gitlab.standing()
    gitlab.wish("texel", **news(SECOND))
    code, job = gitlab.merged()
    assert code == 0, job.said
    after = gitlab.standing()
    assert after.rollout.rollout_id != before.rollout.rollout_id
    assert before.rings["canary"].settled_at is not None
    assert after.rings["canary"].settled_at == before.rings["canary"].settled_at
    assert not after.rings["canary"].has_ended
    assert gitlab.tick()[0] == 0
    assert gitlab.activations() == {"ameland": 1, "texel": 0, "vlieland": 0}


@dataclass
class Github(FleetLife):
    """A repository with a pull request, and a runner of its own that stays."""

    runner: GithubRunner
    forge: Forge

    def job(
        self, name: str, event: str, commit: str, cancelling: Cancelling | None = None
    ) -> Runner:
        values = {"github.token": TOKEN, "github.event.pull_request.number": "7"}
        return self.runner.run(name, event, commit, values, cancelling)


@pytest.fixture(scope="module")
def github(
    town: Town, catalogue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Github]:
    """Return a fleet on GitHub whose history is in a file of its runner."""
    root = tmp_path_factory.mktemp("github")
    repository = FleetRepository(root)
    history = root / "history.sqlite3"
    bot = Forge(job_user={"id": 41, "type": "Bot"})
    with git_server(root / "origin", TOKEN) as server, bot.running() as forge:
        variables = {
            **programs(root / "bin"),
            "GITHUB_SERVER_URL": server,
            "GITHUB_REPOSITORY": "owc/fleet",
            "GITHUB_API_URL": forge.address,
        }
        secrets = {"secrets.OWC_SSH_KEY": (town.lab.folder / "id_ed25519").read_text()}
        runner = GithubRunner(root / "runner", repository.repository, variables, secrets)
        authority = runner.work / ".owc-deploy" / "internal-ca" / "certificate.pem"
        place = place_at(history)
        life = Github(repository, town.lab, SHOALS, catalogue, place, authority, runner, forge)
        life.begin("github")
        life.settings(state=str(history))
        yield life


def test_githubs_workflow_does_it_too(github: Github, wheels: Path) -> None:
    """A request, a merge whose job is cancelled half-way, and the clock that goes on with it."""
    github.wish(**news(FIRST))
    commit = github.repository.propose()
    values = {"github.token": TOKEN}
    job = github.runner.run("validate", "pull_request", commit, values, wheels=wheels)
    assert not job.failed, job.said
    job = github.job("plan", "pull_request", commit)
    assert not job.failed, job.said
    assert ["2 create" in comment for comment in github.forge.comments.values()] == [True]
    commit = github.repository.merge()
    stop = Cancelling.github(github.is_changing("rottum"))
    job = github.job("rollout", "push", commit, stop)
    assert job.is_cancelled, job.said
    assert job.results["Start a rollout of what was merged"].returncode == 130, job.said
    assert not list(github.runner.home.glob(".ssh/id_*"))
    assert github.leases() == []
    job = github.job("rollout", "schedule", commit)
    assert not job.failed, job.said
    assert github.standing().state == "done"
    assert github.activations() == dict.fromkeys(SHOALS, 1)
    assert all(f"lab-news {FIRST}" in github.page(site).body for site in SHOALS)


def test_the_clock_goes_on_after_the_soak_and_after_a_cancelled_job(gitlab: Gitlab) -> None:
    gitlab.wait_for_the_soak()
    stop = Cancelling.gitlab(gitlab.is_changing("texel"))
    code, job = gitlab.tick(stop)
    assert job.is_cancelled, job.said
    assert code == 130, job.said
    assert gitlab.leases() == []
    code, job = gitlab.tick()
    assert code == 0, job.said
    assert gitlab.standing().state == "done"
    assert gitlab.activations() == dict.fromkeys(ISLANDS, 1)
    assert f"lab-news {SECOND}" in gitlab.page("texel").body
    assert f"lab-news {FIRST}" in gitlab.page("vlieland").body


def test_a_broken_block_halts_at_the_canary(gitlab: Gitlab) -> None:
    gitlab.wish(**news(BROKEN))
    code, job = gitlab.merged()
    assert code == 6, job.said
    assert gitlab.outcomes() == {"ameland": "rolled-back", "texel": None, "vlieland": None}
    # The clock says so again, and leaves it at that.
    assert gitlab.tick()[0] == 6
    assert gitlab.activations() == dict.fromkeys(ISLANDS, 1)
    assert f"lab-news {FIRST}" in gitlab.page("ameland").body


def test_what_mends_it_takes_its_place_and_survives_a_power_cut(gitlab: Gitlab) -> None:
    gitlab.soak_for(minutes=0)
    gitlab.wish(theme={"name": "lab-theme", "version": "1.1.0"}, **news(SECOND))
    cut = Cancelling.power_cut(gitlab.is_changing("texel", after=gitlab.rollouts()))
    _, job = gitlab.merged(cut)
    assert job.is_cancelled, job.said
    began = gitlab.standing()
    assert gitlab.activations()["ameland"] == 2
    # Whoever is gone is given ninety seconds, as nobody knows.
    code, job = gitlab.tick()
    assert code == 0, job.said
    assert f"runner-{gitlab.runner.jobs - 1}:" in job.said
    assert gitlab.standing().number == began.number
    gitlab.let_leases_lapse()
    code, job = gitlab.tick()
    assert code == 0, job.said
    assert "last heard of at" in job.said
    ended = gitlab.standing()
    assert (ended.rollout.rollout_id, ended.state) == (began.rollout.rollout_id, "done")
    assert gitlab.activations() == dict.fromkeys(ISLANDS, 2)
    assert all(f"lab-news {SECOND}" in gitlab.page(site).body for site in ISLANDS)
    assert gitlab.history_is_whole()
