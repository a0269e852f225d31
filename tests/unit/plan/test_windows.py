"""When a site may be changed: a table computed by hand, and against every minute of some days.

In Europe/Amsterdam clocks show UTC+1 (CET), and UTC+2 (CEST) from the last Sunday of March 01:00
UTC until the last Sunday of October 01:00 UTC (Directive 2000/84/EC): 29 March and 25 October 2026,
28 March and 31 October 2027. A moment in UTC is thus the local time less one or two hours.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from owc_deploy.fleet.models import FreezeDays, SlaTier, Window
from owc_deploy.plan.windows import HORIZON, WEEKDAYS, is_open, next_window

MINUTE = timedelta(minutes=1)


def window(days: str, from_time: str, until_time: str) -> Window:
    wanted = tuple(day for day in WEEKDAYS if days == "daily" or day in days.split())
    return Window(wanted, time.fromisoformat(from_time), time.fromisoformat(until_time))


def tier(*windows: Window, time_zone: str = "Europe/Amsterdam") -> SlaTier:
    return SlaTier("default", time_zone, windows)


def freeze(from_date: str, until_date: str = "", *sla_tiers: str) -> FreezeDays:
    first = date.fromisoformat(from_date)
    last = date.fromisoformat(until_date) if until_date else first
    return FreezeDays(first, last, "closed", sla_tiers)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


SUNDAY_NIGHT = tier(window("sunday", "01:30", "03:30"))
WORKING_NIGHTS = tier(window("monday tuesday wednesday thursday", "22:00", "04:00"))
OFFICE = tier(window("tuesday", "10:00", "16:00"))

# What is asked, in UTC; when it begins and ends, in UTC.
TABLE = [
    # An ordinary Sunday in winter: 01:30 and 03:30 CET.
    (SUNDAY_NIGHT, (), "2026-03-21T12:00", "2026-03-22T00:30", "2026-03-22T02:30"),
    # 2026-03-29: 01:30 CET is 00:30Z; the clock jumps at 01:00Z; 03:30 CEST is 01:30Z.
    (SUNDAY_NIGHT, (), "2026-03-28T12:00", "2026-03-29T00:30", "2026-03-29T01:30"),
    # The same night in 2027.
    (SUNDAY_NIGHT, (), "2027-03-27T12:00", "2027-03-28T00:30", "2027-03-28T01:30"),
    # 2026-10-25: 01:30 CEST is 23:30Z of the day before; 03:30 CET is 02:30Z: three hours.
    (SUNDAY_NIGHT, (), "2026-10-24T12:00", "2026-10-24T23:30", "2026-10-25T02:30"),
    (SUNDAY_NIGHT, (), "2027-10-30T12:00", "2027-10-30T23:30", "2027-10-31T02:30"),
    # Begins at a time that is skipped: 02:30 stands for 03:00 CEST, 01:00Z.
    (
        tier(window("sunday", "02:30", "05:00")),
        (),
        "2026-03-28T12:00",
        "2026-03-29T01:00",
        "2026-03-29T03:00",
    ),
    # Ends at a time that is skipped: the same moment.
    (
        tier(window("saturday", "23:00", "02:30")),
        (),
        "2026-03-28T12:00",
        "2026-03-28T22:00",
        "2026-03-29T01:00",
    ),
    # Wholly within the hour that is skipped: not that night but a week later, 02:15 CEST.
    (
        tier(window("sunday", "02:15", "02:45")),
        (),
        "2026-03-28T12:00",
        "2026-04-05T00:15",
        "2026-04-05T00:45",
    ),
    # Begins at a time that comes twice: the first, 02:30 CEST, is 00:30Z; 05:00 CET is 04:00Z.
    (
        tier(window("sunday", "02:30", "05:00")),
        (),
        "2026-10-24T12:00",
        "2026-10-25T00:30",
        "2026-10-25T04:00",
    ),
    # Ends at a time that comes twice: the last, 02:30 CET, is 01:30Z; 23:00 CEST is 21:00Z.
    (
        tier(window("saturday", "23:00", "02:30")),
        (),
        "2026-10-24T12:00",
        "2026-10-24T21:00",
        "2026-10-25T01:30",
    ),
    # Ends at the time to which the clock goes back: 02:00 CEST, 00:00Z; all of before was earlier.
    (
        tier(window("saturday", "23:00", "02:00")),
        (),
        "2026-10-24T12:00",
        "2026-10-24T21:00",
        "2026-10-25T00:00",
    ),
    # Begins then: the first time, 02:00 CEST, 00:00Z; 03:00 CET is 02:00Z.
    (
        tier(window("sunday", "02:00", "03:00")),
        (),
        "2026-10-24T12:00",
        "2026-10-25T00:00",
        "2026-10-25T02:00",
    ),
    # Asked within: what is left. 2026-11-24 is a Tuesday, 01:00Z is 02:00 CET of Monday's window.
    (WORKING_NIGHTS, (), "2026-11-24T01:00", "2026-11-24T01:00", "2026-11-24T03:00"),
    # Its last moment is outside: 03:00Z is 04:00 CET; the next begins at 22:00 CET, 21:00Z.
    (WORKING_NIGHTS, (), "2026-11-24T03:00", "2026-11-24T21:00", "2026-11-25T03:00"),
    # Friday 2026-11-27 12:00: Thursday's has ended, Friday has none; Monday the 30th.
    (WORKING_NIGHTS, (), "2026-11-27T12:00", "2026-11-30T21:00", "2026-12-01T03:00"),
    # Thursday 2026-12-24 runs into Christmas Day, which begins at 00:00 CET, 23:00Z.
    (
        WORKING_NIGHTS,
        (freeze("2026-12-25"),),
        "2026-12-24T12:00",
        "2026-12-24T21:00",
        "2026-12-24T23:00",
    ),
    # Frozen the 24th: Thursday's window is free from the first moment of the 25th, 23:00Z.
    (
        WORKING_NIGHTS,
        (freeze("2026-12-24"),),
        "2026-12-24T12:00",
        "2026-12-24T23:00",
        "2026-12-25T03:00",
    ),
    # Frozen until Sunday 2027-01-03, two stretches that touch: Monday the 4th at 22:00 CET.
    (
        WORKING_NIGHTS,
        (freeze("2026-12-31", "2027-01-03"), freeze("2026-12-24", "2026-12-30")),
        "2026-12-24T12:00",
        "2027-01-04T21:00",
        "2027-01-05T03:00",
    ),
    # Freeze days of another tier do not count.
    (
        WORKING_NIGHTS,
        (freeze("2026-12-24", "2027-01-03", "other"),),
        "2026-12-24T12:00",
        "2026-12-24T21:00",
        "2026-12-25T03:00",
    ),
    # Sunday 2026-03-29 frozen has 23 hours: from 23:00Z of the 28th until 22:00Z.
    (tier(), (freeze("2026-03-29"),), "2026-03-28T23:00", "2026-03-29T22:00", None),
    # Sunday 2026-10-25 frozen has 25 hours: from 22:00Z of the 24th until 23:00Z.
    (tier(), (freeze("2026-10-25"),), "2026-10-24T22:00", "2026-10-25T23:00", None),
    # 2028-02-29 is a Tuesday: 10:00 and 16:00 CET.
    (OFFICE, (), "2028-02-28T12:00", "2028-02-29T09:00", "2028-02-29T15:00"),
    # The leap day frozen: a week later.
    (OFFICE, (freeze("2028-02-29"),), "2028-02-28T12:00", "2028-03-07T09:00", "2028-03-07T15:00"),
    # Frozen until the 28th: the leap day is free.
    (
        tier(),
        (freeze("2028-02-01", "2028-02-28"),),
        "2028-02-10T12:00",
        "2028-02-28T23:00",
        None,
    ),
    # The other side of the kingdom: America/Curacao is UTC-4 all year; 22:00 is 02:00Z.
    (
        tier(window("monday", "22:00", "04:00"), time_zone="America/Curacao"),
        (freeze("2026-06-30"),),
        "2026-06-29T12:00",
        "2026-06-30T02:00",
        "2026-06-30T04:00",
    ),
    # Windows that touch make one: 20:00 CET is 19:00Z, 02:00 CET is 01:00Z.
    (
        tier(window("monday", "20:00", "00:00"), window("tuesday", "00:00", "02:00")),
        (),
        "2026-11-23T12:00",
        "2026-11-23T19:00",
        "2026-11-24T01:00",
    ),
    # All day, every day, but for a freeze day on Saturday 2026-12-05, which begins at 23:00Z.
    (
        tier(window("daily", "00:00", "12:00"), window("daily", "12:00", "00:00")),
        (freeze("2026-12-05"),),
        "2026-11-24T12:00",
        "2026-11-24T12:00",
        "2026-12-04T23:00",
    ),
    (
        tier(window("daily", "00:00", "12:00"), window("daily", "12:00", "00:00")),
        (),
        "2026-11-24T12:00",
        "2026-11-24T12:00",
        None,
    ),
]


@pytest.mark.parametrize(("asked_tier", "freeze_days", "moment", "begins", "ends"), TABLE)
def test_as_computed_by_hand(
    asked_tier: SlaTier,
    freeze_days: tuple[FreezeDays, ...],
    moment: str,
    begins: str,
    ends: str | None,
) -> None:
    opening = next_window(asked_tier, freeze_days, utc(moment))
    assert opening is not None
    assert opening.begins.astimezone(UTC) == utc(begins)
    assert (opening.ends and opening.ends.astimezone(UTC)) == (ends and utc(ends))
    assert is_open(asked_tier, freeze_days, utc(moment)) == (moment == begins)


def test_why() -> None:
    frozen = (freeze("2026-12-24", "2026-12-27"), freeze("2026-12-29"), freeze("2027-06-01"))
    opening = next_window(WORKING_NIGHTS, frozen, utc("2026-12-24T12:00"))
    assert opening is not None
    assert opening.why == (
        "the tier default has the window monday, tuesday, wednesday, thursday 22:00-04:00",
        "skipped: the freeze days 2026-12-24 to 2026-12-27 (closed)",
        "ends where the freeze days 2026-12-29 (closed) begin",
    )


def test_nothing_but_freeze_days() -> None:
    frozen = (freeze("2026-01-01", "2029-12-31"),)
    for one in (WORKING_NIGHTS, tier()):
        assert next_window(one, frozen, utc("2026-12-24T12:00")) is None
        assert not is_open(one, frozen, utc("2026-12-24T12:00"))


def test_the_second_of_two_equal_clock_times_is_told_from_the_first() -> None:
    zone = ZoneInfo("Europe/Amsterdam")
    evening = tier(window("saturday", "22:00", "02:30"))
    first = datetime(2026, 10, 25, 2, 29, tzinfo=zone)
    second = first.replace(fold=1)
    assert is_open(evening, (), first)
    assert is_open(evening, (), second)
    assert not is_open(evening, (), second.replace(minute=30))
    assert is_open(evening, (), first.replace(minute=30))


# Against every minute -----------------------------------------------------------------------------

# Days around clocks that change, by zone; Lord Howe's by half an hour, Nuuk's at midnight.
DAYS_AROUND = {
    "Europe/Amsterdam": (date(2026, 3, 29), date(2026, 10, 25), date(2028, 2, 29)),
    "America/Nuuk": (date(2026, 3, 28), date(2026, 10, 24)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "America/Curacao": (date(2026, 12, 31),),
}
QUARTERS = [time(hour, minute) for hour in (0, 1, 2, 3, 12, 22, 23) for minute in (0, 15, 30, 45)]
WINDOWS = st.builds(
    Window,
    days=st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True).map(tuple),
    from_time=st.sampled_from(QUARTERS),
    until_time=st.sampled_from(QUARTERS),
).filter(lambda one: one.from_time != one.until_time)


def open_minutes(
    zone: ZoneInfo, windows: list[Window], frozen: list[FreezeDays], minutes: list[datetime]
) -> list[bool]:
    """Look at what the clock shows at each minute, the plainest way there is."""
    clock = [minute.astimezone(zone).replace(tzinfo=None) for minute in minutes]
    found = [not windows] * len(minutes)
    day = clock[0].date() - timedelta(days=1)
    while day <= clock[-1].date():
        for one in windows:
            if WEEKDAYS[day.weekday()] not in one.days:
                continue
            crosses = one.until_time < one.from_time
            begins = datetime.combine(day, one.from_time)
            ends = datetime.combine(day + timedelta(days=crosses), one.until_time)
            reached = [number for number, shown in enumerate(clock) if shown >= begins]
            before = [number for number, shown in enumerate(clock) if shown < ends]
            if reached and before:
                inside = range(reached[0], before[-1] + 1)
                found[inside.start : inside.stop] = [True] * len(inside)
        day += timedelta(days=1)
    return [
        was and not any(one.from_date <= shown.date() <= one.until_date for one in frozen)
        for was, shown in zip(found, clock, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_it_is_the_first_minute_that_is_open(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(DAYS_AROUND)))
    middle = data.draw(st.sampled_from(DAYS_AROUND[name]))
    zone = ZoneInfo(name)
    start = datetime.combine(middle - timedelta(days=2), time(12), tzinfo=zone).astimezone(UTC)
    minutes = [start + number * MINUTE for number in range(4 * 24 * 60)]
    windows = data.draw(st.lists(WINDOWS, max_size=3))
    frozen = [
        FreezeDays(first, first + timedelta(days=length), "closed")
        for shift, length in data.draw(
            st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 1)), max_size=2)
        )
        for first in [middle + timedelta(days=shift)]
    ]
    expected = open_minutes(zone, windows, frozen, minutes)
    asked = data.draw(st.integers(0, len(minutes) - 1))
    opening = next_window(tier(*windows, time_zone=name), frozen, minutes[asked])
    assert opening is not None
    begins = opening.begins.astimezone(UTC)
    first_open = next((n for n in range(asked, len(minutes)) if expected[n]), None)
    if first_open is None:
        assert minutes[-1] < begins <= minutes[-1] + HORIZON
        return
    assert begins == minutes[first_open]
    closed = next((n for n in range(first_open, len(minutes)) if not expected[n]), None)
    ends = opening.ends and opening.ends.astimezone(UTC)
    if closed is None:
        assert ends is None or ends > minutes[-1]
    else:
        assert ends == minutes[closed]
    assert is_open(tier(*windows, time_zone=name), frozen, minutes[asked]) == expected[asked]
