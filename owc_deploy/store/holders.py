"""Who holds a lease, and whether it may be taken from them."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

from sqlalchemy import RowMapping

from owc_deploy.errors import Holder, LeaseHeldError
from owc_deploy.store.models import TakenOver
from owc_deploy.store.times import as_text

_NAMES_TOLD = 20


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds leases: enough to tell from the same machine whether it is there still.

    `boot` names the boot of its machine and the process namespace in it: two containers of one
    machine do not see each other's processes, and machines made from one image share their name.
    """

    host: str
    boot: str
    process_id: int
    process_started: str

    @classmethod
    def this(cls) -> Self:
        """Return the process that asks."""
        return cls(socket.gethostname(), _boot(), os.getpid(), _process_started(os.getpid()))

    @property
    def owner(self) -> str:
        """Who it works for, in words: user, machine and process."""
        return f"{getpass.getuser()}@{self.host}:{self.process_id}"

    def is_gone(self) -> bool:
        """Whether it ran here and does so no more; False where that cannot be seen from here."""
        if (self.host, self.boot) != (socket.gethostname(), _boot()):
            return False
        return self.process_started != _process_started(self.process_id)


def judge(
    rows: Iterable[RowMapping], now: datetime, *, take_over: Callable[[RowMapping], bool]
) -> tuple[tuple[Holder, ...], tuple[TakenOver, ...]]:
    """Return who keeps their leases, and from whom they are taken, in the order of `rows`.

    `rows` are the leases that somebody has; one is free once its holder is gone, or has not renewed
    it in time, or where `take_over` says so of it.
    """
    is_gone = lru_cache(maxsize=None)(Process.is_gone)
    held: list[Holder] = []
    taken_over: list[TakenOver] = []
    for row in rows:
        holder = Process(row["host"], row["boot"], row["process_id"], row["process_started"])
        if is_gone(holder):
            why = "that process is gone"
        elif row["expires_at"] <= as_text(now):
            why = f"last heard of at {row['heartbeat_at'][:19]}Z"
        elif take_over(row):
            why = "as asked"
        else:
            names = (row["name"], row["owner"], row["reason"], row["acquired_at"])
            held.append(Holder(*names, lapses_at=row["expires_at"]))
            continue
        taken_over.append(
            TakenOver(
                name=row["name"],
                owner=row["owner"],
                reason=row["reason"],
                since=row["acquired_at"],
                fencing_token=row["fencing_token"],
                first_token=row["first_token"],
                why=why,
            )
        )
    return tuple(held), tuple(taken_over)


def refusal(held: Iterable[Holder], now: datetime) -> LeaseHeldError:
    """Return the error that names who holds what, why, since when and for how long."""
    groups: dict[tuple[str, str, str], list[Holder]] = {}
    for holder in held:
        groups.setdefault((holder.owner, holder.reason, holder.since), []).append(holder)
    lines = [
        f"{owner} is changing {told(h.name for h in group)} since {since[:19]}Z: {reason}"
        for (owner, reason, since), group in groups.items()
    ]
    left = [_seconds_left(group, now) for group in groups.values()]
    if len(groups) == 1:
        context = f"its lease lapses in {left[0]:.0f} seconds unless it is renewed"
    else:
        context = "\n".join(
            f"the lease of {owner} lapses in {seconds:.0f} seconds unless it is renewed"
            for (owner, _, _), seconds in zip(groups, left, strict=True)
        )
    return LeaseHeldError(
        "\n".join(lines),
        context=context,
        hint="wait for it; or, when you know it has stopped, run this again with --take-over",
        held=tuple(holder for group in groups.values() for holder in group),
    )


def told(names: Iterable[str]) -> str:
    """Return names of leases for a person: `site heusden, site altena and 7 more`."""
    every = [name.replace("/", " ", 1) for name in names]
    shown = ", ".join(every[:_NAMES_TOLD])
    more = len(every) - _NAMES_TOLD
    return f"{shown} and {more} more" if more > 0 else shown


def _seconds_left(group: Iterable[Holder], now: datetime) -> float:
    last = max(holder.lapses_at for holder in group)
    return (datetime.fromisoformat(last) - now).total_seconds()


def _boot() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _process_started(process_id: int) -> str:
    """Return when a process began, in ticks, `""` when it is gone; tells reused numbers apart."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name, between parentheses, may hold spaces; the start time is the 20th field after it.
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]
