"""nginx, PHP-FPM, cron and certificates: the units of one site made to match its live release."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple, Optional

from . import commands, files, layout

NGINX_CONF = "/etc/nginx/nginx.conf"
SITES_INCLUDE_FILE = "/etc/nginx/conf.d/owc-sites.conf"
SITES_INCLUDE = "include /srv/owc/sites/*/current/nginx.conf;"
NGINX_PID = "/run/nginx.pid"
NGINX_HANDOVER_SECONDS = 3.0
# All sites share nginx: one transaction at a time tests and reloads it.
NGINX_LOCK = "/run/owc-nginx.lock"
# certbot ends at once when another one runs.
CERTBOT_LOCK = "/run/owc-certbot.lock"
CERTBOT_LIVE = "/etc/letsencrypt/live"

# certbot renews 30 days before the end; until then asking it would only cost seconds.
CERTIFICATE_FRESH_SECONDS = 30 * 86400
CERTIFICATE_USABLE_SECONDS = 86400


class Certificate(NamedTuple):
    """What a certificate says of itself: the host names it is for, and its end in Unix seconds."""

    domains: "frozenset[str]"
    expires_at_seconds: float

    def covers(self, domain: str) -> bool:
        """Return whether browsers accept it for `domain`."""
        return domain in self.domains or "*." + domain.partition(".")[2] in self.domains


def test_staged_nginx(paths: layout.SitePaths, release_id: str) -> None:
    """Check nginx's whole configuration as it would be with this release live.

    Raises CommandError with nginx's own words. Nothing that runs is touched.
    """
    staged = os.path.join(paths.release(release_id), "nginx.conf")
    includes = ["include %s;" % staged]
    for site in layout.site_names():
        other = os.path.join(layout.SITES, site, "current", "nginx.conf")
        if site != paths.site and os.path.exists(other):
            includes.append("include %s;" % other)
    with open(SITES_INCLUDE_FILE, encoding="utf-8") as stream:
        sites = stream.read().replace(SITES_INCLUDE, "\n".join(includes))
    with open(NGINX_CONF, encoding="utf-8") as stream:
        main = stream.read()
    with tempfile.TemporaryDirectory(prefix="owc-nginx-") as folder:
        conf_d = os.path.join(folder, "conf.d")
        os.mkdir(conf_d)
        for name in sorted(os.listdir(os.path.dirname(SITES_INCLUDE_FILE))):
            if name.endswith(".conf") and name != os.path.basename(SITES_INCLUDE_FILE):
                source = os.path.join(os.path.dirname(SITES_INCLUDE_FILE), name)
                os.symlink(source, os.path.join(conf_d, name))
        files.write_atomic(os.path.join(conf_d, "owc-sites.conf"), sites.encode())
        main = re.sub(
            r"include\s+/etc/nginx/conf\.d/\*\.conf\s*;", "include %s/*.conf;" % conf_d, main
        )
        candidate = os.path.join(folder, "nginx.conf")
        files.write_atomic(candidate, main.encode())
        commands.run(["nginx", "-t", "-q", "-p", "/etc/nginx", "-c", candidate])


def test_staged_php_fpm(paths: layout.SitePaths, release_id: str) -> None:
    """Check a release's PHP-FPM configuration; raises CommandError with PHP-FPM's own words."""
    release = paths.release(release_id)
    commands.run(
        [
            os.path.join(release, "php-fpm"),
            "--test",
            "--fpm-config",
            os.path.join(release, "php-fpm.conf"),
        ],
        user=paths.user,
    )


def converge(
    paths: layout.SitePaths, before: str, after: str, before_reload: "Callable[[], None]"
) -> None:
    """Make the site's units, and nginx, match the live release after a switch.

    `before` and `after` are release ids, `""` for none. What did not change is not touched: a new
    version of a block needs neither a reload of nginx nor of PHP-FPM, since both resolve the link
    anew. `before_reload` registers that nginx is about to be reloaded: until then there is nothing
    of nginx to undo, and undoing must not depend on a configuration that somebody else broke.
    """
    converge_units(paths, before, after)
    if nginx_differs(paths, before, after):
        reload_nginx(before_reload)


def nginx_differs(paths: layout.SitePaths, before: str, after: str) -> bool:
    """Return whether nginx has to read a site's configuration again after a switch."""
    return not before or not after or _differs(paths, before, after, ("nginx.conf",))


def converge_units(paths: layout.SitePaths, before: str, after: str) -> None:
    """Make PHP-FPM and cron match the live release after a switch from `before` to `after`."""
    if not after:
        commands.run(["systemctl", "disable", "--now", paths.cron_timer, paths.php_fpm_unit])
        return
    # systemd refuses to start what failed too often just now, whatever it is to start this time.
    commands.run(["systemctl", "reset-failed", paths.php_fpm_unit, paths.cron_timer], check=False)
    if not before or _differs(paths, before, after, ("php-fpm", "php-fpm.conf")):
        commands.run(["systemctl", "enable", "--quiet", paths.php_fpm_unit, paths.cron_timer])
        commands.run(["systemctl", "restart", paths.php_fpm_unit], timeout_seconds=90)
        commands.run(["systemctl", "start", paths.cron_timer])
    else:
        commands.run(["systemctl", "start", paths.php_fpm_unit, paths.cron_timer])


def can_run(paths: layout.SitePaths, running: str, release_id: str) -> bool:
    """Return whether the PHP-FPM that runs for release `running` could serve another as it is."""
    if not running or _differs(paths, running, release_id, ("php-fpm", "php-fpm.conf")):
        return False
    return unit_states([paths.php_fpm_unit])[paths.php_fpm_unit] == "active"


