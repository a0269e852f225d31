"""`owc-deploy init --ci`: what it writes is right, and its shell does what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from fakes.forge import Forge
from fakes.git_server import git_server
from fakes.workflow import (
    Cancelling,
    Runner,
    Step,
    conditions,
    github_document,
    github_steps,
    gitlab_document,
    gitlab_jobs,
    gitlab_steps,
)

from owc_deploy import __version__
from owc_deploy.cli.main import cli, run
from owc_deploy.resources import resource_folder

CI = resource_folder("inventories") / "ci"
GITHUB = CI / "github" / "github" / "workflows" / "owc-deploy.yml"
GITLAB = CI / "gitlab" / "gitlab-ci.yml"
UNITS = CI / "systemd"
STEPS = (
    *github_steps(GITHUB),
    *gitlab_steps(GITLAB),
    Step("systemd", "roll-out", (UNITS / "roll-out").read_text()),
    Step("both", "order", (CI / "both" / "order").read_text()),
)
COMMANDS = sorted({command for step in STEPS for command in step.commands})
TOKEN = "kanarie-7f3a"
PLAN = ["validate --format markdown", "plan --format markdown"]

# What they are for -------------------------------------------------------------------------------


def test_each_command_is_found() -> None:
    assert COMMANDS == [
        ("plan", "--format", "markdown"),
        ("rollout", "resume", "--scheduled", "--yes"),
        ("rollout", "resume", "--scheduled", "--yes", "--format", "junit"),
        ("rollout", "start", "--supersede", "--yes"),
        ("rollout", "start", "--supersede", "--yes", "--format", "junit"),
        ("validate",),
        ("validate", "--format", "junit"),
        ("validate", "--format", "markdown"),
    ]
    # Those a person orders have a test of their own.
    jobs = [step.script for step in STEPS if step.name != "order"]
    assert sum(script.count("owc-deploy rollout") for script in jobs) == 6


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_is_one(command: tuple[str, ...]) -> None:
    is_command(command)


def is_command(command: Sequence[str]) -> None:
    """Fail unless owc-deploy understands this command line."""
    group: click.Command = cli
    context = click.Context(cli, info_name="owc-deploy", **cli.context_settings)
    rest = list(command)
    while isinstance(group, click.Group):
        name = rest.pop(0)
        found = group.get_command(context, name)
        assert found is not None, name
        group = found
        if not isinstance(group, click.Group):
            group.make_context(name, rest, parent=context)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.job}: {step.name}")
def test_shell_is_sound(step: Step, tmp_path: Path) -> None:
    script = tmp_path / "step"
    script.write_text(f"#!/usr/bin/env bash\nset -eo pipefail\n{step.script}\n")
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run(
        [shellcheck if shellcheck.exists() else "shellcheck", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


def test_expressions_never_stand_in_shell() -> None:
    assert [step.name for step in github_steps(GITHUB) if "${{" in step.script] == []


def test_the_version_that_is_installed_is_ours() -> None:
    # With what a history needs that outlives the runners.
    wanted = f"owc-deploy[postgres]=={__version__}"
    assert github_document(GITHUB)["env"]["OWC_DEPLOY_PACKAGE"] == wanted
    assert gitlab_document(GITLAB)["variables"]["OWC_DEPLOY_PACKAGE"] == wanted


def test_github_jobs_have_the_least_they_need() -> None:
    document = github_document(GITHUB)
    assert document["permissions"] == {}
    jobs: dict[str, Any] = document["jobs"]
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "validate": {"contents": "read"},
        "plan": {"contents": "read", "pull-requests": "write"},
        "rollout": {"contents": "read"},
    }
    assert all("uses" not in step for job in jobs.values() for step in job["steps"])
    secret = {
        name
        for name, job in jobs.items()
        for step in job["steps"]
        if "secrets." in str(step.get("env", {}))
    }
    assert secret == {"plan", "rollout"}
    assert "head.repo.full_name == github.repository" in jobs["plan"]["if"]
    assert "refs/heads/main" in jobs["rollout"]["if"]
    orders = "github.event_name == 'workflow_dispatch' && 'owc-order'"
    assert [jobs[name]["environment"] for name in ("plan", "rollout")] == [
        "owc-plan",
        f"${{{{ {orders} || 'owc-rollout' }}}}",
    ]


def test_a_rollout_is_never_stopped_half_way_and_runs_once() -> None:
    concurrency = github_document(GITHUB)["jobs"]["rollout"]["concurrency"]
    assert concurrency["cancel-in-progress"] is False
    jobs = gitlab_jobs(GITLAB)
    assert {jobs[name]["resource_group"] for name in ("start", "resume")} == {"owc-deploy"}
    changing = ("start", "resume", "order")
    # Of deployments to one environment, which alone ask for approval, GitLab refuses those that a
    # newer one overtook.
    environments = {name: jobs[name]["environment"] for name in changing}
    assert environments == {
        "start": {"name": "owc-rollout"},
        "resume": {"name": "owc-rollout", "action": "verify"},
        "order": {"name": "owc-order"},
    }
    assert gitlab_document(GITLAB)["default"]["interruptible"] is False
    assert "OWC_SSH_KEY" not in str(jobs["validate"])


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("github", {".github/workflows/owc-deploy.yml", "ci/comment.py", "ci/order"}),
        ("gitlab", {".gitlab-ci.yml", "ci/comment.py", "ci/order"}),
        (
            "systemd",
            {
                f"ci/systemd/{name}"
                for name in ("owc-deploy.service", "owc-deploy.timer", "roll-out")
            },
        ),
    ],
)
def test_init_writes_them(
    tmp_path: Path, name: str, files: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    new, present = tmp_path / "new", tmp_path / "present"
    assert run(["init", "--ci", name, str(new)]) == 0
    assert run(["init", str(present)]) == 0
    before = {path for path in present.rglob("*") if path.is_file()}
    assert run(["init", "--ci", name, str(present)]) == 0
    added = {path for path in present.rglob("*") if path.is_file()} - before
    assert {str(path.relative_to(present)) for path in added} == files
    assert all((new / file).is_file() for file in files)
    assert "known_hosts" in capsys.readouterr().out
    assert run(["init", "--ci", name, str(present)]) == 2
    assert run(["validate", "--fleet", str(new)]) == 0


# What their shell does ---------------------------------------------------------------------------


class Place:
    """A forge with a fleet's repository, a machine that runs its jobs, and a pretended tool."""

    def __init__(self, root: Path, forge: Forge, ci: str) -> None:
        self.root, self.forge = root, forge
        self.home, self.work, self.bin = root / "home", root / "work", root / "bin"
        for folder in (self.home, self.work, self.bin, root / "temp"):
            folder.mkdir()
        self.codes = root / "codes"
        self.calls = root / "calls"
        tool = self.bin / "owc-deploy"
        # Says what it was asked, and ends as the first line of `codes` says.
        tool.write_text(
            f"""#!/usr/bin/env bash
echo "$*" >> {self.calls}
code=$(head -n 1 {self.codes} 2>/dev/null)
sed -i 1d {self.codes} 2>/dev/null
[ "$*" = "plan --format markdown" ] && [ "$code" != 3 ] && echo "### the plan"
[ "$*" = "validate --format markdown" ] && [ "$code" = 3 ] && echo "### 1 problem"
exit "${{code:-0}}"
"""
        )
        tool.chmod(0o755)
        self.fleet = root / "origin" / "owc" / "fleet"
        assert run(["init", "--ci", ci, str(self.fleet)]) == 0
        (self.fleet / "known_hosts").write_text("web1 ssh-ed25519 AAAA\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", str(self.fleet))
        self.commit()

    def git(self, *arguments: str) -> str:
        finished = subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@x.example", *arguments],
            cwd=self.fleet,
            capture_output=True,
            text=True,
            check=True,
        )
        return finished.stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=x")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "OWC_WAIT_SECONDS": "0",
        }

    def end_with(self, *codes: int) -> None:
        self.codes.write_text("".join(f"{code}\n" for code in codes))

    @property
    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def github(
        self,
        job: str,
        event: str,
        values: Mapping[str, str] | None = None,
        server: str = "",
        cancelling: Cancelling | None = None,
        commit: str = "HEAD",
    ) -> Runner:
        environment = {
            **self.environment,
            "GITHUB_SERVER_URL": server or f"file://{self.root}/origin",
            "GITHUB_REPOSITORY": "owc/fleet",
            "GITHUB_SHA": self.git("rev-parse", commit),
            "GITHUB_API_URL": self.forge.address,
            "RUNNER_TEMP": str(self.root / "temp"),
        }
        known = {
            "github.token": TOKEN,
            "github.event.pull_request.number": "7",
            "secrets.OWC_SSH_KEY": "PRIVATE",
            **(values or {}),
        }
        true = conditions(event, known.get("inputs.order", ""))
        runner = Runner(self.work, environment, known, true, cancelling=cancelling)
        return runner.run(github_steps(GITHUB, job), skip={"Install owc-deploy"})

    def gitlab(
        self,
        job: str,
        more: Mapping[str, str] | None = None,
        cancelling: Cancelling | None = None,
        commit: str = "HEAD",
    ) -> Runner:
        key = self.root / "variable"
        key.write_text("PRIVATE")
        key.chmod(0o666)
        shutil.copytree(self.fleet, self.work, dirs_exist_ok=True)
        environment = {
            **self.environment,
            "CI_PROJECT_DIR": str(self.work),
            "CI_PROJECT_ID": "12",
            "CI_COMMIT_BRANCH": "main",
            "CI_COMMIT_SHA": self.git("rev-parse", commit),
            "CI_MERGE_REQUEST_IID": "7",
            "CI_API_V4_URL": self.forge.address,
            "OWC_SSH_KEY": str(key),
            "OWC_COMMENT_TOKEN": TOKEN,
            **(more or {}),
        }
        # The part that installs is left out: it needs a package of this version.
        install = gitlab_document(GITLAB)[".install"][0]
        steps = [
            Step(step.job, step.name, step.script.replace(install, ""), step.condition)
            for step in gitlab_steps(GITLAB, job)
        ]
        return Runner(self.work, environment, cancelling=cancelling).run(steps)


