"""Files whose content may not be seen: private keys, on their way to a site's own folder."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import Any, Optional

from . import files, layout, services

CHAIN = "tls/fullchain.pem"
KEY = "tls/privkey.pem"
ALLOWED = (CHAIN, KEY)


def place(items: "list[dict[str, Any]]") -> "list[str]":
    """Write each item (`site`, `path`, `content`) as root, 0400; return the sites that changed.

    nginx is reloaded when a site that is live got another certificate. All of it or nothing: nginx
    serves every site of this server, so when it will not have a new file, or one cannot be written,
    what was there before is put back.

    Raises ValueError, before anything is written, for a place that is not one for secrets and for a
    key that is not its certificate's; CommandError with nginx's words; OSError. No message holds
    any content.
    """
    wanted = _by_site(items)
    for paths, contents in wanted:
        os.makedirs(paths.root, mode=0o750, exist_ok=True)
        os.makedirs(paths.tls, mode=0o700, exist_ok=True)
        if CHAIN in contents and KEY in contents:
            _check_pair(paths, contents[CHAIN], contents[KEY])
    changed = []
    replaced: "list[tuple[str, Optional[bytes]]]" = []
    try:
        for paths, contents in wanted:
            before = len(replaced)
            for name, content in contents.items():
                path = os.path.join(paths.root, name)
                present = _content(path)
                if present != content:
                    replaced.append((path, present))
                    files.write_atomic(path, content, 0o400)
            if len(replaced) > before:
                changed.append(paths)
        if any(paths.current_release() for paths in changed):
            services.reload_nginx()
    except BaseException:
        _put_back(replaced)
        raise
    return [paths.site for paths in changed]


def _by_site(
    items: "list[dict[str, Any]]",
) -> "list[tuple[layout.SitePaths, dict[str, bytes]]]":
    sites: "dict[str, dict[str, bytes]]" = {}
    for item in items:
        site = layout.checked_site(item["site"])
        if item["path"] not in ALLOWED:
            raise layout.NameRefusedError("not a place for a secret: %r" % item["path"])
        sites.setdefault(site, {})[item["path"]] = item["content"].encode("utf-8", "replace")
    return [(layout.SitePaths(site), sites[site]) for site in sorted(sites)]


def _check_pair(paths: layout.SitePaths, chain: bytes, key: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix=".check-", dir=paths.tls) as folder:
        chain_path, key_path = os.path.join(folder, "chain"), os.path.join(folder, "key")
        files.write_atomic(chain_path, chain, 0o600)
        files.write_atomic(key_path, key, 0o600)
        try:
            # The empty password: a key that wants one is refused instead of asking a terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                chain_path, key_path, lambda: ""
            )
        except ssl.SSLError as error:
            reason = (error.reason or "unreadable").replace("_", " ").lower()
            raise ValueError(
                "the certificate and the private key for %s cannot be used together: %s"
                % (paths.site, reason)
            ) from None


def _put_back(replaced: "list[tuple[str, Optional[bytes]]]") -> None:
    for path, content in reversed(replaced):
        if content is None:
            files.remove_file(path)
        else:
            files.write_atomic(path, content, 0o400)


def _content(path: str) -> "Optional[bytes]":
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
