"""Run a playbook on servers and hand back what each of them answered.

ansible-runner does the running. Around it: a private folder that is gone afterwards, an environment
of our own, variables through a pipe, events kept in memory.
"""

from __future__ import annotations

import getpass
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.environment import (
    ansible_settings,
    require_ssh,
    run_folder,
    scrubbed,
)
from owc_deploy.execution.events import EventCollector, ServerResult
from owc_deploy.execution.interruption import Interruption
from owc_deploy.execution.inventory import (
    VariablesPipe,
    is_local,
    require_host_key_checking,
    run_variables,
)
from owc_deploy.execution.ports import ProgressCallback
from owc_deploy.fleet.models import Server
from owc_deploy.resources import resource_folder

LOGGER = logging.getLogger(__name__)

_PROCESS = "playbook_process.py"
# How often ansible-runner looks whether it must stop.
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class PlaybookRequest:
    """A playbook to run.

    `playbook` is a name such as `probe`, or the path of a file. `inventory` is the fleet's
    servers.yml. `variables` go to every server, `variables_per_server` and `secrets_per_server`
    (keyed by server name; values may be `Sensitive`, also nested) to one. All of them reach Ansible
    as host variables that are data: Ansible never expands templates in them.
    """

    playbook: str | Path
    servers: tuple[Server, ...]
    inventory: Path
    variables: Mapping[str, Any] = field(default_factory=dict)
    variables_per_server: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets_per_server: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    vault_password_file: Path | None = None
    forks: int = 20
    timeout_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class PlaybookResult:
    """What every server answered, keyed by its name."""

    servers: Mapping[str, ServerResult]


def run_playbook(
    request: PlaybookRequest, *, on_progress: ProgressCallback | None = None
) -> PlaybookResult:
    """Run a playbook and return each server's result.

    A server that fails or cannot be reached is in the result. Raises ExecutionError when Ansible
    itself could not run, KeyboardInterrupt when the operator stopped it (SIGINT or SIGTERM); by
    then Ansible has ended and has told its workers to.
    """
    if not request.servers:
        return PlaybookResult(MappingProxyType({}))
    check_servers(request.servers)
    collector = EventCollector(tuple(server.name for server in request.servers), on_progress)
    with run_folder() as folder, Interruption(collector, request.timeout_seconds) as interruption:
        return_code = run_in(folder, request, collector, interruption)
    if interruption.by_operator:
        raise KeyboardInterrupt
    if interruption.timed_out:
        unfinished = f"not finished within {request.timeout_seconds:g} seconds"
    elif collector.finished:
        unfinished = "the playbook has no work for this server"
    else:
        raise ExecutionError(
            f"Ansible could not run the playbook (exit code {return_code})",
            context=collector.tail or None,
            hint="owc-deploy validate",
        )
    results = collector.results(unfinished=unfinished)
    return PlaybookResult(MappingProxyType({result.server: result for result in results}))


def check_servers(servers: tuple[Server, ...]) -> None:
    """Raise ExecutionError when these servers cannot be worked on safely from here."""
    if not all(is_local(server) for server in servers):
        require_ssh()
    require_host_key_checking(servers)


def run_in(
    folder: Path,
    request: PlaybookRequest,
    collector: EventCollector,
    interruption: Interruption,
) -> int | None:
    """Run a playbook with this private folder for its files; return Ansible's exit code."""
    (folder / "tmp").mkdir(mode=0o700)
    document = host_variables(request)
    with VariablesPipe(folder, document) as pipe:
        del document
        return _run(request, folder, pipe.path, collector, interruption)


def host_variables(request: PlaybookRequest) -> dict[str, dict[str, Any]]:
    """Return each server's variables, secrets revealed: never log or store the result."""
    return run_variables(
        request.servers,
        variables=request.variables,
        variables_per_server=request.variables_per_server,
        secrets_per_server=request.secrets_per_server,
        effective_user=getpass.getuser(),
    )


def playbook_arguments(request: PlaybookRequest, folder: Path, variables: Path) -> list[str]:
    """Return the command line of `ansible-playbook`, in which nothing is secret."""
    arguments = ["--inventory", str(request.inventory), "--inventory", str(variables)]
    arguments += ["--limit", f"@{_limit(request, folder)}", "--forks", str(len(request.servers))]
    if request.vault_password_file is not None:
        arguments += ["--vault-password-file", str(request.vault_password_file)]
    return [*arguments, str(_playbook(request.playbook))]


def _limit(request: PlaybookRequest, folder: Path) -> Path:
    path = folder / "limit"
    path.write_text("".join(f"{server.name}\n" for server in request.servers), encoding="utf-8")
    return path


def _run(
    request: PlaybookRequest,
    folder: Path,
    variables: Path,
    collector: EventCollector,
    interruption: Interruption,
) -> int | None:
    # Imported on use: 0.15 s that verbs without servers need not pay.
    from ansible_runner import Runner, RunnerConfig  # noqa: PLC0415
    from ansible_runner.exceptions import AnsibleRunnerException  # noqa: PLC0415

    vault = request.vault_password_file
    try:
        configuration = RunnerConfig(
            private_data_dir=str(folder),
            playbook=str(_playbook(request.playbook)),
            inventory=[str(request.inventory), str(variables)],
            limit=f"@{_limit(request, folder)}",
            cmdline=None,
            fact_cache_type="memory",
            ident="run",
        )
        configuration.prepare()
        # Set after prepare(), which seeds the environment with all of the caller's.
        settings = ansible_settings(folder, request.inventory.parent)
        settings["ANSIBLE_FORKS"] = str(request.forks)
        if vault is not None:
            settings["ANSIBLE_VAULT_PASSWORD_FILE"] = str(vault)
        configuration.env = scrubbed(configuration.env, settings)
        # -P: this folder has an ansible.py of its own.
        process = str(Path(__file__).with_name(_PROCESS))
        configuration.command[:1] = [sys.executable, "-P", process]
        configuration.suppress_ansible_output = True
        configuration.suppress_output_file = True
        configuration.pexpect_timeout = _POLL_SECONDS
        runner = Runner(configuration, event_handler=collector, cancel_callback=interruption)
        LOGGER.debug("running %s in %s", configuration.command, folder)
        _status, return_code = runner.run()
    except AnsibleRunnerException as error:
        raise ExecutionError(f"ansible-runner failed: {error}", context=collector.tail) from error
    return int(return_code) if return_code is not None else None


def _playbook(playbook: str | Path) -> Path:
    if isinstance(playbook, Path):
        return playbook.resolve()
    return resource_folder("playbooks") / f"{playbook}.yml"