def reload_nginx(before_reload: "Callable[[], None]" = lambda: None) -> None:
    """Reload nginx if its configuration as it stands is valid; raises CommandError otherwise.

    `before_reload` is called in between. Returns when the new configuration answers: the workers
    of before go on for a moment.
    """
    with files.locked(NGINX_LOCK):
        reload_nginx_locked(before_reload)


def reload_nginx_locked(before_reload: "Callable[[], None]" = lambda: None) -> None:
    """Do what `reload_nginx` does, for who holds `NGINX_LOCK` already."""
    commands.run(["nginx", "-t", "-q"])
    before_reload()
    before = _nginx_workers()
    commands.run(["systemctl", "reload", "nginx"])
    deadline = time.monotonic() + NGINX_HANDOVER_SECONDS
    while before & _nginx_workers() and time.monotonic() < deadline:
        time.sleep(0.01)


def _nginx_workers() -> "frozenset[str]":
    """Return the ids of the processes that take requests; one that shuts down takes none."""
    try:
        with open(NGINX_PID, encoding="ascii") as stream:
            master = stream.read().strip()
        with open("/proc/%s/task/%s/children" % (master, master), encoding="ascii") as stream:
            children = stream.read().split()
    except OSError:
        return frozenset()
    return frozenset(child for child in children if _title(child) == b"nginx: worker process")


def _title(process: str) -> bytes:
    try:
        with open("/proc/%s/cmdline" % process, "rb") as stream:
            return stream.read().strip(b"\0 ")
    except OSError:
        return b""


def unit_states(units: "list[str]") -> "dict[str, str]":
    """Return the state of each unit (`active`, `inactive`, `failed`, ...), in one call."""
    if not units:
        return {}
    result = commands.run(["systemctl", "is-active", *units], check=False)
    return dict(zip(units, result.stdout.decode().split()))


def request_certificate(paths: layout.SitePaths, domains: "list[str]", email: str) -> str:
    """See with certbot that the site has a certificate of the ACME authority for its domains.

    certbot is not asked while the installed one is for exactly these domains and far from its end.
    When the authority cannot be had, an installed certificate that still serves every domain does:
    a security update must not wait for it. Returns a note about that, `""` when all is well.

    Raises CommandError with certbot's last words; the site is left as it was.
    """
    installed = _installed_certificate(paths)
    if installed is not None and _from_certbot(paths):
        fresh = installed.expires_at_seconds - time.time() > CERTIFICATE_FRESH_SECONDS
        if fresh and installed.domains == frozenset(domains):
            return ""
    try:
        with files.locked(CERTBOT_LOCK):
            _run_certbot(paths, domains, email)
    except commands.CommandError as error:
        if installed is None or not usable(installed, domains, time.time()):
            raise
        return "the certificate could not be renewed, and the present one is still good: %s" % error
    for name in ("fullchain.pem", "privkey.pem"):
        with open(os.path.join(CERTBOT_LIVE, paths.site, name), "rb") as stream:
            files.write_atomic(os.path.join(paths.tls, name), stream.read(), 0o400)
    return ""


def _run_certbot(paths: layout.SitePaths, domains: "list[str]", email: str) -> None:
    os.makedirs(layout.ACME_WEBROOT, mode=0o755, exist_ok=True)
    arguments = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--webroot"]
    arguments += ["--webroot-path", layout.ACME_WEBROOT, "--cert-name", paths.site]
    arguments += ["--keep-until-expiring", "--renew-with-new-domains", "--email", email]
    for domain in domains:
        arguments += ["--domain", layout.checked_domain(domain)]
    commands.run(arguments, timeout_seconds=180)


def _from_certbot(paths: layout.SitePaths) -> bool:
    """Return whether what is installed came from certbot, and not from an earlier TLS policy."""
    lineage = _content(os.path.join(CERTBOT_LIVE, paths.site, "fullchain.pem"))
    return bool(lineage) and lineage == _content(os.path.join(paths.tls, "fullchain.pem"))


def _installed_certificate(paths: layout.SitePaths) -> "Optional[Certificate]":
    chain, key = (os.path.join(paths.tls, name) for name in ("fullchain.pem", "privkey.pem"))
    if not os.path.exists(chain) or not os.path.exists(key):
        return None
    asked = ["openssl", "x509", "-noout", "-enddate", "-ext", "subjectAltName", "-in", chain]
    try:
        return parse_certificate(commands.run(asked).stdout.decode("utf-8", "replace"))
    except commands.CommandError:
        return None


def parse_certificate(text: str) -> "Optional[Certificate]":
    """Read what `openssl x509 -enddate -ext subjectAltName` printed; `None` without an end."""
    end = re.search(r"^notAfter=(.+)$", text, re.MULTILINE)
    if not end:
        return None
    try:
        expires_at_seconds = ssl.cert_time_to_seconds(end.group(1).strip())
    except ValueError:
        return None
    domains = frozenset(name.lower() for name in re.findall(r"\bDNS:([^\s,]+)", text))
    return Certificate(domains, expires_at_seconds)


def usable(certificate: Certificate, domains: "list[str]", now_seconds: float) -> bool:
    """Return whether a certificate serves every domain for another day at least."""
    left_seconds = certificate.expires_at_seconds - now_seconds
    return left_seconds > CERTIFICATE_USABLE_SECONDS and all(map(certificate.covers, domains))


def _differs(paths: layout.SitePaths, before: str, after: str, names: "tuple[str, ...]") -> bool:
    return any(
        _content(os.path.join(paths.release(before), name))
        != _content(os.path.join(paths.release(after), name))
        for name in names
    )


def _content(path: str) -> bytes:
    try:
        if os.path.islink(path):
            return os.readlink(path).encode()
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""