@pytest.fixture
def forge() -> Any:
    with Forge().running() as forge:
        yield forge


def test_github_shows_the_plan_and_shows_the_next_in_its_place(
    tmp_path: Path, forge: Forge
) -> None:
    forge.comments = {number: f"comment {number}" for number in range(1, 8)}
    place = Place(tmp_path, forge, "github")
    runner = place.github("plan", "pull_request")
    assert not runner.failed, runner.said
    assert place.called == PLAN
    assert forge.comments[8] == "<!-- owc-deploy plan -->\n### the plan\n"
    assert (tmp_path / "github-summary").read_text() == "### the plan\n"
    place.end_with(0, 1)
    assert place.github("plan", "pull_request").failed
    assert len(forge.comments) == 8
    assert forge.asked[-1] == ("PATCH", "/repos/owc/fleet/issues/comments/8")
    assert forge.tokens == {f"token {TOKEN}"}
    assert TOKEN not in runner.said


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize(
    ("codes", "comment", "called"),
    [((0, 3), "There is no plan", 2), ((3,), "### 1 problem", 1)],
)
def test_a_plan_that_cannot_be_made_does_not_leave_the_old_one(
    tmp_path: Path, forge: Forge, ci: str, codes: tuple[int, ...], comment: str, called: int
) -> None:
    forge.comments = {1: "<!-- owc-deploy plan -->\nold"}
    place = Place(tmp_path, forge, ci)
    place.end_with(*codes)
    runner = place.github("plan", "pull_request") if ci == "github" else place.gitlab("plan")
    assert [result.returncode for result in runner.results.values() if result.returncode] == [3]
    assert comment in forge.comments[1]
    assert place.called == PLAN[:called]


