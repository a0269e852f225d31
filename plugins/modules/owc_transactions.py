#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Change sites on this server, each in a transaction of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_transactions
short_description: Change sites on this server, each in a transaction of its own
description:
  - In a playbook this is the action plugin of the same name, which calls this module again and
    again until every transaction has ended, and confirms each once it has seen the site.
options:
  start:
    description: Jobs, with C(action), C(site), C(transaction_id) and what the action needs.
    type: list
    elements: dict
    default: []
  verdicts:
    description: What was seen from outside of transactions that wait to be confirmed.
    type: list
    elements: dict
    default: []
  flights:
    description: C(site) and C(transaction_id) of transactions that run since an earlier call.
    type: list
    elements: dict
    default: []
  wait_seconds:
    description: How long to wait at most for any of them to get on.
    type: float
    default: 20
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Change the sites
  owc_transactions:
    jobs: "{{ owc_jobs }}"
    parallel: 2
  register: owc_transactions
"""

RETURN = r"""
finished:
  description: The outcomes of transactions that ended, as docs/architecture.md describes.
  returned: always
  type: list
  elements: dict
provisional:
  description: Those that wait to be confirmed.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import jobs


def main() -> None:
    """Start, tell, wait, report."""
    listed = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "start": listed,
            "verdicts": listed,
            "flights": listed,
            "wait_seconds": {"type": "float", "default": 20},
        },
        supports_check_mode=False,
    )
    asked = module.params
    finished = jobs.start(asked["start"])
    refused = {outcome["site"] for outcome in finished}
    jobs.give_verdicts(asked["verdicts"])
    told = {item["site"] for item in asked["verdicts"]}
    flights = [flight for flight in asked["flights"] if flight["site"] not in told]
    flights += [job for job in asked["start"] if job["site"] not in refused]
    settled = [flight for flight in asked["flights"] if flight["site"] in told]
    ended, provisional = jobs.wait(flights, settled, asked["wait_seconds"])
    module.exit_json(changed=False, finished=finished + ended, provisional=provisional)


if __name__ == "__main__":
    main()
