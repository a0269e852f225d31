"""Where everything is on a server, and names checked before they become paths or identifiers.

The layout is described in docs/architecture.md. Every name that reaches a path, a unit or an SQL
identifier passes through here first, so a tampered specification cannot name anything else.
"""

from __future__ import annotations

import os
import re
from typing import Optional

SRV = "/srv/owc"
STORE = SRV + "/store"
INCOMING = SRV + "/incoming"
SITES = SRV + "/sites"
AGENT_ROOT = "/usr/local/lib/owc-deploy"
PROVISIONED = "/etc/owc-deploy/provisioned.json"
ACME_WEBROOT = "/var/lib/owc-deploy/acme"
# In memory: what a transaction and whoever waits for it tell each other. A full disk cannot silence
# them, and after a reboot nobody waits.
RUN = "/run/owc-deploy"

_SITE = re.compile(r"[a-z][a-z0-9-]{0,25}[a-z0-9]")
_RELEASE = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PHP = re.compile(r"[0-9]\.[0-9]{1,2}")
_OPTION = re.compile(r"[A-Za-z0-9_-]{1,191}")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


class NameRefusedError(ValueError):
    """A name that may not become a path, a unit or an identifier."""


def _checked(pattern: "re.Pattern[str]", kind: str, value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
        raise NameRefusedError("not a %s: %r" % (kind, value))
    return value


def checked_site(value: object) -> str:
    """Return `value` if it is a site name; raise NameRefusedError otherwise."""
    return _checked(_SITE, "site name", value)


def checked_release(value: object) -> str:
    """Return `value` if it is a release id; raise NameRefusedError otherwise."""
    return _checked(_RELEASE, "release id", value)


def checked_sha256(value: object) -> str:
    """Return `value` if it is a SHA-256 in hexadecimal; raise NameRefusedError otherwise."""
    return _checked(_SHA256, "SHA-256", value)


def is_sha256(value: str) -> bool:
    """Return whether `value` is a SHA-256 in hexadecimal."""
    return bool(_SHA256.fullmatch(value))


def is_release(value: str) -> bool:
    """Return whether `value` is a release id."""
    return bool(_RELEASE.fullmatch(value))


def checked_folder(value: object) -> str:
    """Return `value` if it is one plain file or folder name; raise NameRefusedError otherwise."""
    return _checked(_FOLDER, "folder name", value)


def checked_php(value: object) -> str:
    """Return `value` if it is a PHP branch such as `8.2`; raise NameRefusedError otherwise."""
    return _checked(_PHP, "PHP branch", value)


def checked_option(value: object) -> str:
    """Return `value` if it is a WordPress option name; raise NameRefusedError otherwise."""
    return _checked(_OPTION, "option name", value)


def checked_domain(value: object) -> str:
    """Return `value` if it is a host name; raise NameRefusedError otherwise."""
    return _checked(_DOMAIN, "host name", value)


def stored(sha256: str) -> str:
    """Return the folder of one unpacked artefact."""
    return os.path.join(STORE, checked_sha256(sha256))


def site_names() -> "list[str]":
    """Return the sites present on this server, sorted."""
    try:
        entries = os.listdir(SITES)
    except FileNotFoundError:
        return []
    return sorted(name for name in entries if _SITE.fullmatch(name))


class SitePaths:
    """The paths and names that belong to one site."""

    def __init__(self, site: str) -> None:
        self.site = checked_site(site)
        self.root = os.path.join(SITES, self.site)
        self.current = os.path.join(self.root, "current")
        self.releases = os.path.join(self.root, "releases")
        self.shared = os.path.join(self.root, "shared")
        self.uploads = os.path.join(self.shared, "uploads")
        self.salts = os.path.join(self.shared, "salts.php")
        self.tls = os.path.join(self.root, "tls")
        self.journal = os.path.join(self.root, "journal")
        self.snapshots = os.path.join(self.root, "snapshots")
        self.exports = os.path.join(self.root, "exports")
        self.activations = os.path.join(self.root, "activations.jsonl")
        self.run = os.path.join(RUN, self.site)
        self.lock = os.path.join(self.root, "lock")
        self.frozen = os.path.join(self.root, "frozen.json")
        self.mitigations = os.path.join(self.root, "mitigations.json")
        self.writing_lock = os.path.join(self.shared, "writing.lock")
        self.fence = os.path.join(self.root, "fence.json")
        self.mitigations_fence = os.path.join(self.root, "mitigations-fence.json")
        # Where the site's own user, who may open what is in its folder, cannot hold it.
        self.fence_lock = os.path.join(self.run, "fence.lock")
        self.decommissioned = os.path.join(self.root, "decommissioned.json")
        self.user = "owc-" + self.site
        self.database = "owc_" + self.site.replace("-", "_")
        self.php_fpm_unit = "owc-php-fpm@%s.service" % self.site
        self.php_fpm_socket = "/run/owc-php-fpm/%s/php-fpm.sock" % self.site
        self.transaction_unit = "owc-transaction-%s.service" % self.site
        self.cron_timer = "owc-cron@%s.timer" % self.site
        self.cron_service = "owc-cron@%s.service" % self.site

    def release(self, release_id: str) -> str:
        """Return the folder of one release."""
        return os.path.join(self.releases, checked_release(release_id))

    def public(self, release_id: str) -> str:
        """Return the document root of one release."""
        return os.path.join(self.release(release_id), "public")

    def snapshot(self, release_id: str) -> str:
        """Return the database snapshot that was taken before one release."""
        return os.path.join(self.snapshots, checked_release(release_id) + ".sql.gz")

    def job(self, transaction_id: str) -> str:
        """Return where a transaction's job is; the file is gone once the transaction ended."""
        return os.path.join(self.run, checked_release(transaction_id) + ".job.json")

    def outcome(self, transaction_id: str) -> str:
        """Return where a transaction says how it ended."""
        return os.path.join(self.run, checked_release(transaction_id) + ".outcome.json")

    def provisional(self, transaction_id: str) -> str:
        """Return where a transaction says that it waits to be confirmed."""
        return os.path.join(self.run, checked_release(transaction_id) + ".provisional.json")

    def verdict(self, transaction_id: str) -> str:
        """Return where a waiting transaction looks for its verdict."""
        return os.path.join(self.run, checked_release(transaction_id) + ".verdict.json")

    def current_release(self) -> str:
        """Return the id of the live release, `""` when there is none: what the link itself says."""
        target = _readlink(self.current)
        if target is None:
            return ""
        name = os.path.basename(target)
        return name if _RELEASE.fullmatch(name) else ""


def _readlink(path: str) -> Optional[str]:
    try:
        return os.readlink(path)
    except (FileNotFoundError, OSError):
        return None