@pytest.mark.parametrize(
    ("ci", "job_user"),
    [
        ("github", {}),
        ("github", {"id": 41898282, "type": "Bot"}),
        # Forgejo and Gitea tell no type.
        ("github", {"id": -2}),
        ("gitlab", {}),
    ],
)
def test_a_comment_of_somebody_else_is_not_taken_for_ours(
    tmp_path: Path, forge: Forge, ci: str, job_user: dict[str, Any]
) -> None:
    """Its author could write over the plan again, after the job and before the review."""
    forge.comments = {1: "<!-- owc-deploy plan -->\nnothing changes"}
    forge.others, forge.job_user = {1}, job_user
    place = Place(tmp_path, forge, ci)
    for _ in range(2):
        runner = place.github("plan", "pull_request") if ci == "github" else place.gitlab("plan")
        assert not runner.failed, runner.said
        assert forge.comments == {
            1: "<!-- owc-deploy plan -->\nnothing changes",
            2: "<!-- owc-deploy plan -->\n### the plan\n",
        }


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_forge_that_refuses_is_said(tmp_path: Path, forge: Forge, ci: str) -> None:
    forge.status = 403
    place = Place(tmp_path, forge, ci)
    runner = place.github("plan", "pull_request") if ci == "github" else place.gitlab("plan")
    assert runner.failed
    assert "The plan cannot be put on the request: 403" in runner.said
    assert TOKEN not in runner.said


