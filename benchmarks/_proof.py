"""Updates under load, and whether every promise about them was kept.

`prove` does them, `judge` looks at what was seen; that one is pure, and tested as such.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _bench import Applied, Bench
from _load import COMMENT_WORDS, Load, Reading
from _updates import BLOCK, FIRST, Update, add_updates, column

# The load goes on for so long before the first update and after the last.
QUIET_SECONDS = 2.0


@dataclass(frozen=True)
class Step:
    """One update that was done, from when to when, and how it ended."""

    update: Update
    began_seconds: float
    ended_seconds: float
    applied: Applied


@dataclass
class Proof:
    """What was seen, as rows of a table, and the promises that were broken, in words."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def prove(
    bench: Bench,
    catalogue: Path,
    site: str,
    updates: Sequence[Update],
    *,
    reads_per_second: float,
    writes_per_second: float,
    limit_seconds: float,
    tell: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Bring a site live, do the updates under a load, and judge; stops at the limit."""
    add_updates(catalogue, updates)
    _write(bench, site, FIRST)
    bench.owc("apply", site, "--yes")
    steps: list[Step] = []
    form = FIRST.form
    deadline = time.monotonic() + limit_seconds
    domain = f"www.{site}.example"
    post = _open_for_comments(bench, site)
    load = Load(bench.address, domain, bench.authority, post, reads_per_second, writes_per_second)
    began = time.monotonic()
    with load:
        time.sleep(QUIET_SECONDS)
        for number, update in enumerate(updates, 1):
            if time.monotonic() > deadline:
                break
            step = _do(bench, site, update)
            steps.append(step)
            if step.applied.outcome == "changed":
                form = update.form
            tell(f"{number}/{len(updates)} {_words(step)}")
        time.sleep(QUIET_SECONDS)
    seconds = time.monotonic() - began
    kept = _kept(bench, site, form)
    return judge(load.readings, steps, kept, began, seconds, len(updates))


def _open_for_comments(bench: Bench, site: str) -> int:
    """Publish a post that can be commented on, and return its number."""
    statement = (
        "INSERT INTO wp_posts (post_title, post_name, post_status, comment_status, post_content,"
        " post_excerpt, to_ping, pinged, post_content_filtered)"
        " VALUES ('Gastenboek', 'gastenboek', 'publish', 'open', '', '', '', '', '');"
        " SELECT LAST_INSERT_ID()"
    )
    return int(bench.sql(site, statement)[0])


def _do(bench: Bench, site: str, update: Update) -> Step:
    _write(bench, site, update)
    began = time.monotonic()
    applied = bench.apply(site)
    return Step(update, began, time.monotonic(), applied)


def _write(bench: Bench, site: str, update: Update) -> None:
    blocks = {"lab-woo": "^4.3", BLOCK: update.version}
    bench.write(site, blocks=blocks, pages=[{"path": "/", "text": update.text}])
    bench.owc("lock", site)


def _words(step: Step) -> str:
    update = step.update
    kind = " ".join(filter(None, ["migrating" if update.migrates else "", update.fault]))
    words = f"{update.version} {kind or 'plain'}: {step.applied.outcome}"
    return f"{words} in {step.applied.seconds:.1f} s"


def _kept(bench: Bench, site: str, form: int) -> Counter[int]:
    """Return how often the database holds each number, as an entry or a comment."""
    entries = bench.sql(site, f"SELECT {column(form)} FROM wp_lab_load_entries")  # noqa: S608  ours
    comments = bench.sql(
        site,
        f"SELECT comment_content FROM wp_comments WHERE comment_content LIKE '{COMMENT_WORDS}%'",  # noqa: S608
    )
    numbers = [*entries, *(comment.removeprefix(COMMENT_WORDS) for comment in comments)]
    return Counter(int(number) for number in numbers)


def judge(
    readings: Iterable[Reading],
    steps: Sequence[Step],
    kept: Counter[int],
    began: float,
    seconds: float,
    asked: int,
) -> Proof:
    """Compare what was seen with what is promised; pure.

    `kept` says how often the database holds each number in the end; `began` and `seconds` are of
    the load; `asked` is how many updates there were to be.
    """
    proof = Proof()
    by_time = sorted(readings, key=lambda reading: reading.answered_seconds)
    _judge_updates(proof, steps, asked)
    _judge_reads(proof, [r for r in by_time if r.kind == "page"], began, seconds)
    _judge_writes(proof, [r for r in by_time if r.kind != "page"], kept)
    _judge_freezes(proof, [r for r in by_time if r.fate == "refused"], steps)
    for word, title in (("changed", "update"), ("rolled-back", "undone update")):
        taken = [step.applied.seconds for step in steps if step.applied.outcome == word]
        if taken:
            proof.rows.append((f"seconds per {title}, median", _seconds(taken), ""))
    return proof


def _seconds(taken: Sequence[float]) -> str:
    return f"{statistics.median(taken):.1f} s ({min(taken):.1f} to {max(taken):.1f})"


def _judge_updates(proof: Proof, steps: Sequence[Step], asked: int) -> None:
    words = Counter(step.applied.outcome for step in steps)
    migrating = sum(step.update.migrates for step in steps)
    proof.rows.append(("updates done", f"{words['changed']}", ""))
    proof.rows.append(("updates undone", f"{words['rolled-back']}", ""))
    proof.rows.append(("of both, migrating data", f"{migrating}", ""))
    if len(steps) < asked:
        proof.broken.append(f"only {len(steps)} of {asked} updates in the time there was")
    proof.broken += [
        f"{step.update.version} was {step.applied.outcome}, not {step.update.expected}:"
        f" {step.applied.message}"
        for step in steps
        if step.applied.outcome != step.update.expected
    ]


def _judge_reads(proof: Proof, reads: Sequence[Reading], began: float, seconds: float) -> None:
    good = [reading for reading in reads if reading.fate == "good"]
    failed = [reading for reading in reads if reading.fate != "good"]
    moments = [began, *(reading.answered_seconds for reading in good), began + seconds]
    gap = max(later - earlier for earlier, later in itertools.pairwise(moments))
    slowest = max((r.answered_seconds - r.due_seconds for r in reads), default=0.0)
    proof.rows.append(("GETs sent", f"{len(reads)} in {seconds:.0f} s", ""))
    proof.rows.append(("GETs failed", f"{len(failed)}", "0"))
    proof.rows.append(("longest gap between good answers", f"{gap:.2f} s", ""))
    proof.rows.append(("slowest answer", f"{slowest:.2f} s", ""))
    if failed:
        proof.broken.append(f"{len(failed)} GETs failed, the first at {_moment(failed[0], began)}")
    if not good:
        proof.broken.append("no GET was answered well: nothing is proven")


def _judge_writes(proof: Proof, writes: Sequence[Reading], kept: Counter[int]) -> None:
    fates = Counter(reading.fate for reading in writes)
    missing = [r.number for r in writes if r.fate == "good" and not kept[r.number]]
    doubled = [number for number, times in kept.items() if times > 1]
    ghosts = [r.number for r in writes if r.fate == "refused" and kept[r.number]]
    failed = [reading for reading in writes if reading.fate == "failed"]
    comments = sum(reading.kind == "comment" for reading in writes if reading.fate == "good")
    acknowledged = f"{fates['good']}, of which {comments} comments"
    proof.rows.append(("writes acknowledged", acknowledged, ""))
    proof.rows.append(("acknowledged, and missing afterwards", f"{len(missing)}", "0"))
    proof.rows.append(("kept more than once", f"{len(doubled)}", "0"))
    proof.rows.append(("writes refused with 503 and Retry-After", f"{fates['refused']}", ""))
    proof.rows.append(("refused, and kept nevertheless", f"{len(ghosts)}", "0"))
    proof.rows.append(("writes that failed in any other way", f"{len(failed)}", "0"))
    for numbers, words in (
        (missing, "acknowledged writes are missing"),
        (doubled, "writes were kept more than once"),
        (ghosts, "refused writes were kept"),
    ):
        if numbers:
            proof.broken.append(f"{len(numbers)} {words}: {sorted(numbers)[:10]}")
    proof.broken += [f"write {r.number} ({r.kind}) failed: {r.said}" for r in failed[:10]]
    if not fates["good"]:
        proof.broken.append("no write was acknowledged: nothing is proven")


def _judge_freezes(proof: Proof, refused: Sequence[Reading], steps: Sequence[Step]) -> None:
    """See that writes are refused only while a release migrates, and for how long."""
    freezes = []
    excused: set[Reading] = set()
    for step in steps:
        if not step.update.migrates:
            continue
        own = [r for r in refused if step.began_seconds <= r.answered_seconds <= step.ended_seconds]
        excused.update(own)
        if own:
            freezes.append(own[-1].answered_seconds - min(r.due_seconds for r in own))
    left = [reading for reading in refused if reading not in excused]
    longest = f"{max(freezes):.1f} s, median {statistics.median(freezes):.1f} s" if freezes else "-"
    proof.rows.append(("longest freeze", longest, ""))
    proof.rows.append(("refused while nothing was migrated", f"{len(left)}", "0"))
    if left:
        proof.broken.append(f"{len(left)} writes were refused while nothing was migrated")


def _moment(reading: Reading, began: float) -> str:
    return f"{reading.due_seconds - began:.1f} s: {reading.said}"
