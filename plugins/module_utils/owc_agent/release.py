"""One release of one site, from staging to the activation record, or back to where it was.

What can go wrong is tried before visitors are affected: configuration is tested as it would be,
plugins are activated and the front page is drawn inside the new release while the old one still
serves. Only then is the link replaced.
"""

from __future__ import annotations

import grp
import os
import pwd
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Optional

from . import (
    commands,
    database,
    files,
    freeze,
    gate,
    layout,
    mitigations,
    phplog,
    retention,
    services,
    staging,
    wordpress,
)
from .owned import owned_options, refresh_state, write_state
from .transaction import (
    InconclusiveError,
    StepError,
    Transaction,
    active_plugins,
    has_tables,
    now,
    options,
    specification_of,
)

# A release wants twice the latest snapshot free, and this much besides.
FREE_BYTES = 200 << 20
FREE_INODES = 5_000
# Hard links need no inode, folders do: a WordPress with its blocks has some hundreds of them.
FOLDERS_OF_A_RELEASE = 3_000
# How long a release whose gate cannot tell is looked at again before it is undone.
PATIENCE_SECONDS = 60.0
POST_STEP_TIMEOUT_SECONDS = 600
# So many PHP processes compile the new release ahead; more would take what visitors need.
COMPILERS = 2
# What deactivation hooks take away: cron events, and the capabilities of roles.
DEACTIVATION_OPTIONS = ("cron", "wp_user_roles")


