"""What of the product is otherwise while it is harmed: it stands still when it is told to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from owc_deploy.resources import resource_folder

STOPS = """

def _stopping(name):
    announce = getattr(Journal, name)

    def announce_and_stop(self, what, *rest):
        announce(self, what, *rest)
        point = what if name == "begin" else name
        path = os.path.join("/run/owc-fault", os.path.basename(os.path.dirname(self._folder)))
        try:
            with open(path, encoding="ascii") as stream:
                wanted = stream.read()
        except FileNotFoundError:
            return
        if wanted == point:
            os.unlink(path)
            os.kill(os.getpid(), 19)

    return announce_and_stop


Journal.begin = _stopping("begin")
Journal.commit = _stopping("commit")
"""

# What a copy of the plugins has otherwise, beside the stops: in which file, which lines, and what.
# A look at each of twenty sites several times a second would take all of a small machine.
CALMER = (
    ("module_utils/owc_pilot/outside.py", "^RATE_PER_SECOND = .*", "RATE_PER_SECOND = 0.1"),
    ("module_utils/owc_agent/jobs.py", "^_UNIT_LOOK_SECONDS = .*", "_UNIT_LOOK_SECONDS = 3.0"),
    ("module_utils/owc_agent/jobs.py", "^_POLL_SECONDS = .*", "_POLL_SECONDS = 0.2"),
    # So long an undo waits for room on a full disk before it is left to the timer.
    ("module_utils/owc_agent/undo.py", "^PATIENCE_SECONDS = .*", "PATIENCE_SECONDS = 8.0"),
)

# The command line, with what the first argument says: other plugins, more at a time, a wait for the
# verdict that is short (but not at the last moment, which comes after it), a clock that is wrong.
LAUNCH = """
import json, sys
from datetime import timedelta
from pathlib import Path
from owc_deploy.execution import ansible, environment, jobs
from owc_deploy.resources import resource_folder
from owc_deploy.rollout import apply
given = json.loads(sys.argv.pop(1))
plugins = Path(given["plugins"])
environment.resource_folder = lambda name: plugins if name == "plugins" else resource_folder(name)
apply.PARALLEL = given["parallel"]
release_job, new_id = jobs.release_job, jobs.new_transaction_id
def impatient(sent, fence):
    seconds = 90 if sent["site"] == given["patient"] else given["confirmation"]
    return {**release_job(sent, fence), "confirmation_seconds": seconds}
def at_another_time(now):
    return new_id(now + timedelta(days=given["clock_days"]))
ansible.release_job = impatient
apply.new_transaction_id = jobs.new_transaction_id = at_another_time
from owc_deploy.cli.main import main
main()
"""


def copy_of_plugins(folder: Path, *changes: tuple[str, str, str], stops: bool = True) -> Path:
    """Return a copy of what is sent to servers, changed in the named places."""
    shutil.copytree(resource_folder("plugins"), folder)
    for name, old, new in changes:
        path = folder / name
        text, times = re.subn(old, new, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert times, f"{name} no longer says {old}"
        path.write_text(text, encoding="utf-8")
    if stops:
        with (folder / "module_utils/owc_agent/journal.py").open("a", encoding="utf-8") as stream:
            stream.write(STOPS)
    return folder
