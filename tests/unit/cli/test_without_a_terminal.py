"""Without a terminal nothing asks, and nothing changes a server that was not told --yes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fakes.fleet import FleetSimulator, SimulatedServer, SimulatedSite
from unit.cli.sessions import session, two_servers
from unit.fleet.fleet_folder import write_fleet

import owc_deploy.cli
from owc_deploy.cli.apply import carry_out
from owc_deploy.cli.main import cli, run
from owc_deploy.cli.plan import planned
from owc_deploy.cli.rollback import Wish, go_back
from owc_deploy.errors import UsageError

SOURCES = Path(owc_deploy.cli.__file__).parent
# Who may ask: `view.confirm`, and the passphrase of a key, which can be given as a file.
ASKING = {"view.py": 1, "catalogue_sign.py": 1}


def commands(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, context)


def test_only_two_places_ask() -> None:
    asking = re.compile(r"\b(?:click\.(?:confirm|prompt|pause|edit|getchar)|input|getpass)\(")
    found = {path.name: len(asking.findall(path.read_text())) for path in SOURCES.glob("*.py")}
    assert {name: count for name, count in found.items() if count} == ASKING


def test_no_option_asks() -> None:
    for command in commands(cli, click.Context(cli, **cli.context_settings)):
        for parameter in command.params:
            assert getattr(parameter, "prompt", None) is None, command.name


def test_whatever_confirms_has_yes() -> None:
    for path in SOURCES.glob("*.py"):
        text = path.read_text()
        if re.search(r"\bconfirm\(", text) and path.name != "view.py":
            assert "change_options" in text or '"--yes"' in text, path.name


def test_provision_is_refused_with_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_fleet(tmp_path / "a fleet")
    assert run(["provision", "web1", "--fleet", str(root)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "there is no terminal to ask on" in said.err
    assert f"Next: owc-deploy provision web1 --fleet '{root}' --yes" in said.err


def test_apply_changes_nothing(tmp_path: Path) -> None:
    servers = FleetSimulator(["web1", "web2"])
    opened = session(two_servers(tmp_path), servers)
    plan = planned(opened, (), ())
    with (
        click.Context(cli, obj=("apply", "--format", "json"), **cli.context_settings),
        pytest.raises(UsageError, match="no terminal") as refused,
    ):
        carry_out(opened, plan, output_format="json", yes=False, reason="", take_over=False)
    assert refused.value.hint == "owc-deploy apply --format json --yes"
    assert {method for method, _ in servers.calls} == {"probe"}
    assert not (tmp_path / "history.sqlite3").exists()


def test_rollback_changes_nothing(tmp_path: Path) -> None:
    servers = FleetSimulator(["web1", "web2"])
    first, second = "20261101T000000Z-aaaaaaaa", "20261102T000000Z-bbbbbbbb"
    site = SimulatedSite(second, {first: {}, second: {}})
    servers.servers["web2"] = SimulatedServer(sites={"heusden": site})
    with pytest.raises(UsageError, match="no terminal"):
        go_back(two_servers(tmp_path), servers, Wish("heusden"))
    assert site.current == second


@pytest.mark.parametrize(("given", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_kept_to_on_a_terminal(
    tmp_path: Path, given: dict[str, str], coloured: bool
) -> None:
    environment = {**os.environ, "TERM": "xterm-256color", **given}
    if not given:
        environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "owc_deploy", "validate", "--fleet", str(tmp_path)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    said = os.read(ours, 10_000)
    os.close(ours)
    assert b"is not a fleet" in said
    assert (b"\x1b[" in said) is coloured
