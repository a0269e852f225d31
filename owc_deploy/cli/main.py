"""The entry point: verbs loaded when they are used, and errors turned into exit codes."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import itertools
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from owc_deploy import __version__
from owc_deploy.cli.view import colour, print_error
from owc_deploy.errors import OwcError

# Verb -> module in owc_deploy.cli that defines `command`; the order is that of `--help`.
VERBS = {
    "init": "init",
    "validate": "validate",
    "lock": "lock",
    "outdated": "outdated",
    "provision": "provision",
    "plan": "plan",
    "apply": "apply",
    "update": "update",
    "rollout": "rollout",
    "worker": "worker",
    "rollback": "rollback",
    "status": "status",
    "when": "when",
    "history": "history",
    "audit-log": "audit_log",
    "logs": "logs",
    "access": "access",
    "mitigate": "mitigate",
    "audit": "audit",
    "sbom": "sbom",
    "notify": "notify",
    "catalogue": "catalogue",
    "lab": "lab",
    "completion": "completion",
}

# Verbs that work on servers whenever they are used.
SERVER_VERBS = frozenset(
    {"plan", "apply", "update", "rollout", "rollback", "status", "logs", "access", "mitigate"}
)

# Verbs of theirs that read what is written down, and ask no server.
_READING_VERBS = frozenset({"list", "pause", "status", "watch"})

EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class _Verbs(click.Group):
    """A group that imports a verb's module only when that verb is named."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in SERVER_VERBS and not ctx.resilient_parsing:
            _begin_ansible(args[1:])
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"owc_deploy.cli.{VERBS[cmd_name]}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(cmd_name)
        return command


def _begin_ansible(arguments: list[str]) -> None:
    """Let Ansible be imported while this process imports the verb and reads the documents."""
    if {"-h", "--help"} & set(arguments) or _READING_VERBS & set(arguments[:1]):
        return
    from owc_deploy.execution.standby import begin  # noqa: PLC0415  for these verbs only

    given = os.environ.get("OWC_FLEET", ".")
    for name, value in itertools.pairwise([*arguments, ""]):
        if name == "--fleet":
            given = value
        elif name.startswith("--fleet="):
            given = name.removeprefix("--fleet=")
    fleet_root = Path(given).resolve()
    if (fleet_root / "fleet.yml").is_file():
        begin(fleet_root)


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: owc-deploy init my-fleet",
)
@click.version_option(__version__, prog_name="owc-deploy")
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice for everything.")
def cli(verbose: int) -> None:
    """Provision, update and roll back municipal WordPress sites.

    One manifest per site names the Open Webconcept building blocks it wants; `lock` pins them,
    `plan` shows what would change, `apply` changes it and undoes what fails.
    """
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = cli.main(
            args=list(arguments),
            prog_name="owc-deploy",
            standalone_mode=False,
            color=colour(),
            obj=tuple(arguments),  # for `typed_again`
        )
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OwcError as error:
        print_error(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:  # noqa: BLE001  a bug: say so, and keep what is needed to report it
        return _report_bug()
    return result if isinstance(result, int) else 0


def _report_bug() -> int:
    report = Path.cwd() / "owc-deploy-bug.txt"
    try:
        report.write_text(traceback.format_exc(), encoding="utf-8")
        where = f"the details are in {report}"
    except OSError:
        where = traceback.format_exc()
    click.echo(f"owc-deploy has a bug: {where}", err=True)
    return EXIT_BUG


def main() -> None:
    """Run the command line of this process and exit."""
    _stop_on_signals()
    codes: list[int] = []
    # Registered before everything else that is to be done at the end, and so done after it.
    atexit.register(_end_at_once, codes)
    codes.append(run(sys.argv[1:]))
    sys.exit(codes[0])


def _end_at_once(codes: Sequence[int]) -> None:
    """End here where Temporal was asked: its threads may abort an interpreter that is torn down.

    See https://github.com/temporalio/sdk-python/issues/300: then the exit code says nothing.
    """
    if codes and "temporalio" in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(codes[0])


def _stop_on_signals() -> None:
    """Let what CI, a closed terminal or `kill` sends do what Ctrl-C does.

    Otherwise it would end this process at once, with its leases taken. A
    hang-up that somebody keeps away, with nohup say, stays away.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
