#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Release sites on this server."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_release
short_description: Release sites on this server
description:
  - Receives artefacts, then runs the transaction of every site, each with its own outcome.
options:
  specifications:
    description: Specifications, with C(release_id), C(observed_release) and C(migrations) beside.
    type: list
    elements: dict
    required: true
  parallel:
    description: How many transactions run side by side.
    type: int
    default: 2
  artefacts:
    description: A tar of artefacts on this server; removed when received. Empty for none.
    type: path
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Release the sites
  owc_release:
    specifications: "{{ owc_specifications }}"
    parallel: 2
  register: owc_release
"""

RETURN = r"""
outcomes:
  description: One outcome for each site, as docs/architecture.md describes.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import archive, files, jobs


def main() -> None:
    """Run the transactions."""
    module = AnsibleModule(
        argument_spec={
            "specifications": {"type": "list", "elements": "dict", "required": True},
            "parallel": {"type": "int", "default": 2},
            "artefacts": {"type": "path"},
        },
        supports_check_mode=False,
    )
    bundle = module.params["artefacts"]
    if bundle:
        try:
            archive.receive(bundle)
        except (archive.ArtefactRefusedError, OSError, ValueError) as error:
            module.fail_json(msg="artefacts refused: %s" % error)
        finally:
            files.remove_file(bundle)
    beside = ("release_id", "observed_release", "migrations", "renamed", "post_steps")
    work = [
        {
            "action": "release",
            "transaction_id": item["release_id"],
            "observed_release": item["observed_release"],
            "migrations": [command for one in item["migrations"] for command in one["commands"]],
            "specification": {key: item[key] for key in item if key not in beside},
        }
        for item in module.params["specifications"]
    ]
    outcomes = jobs.run_jobs(work, module.params["parallel"])
    module.exit_json(changed=any(o["outcome"] == "changed" for o in outcomes), outcomes=outcomes)


if __name__ == "__main__":
    main()