def test_github_checks_out_the_commit_and_keeps_the_state(tmp_path: Path, forge: Forge) -> None:
    place = Place(tmp_path, forge, "github")
    (place.work / ".owc-deploy" / "internal-ca").mkdir(parents=True)
    (place.work / ".owc-deploy" / "internal-ca" / "key").touch()
    place.github("validate", "pull_request")
    (place.work / "left-over").touch()
    (place.work / "fleet.yml").write_text("changed by hand")
    (place.fleet / "new").touch()
    place.commit()
    runner = place.github("validate", "pull_request")
    assert not runner.failed, runner.said
    assert (place.work / "new").exists()
    assert (place.work / "fleet.yml").read_text() == (place.fleet / "fleet.yml").read_text()
    assert not (place.work / "left-over").exists()
    assert (place.work / ".owc-deploy" / "internal-ca" / "key").exists()
    assert place.called == ["validate", "validate"]


@pytest.mark.parametrize(("token", "works"), [(TOKEN, True), ("", False)])
def test_github_checks_out_with_the_token_and_leaves_it_nowhere(
    tmp_path: Path, forge: Forge, token: str, works: bool
) -> None:
    place = Place(tmp_path, forge, "github")
    with git_server(tmp_path / "origin", TOKEN) as server:
        runner = place.github("validate", "pull_request", {"github.token": token}, server)
    assert runner.failed is not works
    assert (place.work / "fleet.yml").exists() is works
    assert TOKEN not in runner.said
    files = [path for path in (*place.work.rglob("*"), *place.home.rglob("*")) if path.is_file()]
    assert files
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_keys_are_for_the_job_only_and_hosts_are_pinned(
    tmp_path: Path, forge: Forge, ci: str
) -> None:
    place = Place(tmp_path, forge, ci)
    ssh = place.home / ".ssh"
    # What the tool sees of them while it works.
    tool = place.bin / "owc-deploy"
    tool.write_text(
        f"#!/usr/bin/env bash\nstat -Lc '%a %n' ~/.ssh/id_ed25519 > {tmp_path}/seen\n"
        f"cat ~/.ssh/id_ed25519 >> {tmp_path}/seen\n"
    )
    for _ in range(2):
        runner = place.github("rollout", "push") if ci == "github" else place.gitlab("start")
        assert not runner.failed, runner.said
        assert (tmp_path / "seen").read_text().startswith(f"600 {ssh}/id_ed25519\nPRIVATE\n")
        assert not (ssh / "id_ed25519").exists()
    assert (ssh / "known_hosts").read_text() == "web1 ssh-ed25519 AAAA\n"
    assert stat.S_IMODE((ssh / "known_hosts").stat().st_mode) == 0o600


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_key_of_the_machine_itself_is_left_alone(tmp_path: Path, forge: Forge, ci: str) -> None:
    place = Place(tmp_path, forge, ci)
    key = place.home / ".ssh" / "id_ed25519"
    key.parent.mkdir()
    key.write_text("mine")
    runner = place.github("rollout", "push") if ci == "github" else place.gitlab("start")
    assert runner.failed
    assert "a key" not in key.read_text()
    assert key.read_text() == "mine"
    assert "of its own, or one that a killed job left" in runner.said
    assert place.called == []
    without = (
        place.github("rollout", "push", {"secrets.OWC_SSH_KEY": ""})
        if ci == "github"
        else place.gitlab("start", {"OWC_SSH_KEY": ""})
    )
    assert not without.failed, without.said
    assert key.read_text() == "mine"


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize("is_cut_off", [True, False])
def test_a_key_that_a_power_cut_left_is_in_nobodys_way(
    tmp_path: Path, forge: Forge, ci: str, is_cut_off: bool
) -> None:
    """One of a job since the machine was started may be in use still."""
    place = Place(tmp_path, forge, ci)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = place.home / ".ssh" / "id_ed25519"
    key.parent.mkdir()
    left = key.with_name(f"id_ed25519.owc-{'another' if is_cut_off else boot}")
    left.write_text("left")
    key.symlink_to(left)
    runner = place.github("rollout", "push") if ci == "github" else place.gitlab("start")
    assert runner.failed is not is_cut_off, runner.said
    assert place.called == ([START] if is_cut_off else [])
    assert set(key.parent.glob("id_*")) == (set() if is_cut_off else {left, key})


