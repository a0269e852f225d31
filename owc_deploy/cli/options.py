"""Options that several verbs share, so that they are named and explained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def fleet_option(function: Function) -> Function:
    """Add `--fleet`, the folder that holds fleet.yml; the verb receives an absolute `Path`."""
    return click.option(
        "--fleet",
        "fleet_root",
        type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
        default=".",
        envvar="OWC_FLEET",
        help="Folder with fleet.yml (default: this folder, or OWC_FLEET).",
    )(function)


def format_option_with(*more: str) -> Callable[[Function], Function]:
    """Add `--format` with `human`, `json` and more; the verb receives `output_format`."""
    words = {"junit": "JUnit XML", "markdown": "Markdown for a comment on a merge request"}
    others = "".join(f", {words[each]}" for each in more)

    def add(function: Function) -> Function:
        return click.option(
            "--format",
            "output_format",
            type=click.Choice(["human", "json", *more]),
            default="human",
            help=f"What stdout carries: text for people, JSON for programs{others}.",
        )(function)

    return add


# What most verbs have: text for people, or JSON.
format_option = format_option_with()
ci_format_option = format_option_with("junit", "markdown")


def sites_argument(function: Function) -> Function:
    """Add the optional list of sites; the verb receives a tuple, empty for all sites."""
    return click.argument("sites", nargs=-1, metavar="[SITE]...")(function)


def change_options(function: Function) -> Function:
    """Add what every verb that changes servers has: `--yes`, `--reason` and `--take-over`."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal."),
        click.option("--reason", default="", help="Why, for the history."),
        click.option(
            "--take-over",
            is_flag=True,
            help="Take the lease from a controller that you know has stopped.",
        ),
    ):
        function = option(function)
    return function
