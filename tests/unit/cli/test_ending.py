"""How the process of a command line ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Its interpreter, taken down, ends with another exit code: as it may where Temporal was asked.
PROGRAM = """
import atexit, os, sys
from owc_deploy.cli import main
{imported}
class Aborts:
    def __del__(self, end=os._exit):
        end(134)
aborts = Aborts()
run = main.run
def ran(arguments):
    atexit.register(print, "tidied up")
    return run(arguments)
main.run = ran
main.main()
"""


@pytest.mark.parametrize(
    ("imported", "arguments", "code"),
    [
        ("", ["--version"], 134),
        ("import temporalio", ["--version"], 0),
        ("import temporalio", ["no-such-verb"], 2),
    ],
)
def test_where_temporal_was_asked_the_interpreter_is_not_taken_down(
    imported: str, arguments: list[str], code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(imported=imported), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    if code != 134:
        assert done.stdout.endswith("tidied up\n")
