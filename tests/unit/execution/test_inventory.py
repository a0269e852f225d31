from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.inventory import (
    VariablesPipe,
    is_local,
    require_host_key_checking,
    run_variables,
)
from owc_deploy.fleet.models import Server
from owc_deploy.fleet.secrets import Sensitive


def server(name: str = "web1", **variables: object) -> Server:
    return Server(name, ("web",), (), variables)


def made(item: Server, effective_user: str = "anna", **groups: object) -> dict[str, object]:
    document = run_variables(
        (item,),
        variables=groups.get("variables", {}),  # type: ignore[arg-type]
        variables_per_server=groups.get("per_server", {}),  # type: ignore[arg-type]
        secrets_per_server=groups.get("secrets", {}),  # type: ignore[arg-type]
        effective_user=effective_user,
    )
    return document[item.name]


def test_the_more_particular_wins_and_secrets_are_revealed_at_any_depth() -> None:
    assert made(
        server(),
        variables={"a": 1, "b": 1},
        per_server={"web1": {"b": 2}, "web2": {"b": 3}},
        secrets={"web1": {"c": [{"content": Sensitive("x")}], "d": (Sensitive("y"),)}},
    ) == {"a": 1, "b": 2, "c": [{"content": "x"}], "d": ["y"]}


@pytest.mark.parametrize(
    ("variables", "effective_user", "becomes"),
    [
        ({"ansible_user": "deploy"}, "anna", True),
        ({"ansible_user": "root"}, "anna", None),
        ({"ansible_user": "deploy", "ansible_become": False}, "anna", None),
        ({}, "anna", None),
        ({"ansible_connection": "local"}, "root", None),
        ({"ansible_connection": "local"}, "anna", True),
    ],
)
def test_who_is_not_root_becomes_root_unless_the_inventory_decides(
    variables: dict[str, object], effective_user: str, becomes: bool | None
) -> None:
    assert made(server(**variables), effective_user).get("ansible_become") is becomes


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        (None, True),
        ("-o ControlMaster=no -o StrictHostKeyChecking=yes", True),
        ("-o ControlMaster=no", False),
        ("-o StrictHostKeyChecking=no", False),
        ("-o StrictHostKeyChecking=accept-new", False),
    ],
)
def test_host_key_checking_cannot_be_replaced_away(arguments: str | None, accepted: bool) -> None:
    item = server(**({} if arguments is None else {"ansible_ssh_args": arguments}))
    if accepted:
        require_host_key_checking((item,))
    else:
        with pytest.raises(ExecutionError, match="ansible_ssh_args of web1"):
            require_host_key_checking((item,))


def test_local() -> None:
    assert is_local(server(ansible_connection="local"))
    assert not is_local(server())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_value_comes_through_unchanged(value: object) -> None:
    assert made(server(), variables={"value": value}) == {"value": value}


def test_the_pipe_hands_over_everything_once(tmp_path: Path) -> None:
    document = {"web1": {"value": "é" * 300_000}}
    with VariablesPipe(tmp_path, document) as pipe:
        assert pipe.path.is_fifo()
        assert pipe.path.stat().st_mode & 0o777 == 0o600
        assert json.loads(pipe.path.read_text(encoding="utf-8")) == document
    assert list(tmp_path.iterdir()) == []


def test_nobody_reading_blocks_nobody(tmp_path: Path) -> None:
    began = time.monotonic()
    with VariablesPipe(tmp_path, {"a": {}}):
        pass
    assert time.monotonic() - began < 1
    assert "owc-variables" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("read_bytes", [0, 10])
def test_a_reader_that_dies_blocks_nobody(tmp_path: Path, read_bytes: int) -> None:
    with VariablesPipe(tmp_path, {"a": {"value": "x" * 1_000_000}}) as pipe:
        descriptor = os.open(pipe.path, os.O_RDONLY)
        os.read(descriptor, read_bytes)
        os.close(descriptor)
    assert "owc-variables" not in [thread.name for thread in threading.enumerate()]
