"""`owc-deploy audit`: which sites have a known vulnerability, and what to do about it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path

import click

from owc_deploy.catalogue.feed_download import FeedError, KeptFeed, fetch_feed, read_large_feed
from owc_deploy.catalogue.feeds import Told, read_feed, together
from owc_deploy.cli.options import fleet_option, format_option, sites_argument
from owc_deploy.cli.session import catalogue_of, now
from owc_deploy.cli.tell import audit_notice, job_link, notifier
from owc_deploy.cli.view import narrate, plain, print_json, print_table
from owc_deploy.errors import UsageError
from owc_deploy.evidence.audit import Finding, all_names, findings
from owc_deploy.evidence.patch_time import (
    MITIGATING,
    RELEASING,
    in_force,
    patch_times,
    patched_since,
    recorded,
    standing,
)
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet, Lock
from owc_deploy.fleet.secrets import read_secret
from owc_deploy.rollout.observe import check_sites
from owc_deploy.store import Store, open_fleet_store

SCHEMA_VERSION = 1
FOLDER = "advisories"
KEPT_FOLDER = Path(".owc-deploy/advisories")
# From this size on a file is read a record at a time; only Wordfence's own is so large.
LARGE_BYTES = 20 << 20
LARGE_FORM = "wordfence"
OUTCOMES_READ = 100_000
HOURS_TOLD_IN_DAYS = 48
HEADINGS = (
    "Site",
    "What",
    "Vulnerability",
    "Severity",
    "Fixed in",
    "Deal with by",
    "Closed by",
    "Says who",
)
HISTORY_HEADINGS = (
    "Vulnerability",
    "Site",
    "Block",
    "Severity",
    "Seen",
    "Closed",
    "Patched",
    "Days",
    "By",
    "In time",
)


@click.command(
    epilog="""
\b
Examples:
  owc-deploy audit
  owc-deploy audit heusden --format json
  owc-deploy audit --feed wordfence.json
  owc-deploy audit --history

Exit codes: 0 nothing is known, or all of it was dismissed, 1 a site is affected, 2 a feed cannot
be read.
"""
)
@sites_argument
@fleet_option
@format_option
@click.option(
    "--history",
    "show_history",
    is_flag=True,
    help="Show how long each took from first seen to patched, as recorded; fetches nothing.",
)
@click.option(
    "--feed",
    "feeds",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="One more file of vulnerabilities, beside those in advisories/; may be repeated.",
)
def command(
    sites: tuple[str, ...],
    fleet_root: Path,
    output_format: str,
    show_history: bool,
    feeds: tuple[Path, ...],
) -> int:
    """Compare what the locks name with known vulnerabilities, without asking a server.

    They come from the catalogue, and from the JSON files in the fleet's folder advisories/: OSV,
    Wordfence Intelligence v3, and OpenVEX statements that dismiss one, with author and reason; and
    from the feeds that fleet.yml names. A version is affected when any source says so. High and
    critical ones have a week (BIO2 8.08). What is found is kept, to tell the time to patch.
    """
    fleet = load_fleet(fleet_root)
    named = check_sites(fleet, sites)
    store = open_fleet_store(fleet)
    if show_history:
        _print_history(store, fleet, named, output_format)
        return 0
    locks = {site: lock for site, lock in fleet.locks.items() if not named or site in named}
    catalogue = catalogue_of(fleet, last_verified_will_do=True)
    names = frozenset(
        name for block in catalogue.blocks.values() for name in (block.name, *block.folders)
    )
    files = (*sorted((fleet_root / FOLDER).glob("*.json")), *feeds)
    notes: list[str] = []
    kept: list[KeptFeed] = []
    told = together([*_read(files, names, notes), *_fetched(fleet, names, notes, kept)])
    for note in notes:
        narrate(plain(note))
    found = findings(locks, catalogue, told.vulnerabilities, told.statements)
    # While a feed is not what it is now, nothing is concluded from what it does not say.
    told_names = None if any(each.trouble for each in kept) else all_names(told, catalogue)
    notice = audit_notice(fleet, found, store.findings.all(), job_link())
    mitigated = _remember(store, fleet, locks, found, told_names)
    today = now().date()
    if output_format == "json":
        rows = [
            {
                **asdict(item),
                "overdue": item.is_overdue(today),
                "mitigation": {"identifier": by[0], "in_force": by[1]} if by[0] else None,
            }
            for item, by in zip(found, mitigated, strict=True)
        ]
        document = {"schema_version": SCHEMA_VERSION, "sites": len(locks), "findings": rows}
        print_json({**document, "notes": notes})
    else:
        _print(found, mitigated, len(locks), today)
    if notice is not None:
        notifier(fleet).tell(notice)
    return 1 if any(not item.dismissed for item in found) else 0


def _fetched(
    fleet: Fleet, names: frozenset[str], notes: list[str], copies: list[KeptFeed]
) -> Iterable[Told]:
    """Read the feeds that fleet.yml names; note what there is to say about their age."""
    for feed in fleet.settings.advisories:
        key = read_secret(fleet.settings, fleet.root, feed.key) if feed.key else None
        try:
            kept = fetch_feed(feed, key, fleet.root / KEPT_FOLDER, now())
            told = read_large_feed(kept.file, feed.form, names, feed.url)
        except FeedError as error:
            raise UsageError(
                str(error), hint="owc-deploy audit, once it is mended; or take it out of fleet.yml"
            ) from None
        copies.append(kept)
        if kept.trouble:
            notes.append(
                f"{feed.url} cannot be fetched ({kept.trouble}): using the copy of"
                f" {kept.fetched_at}, {_age(kept.fetched_at)} old"
            )
        _note_unreadable(told, feed.url, notes)
        yield told


def _note_unreadable(told: Told, source: str, notes: list[str]) -> None:
    if told.unreadable:
        records = "1 record" if told.unreadable == 1 else f"{told.unreadable} records"
        notes.append(f"{records} of {source} could not be read")


def _age(fetched_at: str) -> str:
    hours = (now() - datetime.fromisoformat(fetched_at)).total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= HOURS_TOLD_IN_DAYS else f"{hours:.0f} hours"


def _remember(
    store: Store,
    fleet: Fleet,
    locks: Mapping[str, Lock],
    found: Sequence[Finding],
    told: frozenset[str] | None,
) -> list[tuple[str, bool]]:
    """Keep what is found and what is no more; return each finding's mitigation, if it has one."""
    store.findings.seen(recorded(found))
    released = store.history.outcomes(limit=OUTCOMES_READ, verbs=RELEASING)
    for known in store.findings.all():
        if not known.patched_at and known.site in locks:
            at = patched_since(known, found, told, locks.get(known.site), released)
            if at:
                store.findings.patched(known, at)
            elif (stands := standing(known, found, told)) != known.standing:
                store.findings.stands(known, stands)
    outcomes = store.history.outcomes(limit=OUTCOMES_READ, verbs=MITIGATING)
    return [in_force(item, fleet.mitigations, outcomes) for item in found]


