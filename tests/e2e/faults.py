"""A street of sites on one real server, and what it takes to break a change of them at any step.

The product is run as it is, from a copy of its plugins with a few lines more: a transaction stops
itself (SIGSTOP) when it begins the step that `/run/owc-fault/<site>` names. So a harm can meet
every step at the same moment, one site for each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from unittest import mock

from e2e.conftest import Town

from owc_agent.release import Release
from owc_deploy.execution.ansible import AnsibleExecutor
from owc_deploy.execution.ports import RollbackRequest
from owc_deploy.fleet.load import load_fleet
from owc_deploy.lab import machine, state
from owc_deploy.lab.servers import Lab, lab_up
from owc_deploy.resources import resource_folder

SERVER = "web1"
# After the last step there is one moment more: it is good, and that is not carried out yet.
COMMIT = "commit"
POINTS = (*Release.STEPS, COMMIT)
# Long enough for a busy machine; and short, so that what nobody confirms is undone while one waits.
CONFIRMED_SECONDS = 90.0
UNCONFIRMED_SECONDS = 3.0
ENTRIES = 4

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
# A watch of each of twenty sites several times a second would take all of a small machine.
CALMER = (
    ("module_utils/owc_pilot/outside.py", "^RATE_PER_SECOND = .*", "RATE_PER_SECOND = 0.5"),
    ("module_utils/owc_agent/jobs.py", "^_UNIT_LOOK_SECONDS = .*", "_UNIT_LOOK_SECONDS = 3.0"),
    # So long an undo waits for room on a full disk before it is left to the timer.
    ("module_utils/owc_agent/undo.py", "^PATIENCE_SECONDS = .*", "PATIENCE_SECONDS = 15.0"),
)

LAUNCH = """
import sys
from pathlib import Path
from owc_deploy.execution import environment, jobs
from owc_deploy.resources import resource_folder
from owc_deploy.rollout import apply
plugins = Path(sys.argv[1])
apply.PARALLEL, jobs.CONFIRMATION_SECONDS = int(sys.argv[2]), float(sys.argv[3])
environment.resource_folder = lambda name: plugins if name == "plugins" else resource_folder(name)
sys.argv[1:4] = []
from owc_deploy.cli.main import main
main()
"""

# Run on the server: everything of every site that has to be as it was, or as it was to become.
LOOK = r"""
import glob, json, os, subprocess
QUESTIONS = {
    "entries": "SELECT * FROM wp_lab_fault_entries ORDER BY id",
    "table": "SHOW CREATE TABLE wp_lab_fault_entries",
    "tables": "SHOW TABLES",
    "plugins": "SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'",
    "options": "SELECT option_name, MD5(option_value) FROM wp_options WHERE option_name NOT IN"
    " ('cron', 'lab_fault_ticked_at', 'lab_news_fetched_at', 'https_detection_errors',"
    " 'recovery_keys', 'finished_updating_comment_type')"
    " AND option_name NOT LIKE '%transient%' ORDER BY option_name",
    "cron event": "SELECT option_value LIKE '%lab_fault_tick%' FROM wp_options"
    " WHERE option_name = 'cron'",
    "content": "SELECT 'posts', COUNT(*), MAX(ID) FROM wp_posts"
    " UNION SELECT 'users', COUNT(*), MAX(ID) FROM wp_users",
}
def sql(database, text):
    asked = ["mariadb", "--skip-column-names", "--batch", "--force", database]
    done = subprocess.run(asked, input=text, capture_output=True, text=True)
    return done.stdout.splitlines()
def answers(database):
    found = {}
    asked = "".join("SELECT '-- %s';%s;" % item for item in QUESTIONS.items())
    for line in sql(database, asked):
        if line.startswith("-- "):
            rows = found[line[3:]] = []
        else:
            rows.append(line)
    return found
