"""Who is at work, as the store writes it."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Mapping

# What a CI job says of itself, and which variable then names whoever had it run. Forgejo and Gitea
# set GitHub's. GitHub: docs "Variables reference"; GitLab: docs "Predefined CI/CD variables".
_FORGES = (("GITLAB_CI", "GITLAB_USER_LOGIN"), ("GITHUB_ACTIONS", "GITHUB_ACTOR"))
_LOGIN = re.compile(r"[\w.\[\]-]{1,100}")


def this_actor(environment: Mapping[str, str] = os.environ) -> str:
    """Return who this process works for: user and machine, such as `anna@controller`.

    In a CI job it begins with whom the forge names as having it run: `bo via runner@ci1`.
    """
    here = f"{getpass.getuser()}@{socket.gethostname()}"
    person = person_of_job(environment)
    return f"{person} via {here}" if person else here


def person_of_job(environment: Mapping[str, str] = os.environ) -> str:
    """Return the login of whoever had this CI job run, `""` outside one or where it is odd.

    The job itself could say anything here: it is what the forge told, not proof.
    """
    for is_job, login in _FORGES:
        if environment.get(is_job) == "true":
            found = environment.get(login, "")
            return found if _LOGIN.fullmatch(found) else ""
    return ""
