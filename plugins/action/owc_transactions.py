# SPDX-License-Identifier: EUPL-1.2
"""Action plugin: flies the transactions of one server from the controller (`owc_pilot`)."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from owc_pilot.pilot import ConnectionLostError, Pilot

# What ssh says when a connection that was there went away: the server may be at work still.
_LOST = ("closed", "reset", "broken pipe", "not responding")
# The controller reads these lines; see owc_deploy.execution.events.
PROGRESS = "owc-progress: "


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is untyped
    """`jobs` are the transactions to run, at most `parallel` at a time."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"jobs", "parallel"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run every job and return an outcome for each."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        host = str(variables.get("inventory_hostname", ""))

        def call(arguments: dict[str, Any]) -> dict[str, Any]:
            try:
                answer = self._execute_module(
                    module_name="owc_transactions", module_args=arguments, task_vars=variables
                )
            except AnsibleConnectionFailure as error:
                words = str(error)
                was_there = any(word in words.lower() for word in _LOST)
                raise ConnectionLostError(words, was_there=was_there) from error
            if "finished" not in answer:
                words = str(answer.get("msg") or "") + str(answer.get("module_stderr") or "")
                raise ConnectionLostError(words.strip() or "the module answered nothing")
            return dict(answer)

        def tell(outcome: dict[str, Any]) -> None:
            told = {"server": host, "site": outcome["site"], "outcome": outcome["outcome"]}
            self._display.display(PROGRESS + json.dumps(told))

        pilot = Pilot(call, self._address(variables), tell)
        jobs = self._task.args["jobs"]
        try:
            outcomes = pilot.fly(jobs, int(self._task.args["parallel"]))
        except ConnectionLostError as error:
            raise AnsibleConnectionFailure(str(error)) from error
        return {"changed": any(o["outcome"] == "changed" for o in outcomes), "outcomes": outcomes}

    def _address(self, variables: dict[str, Any]) -> str:
        """Return where visitors of this server's sites arrive, as far as the inventory tells."""
        if variables.get("ansible_connection") in {"local", "ansible.builtin.local"}:
            return "127.0.0.1"
        address = variables.get("ansible_host") or variables.get("inventory_hostname", "")
        return str(self._templar.template(address))
