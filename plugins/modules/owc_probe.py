#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Observe this server and all its sites."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_probe
short_description: Observe this server and all its sites
description:
  - Reads everything in one call and changes nothing.
options:
  known:
    description: Site to hash of the specification that the asker already holds.
    type: dict
    default: {}
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Observe the server
  owc_probe:
  register: owc_probe
"""

RETURN = r"""
observed:
  description: The observed state, as docs/architecture.md describes.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import probe


def main() -> None:
    """Report the observed state."""
    module = AnsibleModule(
        argument_spec={"known": {"type": "dict", "default": {}}}, supports_check_mode=True
    )
    module.exit_json(changed=False, observed=probe.observe(module.params["known"]))


if __name__ == "__main__":
    main()
