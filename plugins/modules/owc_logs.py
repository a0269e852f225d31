#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Read the recent log lines of one site."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_logs
short_description: Read the recent log lines of one site
description:
  - PHP, cron, transactions and web server errors.
options:
  site:
    description: The site.
    type: str
    required: true
  lines:
    description: How many lines at the most.
    type: int
    default: 100
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Read the log
  owc_logs:
    site: voorbeeld
  register: owc_logs
"""

RETURN = r"""
lines:
  description: The lines, oldest first.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import logs


def main() -> None:
    """Report the lines."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "lines": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    lines = logs.recent(module.params["site"], module.params["lines"])
    module.exit_json(changed=False, lines=lines)


if __name__ == "__main__":
    main()
