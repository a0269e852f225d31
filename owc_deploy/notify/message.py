"""What people are told, as plain text; pure.

What a notice says may come from documents and servers. A chat service reads more into text than a
person does, so nothing in it may call people by name or hide where a link leads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from owc_deploy.fleet.models import NotificationEvent

Kind = Literal["info", "success", "warning", "failure"]

MAXIMUM_TITLE = 200
MAXIMUM_BODY = 3_000

_KINDS: dict[str, Kind] = {
    "rollout-paused": "warning",
    "rollout-halted": "failure",
    "rollout-ended": "success",
    "rollout-incomplete": "warning",
    "rollout-aborted": "warning",
    "site-failed": "failure",
    "apply-failed": "failure",
    "audit-finding": "warning",
}
# `@channel`, `@room` and the like; not the one inside an e-mail address.
_CALL = re.compile(r"(?<!\w)@(?=\w)")
_WORD_JOINER = "\N{WORD JOINER}"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened in a fleet.

    `subject` says in a few words what it is about, `text` what happened; `next_command` is what to
    type next, `link` where more is to be read.
    """

    event: NotificationEvent | Literal["test"]
    fleet: str
    subject: str
    text: str
    next_command: str = ""
    link: str = ""


def message_for(notice: Notice) -> tuple[str, str]:
    """Return a message's title, one line, and its body."""
    event = notice.event.replace("-", " ").capitalize()
    title = _shortened(_harmless(f"{event}: {notice.subject} ({notice.fleet})"), MAXIMUM_TITLE)
    after = [_harmless(f"Next: {notice.next_command}")] if notice.next_command else []
    after += [_harmless(notice.link)] if notice.link else []
    lines = "\n".join(_harmless(line) for line in notice.text.splitlines()).strip()
    text = _shortened(lines, MAXIMUM_BODY - sum(len(line) + 2 for line in after))
    return (title, "\n\n".join([part for part in (text, *after) if part]) or title)


def kind_of(notice: Notice) -> Kind:
    """Return how good or bad the news is, which some services show as a colour."""
    return _KINDS.get(notice.event, "info")


def _harmless(line: str) -> str:
    shown = "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for sign in line.replace("\t", " ")
    )
    return _CALL.sub(f"@{_WORD_JOINER}", shown).replace("](", "] (")


def _shortened(text: str, length: int) -> str:
    mark = "\N{HORIZONTAL ELLIPSIS}"
    return text if len(text) <= length else text[: max(length - 1, 0)].rstrip() + mark
