"""What stewards promise about the blocks of a site, and what follows when a promise ends. Pure.

A guarantee that lapsed keeps a block from sites that do not have it yet. It never stands in the way
of an update of what is there, which may be a security fix, nor of a rollback.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from owc_deploy.catalogue.models import Block, Catalogue
from owc_deploy.fleet.models import Lock, Manifest

# So many months before its end a guarantee is spoken of, the nearest of them that is reached.
MONTHS_WARNED = (12, 6, 3, 1)


def standing(block: Block, today: date) -> str:
    """Return in words how a block's guarantee stands, `""` when it is good for a year at least.

    A block without a guarantee is not spoken of: nobody promised anything that could end.
    """
    guarantee = block.guarantee
    if guarantee is None:
        return ""
    if has_lapsed(block, today):
        return f"the guarantee of {guarantee.by} ended on {guarantee.until_date}"
    if date.fromisoformat(guarantee.from_date) > today:
        return f"the guarantee of {guarantee.by} begins on {guarantee.from_date}"
    ends = date.fromisoformat(guarantee.until_date)
    reached = [months for months in MONTHS_WARNED if ends < _months_after(today, months)]
    if not reached:
        return ""
    months = min(reached)
    within = "a month" if months == 1 else f"{months} months"
    return f"the guarantee of {guarantee.by} ends within {within}, on {guarantee.until_date}"


def has_lapsed(block: Block, today: date) -> bool:
    """Return whether a block was guaranteed, and is no more."""
    guarantee = block.guarantee
    return guarantee is not None and date.fromisoformat(guarantee.until_date) < today


def warnings(manifest: Manifest, lock: Lock, catalogue: Catalogue, today: date) -> tuple[str, ...]:
    """Return what whoever answers for a site should know of its blocks."""
    found = []
    for block, sha256 in _blocks(lock, catalogue):
        said = standing(block, today)
        if said:
            reason = manifest.without_guarantee.get(block.name)
            accepted = f"; accepted for this site: {reason}" if reason else ""
            found.append(f"{block.name}: {said}{_instead(block)}{accepted}")
        release = catalogue.release_of(block.name, sha256)
        if release is not None and release.withdrawn is not None:
            found.append(f"{block.name} {release.version} is withdrawn: {release.withdrawn}")
    named = {block.name for block, _ in _blocks(lock, catalogue)}
    found += [
        f"{name}: without_guarantee in {manifest.source.name} names it, and the site has it not"
        for name in manifest.without_guarantee
        if name not in named
    ]
    return tuple(found)


def refusal(
    manifest: Manifest, lock: Lock, catalogue: Catalogue, seen: Mapping[str, Any], today: date
) -> str:
    """Return why a site may not take a block anew, `""` when it may take all of its lock.

    `seen` is what the probe says of the site. The reason ends with what to do instead.
    """
    live = seen.get("specification") or {}
    if seen.get("release_id") and not live:
        # What is live cannot be read; it has to be made whole all the same.
        return ""
    present = {item["name"] for item in (live["theme"], *live["blocks"])} if live else set()
    reasons = [
        f"{block.name} may not be taken anew: {standing(block, today)}{_instead(block)}; to take it"
        f" all the same, say why in {manifest.source.name}: without_guarantee:"
        f" {{{block.name}: REASON}}"
        for block, _ in _blocks(lock, catalogue)
        if block.name not in present
        and block.name not in manifest.without_guarantee
        and has_lapsed(block, today)
    ]
    return "; ".join(reasons)


def _blocks(lock: Lock, catalogue: Catalogue) -> Iterable[tuple[Block, str]]:
    for artefact in (lock.theme, *lock.blocks):
        block = catalogue.blocks.get(artefact.name)
        if block is not None:
            yield block, artefact.sha256


def _instead(block: Block) -> str:
    return f" (its successor is {block.successor})" if block.successor else ""


def _months_after(day: date, months: int) -> date:
    """Return the same day so many months later, or the last of that month where it has none."""
    month = day.month - 1 + months
    year, month = day.year + month // 12, month % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