START = "rollout start --supersede --yes --format junit"
RESUME = "rollout resume --scheduled --yes --format junit"


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize(
    ("is_push", "codes", "called", "failed"),
    [
        (True, (0,), [START], False),
        (True, (4, 4, 0), [START] * 3, False),
        (True, (4, 6), [START] * 2, True),
        (True, (1,), [START], True),
        (False, (0,), [RESUME], False),
        (False, (4,), [RESUME], False),
        (False, (6,), [RESUME], True),
    ],
)
def test_a_merge_starts_and_the_clock_goes_on(
    tmp_path: Path,
    forge: Forge,
    ci: str,
    is_push: bool,
    codes: tuple[int, ...],
    called: list[str],
    failed: bool,
) -> None:
    place = Place(tmp_path, forge, ci)
    place.end_with(*codes)
    if ci == "github":
        runner = place.github("rollout", "push" if is_push else "schedule")
    else:
        runner = place.gitlab("start" if is_push else "resume")
    assert place.called == called, runner.said
    assert runner.failed is failed
    assert not (place.home / ".ssh" / "id_ed25519").exists()


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize("order", ["", "emergency", "pause"])
def test_a_job_of_before_that_is_run_again_brings_nothing_back(
    tmp_path: Path, forge: Forge, ci: str, order: str
) -> None:
    """An order that stops something comes through, whatever was merged meanwhile."""
    place = Place(tmp_path, forge, ci)
    place.commit()
    with git_server(tmp_path / "origin", TOKEN) as server:
        if ci == "github":
            event, given = ("workflow_dispatch" if order else "push"), {"inputs.order": order}
            runner = place.github("rollout", event, given, server, commit="HEAD~1")
        else:
            given = {"OWC_ORDER": order} if order else {}
            runner = place.gitlab("order" if order else "start", given, commit="HEAD~1")
    assert runner.failed is (order != "pause"), runner.said
    assert place.called == (["rollout pause --reason="] if order == "pause" else [])
    newest = place.git("rev-parse", "HEAD")
    assert (f"main is at {newest} by now" in runner.said) is (order != "pause")
    assert TOKEN not in runner.said


# Text that a shell or an option parser could take for more than text.
WHY = "--yes $(id) `id` \"it\" 'leaks'"
WHICH = ["--", "20261127T090000Z-1"]
ORDERS: list[tuple[str, list[str]]] = [
    ("status", ["rollout", "status", *WHICH]),
    ("provision", ["provision", f"--reason={WHY}", "--yes"]),
    ("pause", ["rollout", "pause", f"--reason={WHY}", *WHICH]),
    ("resume", ["rollout", "resume", f"--reason={WHY}", "--yes", *WHICH]),
    (
        "accept-failures",
        ["rollout", "resume", "--accept-failures", f"--reason={WHY}", "--yes", *WHICH],
    ),
    ("retry", ["rollout", "retry", "--site=--all $(id)", f"--reason={WHY}", "--yes", *WHICH]),
    ("abort", ["rollout", "abort", "--undo-since=canary", f"--reason={WHY}", "--yes", *WHICH]),
    (
        "emergency",
        [
            *("rollout", "start", "--supersede", "--emergency", "--approved-by=Bo"),
            *(f"--reason={WHY}", "--yes"),
        ],
    ),
    ("rollback", ["rollback", f"--reason={WHY}", "--yes", "--", "--all $(id)"]),
    ("decommission", ["apply", "--decommission=--all $(id)", f"--reason={WHY}", "--yes"]),
    ("mitigate", ["mitigate", "apply", f"--reason={WHY}", "--", "--all $(id)"]),
]
# The same, where neither a rollout nor a site is named.
BRIEF = {
    order: [word for word in called if not word.startswith("--site=")][
        : -2 if "--" in called else None
    ]
    for order, called in ORDERS
}


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize(("order", "called"), ORDERS, ids=[order for order, _ in ORDERS])
def test_a_person_orders_the_rest(
    tmp_path: Path, forge: Forge, ci: str, order: str, called: list[str]
) -> None:
    is_command(called)
    place = Place(tmp_path, forge, ci)
    place.end_with(6)
    given = {"order": order, "reason": WHY, "ring": "canary", "approved_by": "Bo"}
    runner = ordered(place, ci, given | {"rollout": WHICH[1], "site": "--all $(id)"})
    assert place.called == [" ".join(called)], runner.said
    assert runner.failed
    assert not (place.home / ".ssh" / "id_ed25519").exists()


