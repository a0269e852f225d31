"""The shell steps of a CI workflow, taken out of its YAML and run here as its runner would.

Nothing of a runner is pretended but what the steps see of one: their environment, the files that
GitHub's runner reads afterwards, which step follows one that failed, and how a job is cancelled.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_COMMAND = re.compile(
    r"(?:^|[;&|!({]\s*|\bif\s+!?\s*|\bthen\s+|\bdo\s+)owc-deploy (?P<rest>[^\n]*)"
)
_ALWAYS = "always()"
_UNLESS_CANCELLED = "!cancelled()"
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Step:
    """One piece of shell; `condition` and `environment` are as the file writes them."""

    job: str
    name: str
    script: str
    condition: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The `owc-deploy` command lines in it, without the program's name."""
        return tuple(_commands(self.script))


def _commands(script: str) -> Iterator[tuple[str, ...]]:
    for line in script.splitlines():
        if line.lstrip().startswith("#"):
            continue
        for found in _COMMAND.finditer(line.strip()):
            lexer = shlex.shlex(found["rest"], posix=True, punctuation_chars="<>|&;()")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in lexer:
                if set(word) <= set("<>|&;()"):
                    break
                words.append(word)
            yield tuple(words)


def github_document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    return {("on" if key is True else key): value for key, value in document.items()}


def github_steps(path: Path, job: str = "") -> tuple[Step, ...]:
    """Return the steps of a job, or of all jobs, of a GitHub workflow."""
    return tuple(
        Step(
            name,
            step["name"],
            step["run"],
            _EXPRESSION.sub(r"\1", str(step.get("if", ""))),
            step.get("env", {}),
        )
        for name, body in github_document(path)["jobs"].items()
        if job in {"", name}
        for step in body["steps"]
    )


_STOPPING = "status pause abort"
_NEWEST_ONLY = (
    "github.event_name == 'push' || github.event_name == 'workflow_dispatch'"
    f" && !contains('{_STOPPING}', inputs.order)"
)


def conditions(event: str, order: str = "") -> set[str]:
    """Return the conditions of steps that hold for an event, and for what a person ordered."""
    is_newest_only = event == "push" or (event == "workflow_dispatch" and order not in _STOPPING)
    return {f"github.event_name == '{event}'", *([_NEWEST_ONLY] if is_newest_only else [])}


def gitlab_document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


_NOT_JOBS = {"stages", "variables", "workflow", "default"}


def gitlab_jobs(path: Path) -> dict[str, dict[str, Any]]:
    return {
        name: body
        for name, body in gitlab_document(path).items()
        if name not in _NOT_JOBS and not name.startswith(".")
    }


def _flat(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    return [line for inner in part for line in _flat(inner)]


def gitlab_steps(path: Path, job: str = "") -> tuple[Step, ...]:
    """Return what GitLab's runner starts for a job: before_script and script as one, after_script.

    `before_script` and `script` also stand in the answer apart, for who wants to skip the first.
    """
    steps: list[Step] = []
    for name, body in gitlab_jobs(path).items():
        if job in {"", name}:
            parts = [*_flat(body.get("before_script", [])), *_flat(body["script"])]
            steps.append(Step(name, "script", "\n".join(parts)))
            after = "\n".join(_flat(body.get("after_script", [])))
            steps += [Step(name, "after_script", after, "always()")] if after else []
    return tuple(steps)


@dataclass(frozen=True)
class Cancelling:
    """How a runner cancels a job: once `when` says so, signal after signal, each with its grace.

    `to_all` sends them to everything that the step started, else only to the step's own shell.
    What is still there after the last is killed.
    """

    when: Callable[[], bool]
    signals: Sequence[tuple[signal.Signals, float]]
    to_all: bool

    @classmethod
    def github(cls, when: Callable[[], bool]) -> Cancelling:
        """GitHub's runner, which knows nothing of what the shell started until it kills that.

        It waits for 7.5 and 2.5 seconds; a machine on which many tests run may need longer.
        """
        return cls(when, ((signal.SIGINT, 75), (signal.SIGTERM, 25)), to_all=False)

    @classmethod
    def gitlab(cls, when: Callable[[], bool]) -> Cancelling:
        """GitLab's runner, which signals all that the shell started."""
        return cls(when, ((signal.SIGTERM, 100),), to_all=True)

    @classmethod
    def power_cut(cls, when: Callable[[], bool]) -> Cancelling:
        """The runner's machine is gone from one moment to the next."""
        return cls(when, (), to_all=True)

    def carry_out(self, process: subprocess.Popen[str]) -> None:
        for number, grace_seconds in self.signals:
            send = os.killpg if self.to_all else os.kill
            send(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace_seconds)
                # What the shell started was told at the same moment, and may need one more.
                time.sleep(0.5 if self.to_all else 0)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Runner:
    """Runs steps in a folder, as one job.

    `values` are what expressions such as `secrets.OWC_SSH_KEY` stand for, empty when not named;
    `true` are the conditions that hold. `wrapper` is the command that a step's shell is started
    with, which must become that shell.
    """

    folder: Path
    environment: Mapping[str, str]
    values: Mapping[str, str] = field(default_factory=dict)
    true: Collection[str] = ()
    wrapper: Sequence[str] = ()
    cancelling: Cancelling | None = None
    results: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)
    is_cancelled: bool = False

    @property
    def failed(self) -> bool:
        return any(result.returncode for result in self.results.values())

    @property
    def said(self) -> str:
        return "\n".join(f"{each.stdout}{each.stderr}" for each in self.results.values())

    def run(self, steps: Sequence[Step], *, skip: Collection[str] = ()) -> Runner:
        """Run the steps in order and keep how each ended, by its name."""
        path_file = self.folder.parent / "github-path"
        summary = self.folder.parent / "github-summary"
        environment = {
            **self.environment,
            "GITHUB_PATH": str(path_file),
            "GITHUB_STEP_SUMMARY": str(summary),
        }
        for step in steps:
            if step.name in skip or not self._is_due(step):
                continue
            if path_file.exists():
                more = path_file.read_text().split()
                environment["PATH"] = ":".join([*reversed(more), self.environment["PATH"]])
            given = {
                name: _EXPRESSION.sub(lambda found: self.values.get(found[1], ""), str(value))
                for name, value in step.environment.items()
            }
            self.results[step.name] = self._run(step.script, {**environment, **given})
        return self

    def _run(self, script: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            process = subprocess.Popen(
                [*self.wrapper, *command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
            self._wait(process)
            for said in (stdout, stderr):
                said.seek(0)
            return subprocess.CompletedProcess(
                command, process.returncode, stdout.read(), stderr.read()
            )

    def _wait(self, process: subprocess.Popen[str]) -> None:
        if self.cancelling is None:
            process.wait()
        while process.poll() is None:
            if self.cancelling is not None and not self.is_cancelled and self.cancelling.when():
                self.is_cancelled = True
                self.cancelling.carry_out(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)

    def _is_due(self, step: Step) -> bool:
        if step.condition == _ALWAYS:
            return True
        if self.is_cancelled:
            return False
        if step.condition == _UNLESS_CANCELLED:
            return True
        return not self.failed and (not step.condition or step.condition in self.true)
