#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Make a link with which an administrator sets a password once."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_access
short_description: Make a link with which an administrator sets a password once
description:
  - No password is made, shown or sent. The link is in the result only; WordPress lets it lapse.
options:
  site:
    description: The site.
    type: str
    required: true
  login:
    description: The login name of the administrator.
    type: str
    required: true
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Let someone in
  owc_access:
    site: voorbeeld
    login: beheer
  register: owc_access
"""

RETURN = r"""
link:
  description: The link.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import access, commands, wordpress


def main() -> None:
    """Return the link."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "login": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        link = access.access_link(module.params["site"], module.params["login"])
    except (wordpress.WordPressError, commands.CommandError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, link=link)


if __name__ == "__main__":
    main()
