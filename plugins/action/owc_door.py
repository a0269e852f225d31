# SPDX-License-Identifier: EUPL-1.2
"""Action plugin: one server's end of the controller's door (owc_deploy.execution.door).

It connects to a socket in the run's private folder and does what it is told there, over the
connection that Ansible keeps to the server: questions to the agent, artefacts to send,
transactions, modules. What is asked and answered so never becomes a variable, an argument, an event
or a log line.
"""

from __future__ import annotations

import json
import shlex
import socket
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from owc_pilot.pilot import ConnectionLostError, Pilot, may_have_been_there

from owc_agent import install

# How the shell says that this version of the agent is not on the server.
_ABSENT = 44


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is untyped
    """`socket` is the path to connect to; ends when the controller hangs up."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"socket"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Serve the controller until it hangs up."""
        super().run(tmp, task_vars)
        self._variables = task_vars or {}
        self._run = shlex.quote(install.run_path(install.sources()))
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(self._task.args["socket"])
            with door.makefile("rwb") as stream:
                self._stream = stream
                self._say({"server": self._variables["inventory_hostname"]})
                for line in stream:
                    self._say(self._carry_out(json.loads(line)))
        return {"changed": False}

    def _say(self, document: dict[str, Any]) -> None:
        # `str`: a module that failed has objects of Ansible's own in its result.
        self._stream.write(json.dumps(document, default=str).encode() + b"\n")
        self._stream.flush()

    def _carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        does = {
            "agent": self._agent,
            "artefacts": self._artefacts,
            "module": self._module,
            "transactions": self._transactions,
        }
        try:
            return {"result": does[order["do"]](order)}
        except (AnsibleConnectionFailure, ConnectionLostError) as error:
            return {"unreachable": str(error), "was_there": _was_there(error)}
        except Exception as error:
            # Whatever it is, the controller has to hear of it.
            return {"failed": f"{type(error).__name__}: {error}"}

    def _module(self, order: dict[str, Any]) -> dict[str, Any]:
        return dict(
            self._execute_module(
                module_name=order["module"],
                module_args=order["arguments"],
                task_vars=self._variables,
            )
        )

    def _agent(self, order: dict[str, Any]) -> dict[str, Any]:
        """Ask the agent; `{"absent": True}` when this version of it is not on the server.

        A module would do, and take five times as long: Ansible packs, sends and unpacks it anew.
        """
        answered = self._low_level_execute_command(
            f"test -f {self._run} || exit {_ABSENT}; /usr/bin/python3 -I {self._run} answer",
            in_data=json.dumps({"ask": order["ask"], "arguments": order["arguments"]}).encode(),
        )
        if answered["rc"] == _ABSENT:
            return {"absent": True}
        try:
            answer = json.loads(answered["stdout"].rstrip().rpartition("\n")[2])
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            words = f"{answered['stderr']} {answered['stdout']}".strip()[-500:]
            return {"failed": True, "msg": words or f"no answer (exit code {answered['rc']})"}
        return answer

    def _artefacts(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send a bundle of artefacts and have the agent take them in."""
        folder = self._make_tmp_path()
        try:
            bundle = f"{folder}/{Path(order['bundle']).name}"
            self._connection.put_file(order["bundle"], bundle)
            return self._agent({"ask": "artefacts", "arguments": {"bundle": bundle}})
        finally:
            self._remove_tmp_path(folder)

    def _transactions(self, order: dict[str, Any]) -> dict[str, Any]:
        def call(arguments: dict[str, Any]) -> dict[str, Any]:
            try:
                answer = self._agent({"ask": "transactions", "arguments": arguments})
            except AnsibleConnectionFailure as error:
                raise ConnectionLostError(str(error), was_there=_was_there(error)) from error
            if "finished" not in answer:
                words = str(answer.get("msg") or "the agent is not there")
                # It was reached, and may have begun before it failed.
                raise ConnectionLostError(words, was_there=not answer.get("absent"))
            return answer

        pilot = Pilot(call, self._address(), lambda outcome: self._say({"progress": outcome}))
        return {"outcomes": pilot.fly(order["jobs"], order["parallel"])}

    def _address(self) -> str:
        """Return where visitors of this server's sites arrive, as far as the inventory tells."""
        variables = self._variables
        if variables.get("ansible_connection") in {"local", "ansible.builtin.local"}:
            return "127.0.0.1"
        address = variables.get("ansible_host") or variables["inventory_hostname"]
        return str(self._templar.template(address))


def _was_there(error: Exception) -> bool:
    if isinstance(error, ConnectionLostError):
        return error.was_there
    return may_have_been_there(str(error))
