#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Place private keys in the folders of sites."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_secrets
short_description: Place private keys in the folders of sites
description:
  - Writes as root with mode 0400; the task that calls it must say C(no_log).
  - Writes all of the files or none, and only what the web server accepts.
options:
  items:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      site:
        description: The site it belongs to.
        type: str
        required: true
      path:
        description: Where it goes, relative to the folder of the site.
        type: str
        required: true
        choices: [tls/fullchain.pem, tls/privkey.pem]
      content:
        description: What it holds.
        type: str
        required: true
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Place the keys
  owc_secrets:
    items: "{{ owc_secrets }}"
  no_log: true
"""

RETURN = r"""
sites:
  description: The sites that got another file.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import commands, secret_files


def main() -> None:
    """Write the files."""
    module = AnsibleModule(
        argument_spec={
            "items": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "site": {"type": "str", "required": True},
                    "path": {
                        "type": "str",
                        "required": True,
                        "choices": list(secret_files.ALLOWED),
                    },
                    "content": {"type": "str", "required": True, "no_log": True},
                },
            }
        },
        supports_check_mode=False,
    )
    try:
        sites = secret_files.place(module.params["items"])
    except (commands.CommandError, OSError, ValueError) as error:
        module.fail_json(msg="private keys could not be placed, nothing was changed: %s" % error)
    module.exit_json(changed=bool(sites), sites=sites)


if __name__ == "__main__":
    main()