def names(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
def lines(path):
    return [line for line in open(path).read().split("\n") if line.strip()]
def finish(folder):
    closed = [p for p in glob.glob(folder + "/*.jsonl") if not p.endswith("/transaction.jsonl")]
    newest = max(closed, key=os.path.getmtime) if closed else ""
    return json.loads(lines(newest)[-1]).get("finish", {}) if newest else {}
sites = {}
for site in names("/srv/owc/sites"):
    root = "/srv/owc/sites/" + site
    link, folder = root + "/current", root + "/journal"
    units = ["owc-php-fpm@%s.service" % site, "owc-cron@%s.timer" % site]
    said = subprocess.run(["systemctl", "is-active", *units], capture_output=True, text=True).stdout
    sites[site] = {
        "state": {
            "current": os.path.basename(os.readlink(link)) if os.path.islink(link) else "",
            "releases": names(root + "/releases"),
            "snapshots": [n for n in names(root + "/snapshots") if not n.startswith("interrupted")],
            "activations": lines(root + "/activations.jsonl"),
            **answers("owc_" + site.replace("-", "_")),
        },
        "rest": {
            "open journal": os.path.exists(folder + "/transaction.jsonl"),
            "reserve": os.path.exists(folder + "/reserve"),
            "frozen": os.path.exists(root + "/frozen.json"),
            "asked of it": [n for n in names("/run/owc-deploy/" + site) if "outcome" not in n],
            "units that do not run": [u for u, s in zip(units, said.split()) if s != "active"],
            "partial": glob.glob(root + "/*.partial") + glob.glob(root + "/*/*.partial"),
        },
        "finish": finish(folder),
    }
print(json.dumps({
    "sites": sites,
    "databases": sql("", "SHOW DATABASES LIKE 'owcrestore%'; SHOW DATABASES LIKE 'owcaside%'"),
}))
"""

# Run on the server: the transactions that stand still, site and process id.
STOPPED = r"""
import glob, json
found = {}
for path in glob.glob("/proc/[0-9]*/stat"):
    try:
        pid, _, rest = open(path).read().partition(" ")
        words = open(path[:-4] + "cmdline").read().split("\0")
    except OSError:
        continue
    if rest.rpartition(")")[2].split()[0] == "T" and words[3:4] == ["run"]:
        found[words[4].split("/")[3]] = int(pid)
print(json.dumps(found))
"""

# Run on the server: asks one site after the other for its front page, and notes what went wrong.
WATCH = r"""
import http.client, itertools, json, socket, ssl, sys, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with open("/run/owc-fault-watch.jsonl", "w", buffering=1) as log:
    for site in itertools.cycle(sys.argv[1:]):
        domain, at = "www.%s.example" % site, time.time()
        try:
            connection = http.client.HTTPSConnection(domain, timeout=30, context=context)
            plain = socket.create_connection(("127.0.0.1", 443), 30)
            connection.sock = context.wrap_socket(plain, server_hostname=domain)
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
            good = answer.status == 200 and "lab-fault" in body
            said = "" if good else "%d %s" % (answer.status, body[-200:])
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            said = repr(error)
        log.write(json.dumps([at, site, said]) + "\n")
        time.sleep(0.4)
"""


@dataclass
class Street(Town):
    """Sites on one server, one for each point at which a change can be harmed."""

    disk: Path = Path()
    plugins: Path = Path()
    first: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.lab.servers[SERVER].address

    def inside(self, *command: str, check: bool = True, timeout_seconds: float = 300) -> str:
        """Run a command on the server as root, whatever became of its network."""
        record = state.read_server(self.lab.folder, SERVER)
        assert record is not None
        children = Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split()
        enter = ["nsenter", "--target", children[0], "--mount", "--uts", "--ipc", "--net", "--pid"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"]
        done = subprocess.run(
            [*enter, "--root", "--wd", *clean, *command],
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def python(self, script: str, *arguments: str) -> Any:
        """Run Python on the server and return the JSON document that it printed."""
        return json.loads(self.inside("python3", "-c", script, *arguments))

    def begin(
        self,
        *arguments: str,
        plugins: Path | None = None,
        parallel: int = 64,
        confirmation_seconds: float = CONFIRMED_SECONDS,
    ) -> subprocess.Popen[str]:
        """Start the command line in a process group of its own, with more at a time than usual."""
        given = [str(plugins or self.plugins), str(parallel), str(confirmation_seconds)]
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *given, *arguments, "--fleet", str(self.root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def change(
        self, *sites: str, plugins: Path | None = None, parallel: int = 4
    ) -> dict[str, dict[str, Any]]:
        """Apply to these sites and return each site's outcome."""
        command = ("apply", *sites, "--yes", "--format", "json")
        return outcomes(self.begin(*command, plugins=plugins, parallel=parallel))

    def look(self) -> dict[str, Any]:
        """Return what is on the server."""
        seen: dict[str, Any] = self.python(LOOK)
        return seen

    def units(self) -> list[str]:
        """Return the units of transactions that are there, however they are doing."""
        listed = self.inside(
            "systemctl", "list-units", "--all", "--plain", "--no-legend", "owc-transaction-*"
        )
        return [line.split()[0] for line in listed.splitlines()]

    def interrupted(self) -> list[str]:
        """Return the journals that are open."""
        find = "ls /srv/owc/sites/*/journal/transaction.jsonl 2> /dev/null || true"
        return self.inside("sh", "-c", find).split()

    def wait_until_over(self, timeout_seconds: float = 150) -> None:
        """Wait until no transaction runs; one that could not be undone may be left."""
        eventually(lambda: not self.units(), "no unit is left", timeout_seconds)

    def wait_until_recovered(self, timeout_seconds: float = 90) -> None:
        """Wait until the timer has finished or undone whatever was left."""
        eventually(lambda: not self.interrupted(), "every journal is closed", timeout_seconds)

    def stopped(self) -> dict[str, int]:
        """Return the transactions that stand still: site to process id."""
        found: dict[str, int] = self.python(STOPPED)
        return found

    def signal(self, name: str, pids: Iterable[int]) -> None:
        if named := [str(pid) for pid in pids]:
            self.inside("kill", f"-{name}", *named)


def outcomes(process: subprocess.Popen[str], timeout_seconds: float = 300) -> dict[str, Any]:
    """Wait for an `apply` and return each site's outcome."""
    out, err = process.communicate(timeout=timeout_seconds)
    assert out, err
    return {item["site"]: item for item in json.loads(out)["outcomes"]}


def site_of(point: str) -> str:
    """Return the site that is harmed at that point."""
    return f"stap-{point.replace('_', '-')}"


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


def boot(lab: str, disk: Path) -> Lab:
    """Boot the server with its sites and databases on a disk of its own, which can be filled."""
    start = machine.start
    folders = (("owc", "/srv/owc"), ("mysql", "/var/lib/mysql"))

    def start_with_disk(folder: Path, *, binds: Iterable[tuple[Path, str]], **given: Any) -> int:
        own = [(disk / name, target) for name, target in folders]
        return start(folder, binds=(*binds, *own), **given)

    for name, _ in folders:
        (disk / name).mkdir(exist_ok=True)
    with mock.patch.object(machine, "start", start_with_disk):
        return lab_up(lab, [SERVER])


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Give a file system of that size; unlike a server's own it can be filled without harm here."""
    folder.mkdir()
    # Every hard link counts as an inode on this kind.
    options = f"size={megabytes}m,nr_inodes=0,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "owc-fault", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def eventually(condition: Callable[[], Any], what: str, timeout_seconds: float = 120) -> Any:
    """Wait until a condition holds and return what it gave."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {timeout_seconds} s still not: {what}"
        time.sleep(0.3)
    return found


@contextmanager
def watched(street: Street, sites: Sequence[str]) -> Iterator[Callable[[], list[list[Any]]]]:
    """Ask sites for their front page on the server itself; give what went wrong until now."""
    unit = "owc-fault-watch"
    street.inside(
        "systemd-run", "--quiet", "--collect", f"--unit={unit}", "python3", "-c", WATCH, *sites
    )

    def wrong() -> list[list[Any]]:
        lines = street.inside("cat", "/run/owc-fault-watch.jsonl").splitlines()
        readings = [json.loads(line) for line in lines]
        assert readings
        return [reading for reading in readings if reading[2]]

    try:
        yield wrong
    finally:
        street.inside("systemctl", "stop", unit, check=False)


class Change:
    """An update of many sites at once, each of which stands still at a point of its own."""

    def __init__(
        self,
        street: Street,
        points: Mapping[str, str],
        *,
        confirmation_seconds: float = CONFIRMED_SECONDS,
    ) -> None:
        self.street = street
        self.points = points
        self.before = street.look()["sites"]
        self.pids: dict[str, int] = {}
        write = "import json, os, sys; os.makedirs('/run/owc-fault', exist_ok=True); "
        write += "[open('/run/owc-fault/' + s, 'w').write(p) for s, p in json.loads(sys.argv[1])]"
        street.inside("python3", "-c", write, json.dumps(list(points.items())))
        command = ("apply", *points, "--yes", "--format", "json")
        self.process = street.begin(*command, confirmation_seconds=confirmation_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing that stands still, or would in the next test."""
        self.kill_controller()
        self.street.inside("rm", "-rf", "/run/owc-fault")
        self.street.signal("KILL", self.street.stopped().values())

    def wait_until_all_stand_still(self) -> None:
        def all_stopped() -> bool:
            self.pids = self.street.stopped()
            return self.pids.keys() == set(self.points) or self.process.poll() is not None

        eventually(all_stopped, "every transaction stands at its point")
        missing = set(self.points) - self.pids.keys()
        assert not missing, (missing, self.process.poll() and self.process.communicate())

    def let_go(self) -> None:
        self.street.signal("CONT", self.pids.values())

    def kill_controller(self) -> None:
        """Kill the controller and everything that it started, as losing its machine would."""
        if self.process.poll() is None:
            for pid in descendants(self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.communicate()

    def problems(
        self,
        *,
        may_be_new: Iterable[str] = (),
        must_be_new: Iterable[str] = (),
        told: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[str]:
        """See `problems`."""
        return problems(self.street, self.before, self.points, may_be_new, must_be_new, told or {})


def problems(
    street: Street,
    before: Mapping[str, Any],
    points: Mapping[str, str],
    may_be_new: Iterable[str] = (),
    must_be_new: Iterable[str] = (),
    told: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> list[str]:
    """Return everything that is neither exactly as it was nor exactly as it was to become.

    `before` is what was seen then, `points` says for each site what was done to it, `told` are the
    outcomes that the controller heard of.
    """
    seen = street.look()
    status = street.owc("status", *points, "--format", "json", check=False).document["sites"]
    rows = {row["site"]: row for row in status}
    found = [f"left behind: {left}" for left in street.units() + seen["databases"]]
    for site, point in points.items():
        after, was = seen["sites"][site], before[site]
        is_new = after["state"]["current"] != was["state"]["current"]
        wrong = [f"{name}: {value}" for name, value in after["rest"].items() if value]
        if is_new and site not in {*may_be_new, *must_be_new}:
            wrong.append("it is new, and nobody confirmed it")
        elif not is_new and site in must_be_new:
            wrong.append("it was good and is gone")
        wrong += _not_new(was, after) if is_new else _not_as_before(was, after)
        wrong += _not_said(after, rows[site], told.get(site), is_new=is_new)
        version = "2.0.0" if is_new else "1.0.0"
        page = street.get(site)
        if page.status != 200 or f"lab-fault {version}: {ENTRIES}" not in page.body:
            wrong.append(f"its page says {page.status} {page.body[-300:]}")
        found += [f"{site} ({point}): {each}" for each in wrong]
    return found


def _not_said(
    after: dict[str, Any],
    row: dict[str, Any],
    told: Mapping[str, Any] | None,
    *,
    is_new: bool,
) -> list[str]:
    """Return where the journal, `status` and the outcome do not say what is there."""
    live = after["state"]["current"]
    wrong = []
    word = after["finish"].get("outcome")
    if word not in ({"changed"} if is_new else {"rolled-back", "failed", "inconclusive"}):
        wrong.append(f"its journal ends with {after['finish']}")
    if told is not None and (told["outcome"], told["release_id"]) != (word, live):
        wrong.append(f"live is {live}, {word}; the controller was told {told}")
    if row["state"] != "live" or row["drift"] or row["release_id"] != live:
        wrong.append(f"live is {live}; status says {row}")
    return wrong


def _not_as_before(was: dict[str, Any], after: dict[str, Any]) -> list[str]:
    wrong = []
    for name, old in was["state"].items():
        new = after["state"][name]
        if isinstance(old, list):
            lost, added = ([x for x in old if x not in new], [x for x in new if x not in old])
            wrong += [f"{name}: {lost} became {added}"] if old != new else []
        elif old != new:
            wrong.append(f"{name}: {old} became {new}")
    return wrong


def _not_new(was: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = was["state"], after["state"]
    wrong = []
    if not all("nr-" in entry for entry in new["entries"]) or len(new["entries"]) != ENTRIES:
        wrong.append(f"the entries are {new['entries']}")
    if new["plugins"] != old["plugins"]:
        wrong.append(f"the plugins were {old['plugins']}, are {new['plugins']}")
    if json.loads(new["activations"][-1])["release_id"] != new["current"]:
        wrong.append(f"the last activation is {new['activations'][-1]}")
    if len(new["activations"]) != len(old["activations"]) + 1:
        wrong.append(f"activations: {new['activations']}")
    if set(new["releases"]) - set(old["releases"]) != {new["current"]}:
        wrong.append(f"releases were {old['releases']}, are {new['releases']}")
    if new["cron event"] != ["1"]:
        wrong.append("its cron event is gone")
    return wrong


def descendants(pid: int) -> list[int]:
    """Return a process and everything below it, whatever session it made for itself."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            own, _, rest = entry.read_text(errors="replace").partition(" ")
            parents[int(own)] = int(rest.rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def cut_the_power(street: Street) -> None:
    """End every process of the server at once."""
    machine.kill(state.server_folder(street.lab.folder, SERVER), machine_of(street))


def shut_down(street: Street) -> None:
    """Shut the server down as its own `poweroff` does."""
    record = state.read_server(street.lab.folder, SERVER)
    assert record is not None
    folder = state.server_folder(street.lab.folder, SERVER)
    machine.power_off(folder, machine_of(street), pid=record.pid, timeout_seconds=150)


def machine_of(street: Street) -> str:
    return state.machine_name(street.lab.name, SERVER)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk, and take whatever becomes free, as a log that runs wild does."""
    filler = disk / "filler"
    enough = threading.Event()

    def fill(stream: RawIOBase) -> None:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass

    def keep_filling(stream: RawIOBase) -> None:
        while not enough.wait(0.01):
            fill(stream)

    with filler.open("wb", buffering=0) as stream:
        fill(stream)
        thread = threading.Thread(target=keep_filling, args=(stream,))
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()
            filler.unlink()


@contextmanager
def cut_off(address: str) -> Iterator[None]:
    """Let nothing pass between this machine and a server."""
    rules = (("OUTPUT", "--destination"), ("INPUT", "--source"))
    for chain, which in rules:
        rule = ["iptables", "--wait", "--insert", chain, which, address, "--jump", "DROP"]
        subprocess.run(rule, check=True)
    try:
        yield
    finally:
        for chain, which in rules:
            rule = ["iptables", "--wait", "--delete", chain, which, address, "--jump", "DROP"]
            subprocess.run(rule, check=True)


def take_back(street: Street, releases: Mapping[str, str]) -> None:
    """Bring sites back to these releases with their databases."""
    street.wait_until_over()
    street.wait_until_recovered()
    fleet = load_fleet(street.root)
    seen = street.look()["sites"]
    requests = tuple(
        RollbackRequest(site, release, seen[site]["state"]["current"], restore_database=True)
        for site, release in releases.items()
        if seen[site]["state"]["current"] != release
    )
    if requests:
        with closing(AnsibleExecutor(fleet)) as executor:
            for outcome in executor.rollback({SERVER: requests}):
                assert outcome.outcome == "changed", outcome
