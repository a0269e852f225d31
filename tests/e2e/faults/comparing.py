"""Whether a site is exactly as it was, or exactly as it was to become."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from e2e.faults.street import Street

ENTRIES = 4


def problems(
    street: Street,
    before: Mapping[str, Any],
    points: Mapping[str, str],
    may_be_new: Iterable[str] = (),
    must_be_new: Iterable[str] = (),
    told: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    never_begun: Iterable[str] = (),
) -> list[str]:
    """Return everything that is neither exactly as it was nor exactly as it was to become.

    `before` is what was seen then, `points` says for each site what was done to it, `told` are the
    outcomes that the controller heard of; of `never_begun` the server has no journal.
    """
    seen = street.look()
    status = street.owc("status", *points, "--format", "json", check=False).document["sites"]
    rows = {row["site"]: row for row in status}
    found = [f"left behind: {left}" for left in street.units() + seen["databases"]]
    for site, point in points.items():
        after, was = seen["sites"][site], before[site]
        is_new = after["state"]["current"] != was["state"]["current"]
        wrong = [f"{name}: {value}" for name, value in after["rest"].items() if value]
        if is_new and site not in {*may_be_new, *must_be_new}:
            wrong.append("it is new, and nobody confirmed it")
        elif not is_new and site in must_be_new:
            wrong.append("it was good and is gone")
        wrong += _not_new(was, after) if is_new else _not_as_before(was, after)
        wrong += _not_said(
            after, rows[site], told.get(site), is_new=is_new, begun=site not in never_begun
        )
        version = "2.0.0" if is_new else "1.0.0"
        page = street.get(site)
        if page.status != 200 or f"lab-fault {version}: {ENTRIES}" not in page.body:
            wrong.append(f"its page says {page.status} {page.body[-300:]}")
        found += [f"{site} ({point}): {each}" for each in wrong]
    return found


def _not_said(
    after: dict[str, Any],
    row: dict[str, Any],
    told: Mapping[str, Any] | None,
    *,
    is_new: bool,
    begun: bool,
) -> list[str]:
    """Return where the journal, `status` and the outcome do not say what is there."""
    live = after["state"]["current"]
    wrong = []
    word = after["finish"].get("outcome")
    if begun and word not in ({"changed"} if is_new else {"rolled-back", "failed", "inconclusive"}):
        wrong.append(f"its journal ends with {after['finish']}")
    if told is not None and (told["outcome"], told["release_id"]) != (word, live):
        wrong.append(f"live is {live}, {word}; the controller was told {told}")
    if row["state"] != "live" or row["drift"] or row["release_id"] != live:
        wrong.append(f"live is {live}; status says {row}")
    return wrong


def _not_as_before(was: dict[str, Any], after: dict[str, Any]) -> list[str]:
    wrong = []
    for name, old in was["state"].items():
        new = after["state"][name]
        if isinstance(old, list):
            lost, added = ([x for x in old if x not in new], [x for x in new if x not in old])
            wrong += [f"{name}: {lost} became {added}"] if old != new else []
        elif old != new:
            wrong.append(f"{name}: {old} became {new}")
    return wrong


def _not_new(was: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = was["state"], after["state"]
    wrong = []
    if not all("nr-" in entry for entry in new["entries"]) or len(new["entries"]) != ENTRIES:
        wrong.append(f"the entries are {new['entries']}")
    if new["plugins"] != old["plugins"]:
        wrong.append(f"the plugins were {old['plugins']}, are {new['plugins']}")
    if json.loads(new["activations"][-1])["release_id"] != new["current"]:
        wrong.append(f"the last activation is {new['activations'][-1]}")
    if len(new["activations"]) != len(old["activations"]) + 1:
        wrong.append(f"activations: {new['activations']}")
    if set(new["releases"]) - set(old["releases"]) != {new["current"]}:
        wrong.append(f"releases were {old['releases']}, are {new['releases']}")
    if new["cron event"] != ["1"]:
        wrong.append("its cron event is gone")
    return wrong