def _print_history(store: Store, fleet: Fleet, named: frozenset[str], output_format: str) -> None:
    outcomes = store.history.outcomes(limit=OUTCOMES_READ, verbs=MITIGATING)
    known = [each for each in store.findings.all() if not named or each.site in named]
    times = patch_times(known, fleet.mitigations, outcomes, now())
    if output_format == "json":
        rows = [asdict(each) for each in times]
        print_json({"schema_version": SCHEMA_VERSION, "patch_times": rows})
    elif not times:
        click.echo("audit has found nothing yet")
    else:
        in_time = {True: "yes", False: "no", None: "-"}
        print_table(
            HISTORY_HEADINGS,
            [
                (
                    each.vulnerability,
                    each.site,
                    each.block,
                    each.severity,
                    each.first_seen_at[:16],
                    each.mitigated_at[:16] or "-",
                    each.patched_at[:16] or each.standing or "not yet",
                    f"{each.days:.1f}",
                    each.deal_with_by or "-",
                    in_time[each.in_time],
                )
                for each in times
            ],
        )


def _read(files: Iterable[Path], names: frozenset[str], notes: list[str]) -> Iterable[Told]:
    for file in files:
        try:
            told = _read_one(file, names)
        except (FeedError, OSError, ValueError, RecursionError) as error:
            words = "it is too deep" if isinstance(error, RecursionError) else f"{error}"
            raise UsageError(
                f"{file} cannot be read as advisories: {words}",
                hint="OSV, Wordfence Intelligence v3 or OpenVEX, as JSON",
            ) from error
        _note_unreadable(told, file.name, notes)
        yield told


def _read_one(file: Path, names: frozenset[str]) -> Told:
    if file.stat().st_size > LARGE_BYTES:
        return read_large_feed(file, LARGE_FORM, names, file.name)
    told = read_feed(json.loads(file.read_bytes()), file.name)
    if told.unreadable and not (told.vulnerabilities or told.statements):
        raise ValueError("none of its records can be read")
    return told


def _print(
    found: Sequence[Finding], mitigated: Sequence[tuple[str, bool]], sites: int, today: date
) -> None:
    open_findings = [item for item in found if not item.dismissed]
    if found:
        print_table(
            HEADINGS,
            [
                (
                    item.site,
                    f"{item.name} {item.version}",
                    item.vulnerability,
                    item.severity,
                    ", ".join(item.fixed_in) or "not known",
                    _until(item, today),
                    _closed(*by),
                    ", ".join(item.sources),
                )
                for item, by in zip(found, mitigated, strict=True)
            ],
        )
    for item in found:
        if item.dismissed:
            said = f"{item.site}: {item.vulnerability} dismissed by {item.dismissed}"
            click.echo(plain(said))
    affected = len({item.site for item in open_findings})
    click.echo(f"{affected} of {sites} sites are affected, {len(open_findings)} findings")
    for name in sorted({item.name for item in open_findings if item.fixed_in}):
        click.echo(f"  next: owc-deploy update {shlex.quote(name)}")
    closed = {id(item) for item, by in zip(found, mitigated, strict=True) if by[1]}
    for item in {
        item.vulnerability: item
        for item in open_findings
        if not item.fixed_in and id(item) not in closed and item.name != "wordpress"
    }.values():
        click.echo(
            f"  next: owc-deploy mitigate add --block {shlex.quote(item.name)}"
            f" --advisory {shlex.quote(item.vulnerability)} --reason ..."
        )


def _closed(identifier: str, is_in_force: bool) -> str:
    if not identifier:
        return "-"
    return identifier if is_in_force else f"{identifier} (not seen to be)"


def _until(item: Finding, today: date) -> str:
    if item.dismissed:
        return "dismissed"
    return f"{item.deal_with_by} (past)" if item.is_overdue(today) else item.deal_with_by or "-"
