"""Which day an event of a row counts on, and what it does to that day's demand, level and count.

A row knows its open day and the next by numbers of its own; days further ahead are kept aside.
"""

from __future__ import annotations

from agents.planner import days
from agents.planner.config import LONG_AGO
from agents.planner.flags import CLOSED_ONCE
from agents.planner.row import Event, Row
from agents.planner.shelf import Ahead, Shelf


def is_late(row: Row, event: Event) -> bool:
    """Whether an event came late: for its partition, or for a row whose day is closed."""
    return event.late or (event.occurred_ms < row.day_start_ms and bool(row.flags & CLOSED_ONCE))


def booked_ms(row: Row, event: Event) -> int:
    """From when an event counts in a day's level: its own time; of a late one, what its partition's mark then was.

    A mark says nothing earlier is to come, and no day closes before every mark is past it: so whichever way partitions
    interleave, the day is not closed yet, and it is the same one.
    """
    at_ms = event.occurred_ms + event.late_ms
    return max(at_ms, row.day_start_ms) if row.flags & CLOSED_ONCE else at_ms


def day_of(shelf: Shelf, row: Row, instant_ms: int) -> int:
    """The number of the day of an instant; for a row that never closed it may be before the open one."""
    if instant_ms < row.day_start_ms:
        return days.day_of(shelf.zones[row.zone], instant_ms)
    if instant_ms < row.day_end_ms:
        return row.day
    if instant_ms < row.next_end_ms:
        return row.day + 1
    return max(days.day_of(zone_ahead(shelf, row), instant_ms), row.day + 2)


def zone_ahead(shelf: Shelf, row: Row) -> str:
    """The zone by which days after the open one end."""
    return shelf.zones[int(shelf.fact_zone[row.number])]


def reach(shelf: Shelf, row: Row, day: int) -> None:
    """A row that has never closed opens an earlier day for what happened on it."""
    if day >= row.day:
        return
    for number, kept in (
        (row.day, Ahead(row.units0, row.after0, row.flow0, row.counted0)),
        (row.day + 1, Ahead(row.units1, row.after1, row.flow1, row.counted1)),
    ):
        if kept != Ahead():
            row.ahead[number] = kept
    zone = shelf.zones[row.zone]
    shelf.next_end_from = LONG_AGO
    row.day = day
    row.day_start_ms = days.midnight_ms(zone, day)
    row.day_end_ms = days.midnight_ms(zone, day + 1)
    row.next_end_ms = days.midnight_ms(zone, day + 2)
    now, then = row.ahead.pop(day, Ahead()), row.ahead.pop(day + 1, Ahead())
    row.units0, row.after0, row.flow0, row.counted0 = now.units, now.after, now.flow, now.counted
    row.units1, row.after1, row.flow1, row.counted1 = then.units, then.after, then.flow, then.counted


def book(shelf: Shelf, row: Row, event: Event, on_hand: int, allocated: int) -> int:
    """Book a change of available stock on its day; returns what it adds to on hand.

    One that occurred at or before the last count is in that count already: it adds nothing, and in the levels of days
    it is there from its own day until that of the count, as it would be had it been read before the count.
    """
    if on_hand == allocated == 0:
        return 0
    day = day_of(shelf, row, booked_ms(row, event))
    counted = event.occurred_ms <= row.counted_ms
    flow(shelf, row, day, on_hand - allocated)
    if not counted:
        return on_hand
    flow(shelf, row, _counted_day(row, day, event.occurred_ms), -on_hand)
    return 0


def flow(shelf: Shelf, row: Row, day: int, milli: int) -> None:
    """Add to what moves the level of a day."""
    if milli == 0:
        return
    reach(shelf, row, day)
    if day == row.day:
        row.flow0 += milli
    elif day == row.day + 1:
        row.flow1 += milli
    else:
        row.ahead.setdefault(day, Ahead()).flow += milli


def _counted_day(row: Row, day: int, occurred_ms: int) -> int:
    """The first day, from the one a movement is booked on, by whose end a count had seen what occurred then."""
    booked = [(row.day, row.counted0), (row.day + 1, row.counted1), *((d, a.counted) for d, a in row.ahead.items())]
    return max(day, min(number for number, counted_ms in booked if counted_ms >= occurred_ms))


def mark_counted(row: Row, day: int, counted_ms: int) -> None:
    """A day has a count, as of this instant."""
    if day == row.day:
        row.counted0 = max(row.counted0, counted_ms)
    elif day == row.day + 1:
        row.counted1 = max(row.counted1, counted_ms)
    else:
        aside = row.ahead.setdefault(day, Ahead())
        aside.counted = max(aside.counted, counted_ms)
