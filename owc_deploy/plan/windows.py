"""When a site may be changed: inside a window of its tier, outside freeze days. Pure.

Everything is reckoned in UTC from the local clock of the tier's time zone, so that the nights on
which clocks are put forward or back come out right: a window begins when the clock first shows its
time, or a later one where that is skipped, and ends when the clock no more shows an earlier one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from owc_deploy.fleet.models import FreezeDays, SlaTier, Weekday, Window

# Windows come back every week: what is not found in more than a year is not to be waited for.
HORIZON = timedelta(days=400)

# In the order of `date.weekday`.
WEEKDAYS: tuple[Weekday, ...] = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Opening:
    """A stretch of time in which a site may be changed, told in its tier's time zone.

    Windows that touch or overlap make one. `ends` is the first moment that is outside, `None` when
    there is none within `HORIZON`. `why` says which windows it is, and what was skipped before it.
    """

    begins: datetime
    ends: datetime | None
    why: tuple[str, ...]

    def is_over(self, moment: datetime) -> bool:
        """Say whether it has ended at `moment`, an aware time."""
        return self.ends is not None and self.ends <= moment


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of the time line in UTC, its end outside, and what it is one of."""

    begins: datetime
    ends: datetime
    of: Window | FreezeDays | None

    def overlaps(self, other: _Stretch) -> bool:
        return max(self.begins, other.begins) < min(self.ends, other.ends)


def next_window(
    tier: SlaTier, freeze_days: Iterable[FreezeDays], moment: datetime
) -> Opening | None:
    """Return the first opening after `moment`, an aware time, or what is left of one at that time.

    `None`: none begins within `HORIZON`.
    """
    zone = ZoneInfo(tier.time_zone)
    asked = moment.astimezone(UTC)
    frozen = _frozen(tier, freeze_days, zone)
    seen: list[_Stretch] = []
    free: list[_Stretch] = []
    latest = begins = ends = asked + HORIZON
    for window in _windows(tier, zone, asked):
        if window.begins > min(ends, latest):
            break
        seen.append(window)
        for part in _parts_outside(frozen, window):
            if part.begins > ends:
                break
            if not free:
                begins, ends, latest = part.begins, part.ends, part.begins + HORIZON
            ends = max(ends, part.ends)
            free.append(part)
    if not free:
        return None
    return Opening(
        begins=begins.astimezone(zone),
        ends=ends.astimezone(zone) if ends < begins + HORIZON else None,
        why=_why(tier, frozen, seen, free, ends),
    )


def is_open(tier: SlaTier, freeze_days: Iterable[FreezeDays], moment: datetime) -> bool:
    """Say whether a site of the tier may be changed at `moment`, an aware time."""
    opening = next_window(tier, freeze_days, moment)
    # In UTC: Python calls no time of a clock's repeated hour equal to one of another zone.
    return opening is not None and opening.begins.astimezone(UTC) == moment.astimezone(UTC)


def _frozen(tier: SlaTier, freeze_days: Iterable[FreezeDays], zone: ZoneInfo) -> list[_Stretch]:
    """Return the freeze days that hold for a tier, in the order in which they begin."""
    stretches = [
        _Stretch(
            _first_at(days.from_date, time.min, zone),
            _first_at(days.until_date + _DAY, time.min, zone),
            days,
        )
        for days in freeze_days
        if days.concerns(tier.name)
    ]
    return sorted(stretches, key=lambda stretch: (stretch.begins, stretch.ends))


def _windows(tier: SlaTier, zone: ZoneInfo, asked: datetime) -> Iterator[_Stretch]:
    """Yield what is left of each window from `asked` on, in the order in which they begin.

    Never ends, but without windows: then there is one, which outlasts every question.
    """
    if not tier.windows:
        yield _Stretch(asked, asked + 3 * HORIZON, None)
        return
    # A window of yesterday may be open still.
    yesterday = asked.astimezone(zone).date() - _DAY
    for number in itertools.count():
        day = yesterday + number * _DAY
        for window in sorted(_of_day(tier, day, zone), key=lambda stretch: stretch.begins):
            left = replace(window, begins=max(window.begins, asked))
            if left.begins < left.ends:
                yield left


def _of_day(tier: SlaTier, day: date, zone: ZoneInfo) -> Iterator[_Stretch]:
    for window in tier.windows:
        if WEEKDAYS[day.weekday()] in window.days:
            last_day = day if window.until_time > window.from_time else day + _DAY
            yield _Stretch(
                _first_at(day, window.from_time, zone),
                _last_at(last_day, window.until_time, zone),
                window,
            )


def _first_at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return _at(datetime.combine(day, clock, tzinfo=zone))


def _last_at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    local = datetime.combine(day, clock, tzinfo=zone)
    last = _at(local.replace(fold=1))
    # A clock that is put back to just this time never shows an earlier one again.
    before = (last - _MINUTE).astimezone(zone)
    return last if before.replace(tzinfo=None) < local.replace(tzinfo=None) else _at(local)


def _at(local: datetime) -> datetime:
    """Return a local time in UTC; of one that the clock skips, the first moment that exists."""
    while True:
        moment = local.astimezone(UTC)
        # Through UTC and back: within one zone Python compares what clocks show.
        if moment.astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None):
            return moment
        local += _MINUTE


def _parts_outside(frozen: Iterable[_Stretch], window: _Stretch) -> Iterator[_Stretch]:
    """Yield the parts of a window that are outside the freeze days, in order."""
    begins = window.begins
    for days in frozen:
        if begins < min(days.begins, window.ends):
            yield replace(window, begins=begins, ends=min(days.begins, window.ends))
        begins = max(begins, days.ends)
    if begins < window.ends:
        yield replace(window, begins=begins)


def _why(
    tier: SlaTier,
    frozen: Iterable[_Stretch],
    seen: Sequence[_Stretch],
    free: Sequence[_Stretch],
    ends: datetime,
) -> tuple[str, ...]:
    if tier.windows:
        named = dict.fromkeys(f"{part.of}" for part in free)
        reasons = [f"the tier {tier.name} has the window {window}" for window in named]
    else:
        reasons = [f"the tier {tier.name} has no windows: its sites may be changed at any time"]
    reasons += [
        f"skipped: the freeze days {days.of}"
        for days in frozen
        if days.begins < free[0].begins and any(days.overlaps(window) for window in seen)
    ]
    reasons += [
        f"ends where the freeze days {days.of} begin" for days in frozen if days.begins == ends
    ]
    return tuple(reasons)
