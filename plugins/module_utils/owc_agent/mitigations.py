"""What is closed on a site until a vulnerability is fixed: routes, folders with PHP, ajax actions.

All of it lies outside releases, so no release or rollback opens it again. nginx refuses what an
address looks like (`nginx_map`); `guard.php` of the role `nginx` refuses what PHP and WordPress
made of it. The controller says how a site should be as a whole; what is the same is left alone.
"""

from __future__ import annotations

import http.client
import os
import pwd
import re
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import commands, fences, files, gate, layout, services

FOLDER = "/etc/nginx/owc-mitigations"
SNIPPET = "/etc/nginx/snippets/owc-wordpress.conf"
GUARD = "/usr/local/share/owc-deploy/guard.php"
CODE = "owc_mitigated"

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,98}")
_ROUTE = re.compile(r"(/[a-z0-9._~-]+)+")
_PLACE = re.compile(r"(plugins|themes)/[A-Za-z0-9][A-Za-z0-9._-]{0,99}|mu-plugins")
_ACTION = re.compile(r"[A-Za-z0-9_-]{1,100}")
_KINDS = {"routes": _ROUTE, "folders": _PLACE, "ajax_actions": _ACTION}
_ASKED_AT_ONCE = 8
_ALSO_ADDED = "not closed by this release: %s; next: owc-deploy mitigate apply"


def checked(rules: Any) -> "list[dict[str, Any]]":
    """Return rules with nothing in them that nginx or PHP could take for something else.

    Raises NameRefusedError otherwise.
    """
    found = []
    for rule in rules:
        if not _IDENTIFIER.fullmatch(str(rule["identifier"])):
            raise layout.NameRefusedError("not an identifier: %r" % rule["identifier"])
        for kind, pattern in _KINDS.items():
            for value in rule[kind]:
                if not pattern.fullmatch(value):
                    raise layout.NameRefusedError("not one of %s: %r" % (kind, value))
        found.append({"identifier": rule["identifier"], **{kind: rule[kind] for kind in _KINDS}})
    return found


def read(paths: layout.SitePaths) -> "list[dict[str, Any]]":
    """Return the rules in force on a site."""
    document = files.read_json(paths.mitigations)
    return document if isinstance(document, list) else []


def nginx_map(site: str, rules: "list[dict[str, Any]]") -> str:
    """Return a site's lines of the map `$owc_mitigated`; its key is document root, address, query.

    `$uri` is decoded and its slashes merged, the query is neither; PHP reads a point, space or
    bracket in a parameter's name as an underscore. To WordPress a route is a regular expression,
    so what answers to a name with a point in it answers to it with any other sign there too.
    """
    lines = ["# %s: made by owc-deploy mitigate." % site]
    root = "%s/%s/current/public " % (layout.SITES, layout.checked_site(site))
    for rule in rules:
        for route in rule["routes"]:
            plain = _pattern(route)
            lines.append(_line(root, "/(?:index[.]php/+)*wp-json%s(?:[/?]|$)" % plain))
            encoded = "".join(_encoded(sign) for sign in route.lstrip("/"))
            name = "rest(?:_|[.]|[+]|[[]|%5f|%2e|%20|%5b)route"
            lines.append(_line(root, ".*[?&]%s=(?:/|%%2f)*%s(?:/|%%2f|%%0a|&|$)" % (name, encoded)))
        for folder in rule["folders"]:
            lines.append(_line(root, "/wp-content%s/.*[.]php(?:[/?]|$)" % _pattern("/" + folder)))
    return "\n".join(lines) + "\n"


def _line(root: str, pattern: str) -> str:
    return '"~*(?s)^%s%s" 1;' % (root, pattern)


def _pattern(path: str) -> str:
    return path.replace("/", "/+")


def _encoded(sign: str) -> str:
    """Return a pattern for a sign as such or percent-encoded; the map is deaf to case."""
    if sign == "/":
        return "(?:/|%2f)+"
    if sign == ".":
        return "(?:%[0-9a-f][0-9a-f]|.)"
    signs = {sign, sign.upper()}
    return "(?:%s)" % "|".join([sign, *sorted("%%%02x" % ord(each) for each in signs)])


def closed_by(rules: "list[dict[str, Any]]", address: str) -> str:
    """Return the identifier of the rule that closes this address of the site, `""` for none.

    For the gate, whose addresses are written by people: they are not spelled to deceive.
    """
    parts = urllib.parse.urlsplit(address)
    path = re.sub("/+", "/", urllib.parse.unquote(parts.path)).lower()
    query = urllib.parse.parse_qs(parts.query)
    asked = [path[len("/wp-json") :]] if path.startswith("/wp-json/") else []
    asked += [("/" + value.strip("/")).lower() for value in query.get("rest_route", [])]
    for rule in rules:
        for route in rule["routes"]:
            if any((one.rstrip("/") + "/").startswith(route + "/") for one in asked):
                return str(rule["identifier"])
        for folder in rule["folders"]:
            if path.startswith("/wp-content/%s/" % folder.lower()) and ".php" in path:
                return str(rule["identifier"])
        actions = query.get("action", []) if path == "/wp-admin/admin-ajax.php" else []
        if set(actions) & set(rule["ajax_actions"]):
            return str(rule["identifier"])
    return ""


