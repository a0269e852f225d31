"""Runners of GitLab and of GitHub: what each does around the shell of a job (`fakes.workflow`).

The shell runs as if on a machine of its own: with a host name, a home folder of its account and
memory that nobody else sees. Needs root.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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

# ssh takes the home folder from the account, whatever the environment says.
_MOVE_IN = """
hostname "$1"
mount --bind "$2" /etc/passwd
mount -t tmpfs none /dev/shm
shift 2
exec "$@"
"""


def own_machine(name: str, home: Path, *, is_thrown_away: bool) -> tuple[str, ...]:
    """Return the command with which a shell is started as on a machine with this name.

    Nothing of what was started on one that is thrown away outlives that shell.
    """
    account = pwd.getpwuid(os.getuid())
    accounts = home.with_name(f"{home.name}.passwd")
    lines = Path("/etc/passwd").read_text(encoding="utf-8").splitlines()
    others = [line for line in lines if not line.startswith(f"{account.pw_name}:")]
    mine = f"{account.pw_name}:x:{account.pw_uid}:{account.pw_gid}::{home}:/bin/bash"
    accounts.write_text("\n".join([mine, *others, ""]), encoding="utf-8")
    alone = ("--pid", "--fork", "--kill-child", "--mount-proc") if is_thrown_away else ()
    move_in = ("bash", "-ec", _MOVE_IN, "machine", name, str(accounts))
    return ("unshare", "--mount", "--uts", *alone, "--", *move_in)


@dataclass
class GitlabRunner:
    """Keeps the folder that it builds in; each job gets a new machine, which is thrown away.

    `variables` are the project's, `secrets` those that are for its environments only.
    """

    root: Path
    repository: Path
    variables: Mapping[str, str]
    secrets: Mapping[str, str]
    jobs: int = 0

    @property
    def build(self) -> Path:
        return self.root / "build"

    def run(
        self,
        job: str,
        commit: str,
        variables: Mapping[str, str] | None = None,
        cancelling: Cancelling | None = None,
    ) -> Runner:
        """Run a job of a commit, but for the part that installs owc-deploy."""
        self.jobs += 1
        home = self.root / f"home-{self.jobs}"
        home.mkdir(parents=True)
        self._check_out(commit)
        file = self.build / ".gitlab-ci.yml"
        environment = {
            **self.variables,
            **(self.secrets if "environment" in gitlab_jobs(file)[job] else {}),
            "HOME": str(home),
            "CI_PROJECT_DIR": str(self.build),
            "CI_PROJECT_ID": "12",
            "CI_COMMIT_SHA": commit,
            "CI_COMMIT_BRANCH": "main",
            "GITLAB_CI": "true",
            "GITLAB_USER_LOGIN": "anna",
            **(variables or {}),
        }
        machine = own_machine(f"runner-{self.jobs}", home, is_thrown_away=True)
        install = gitlab_document(file)[".install"][0]
        steps = [
            Step(step.job, step.name, step.script.replace(install, ""), step.condition)
            for step in gitlab_steps(file, job)
        ]
        runner = Runner(self.build, environment, wrapper=machine, cancelling=cancelling)
        return runner.run(steps)

    def _check_out(self, commit: str) -> None:
        self.build.mkdir(exist_ok=True)
        self._git("init", "--quiet")
        self._git("config", "remote.origin.url", f"file://{self.repository}")
        self._git("fetch", "--quiet", "--depth=1", "origin", commit)
        self._git("checkout", "--quiet", "--force", "--detach", commit)
        variables = gitlab_document(self.build / ".gitlab-ci.yml")["variables"]
        self._git("clean", "--quiet", *variables["GIT_CLEAN_FLAGS"].split())

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.build, check=True)


@dataclass
class GithubRunner:
    """A runner that stays, with its home folder and the folder that it works in."""

    root: Path
    repository: Path
    variables: Mapping[str, str]
    secrets: Mapping[str, str]
    jobs: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for folder in (self.home, self.work):
            folder.mkdir(parents=True)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def run(
        self,
        job: str,
        event: str,
        commit: str,
        values: Mapping[str, str] | None = None,
        cancelling: Cancelling | None = None,
        wheels: Path | None = None,
    ) -> Runner:
        """Run a job of a commit; owc-deploy is installed from `wheels`, or is there already."""
        self.jobs += 1
        (self.root / "github-path").unlink(missing_ok=True)
        file = self._workflow(commit)
        temporary = self.root / f"temporary-{self.jobs}"
        temporary.mkdir()
        installing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PYTHONPATH": ""}
        environment = {
            **github_document(file)["env"],
            **self.variables,
            **(installing if wheels else {}),
            "HOME": str(self.home),
            "RUNNER_TEMP": str(temporary),
            "GITHUB_SHA": commit,
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "anna",
        }
        is_trusted = "environment" in github_document(file)["jobs"][job]
        known = {**(values or {}), **(self.secrets if is_trusted else {})}
        runner = Runner(
            self.work,
            environment,
            known,
            conditions(event),
            own_machine("runner", self.home, is_thrown_away=False),
            cancelling,
        )
        skip = () if wheels else ("Install owc-deploy",)
        return runner.run(github_steps(file, job), skip=skip)

    def _workflow(self, commit: str) -> Path:
        """Return the workflow as a commit has it: GitHub itself reads that, not the runner."""
        shown: Sequence[str] = ("show", f"{commit}:.github/workflows/owc-deploy.yml")
        text = subprocess.run(["git", *shown], cwd=self.repository, capture_output=True, check=True)
        file = self.root / f"workflow-{self.jobs}.yml"
        file.write_bytes(text.stdout)
        return file