def ordered(place: Place, ci: str, given: Mapping[str, str]) -> Runner:
    """Run the job that does what was filled in."""
    if ci == "github":
        values = {f"inputs.{name}": value for name, value in given.items()}
        return place.github("rollout", "workflow_dispatch", values)
    return place.gitlab("order", {f"OWC_{name.upper()}": value for name, value in given.items()})


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_an_order_without_a_site_is_never_for_one_that_is_not_named(
    tmp_path: Path, forge: Forge, ci: str
) -> None:
    place = Place(tmp_path, forge, ci)
    for order in ("rollback", "decommission"):
        runner = ordered(place, ci, {"order": order, "reason": WHY, "site": ""})
        assert runner.failed
        assert f"The order {order} is for one site: name it" in runner.said
    assert place.called == []


@pytest.mark.parametrize("order", ["status", "pause", "resume", "retry", "abort", "mitigate"])
def test_an_order_need_not_name_a_rollout(tmp_path: Path, forge: Forge, order: str) -> None:
    """`mitigate` closes on all sites what is written for them."""
    is_command(BRIEF[order])
    place = Place(tmp_path, forge, "gitlab")
    runner = ordered(place, "gitlab", {"order": order, "reason": WHY, "ring": "canary"})
    assert place.called == [" ".join(BRIEF[order])], runner.said


def test_every_order_can_be_chosen_and_no_other(tmp_path: Path, forge: Forge) -> None:
    orders = [order for order, _ in ORDERS]
    github = github_document(GITHUB)["on"]["workflow_dispatch"]["inputs"]["order"]
    assert github["options"] == orders
    # GitHub once took ten at the most.
    assert len(github_document(GITHUB)["on"]["workflow_dispatch"]["inputs"]) <= 7
    gitlab = gitlab_document(GITLAB)["variables"]["OWC_ORDER"]
    assert gitlab["options"] == [gitlab["value"], *orders]
    place = Place(tmp_path, forge, "gitlab")
    runner = place.gitlab("order", {"OWC_ORDER": "rollout abort"})
    assert runner.results["script"].returncode == 2
    assert f"it is one of: {', '.join(orders)}" in runner.said
    assert place.called == []


# Takes its time, and ends as owc-deploy does when it is told to. GitLab tells it, and the step's
# trap does too: the second time changes nothing.
SLOW_TOOL = """#!/usr/bin/env bash
trap 'trap "" TERM INT; echo ended >> {calls}; kill "$!"; exit 130' TERM INT
echo begun >> {calls}
sleep 60 &
wait "$!"
"""


@pytest.mark.parametrize(
    ("ci", "job", "cancelling"),
    [
        ("github", "push", Cancelling.github),
        ("github", "schedule", Cancelling.github),
        ("github", "workflow_dispatch", Cancelling.github),
        ("gitlab", "start", Cancelling.gitlab),
        ("gitlab", "resume", Cancelling.gitlab),
        ("gitlab", "order", Cancelling.gitlab),
    ],
)
def test_a_cancelled_job_lets_owc_deploy_end_and_takes_the_keys_away(
    tmp_path: Path, forge: Forge, ci: str, job: str, cancelling: Any
) -> None:
    place = Place(tmp_path, forge, ci)
    (place.bin / "owc-deploy").write_text(SLOW_TOOL.format(calls=place.calls))
    stop = cancelling(lambda: place.called == ["begun"])
    if ci == "github":
        runner = place.github("rollout", job, {"inputs.order": "retry"}, cancelling=stop)
    else:
        runner = place.gitlab(job, {"OWC_ORDER": "retry"}, cancelling=stop)
    assert runner.is_cancelled
    assert place.called == ["begun", "ended"], runner.said
    assert not (place.home / ".ssh" / "id_ed25519").exists()


