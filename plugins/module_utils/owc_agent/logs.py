"""The recent log lines of one site: PHP, cron and transactions from the journal, nginx's errors."""

from __future__ import annotations

from . import commands, layout

NGINX_ERROR_LOG = "/var/log/nginx/error.log"


def recent(site: str, lines: int) -> "list[str]":
    """Return the last `lines` lines of a site, oldest first."""
    paths = layout.SitePaths(site)
    arguments = ["journalctl", "--no-pager", "--output=short-iso", "--lines=%d" % lines]
    for unit in (paths.php_fpm_unit, paths.cron_service, "owc-transaction-%s.service" % paths.site):
        arguments += ["--unit", unit]
    result = commands.run(arguments, check=False)
    found = result.stdout.decode("utf-8", "replace").splitlines()
    marker = "/srv/owc/sites/%s/" % paths.site
    try:
        with open(NGINX_ERROR_LOG, encoding="utf-8", errors="replace") as stream:
            found += [line.rstrip("\n") for line in stream if marker in line][-lines:]
    except OSError:
        pass
    return found[-lines:]
