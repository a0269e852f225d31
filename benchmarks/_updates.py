"""The updates of a load proof: releases made for it, some that migrate, some that must be undone.

All of one block, `lab-load`, whose major version says which form its table has. The order is drawn
from a seed, so that a run can be had again.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, StrictUndefined

from owc_deploy.catalogue.add import AddRequest, add_release
from owc_deploy.catalogue.models import Gate, Migration

BLOCK = "lab-load"
# What the front page shows of every sound release, and is declared in the manifest.
GOOD_TEXT = "lab-load {version}: goed"
TEMPLATE = Path(__file__).with_name("lab-load.php.j2")

# `hidden-route` is found when the release is rehearsed, before any visitor meets it; `broken-page`
# only by the gate, when it is live. The data has been migrated by then in either case.
Fault = Literal["", "hidden-route", "broken-page"]
FAULTS: tuple[Fault, Fault] = ("hidden-route", "broken-page")


@dataclass(frozen=True)
class Update:
    """One update: to which release, of which form, and what is wrong with it."""

    version: str
    form: int
    migrates: bool
    fault: Fault

    @property
    def expected(self) -> str:
        """The outcome that it must have."""
        return "rolled-back" if self.fault else "changed"

    @property
    def text(self) -> str:
        """What the front page must show once it is live."""
        return GOOD_TEXT.format(version=self.version)


FIRST = Update("1.0.0", 1, migrates=False, fault="")


def draw_updates(count: int, migrating: int, undone: int, seed: int) -> list[Update]:
    """Return so many updates in an order drawn from `seed`; pure.

    Of those that are undone as large a part migrates as of all. Raises ValueError when the numbers
    do not fit in one another.
    """
    both = round(undone * migrating / count) if count else 0
    plain = count - migrating - undone + both
    if min(count, migrating, undone, plain) < 0 or max(migrating, undone) > count:
        raise ValueError(f"{migrating} migrating and {undone} undone do not fit in {count} updates")
    kinds = [(True, True)] * both + [(True, False)] * (migrating - both)
    kinds += [(False, True)] * (undone - both) + [(False, False)] * plain
    random.Random(seed).shuffle(kinds)  # noqa: S311  the same order for the same seed
    updates = []
    form = FIRST.form
    # A few updates have both faults too: those that migrate begin with the later one.
    faults = {True: 1, False: 0}
    for number, (migrates, is_undone) in enumerate(kinds, 1):
        fault: Fault = ""
        if is_undone:
            fault = FAULTS[faults[migrates] % len(FAULTS)]
            faults[migrates] += 1
        reached = form + 1 if migrates else form
        updates.append(Update(f"{reached}.{number}.0", reached, migrates, fault))
        if not is_undone:
            form = reached
    return updates


def add_updates(catalogue: Path, updates: Iterable[Update]) -> None:
    """Add the first release and those of the updates to a catalogue."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701  PHP
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for update in (FIRST, *updates):
            block = Path(folder) / update.version / BLOCK
            block.mkdir(parents=True)
            (block / f"{BLOCK}.php").write_text(
                template.render(
                    version=update.version, column=column(update.form), fault=update.fault
                ),
                encoding="utf-8",
            )
            add_release(catalogue, _request(block, update))


def column(form: int) -> str:
    """Return the column that holds the numbers in one form of the table."""
    return f"kept_in_{form}"


def _request(block: Path, update: Update) -> AddRequest:
    migration = Migration(
        from_version=f"<{update.form}",
        to_version=f">={update.form}",
        commands=((BLOCK, "migrate"),),
    )
    return AddRequest(
        archive=block,
        name=BLOCK,
        kind="plugin",
        version=update.version,
        title="Lab Load",
        licence="EUPL-1.2",
        php=">=7.4",
        migrations=(migration,) if update.form > FIRST.form else (),
        gate=Gate(rest_namespaces=("lab/load/v1",)),
    )
