"""Values that came from servers, as every database can keep them."""

from __future__ import annotations

import json
from typing import Any


def storable_text(text: str) -> str:
    """Return a text with `?` for what is no Unicode character, and U+FFFD for NUL.

    SQLite refuses the first and PostgreSQL both; what a server said must not make it unrecordable.
    """
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def storable_json(value: Any) -> Any:
    """Return a value as it is once read back from JSON; what is no JSON value becomes its text."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return json.loads(text.encode(errors="replace"))