def open_pages(
    paths: layout.SitePaths, pages: "list[dict[str, Any]]"
) -> "tuple[list[dict[str, Any]], list[str]]":
    """Return the pages that are to answer as declared, and a note for each that is closed."""
    rules = read(paths)
    closed = {page["path"]: closed_by(rules, page["path"]) for page in pages}
    return (
        [page for page in pages if not closed[page["path"]]],
        ["%s was not asked: mitigation %s" % (path, by) for path, by in closed.items() if by],
    )


def add_missing(site: str, rules: "list[dict[str, Any]]") -> "list[str]":
    """Put in force what a site lacks, for a release; return notes.

    It only adds: a plan may be older than a mitigation, and must not open what was closed since.
    """
    wanted = checked(rules)
    if not wanted:
        return []
    with files.locked(services.NGINX_LOCK):
        present = read(layout.SitePaths(site))
        known = {rule["identifier"] for rule in present}
        missing = [rule for rule in wanted if rule["identifier"] not in known]
        if not missing:
            return []
        if not is_prepared():
            return [_ALSO_ADDED % ", ".join(str(rule["identifier"]) for rule in missing)]
        trouble = _put_locked({site: present + missing})
    return ["mitigations: %s" % words for words in trouble.values()]


def is_prepared() -> bool:
    """Return whether this server's web server knows of mitigations at all."""
    try:
        with open(SNIPPET, encoding="utf-8") as stream:
            return GUARD in stream.read() and os.path.exists(GUARD)
    except OSError:
        return False


def _put_locked(wanted: "dict[str, list[dict[str, Any]]]") -> "dict[str, str]":
    """Write the rules of sites and reload nginx once; return what went wrong, by site.

    For who holds `services.NGINX_LOCK`. What PHP reads is in force with the file. When nginx
    refuses its configuration as a whole, its part is put back, so that no other change of this
    server is hindered, and PHP's stays.
    """
    trouble = {}
    for site, rules in wanted.items():
        try:
            paths = layout.SitePaths(site)
            group = pwd.getpwnam(paths.user).pw_gid
            files.write_atomic(paths.mitigations, files.json_bytes(rules), 0o640, (0, group))
        except (OSError, KeyError) as error:
            trouble[site] = "nothing was changed: %s" % error
    written = {site: rules for site, rules in wanted.items() if site not in trouble}
    before = {site: _content(site) for site in written}
    try:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        for site, rules in written.items():
            _write_map(site, nginx_map(site, rules).encode() if rules else b"")
        if before != {site: _content(site) for site in written}:
            services.reload_nginx_locked()
    except (commands.CommandError, OSError) as error:
        for site, content in before.items():
            _write_map(site, content)
            which = "only PHP refuses, nginx does not" if wanted[site] else "nginx still refuses"
            trouble[site] = "%s: %s" % (which, error)
    return trouble


def _map_path(site: str) -> str:
    return os.path.join(FOLDER, layout.checked_site(site) + ".conf")


