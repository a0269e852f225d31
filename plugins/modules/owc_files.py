#!/usr/bin/python
# -*- coding: utf-8 -*-
# SPDX-License-Identifier: EUPL-1.2
"""Write a set of configuration files in one call, all of them or none."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: owc_files
short_description: Write a set of configuration files in one call, all of them or none
description:
  - Creates folders, then writes files whose content is given. What is as it should be is not
    touched.
  - Each file may name a command that must accept it before anything is put in place; the set may
    name one that must accept the whole afterwards. When it does not, the previous files are put
    back.
  - One call takes as long as one C(ansible.builtin.template), whatever the number of files.
options:
  directories:
    description: Folders to create. The folders above them are created too.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where the folder is.
        type: path
        required: true
      mode:
        description: Its permissions, in octal.
        type: str
        default: "0755"
  files:
    description: Files to write, owned by root.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file goes.
        type: path
        required: true
      content:
        description: What is in it.
        type: str
        required: true
      mode:
        description: Its permissions, in octal.
        type: str
        default: "0644"
      validate:
        description: Command and arguments that must accept the file; C(%s) stands for it.
        type: list
        elements: str
        default: []
  links:
    description: Symbolic links to make.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where the link is.
        type: path
        required: true
      target:
        description: What it points to.
        type: path
        required: true
  check:
    description: Command and arguments that must accept the set once it is in place. Not run in
      check mode.
    type: list
    elements: str
    default: []
author:
  - The owc-deploy maintainers
"""

EXAMPLES = r"""
- name: Configure nginx
  owc_files:
    files:
      - path: /etc/nginx/nginx.conf
        content: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
    check: [nginx, -t, -q]
  notify: Reload nginx
"""

RETURN = r"""
changed_paths:
  description: Files, folders and links that were not as they should be.
  returned: success
  type: list
  elements: str
  sample: [/etc/nginx/nginx.conf]
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_bytes, to_text


def read(path: str) -> "bytes | None":
    """Return what is in the file, or None when there is no such file."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def set_attributes(module: AnsibleModule, path: str, mode: str) -> bool:
    """Give `path` to root with these permissions; return whether it was otherwise."""
    changed: bool = module.set_owner_if_different(path, "root", False)
    changed = module.set_group_if_different(path, "root", changed)
    return bool(module.set_mode_if_different(path, mode, changed))


def place(module: AnsibleModule, path: str, content: bytes, mode: str) -> None:
    """Put `content` at `path` with one rename."""
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    os.chmod(temporary, int(mode, 8))
    module.atomic_move(temporary, path)


def ensure_directories(module: AnsibleModule) -> "list[str]":
    """Create the folders; return those that were not as they should be."""
    changed = []
    for directory in module.params["directories"]:
        path = directory["path"]
        if not os.path.isdir(path):
            changed.append(path)
            if not module.check_mode:
                os.makedirs(path, 0o755, exist_ok=True)
                set_attributes(module, path, directory["mode"])
        elif set_attributes(module, path, directory["mode"]):
            changed.append(path)
    return changed


def ensure_links(module: AnsibleModule) -> "list[str]":
    """Point the links where they should; return those that pointed elsewhere or were not there."""
    changed = []
    for link in module.params["links"]:
        path = link["path"]
        if os.path.islink(path) and os.readlink(path) == link["target"]:
            continue
        changed.append(path)
        if not module.check_mode:
            temporary = os.path.join(os.path.dirname(path), ".%s.new" % os.path.basename(path))
            if os.path.lexists(temporary):
                os.unlink(temporary)
            os.symlink(link["target"], temporary)
            os.replace(temporary, path)
    return changed


def validate(module: AnsibleModule, entry: "dict[str, Any]") -> None:
    """Have the file's own command look at the new content; fail in its words if it refuses."""
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(to_bytes(entry["content"]))
    arguments = [temporary if word == "%s" else word for word in entry["validate"]]
    return_code, output, errors = module.run_command(arguments)
    os.unlink(temporary)
    if return_code != 0:
        module.fail_json(
            msg="%s would be refused, so nothing was written: %s"
            % (entry["path"], (errors or output).replace(temporary, entry["path"]).strip()),
            rc=return_code,
        )


def check_set(
    module: AnsibleModule, previous: "dict[str, bytes | None]", modes: "dict[str, str]"
) -> None:
    """Have the set's command look at what is in place; if it refuses, put back what was."""
    return_code, output, errors = module.run_command(module.params["check"])
    if return_code == 0:
        return
    for path, content in previous.items():
        if content is None:
            os.unlink(path)
        else:
            place(module, path, content, modes[path])
    module.fail_json(
        msg="%s refuses the new files, so the previous ones are back: %s"
        % (" ".join(module.params["check"]), (errors or output).strip()),
        rc=return_code,
    )


def main() -> None:
    """Compare, validate, place, check."""
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "mode": {"type": "str", "default": "0755"},
                },
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                    "validate": {"type": "list", "elements": "str", "default": []},
                },
            },
            "links": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "target": {"type": "path", "required": True},
                },
            },
            "check": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    changed_paths = ensure_directories(module) + ensure_links(module)

    previous = {entry["path"]: read(entry["path"]) for entry in module.params["files"]}
    different = [
        entry
        for entry in module.params["files"]
        if previous[entry["path"]] != to_bytes(entry["content"])
    ]
    for entry in different:
        if entry["validate"]:
            validate(module, entry)

    if not module.check_mode:
        for entry in different:
            place(module, entry["path"], to_bytes(entry["content"]), entry["mode"])
        if different and module.params["check"]:
            check_set(
                module,
                {entry["path"]: previous[entry["path"]] for entry in different},
                {entry["path"]: entry["mode"] for entry in different},
            )

    written = {entry["path"] for entry in different}
    for entry in module.params["files"]:
        path = entry["path"]
        exists = os.path.lexists(path)
        if (exists and set_attributes(module, path, entry["mode"])) or path in written:
            changed_paths.append(path)

    module.exit_json(
        changed=bool(changed_paths),
        changed_paths=changed_paths,
        diff=[
            {
                "before_header": entry["path"],
                "after_header": entry["path"],
                "before": to_text(previous[entry["path"]] or b"", errors="replace"),
                "after": entry["content"],
            }
            for entry in different
        ],
    )


if __name__ == "__main__":
    main()
