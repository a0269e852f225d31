"""The versions that WordPress, plugins and themes state in their own files."""

from __future__ import annotations

import re

# What WordPress' get_file_data() reads of a file, and how.
HEADER_BYTES = 8192


def plugin_header(head: bytes, name: str) -> str | None:
    """Return a header such as `Version` or `Plugin Name` from a file's first bytes.

    Read as WordPress reads it. `None` when the header is not there.
    """
    text = head[:HEADER_BYTES].decode("utf-8", "replace").replace("\r", "\n")
    match = re.search(
        rf"^(?:[ \t]*<\?php)?[ \t/*#@]*{re.escape(name)}:(.*)$", text, re.IGNORECASE | re.MULTILINE
    )
    if match is None:
        return None
    return re.sub(r"\s*(?:\*/|\?>).*", "", match[1]).strip()


def wordpress_version(head: bytes) -> str | None:
    """Return the version in WordPress' `wp-includes/version.php`."""
    match = re.search(rb"^[ \t]*\$wp_version\s*=\s*'([^']{1,64})';", head, re.MULTILINE)
    return match[1].decode("ascii", "replace") if match else None


def wordpress_database_version(head: bytes) -> int:
    """Return the version of the database in `wp-includes/version.php`, 0 when it states none."""
    match = re.search(rb"(?:^|;)[ \t]*\$wp_db_version\s*=\s*(\d{1,9});", head, re.MULTILINE)
    return int(match[1]) if match else 0