def _content(site: str) -> bytes:
    try:
        with open(_map_path(site), "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""


def _write_map(site: str, content: bytes) -> None:
    if content:
        # A site's PHP may not read what is closed on its neighbours.
        files.write_atomic(_map_path(site), content, 0o600)
    else:
        files.remove_file(_map_path(site))


def converge(sites: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Make the sites' mitigations as they are told and look whether that holds; one outcome each.

    `sites` are `{"site": ..., "rules": [...], "fence": {...}}`; a site that a newer controller has
    taken over is left alone. Its fences are others than those of transactions: what is closed at
    once must neither wait for an update nor end it.
    """
    started = time.monotonic()
    if not is_prepared():
        words = "this server was prepared by an earlier version; next: owc-deploy provision"
        return [_outcome(item["site"], "not-attempted", words, started) for item in sites]
    here = {item["site"]: checked(item["rules"]) for item in sites}
    absent = [site for site in here if not _is_here(site)]
    outcomes = [
        _outcome(site, "ok", "not on this server yet; its first release brings this", started)
        for site in absent
    ]
    with files.locked(services.NGINX_LOCK):
        notes, refused = _taken([item for item in sites if item["site"] not in absent])
        for site, error in refused.items():
            overtaken = isinstance(error, fences.OvertakenError)
            outcome = _outcome(site, "busy" if overtaken else "failed", str(error), started)
            outcome["details"]["newer"] = getattr(error, "newer", None)
            outcomes.append(outcome)
        wanted = {
            site: _no_weaker(site, rules)
            for site, rules in here.items()
            if site not in absent and site not in refused
        }
        different = {site for site, rules in wanted.items() if _differs(site, rules)}
        trouble = _put_locked({site: wanted[site] for site in different})
    with ThreadPoolExecutor(max_workers=_ASKED_AT_ONCE) as pool:
        seen = dict(zip(wanted, pool.map(still_open, wanted, wanted.values())))
    for site, (problems, unknown) in seen.items():
        if site in trouble:
            problems.append(trouble[site])
        word = "changed" if site in different else "ok"
        if problems or unknown:
            word = "failed" if problems else "inconclusive"
        outcome = _outcome(site, word, "; ".join(problems + unknown), started)
        outcome["details"]["notes"] = notes[site]
        outcomes.append(outcome)
    return outcomes


def _taken(
    sites: "list[dict[str, Any]]",
) -> "tuple[dict[str, list[str]], dict[str, Exception]]":
    """Take sites over for a controller; return notes on those, and why others cannot be."""
    notes: "dict[str, list[str]]" = {}
    refused: "dict[str, Exception]" = {}
    for item in sites:
        paths = layout.SitePaths(item["site"])
        try:
            notes[paths.site] = fences.take(paths.mitigations_fence, paths, item["fence"])
        except (fences.OvertakenError, OSError) as error:
            refused[paths.site] = error
    return notes, refused


def _no_weaker(site: str, rules: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Return rules, those that close nothing as they are in force.

    The controller knows no more what a block has once its catalogue lacks the block.
    """
    present = {rule["identifier"]: rule for rule in read(layout.SitePaths(site))}
    return [
        rule if any(rule[kind] for kind in _KINDS) else present.get(rule["identifier"], rule)
        for rule in rules
    ]


def _is_here(site: str) -> bool:
    try:
        pwd.getpwnam(layout.SitePaths(site).user)
    except KeyError:
        return False
    return os.path.isdir(layout.SitePaths(site).root)


def _differs(site: str, rules: "list[dict[str, Any]]") -> bool:
    expected = nginx_map(site, rules).encode() if rules else b""
    return read(layout.SitePaths(site)) != rules or _content(site) != expected


def still_open(site: str, rules: "list[dict[str, Any]]") -> "tuple[list[str], list[str]]":
    """Ask the site's own web server for what should be closed.

    Returns, in words, what is not, and of what it cannot be told: a site that is frozen or broken
    answers neither.

    A route is asked for by both its addresses, which nginx refuses, and as WordPress alone can see
    it: in the body of a request, which is a GET to WordPress all the same.
    """
    paths = layout.SitePaths(site)
    domain = _domain(paths)
    if not domain:
        return [], []
    problems: "list[str]" = []
    unknown: "list[str]" = []
    for rule in rules:
        for what, path, body in probes(rule):
            answer = gate.ask(domain, path, 10, body=body)
            if answer.error:
                # The next question would wait as long.
                unknown.append("%s could not be asked for: %s" % (what, answer.error))
                return problems, unknown
            if answer.status >= http.client.INTERNAL_SERVER_ERROR:
                unknown.append("%s answers %d for now" % (what, answer.status))
            elif answer.status != http.client.FORBIDDEN or CODE not in answer.body:
                problems.append("%s still answers %d" % (what, answer.status))
    return problems, unknown


def probes(rule: "dict[str, Any]") -> "list[tuple[str, str, str]]":
    """Return what to ask for to see that a rule holds: its name, the path, the body (`""`: GET)."""
    asked = []
    for route in rule["routes"]:
        for spelled in sorted({route, route.replace(".", "x")}):
            asked.append(("/wp-json" + spelled, "/wp-json" + spelled, ""))
        asked.append(("rest_route=" + route, "/?rest_route=" + route, ""))
        asked.append(("rest_route in a form", "/?_method=GET", "rest_route=" + route))
    for folder in rule["folders"]:
        path = "/wp-content/%s/owc-deploy.php" % folder
        asked.append((path, path, ""))
    for action in rule["ajax_actions"]:
        path = "/wp-admin/admin-ajax.php?action=" + action
        asked.append((path, path, ""))
    return asked


def _domain(paths: layout.SitePaths) -> str:
    """Return the name that a site that is live answers to, `""` for one that is not."""
    release_id = paths.current_release()
    if not release_id or os.path.exists(paths.decommissioned):
        return ""
    document = files.read_json(os.path.join(paths.release(release_id), "release.json"))
    return str(document["specification"]["domains"][0]) if document else ""


def _outcome(site: str, word: str, message: str, started: float) -> "dict[str, Any]":
    paths = layout.SitePaths(site)
    live = paths.current_release()
    return {
        "site": site,
        "outcome": word,
        "message": message,
        "release_id": live,
        "previous_release_id": live,
        "seconds": round(time.monotonic() - started, 2),
        "details": {"closed": [rule["identifier"] for rule in read(paths)]},
    }
