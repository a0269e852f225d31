"""What going back in data loses, in words for whoever answers for the site's content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from owc_deploy.cli.view import plain

_POST_TYPES = {"page": "pages", "post": "posts", "attachment": "media files"}
_KINDS = {
    "comments": "comments",
    "entries": "form entries",
    "users": "users",
    "options": "settings",
    "uploads": "uploaded files",
}
_WHAT = (("new", "new"), ("changed", "edited"))
_TABLES_NAMED = 6
_JOBS_NAMED = 20


def loss_lines(losses: Mapping[str, Any]) -> Iterator[str]:
    """Give the lines that tell a person what would be lost, and what would come back."""
    counted = [(name, numbers) for name, numbers in _headlines(losses) if _lost(numbers)]
    if counted:
        width = max(len(name) for name, _ in counted)
        yield "What was written since then would be lost:"
        for name, numbers in counted:
            yield f"  {name:{width}}  {_numbers(numbers)}{_examples(numbers, 'new', 'changed')}"
    else:
        yield "Nothing was written since then that an editor or a visitor would miss."
    returning = [(name, numbers) for name, numbers in _headlines(losses) if numbers["deleted"]]
    if returning:
        yield "What was deleted since then would come back:"
        for name, numbers in returning:
            yield f"  {name}  {numbers['deleted']}{_examples(numbers, 'deleted')}"
    yield from _rest(losses)


def _headlines(losses: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind, numbers in losses["posts"].items():
        yield _POST_TYPES.get(kind, f"content of type {plain(kind)}"), numbers
    for kind, name in _KINDS.items():
        yield name, losses[kind]


def _rest(losses: Mapping[str, Any]) -> Iterator[str]:
    tables = [
        (plain(name), _lost(numbers) + numbers["deleted"])
        for name, numbers in losses["tables"].items()
    ]
    internal = _lost(losses["internal"])
    if internal:
        tables.insert(0, ("revisions, drafts and menus", internal))
    if tables:
        named = ", ".join(f"{name} {rows}" for name, rows in tables[:_TABLES_NAMED])
        more = f" and {len(tables) - _TABLES_NAMED} more" if tables[_TABLES_NAMED:] else ""
        yield f"Rows that belong to these or to plugins: {named}{more}."
    for item in losses["not_compared"]:
        yield f"Not compared: {plain(item['table'])}: {plain(item['reason'])}."
    yield "Part of this may be the work of the update itself."
    if losses["uploads"]["new"]:
        yield "Uploaded files stay on the server; the media library no longer knows them."


def _lost(numbers: Mapping[str, Any]) -> int:
    return int(numbers["new"]) + int(numbers["changed"])


def _numbers(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{numbers[what]} {word}" for what, word in _WHAT if numbers[what])


def _examples(numbers: Mapping[str, Any], *wanted: str) -> str:
    titles = [plain(item["title"]) for item in numbers["examples"] if item["what"] in wanted]
    if not titles:
        return ""
    known = sum(int(numbers[what]) for what in wanted)
    return f": {'; '.join(titles)}{'; ...' if known > len(titles) else ''}"


def job_lines(jobs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Give the lines that tell which scheduled jobs were held."""
    told = list(jobs)
    if not told:
        return
    yield "Scheduled jobs that had run already and were kept from running again:"
    for job in told[:_JOBS_NAMED]:
        to = f" to {job['to']}" if job.get("to") else ""
        yield f"  {plain(job['hook'])} of {job['at'] or 'no date'}: {job['done']}{to}"
    if told[_JOBS_NAMED:]:
        yield f"  and {len(told) - _JOBS_NAMED} more, in the export"


def moment(iso: str) -> str:
    """Return a time for a person, where they are."""
    return f"{datetime.fromisoformat(iso).astimezone():%-d %B %Y, %H:%M}"
