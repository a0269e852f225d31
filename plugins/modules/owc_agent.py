#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Put the agent on this server."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_agent
short_description: Put the agent on this server
description:
  - The agent is what changes sites. Each version has a folder of its own; this one becomes the
    one that finishes or undoes what was interrupted.
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Put the agent on the server
  owc_agent:
"""

RETURN = r"""
run:
  description: The agent's program.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import answers, entry, install


def main() -> None:
    """Install."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=False)
    # What these two import is what Ansible brings along, and all that the agent is.
    assert answers.main
    assert entry.main
    module.exit_json(changed=True, run=install.install())


if __name__ == "__main__":
    main()
