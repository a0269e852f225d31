#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Make earlier releases of sites live again."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_rollback
short_description: Make earlier releases of sites live again
description:
  - Goes back without asking WordPress, and undoes itself when the old release does not answer.
  - With C(preview) it says what going back would mean and changes nothing.
options:
  rollbacks:
    description: >-
      For each site C(site), C(release_id), C(observed_release), C(restore_database) and C(preview).
    type: list
    elements: dict
    required: true
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Go back
  owc_rollback:
    rollbacks: "{{ owc_rollbacks }}"
  register: owc_rollback
"""

RETURN = r"""
outcomes:
  description: One outcome for each site, as docs/architecture.md describes.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import jobs


def main() -> None:
    """Run the transactions."""
    module = AnsibleModule(
        argument_spec={"rollbacks": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=False,
    )
    work = [
        {
            **item,
            "action": "preview" if item.get("preview") else "rollback",
            "transaction_id": jobs.new_transaction_id(),
        }
        for item in module.params["rollbacks"]
    ]
    outcomes = jobs.run_jobs(work, 2)
    module.exit_json(changed=any(o["outcome"] == "changed" for o in outcomes), outcomes=outcomes)


if __name__ == "__main__":
    main()