def test_gitlab_shows_the_plan_and_shows_the_next_in_its_place(
    tmp_path: Path, forge: Forge
) -> None:
    place = Place(tmp_path, forge, "gitlab")
    assert not place.gitlab("plan").failed
    place.end_with(0, 1)
    runner = place.gitlab("plan")
    assert runner.results["script"].returncode == 1
    assert forge.comments == {1: "<!-- owc-deploy plan -->\n### the plan\n"}
    assert [method for method, _ in forge.asked] == ["GET", "GET", "POST", "GET", "GET", "PUT"]
    assert forge.asked[-1][1] == "/projects/12/merge_requests/7/notes/1"
    assert forge.tokens == {TOKEN}
    forge.asked.clear()
    assert not place.gitlab("plan", {"OWC_COMMENT_TOKEN": ""}).failed
    assert forge.asked == []


def test_gitlab_tells_people_too_what_does_not_validate(tmp_path: Path, forge: Forge) -> None:
    place = Place(tmp_path, forge, "gitlab")
    place.end_with(3, 3)
    assert place.gitlab("validate").results["script"].returncode == 3
    assert place.called == ["validate --format junit", "validate"]


# A machine of one's own --------------------------------------------------------------------------


def test_units_are_good() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    units = [str(UNITS / "owc-deploy.service"), str(UNITS / "owc-deploy.timer")]
    found = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    text = Path(units[0]).read_text()
    assert re.search(r"^User=owc-deploy$", text, re.MULTILINE)
    assert "NoNewPrivileges=yes" in text


def test_a_commit_is_started_once_and_gone_on_with(tmp_path: Path, forge: Forge) -> None:
    place = Place(tmp_path, forge, "systemd")
    clone, state = tmp_path / "clone", tmp_path / "state"
    state.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(place.fleet), str(clone)], check=True)
    environment = {
        **place.environment,
        "OWC_FLEET": str(clone),
        "STATE_DIRECTORY": str(state),
    }

    def tick(*codes: int) -> tuple[int, list[str]]:
        place.calls.unlink(missing_ok=True)
        place.end_with(*codes)
        finished = subprocess.run(
            ["bash", UNITS / "roll-out"], env=environment, capture_output=True, check=False
        )
        return (finished.returncode, place.called)

    start, resume = "rollout start --supersede --yes", "rollout resume --scheduled --yes"
    # Invalid; somebody at work; started and halted; gone on with until done.
    assert tick(3) == (3, ["validate"])
    assert tick(0, 4) == (0, ["validate", start])
    assert tick(0, 6) == (6, ["validate", start])
    assert tick(6) == (6, [resume])
    assert tick(4) == (0, [resume])
    assert tick(0) == (0, [resume])
    (place.fleet / "new").touch()
    place.commit()
    assert tick(0, 0) == (0, ["validate", start])
    assert (clone / "new").exists()
    assert tick(0) == (0, [resume])


def test_a_service_that_is_stopped_lets_owc_deploy_end(tmp_path: Path, forge: Forge) -> None:
    """Systemd signals the script alone: `KillMode=mixed`."""
    place = Place(tmp_path, forge, "systemd")
    clone, state = tmp_path / "clone", tmp_path / "state"
    state.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(place.fleet), str(clone)], check=True)
    slow = SLOW_TOOL.format(calls=place.calls)
    valid = slow.replace("trap", '[ "$1" != validate ] || exit 0\ntrap', 1)
    (place.bin / "owc-deploy").write_text(valid)
    environment = {**place.environment, "OWC_FLEET": str(clone), "STATE_DIRECTORY": str(state)}
    stop = Cancelling(lambda: place.called == ["begun"], ((signal.SIGINT, 10.0),), to_all=False)
    runner = Runner(tmp_path, environment, cancelling=stop)
    runner.run([Step("systemd", "roll-out", f"exec bash {UNITS}/roll-out")])
    assert place.called == ["begun", "ended"], runner.said
    assert not (state / "started").exists()
