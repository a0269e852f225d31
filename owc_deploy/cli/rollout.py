"""`owc-deploy rollout`: change the fleet ring by ring, and see how far it is."""

from __future__ import annotations

import importlib
from typing import Any

import click

# Verb -> module in owc_deploy.cli that defines it; the order is that of `--help`.
_VERBS = {
    "start": "rollout_start",
    "status": "rollout_status",
    "watch": "rollout_status",
    "list": "rollout_status",
    "pause": "rollout_orders",
    "resume": "rollout_orders",
    "abort": "rollout_orders",
    "retry": "rollout_orders",
}


class _Verbs(click.Group):
    """Imports a verb's module only when that verb is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _VERBS:
            return None
        module: Any = importlib.import_module(f"owc_deploy.cli.{_VERBS[cmd_name]}")
        command = getattr(module, f"{cmd_name}_command")
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=_Verbs,
    epilog="""
\b
Examples:
  owc-deploy rollout start --block openwoo --version '^4.3' --yes
  owc-deploy rollout status
  owc-deploy rollout pause --reason "the help desk is called"
""",
)
def command() -> None:
    """Change the fleet ring by ring: first the few that find mistakes, then the many.

    Each site is changed inside its window. A ring in which more goes wrong than it allows halts the
    rollout; what is told in fleet.yml is then undone. It may be killed at any moment: `resume` goes
    on from what the servers say.
    """