class Release(Transaction):
    """The release of one specification on this server; `transaction_id` is the release's id."""

    STEPS = (
        "room",
        "stage",
        "identity",
        "database",
        "certificate",
        "preflight",
        "baseline",
        "freeze",
        "snapshot",
        "deactivate",
        "schema",
        "configure",
        "migrate",
        "post_steps",
        "rehearse",
        "switch",
        "services",
        "settle",
        "gate",
        "record",
        "confirm",
    )
    FIRST_VISIBLE_STEP = "deactivate"

    def __init__(self, job: "dict[str, Any]") -> None:
        super().__init__(job)
        self.specification: "dict[str, Any]" = job["specification"]
        self.release_id = self.transaction_id
        self.migrations: "list[dict[str, Any]]" = job["migrations"]
        self.wanted_post_steps: "list[list[str]]" = job["post_steps"]
        self.mitigations: "list[dict[str, Any]]" = job.get("mitigations", [])
        self.renamed = {item["from"]: item["to"] for item in job["renamed"]}
        self.leaving: "list[str]" = []
        self.before: "dict[str, Any]" = {}
        self.log_before: "list[str]" = []
        self.log_position = ""
        self.checked = 0
        self.room_found: "dict[str, Any]" = {}
        # For what can go on while other steps do.
        self.pool = ThreadPoolExecutor(max_workers=1 + COMPILERS)
        self.looking: "Optional[Future[None]]" = None
        self.compiling: "list[Future[None]]" = []
        # Whether the site's own PHP-FPM can load the new release before it is live.
        self.warm = False
        self.created = False
        # Whether the code that is left could still read the data.
        self.data_moved = False

    def room(self) -> None:
        """Check that the disk has room for the release, a snapshot and its way back."""
        # A dump, compressed at worst to its own size, and a second copy while it is brought back.
        needed = FREE_BYTES + 2 * database.size_bytes(self.paths.database)
        inodes = FREE_INODES + FOLDERS_OF_A_RELEASE
        self.room_found = {"needed_bytes": needed, "needed_inodes": inodes}
        for folder in (layout.SITES, database.DATA_FOLDER):
            room = os.statvfs(folder)
            free = room.f_bavail * room.f_frsize
            self.room_found[folder] = {"free_bytes": free, "free_inodes": room.f_favail}
            if free < needed:
                words = (folder, free >> 20, needed >> 20)
                raise StepError("%s has %d MB free, %d MB are needed" % words)
            if room.f_files and room.f_favail < inodes:
                words = (folder, room.f_favail, inodes)
                raise StepError("%s has %d inodes free, %d are needed" % words)

    def stage(self) -> None:
        """Build the release's tree from the store with hard links."""
        if self.previous:
            # It takes as long as all that comes before it is needed.
            self.looking = self.pool.submit(self._look)
        self.journal.undo({"undo": "remove-release", "release_id": self.release_id})
        staging.build(self.paths, self.release_id, self.previous, self.specification)
        self.warm = services.can_run(self.paths, self.previous, self.release_id)
        if self.warm:
            parts = range(COMPILERS)
            self.compiling = [self.pool.submit(self._compile, part) for part in parts]

    def identity(self) -> None:
        """Make the site's unix user, its mutable folders and its salts; all of it is kept."""
        paths = self.paths
        changed = False
        try:
            pwd.getpwnam(paths.user)
        except KeyError:
            commands.run(
                ["useradd", "--system", "--user-group", "--home-dir", paths.root]
                + ["--no-create-home", "--shell", "/usr/sbin/nologin", paths.user]
            )
            changed = True
        user = pwd.getpwnam(paths.user)
        if "www-data" not in grp.getgrnam(paths.user).gr_mem:
            commands.run(["usermod", "--append", "--groups", paths.user, "www-data"])
            changed = True
        os.chown(paths.root, 0, user.pw_gid)
        os.chmod(paths.root, 0o750)
        os.makedirs(paths.shared, mode=0o755, exist_ok=True)
        for folder in (paths.uploads, os.path.join(paths.shared, "tmp")):
            os.makedirs(folder, mode=0o750, exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)
        os.makedirs(paths.tls, mode=0o700, exist_ok=True)
        if not os.path.exists(paths.salts):
            files.write_atomic(paths.salts, wordpress.make_salts(), 0o440, (0, user.pw_gid))
        if not os.path.exists(paths.writing_lock):
            files.write_atomic(paths.writing_lock, b"", 0o644)
        for name in ("freeze.php", "wp-config.php", "release.json"):
            os.chown(os.path.join(paths.release(self.release_id), name), 0, user.pw_gid)
        self.notes += mitigations.add_missing(paths.site, self.mitigations)
        if changed:
            # nginx's workers take their groups when they start; a reload starts new ones.
            services.reload_nginx()

    def database(self) -> None:
        """Make the database, if this is the site's first release here; see to its user's rights."""
        if not database.exists(self.paths.database):
            self.journal.undo({"undo": "drop-database"})
            self.created = True
        database.create(self.paths)

    def certificate(self) -> None:
        """See that there is a certificate for every domain."""
        tls = self.specification["tls"]
        if tls["policy"] == "acme":
            domains = self.specification["domains"]
            note = services.request_certificate(self.paths, domains, tls["email"])
            self.notes += [note] if note else []
        for name in ("fullchain.pem", "privkey.pem"):
            if not os.path.exists(os.path.join(self.paths.tls, name)):
                raise StepError("no certificate: %s is missing from %s" % (name, self.paths.tls))

    def preflight(self) -> None:
        """Check every configuration file, as it would be, before anything is touched."""
        paths = self.paths
        for name in ("php", "php-fpm"):
            if not os.path.exists(os.path.join(paths.release(self.release_id), name)):
                raise StepError("PHP %s is not on this server" % self.specification["php"])
        services.test_staged_php_fpm(paths, self.release_id)
        services.test_staged_nginx(paths, self.release_id)

    def _compile(self, part: int) -> None:
        request = {"live": self.paths.public(self.previous), "part": part, "parts": COMPILERS}
        try:
            self._drive("compile", request)
        except wordpress.WordPressError as error:
            self.notes.append("compiling ahead: %s" % error)

    def baseline(self) -> None:
        """See how the site is before: what is broken already is not held against the release."""
        if self.looking is not None:
            self.looking.result()

    def _look(self) -> None:
        specification = specification_of(self.paths, self.previous)
        if specification is None:
            return
        domain = specification["domains"][0]
        with ThreadPoolExecutor(max_workers=2) as pool:
            hooks = pool.submit(self._cron_hooks)
            said = pool.submit(phplog.lines_until, self.paths)
            self.before = gate.take_baseline(
                specification, hooks.result, lambda path: gate.ask(domain, path)
            )
            self.log_before = said.result()
        self.log_position = phplog.cursor()

    def _cron_hooks(self) -> "list[str]":
        return gate.cron_hooks(options(self.paths, ["cron"]).get("cron"))

    def freeze(self) -> None:
        """Refuse writes, if this release moves data; nothing else is worth refusing them for."""
        if self.previous and (self.migrations or self._schema_differs()):
            self.journal.undo({"undo": "thaw"})
            freeze.freeze(self.paths, "release %s" % self.release_id)

    def snapshot(self) -> None:
        """Keep the database as it is now, outside WordPress."""
        if self._save_snapshot(owned_options(self.specification)):
            # New code may unschedule what the old one counts on.
            cron = database.read_options(self.paths.database, ["cron"])["cron"]
            if cron is not None:
                self.journal.undo({"undo": "events", "cron": cron})
        refresh_state(self.paths, self.previous)

    def deactivate(self) -> None:
        """Switch off, in reverse order and in the old code, the plugins that are to go."""
        if not self.previous:
            return
        wanted = gate.expected_plugins(self.specification)
        active = active_plugins_of(self.paths)
        self.leaving = [plugin for plugin in self._removal_order(active) if plugin not in wanted]
        going = [plugin for plugin in self.leaving if plugin not in self.renamed]
        if going:
            values = database.read_options(self.paths.database, list(DEACTIVATION_OPTIONS))
            self.journal.undo({"undo": "options", "values": values})
            try:
                self._drive("deactivate", {"plugins": going}, release_id=self.previous)
            except wordpress.WordPressError as error:
                # The old code may be the broken one; `settle` takes the plugins off the list.
                self.notes.append("deactivating in the old release: %s" % error)

    def _removal_order(self, active: "list[str]") -> "list[str]":
        """Return active plugins so that what needs others goes before them.

        The list in the database does not tell: blocks move themselves about in it.
        """
        specification = specification_of(self.paths, self.previous)
        known = list(gate.expected_plugins(specification)) if specification else []
        return [
            *(plugin for plugin in reversed(active) if plugin not in known),
            *(plugin for plugin in reversed(known) if plugin in active),
        ]

    def schema(self) -> None:
        """Install WordPress, or upgrade its database, when the code asks for it."""
        if not self._schema_differs():
            return
        wanted = wordpress.code_database_version(self.paths.public(self.release_id))
        if self._present_schema():
            self._changing_database()
            self.data_moved = True
        report = self._drive("schema", self._people_and_title(), timeout_seconds=900)
        if report.get("database_version") != wanted:
            raise StepError(
                "the database is at %s, not %d" % (report.get("database_version"), wanted)
            )

    def configure(self) -> None:
        """Theme, plugins in dependency order, and the options that the manifest owns."""
        for part in self.compiling:
            part.result()
        specification = self.specification
        owned = {**specification["options"], "WPLANG": _wplang(specification["locale"])}
        request = {
            **self._people_and_title(),
            "theme": specification["theme"]["folder"],
            "plugins": list(gate.expected_plugins(specification)),
            # They stay on the list while the old code serves: without them its other blocks would
            # switch themselves off. The new code, which has them not, passes over them.
            "leaving": self.leaving,
            "renamed": self.renamed,
            "options": owned,
        }
        self._drive("configure", request, timeout_seconds=300)

    def migrate(self) -> None:
        """Run the data migrations that this change of versions asks for."""
        if not self.migrations:
            return
        self._changing_database()
        for migration in self.migrations:
            self.data_moved = self.data_moved or not migration["reversible"]
            for command in migration["commands"]:
                wordpress.wp_cli(
                    self.paths,
                    self.release_id,
                    list(command),
                    float(migration["timeout_seconds"]),
                )

    def post_steps(self) -> None:
        """Run what blocks ask for after each of their updates."""
        for command in self.wanted_post_steps:
            wordpress.wp_cli(self.paths, self.release_id, list(command), POST_STEP_TIMEOUT_SECONDS)

    def rehearse(self) -> None:
        """Load the new release in every way it will be loaded, and compare with the lock."""
        report = wordpress.rehearse(self.paths, self.release_id, self._request({}), warm=self.warm)
        found = gate.judge_report(self.specification, report)
        self.problems, excused = gate.blame(found, self.before)
        self.notes += excused
        self.notes += ["PHP said, while rehearsing: %s" % said for said in report["php_messages"]]
        if self.problems:
            raise StepError("; ".join(self.problems))

    def switch(self) -> None:
        """Make the release live."""
        self.switch_to(self.release_id)

    def services(self) -> None:
        """Make PHP-FPM, cron and nginx match the live release."""
        self.converge(self.release_id)

    def settle(self) -> None:
        """Take off the list of active plugins what the old code still needed there."""
        wanted = list(gate.expected_plugins(self.specification))
        active = active_plugins_of(self.paths)
        kept = [plugin for plugin in active if plugin not in self.leaving or plugin in wanted]
        if kept != active:
            value = database.serialized_list(kept).encode().hex()
            database.write_options(self.paths.database, {"active_plugins": value})

    def gate(self) -> None:
        """Ask the live site as a visitor would, and look at its plugins and log once more."""
        pages, closed = mitigations.open_pages(self.paths, self.specification["gate"]["pages"])
        self.notes += closed
        verdict = gate.ask_pages(
            self.specification["domains"][0], pages, PATIENCE_SECONDS, self.before
        )
        self.notes += verdict.notes
        self.problems = list(verdict.problems)
        wanted = gate.expected_plugins(self.specification)
        off = sorted(set(wanted) - set(active_plugins_of(self.paths)))
        self.problems += ["%s switched itself off" % plugin for plugin in off]
        said = phplog.new_messages(
            self.log_before, phplog.lines_since(self.paths, self.log_position)
        )
        self.problems += ["new in the PHP log: " + str(each) for each in said if each.is_fatal]
        self.notes += ["new in the PHP log: " + str(each) for each in said if not each.is_fatal]
        self.checked = verdict.checked + len(wanted) + 1
        if verdict.word == "inconclusive" and self.problems == verdict.problems:
            raise InconclusiveError("; ".join(self.problems))
        if self.problems:
            raise StepError("; ".join(self.problems))

    def record(self) -> None:
        """Keep the values of the options that belong to the release, to come back to."""
        write_state(self.paths, self.release_id, owned_options(self.specification))

    def activation(self) -> "dict[str, Any]":
        """Return the line that says that this release was made live."""
        return {
            "release_id": self.release_id,
            "previous_release_id": self.previous,
            "outcome": "changed",
            "database_changed": self.data_moved or self.created,
            "at": now(),
        }

    def details(self) -> "dict[str, Any]":
        """Return what `Transaction.details` does, and what room the release was thought to need."""
        return {**super().details(), **({"room": self.room_found} if self.room_found else {})}

    def tidy(self) -> None:
        """Keep what was seen from outside with the release; prune what is past keeping."""
        if self.evidence:
            path = os.path.join(self.paths.release(self.release_id), "evidence.json")
            files.write_json(path, self.evidence, 0o640)
        retention.prune(self.paths, int(self.specification["releases_kept"]))

    def _drive(
        self,
        action: str,
        request: "dict[str, Any]",
        release_id: str = "",
        timeout_seconds: float = 120,
    ) -> "dict[str, Any]":
        return wordpress.drive(
            self.paths,
            release_id or self.release_id,
            action,
            self._request(request),
            timeout_seconds,
            warm=self.warm and action != "schema",
        )

    def _request(self, request: "dict[str, Any]") -> "dict[str, Any]":
        return {"url": self.specification["url"], **request}

    def _present_schema(self) -> int:
        raw = raw_option(self.paths, "db_version")
        return int(raw) if raw.isdigit() else 0

    def _schema_differs(self) -> bool:
        wanted = wordpress.code_database_version(self.paths.public(self.release_id))
        return self._present_schema() != wanted

    def _people_and_title(self) -> "dict[str, Any]":
        return {
            "title": self.specification["title"],
            "locale": self.specification["locale"],
            "administrators": self.specification["administrators"],
        }

    def _changing_database(self) -> None:
        if not self.created:
            self.journal.undo({"undo": "restore-database", "snapshot_of": self.release_id})


def active_plugins_of(paths: layout.SitePaths) -> "list[str]":
    """Return the plugins that the database says are active."""
    raw = raw_option(paths, "active_plugins")
    plugins = database.parse_list(raw)
    if plugins is None:
        return active_plugins(options(paths, ["active_plugins"]).get("active_plugins"))
    return plugins


def raw_option(paths: layout.SitePaths, name: str) -> bytes:
    """Return an option as it stands in the database, empty when there is none."""
    if not has_tables(paths):
        return b""
    return bytes.fromhex(database.read_options(paths.database, [name])[name] or "")


def _wplang(locale: str) -> str:
    return "" if locale == "en_US" else locale
