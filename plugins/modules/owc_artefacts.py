#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Take artefacts into this server's store."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_artefacts
short_description: Take artefacts into this server's store
description:
  - Checks every artefact of a bundle by its hash and unpacks it without trust. All or nothing per
    artefact; the bundle is removed.
options:
  bundle:
    description: A tar of artefacts on this server.
    type: path
    required: true
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Receive artefacts
  owc_artefacts:
    bundle: /srv/owc/incoming/artefacts.tar
"""

RETURN = r"""
received:
  description: The hashes of the artefacts.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.owc_agent import archive, files


def main() -> None:
    """Receive the bundle."""
    module = AnsibleModule(
        argument_spec={"bundle": {"type": "path", "required": True}}, supports_check_mode=False
    )
    bundle = module.params["bundle"]
    received = []
    try:
        received = archive.receive(bundle)
    except (archive.ArtefactRefusedError, OSError, ValueError) as error:
        module.fail_json(msg="artefacts refused: %s" % error)
    finally:
        files.remove_file(bundle)
    module.exit_json(changed=bool(received), received=received)


if __name__ == "__main__":
    main()
