#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Take sites off the air, keeping everything."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_decommission
short_description: Take sites off the air, keeping everything
description:
  - Stops serving; releases, database, uploads and certificate stay.
options:
  decommissions:
    description: For each site C(site) and C(observed_release).
    type: list
    elements: dict
    required: true
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Take a site off the air
  owc_decommission:
    decommissions: "{{ owc_decommissions }}"
  register: owc_decommission
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
        argument_spec={"decommissions": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=False,
    )
    work = [
        {"action": "decommission", "transaction_id": jobs.new_transaction_id(), **item}
        for item in module.params["decommissions"]
    ]
    outcomes = jobs.run_jobs(work, 2)
    module.exit_json(changed=any(o["outcome"] == "changed" for o in outcomes), outcomes=outcomes)


if __name__ == "__main__":
    main()
