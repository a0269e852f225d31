"""`owc-deploy completion`: the script that lets a shell complete our command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "owc-deploy"
VARIABLE = "_OWC_DEPLOY_COMPLETE"


@click.command(
    epilog="""
\b
Examples:
  owc-deploy completion bash > ~/.local/share/bash-completion/completions/owc-deploy
  owc-deploy completion zsh > "${fpath[1]}/_owc-deploy"
  owc-deploy completion fish > ~/.config/fish/completions/owc-deploy.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    complete = kind(context.find_root().command, {}, PROGRAM, VARIABLE)
    click.echo(complete.source())
