"""The steps by which a database comes to the schema this version knows: `migrations/*.sql`.

`0004_audit_log.sql` is run on every database, in SQL that SQLite and PostgreSQL both understand;
after it `0004_audit_log.sqlite.sql` or `0004_audit_log.postgresql.sql`, for what they do not share.
"""

from __future__ import annotations

import importlib.resources
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["sqlite", "postgresql"]

_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+(?:\.(sqlite|postgresql))?\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, and the scripts to run one after the other."""

    number: int
    scripts: tuple[str, ...]


def migrations(kind: Kind) -> tuple[Migration, ...]:
    """Return the steps for one kind of database, the first first."""
    folder = importlib.resources.files("owc_deploy.store") / "migrations"
    matches = [match for entry in folder.iterdir() if (match := _NAME.fullmatch(entry.name))]
    scripts: dict[int, list[str]] = {}
    for match in sorted(matches, key=lambda match: (match[1], match[2] or "")):
        if match[2] in {None, kind}:
            text = (folder / match[0]).read_text(encoding="utf-8")
            scripts.setdefault(int(match[1]), []).append(text)
    return tuple(Migration(number, tuple(texts)) for number, texts in scripts.items())
