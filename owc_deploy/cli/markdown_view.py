"""Markdown for a comment on a pull or merge request; pure.

Nearly every word in it comes from documents or servers, and a forge reads much into text: links,
images, `@mentions`, `#1` references, and commands where a line begins with a slash. So whatever is
not our own stands in a code element, with everything that means something written as a number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from owc_deploy.cli.rows import Row
from owc_deploy.cli.view import plain
from owc_deploy.errors import Problem
from owc_deploy.plan.models import Change, Plan, ServerPlan, SitePlan

# GitHub takes 65,536; whoever posts it adds a line of their own.
MAXIMUM_LENGTH = 60_000

_CELL_LENGTH = 300
_MANY_CHANGES = 8
_SHOWN_CHANGES = 50
_MEANS_SOMETHING = re.compile(r"[!\"#$%&'*:;<>?@\[\\\]^_`{|}~]")
_WWW = re.compile(r"(?<=www)\.", re.IGNORECASE)
_LEAVING_ALONE = {"none", "ok"}


def code(text: object) -> str:
    """Return a text from elsewhere as an element in which nothing means anything."""
    shown = plain(text)
    if len(shown) > _CELL_LENGTH:
        shown = shown[: _CELL_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
    if not shown.strip():
        return ""
    written = _MEANS_SOMETHING.sub(lambda sign: f"&#{ord(sign[0])};", shown)
    return f"<code>{_WWW.sub('&#46;', written)}</code>"


def plan_markdown(plan: Plan) -> str:
    """Return what would change on each site, and why."""
    counts = Counter(site.action for site in plan.sites)
    head = [
        f"### Plan of {code(plan.fleet)}",
        _counted({"unchanged" if word == "none" else word: n for word, n in counts.items()}),
    ]
    lines = [line for server in plan.servers for line in _server_lines(server)]
    sections = ["\n".join(lines)] if lines else []
    told = [site for site in plan.sites if site.action != "none" or site.warnings]
    # First what a person has to look at.
    told.sort(key=lambda site: site.action not in {"held", "not-attempted"})
    return _document(head, [*sections, *(_site_section(site) for site in told)])


def outcomes_markdown(title: str, rows: Iterable[Row]) -> str:
    """Return how it ended for each site: first what went wrong; what was left alone is counted."""
    every = list(rows)
    order = {"failed": 0, "error": 1, "skipped": 2, "passed": 3}
    told = sorted(
        (row for row in every if row.outcome not in _LEAVING_ALONE),
        key=lambda row: order[row.verdict],
    )
    head = [f"### {title}", _counted(Counter(row.outcome for row in every))]
    heading = ("What", "Server", "Ring", "Outcome", "Message", "Seconds")
    cells = [
        (
            code(row.name),
            code(row.server),
            code(row.ring),
            f"**{row.outcome}**" if row.verdict in {"failed", "error"} else row.outcome,
            code(row.message),
            f"{row.seconds:.1f}" if row.seconds else "",
        )
        for row in told
    ]
    return _document(head, _table_in_parts(heading, cells))


def problems_markdown(problems: Sequence[Problem], sites: int | None) -> str:
    """Return every problem in the fleet's documents."""
    if not problems:
        return f"### No problems\n\n{sites} site{'s' if sites != 1 else ''}.\n"
    head = [f"### {len(problems)} problem{'s' if len(problems) != 1 else ''}"]
    heading = ("Where", "What", "Write instead")
    cells = [
        (code(f"{each.file}:{each.line}"), code(each.message), code(each.suggestion))
        for each in problems
    ]
    return _document(head, _table_in_parts(heading, cells))


def _counted(counts: dict[str, int]) -> str:
    words = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return f"{words or 'no sites'}."


def _server_lines(server: ServerPlan) -> Iterator[str]:
    if server.action != "none":
        word = "is prepared" if server.action == "provision" else "**is not reached**"
        yield f"- server {code(server.server)} {word}: {code(server.reason)}"


def _site_section(site: SitePlan) -> str:
    where = f"{code(site.site)} on {code(site.server)}"
    where += f", ring {code(site.ring)}" if site.ring else ""
    action = "warning" if site.action == "none" else site.action
    lines = [f"#### {action}: {where}", ""]
    lines += [f"- {code(site.reason)}"] if site.reason else []
    lines += [f"- warning: {code(warning)}" for warning in site.warnings]
    for migration in site.migrations:
        moved = f"{migration.block} {migration.from_version} -> {migration.to_version}"
        way = "" if migration.reversible else "; **the way back is a restore of the database**"
        lines.append(f"- migration: {code(moved)}{way}")
    if site.changes:
        lines += ["", *_changes(site.changes)]
    return "\n".join(lines)


def _changes(changes: Sequence[Change]) -> list[str]:
    heading = ("What", "Before", "After", "Why")
    cells = [
        (code(each.what), code(each.before or ""), code(each.after or ""), code(each.why))
        for each in changes[:_SHOWN_CHANGES]
    ]
    if len(changes) > _SHOWN_CHANGES:
        cells.append((f"and {len(changes) - _SHOWN_CHANGES} more", "", "", ""))
    table = [*_table_head(heading), *(_table_row(row) for row in cells)]
    if len(changes) <= _MANY_CHANGES:
        return table
    return [f"<details><summary>{len(changes)} changes</summary>", "", *table, "", "</details>"]


def _table_head(heading: Sequence[str]) -> list[str]:
    return [_table_row(heading), _table_row(["---"] * len(heading))]


def _table_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table_in_parts(heading: Sequence[str], cells: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as sections that `_document` may leave out from the end on."""
    rows = [_table_row(row) for row in cells]
    return ["\n".join([*_table_head(heading), rows[0]]), *rows[1:]] if rows else []


def _document(head: Sequence[str], sections: Sequence[str]) -> str:
    """Put a document together, leaving out from the end on what would make it too long."""
    text = "\n\n".join(head) + "\n"
    for number, section in enumerate(sections):
        # The rows of one table stand directly below each other.
        joined = "" if number and section.startswith("| ") else "\n"
        if len(text) + len(section) > MAXIMUM_LENGTH:
            left = len(sections) - number
            return f"{text}\n{left} more {'is' if left == 1 else 'are'} in the log of the job.\n"
        text += f"{joined}{section}\n"
    return text
