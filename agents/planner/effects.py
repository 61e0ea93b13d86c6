"""What an event does to the stock of its row, physically: `apply`. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agents.planner import bookings, days, handover, supply
from agents.planner.config import HISTORY_DAYS, NEVER
from agents.planner.journal import NO_DAY, LateMove
from agents.planner.row import Event, Row
from agents.planner.shelf import Ahead, Shelf
from stream.events.cloudevents import dead_letter
from stream.events.instants import text_from_ms as instant
from stream.events.kinds import Flag, Kind, Source
from stream.events.outgoing import Outgoing


class Effect(NamedTuple):
    """What the journal keeps of an applied event."""

    delta: int = 0  # added to on hand
    day: int = NO_DAY  # demand day of a placed line; of a late movement the day it is booked on
    late: bool = False


class Before(NamedTuple):
    """What the log up to an event says that the row itself does not know."""

    placed: dict[
        int, tuple[int, bool]
    ]  # order lines of this record, not in the journal yet: hash -> (day, sold at once)
    moved: int = 0  # for a count: milli this row moved after the counted instant
    late: Sequence[LateMove] = ()  # for a count: late movements of this row


def apply(shelf: Shelf, row: Row, event: Event, before: Before) -> tuple[Effect, list[Outgoing]]:
    """Give an event its physical effect."""
    day, late = NO_DAY, bookings.is_late(row, event)
    out: list[Outgoing] = []
    kind = event.kind
    if kind == Kind.ORDER_PLACED:
        day = _demand(shelf, row, event, late)
    if kind == Kind.STOCK_COUNTED:
        on_hand, out = _counted(shelf, row, event, before)
        allocated = 0
    else:
        on_hand, allocated = _moves(shelf, row, event, before)
        if kind == Kind.STOCK_RECEIVED:
            out = supply.received(shelf, row, event)
        elif kind in handover.KINDS:
            out = handover.moved(shelf, row, event)
        elif kind >= Kind.SUPPLY_ORDERED:
            out = supply.moved(shelf, row, event)
        on_hand = bookings.book(shelf, row, event, on_hand, allocated)
        if kind in _STATES_STOCK:
            row.known_day = min(row.known_day, bookings.day_of(shelf, row, bookings.booked_ms(row, event)))
    row.on_hand += on_hand
    row.allocated += allocated
    row.updated_ms = max(row.updated_ms, event.occurred_ms)
    if late and on_hand != 0:
        day = bookings.day_of(shelf, row, bookings.booked_ms(row, event))
    return Effect(on_hand, day, late), out


# besides a count: after these we know that something is kept there
_STATES_STOCK = (Kind.STOCK_RECEIVED, Kind.STOCK_ADJUSTED, Kind.TRANSFER_ARRIVED)


def _moves(shelf: Shelf, row: Row, event: Event, before: Before) -> tuple[int, int]:
    """What an event other than a count adds to (on hand, allocated); keeps the row's totals."""
    kind, milli = event.kind, event.milli
    if kind == Kind.ORDER_PLACED:
        return _placed(row, event)
    if kind == Kind.ORDER_CANCELLED:
        return _cancelled(shelf, row, event, before.placed)
    if kind == Kind.ORDER_FULFILLED:
        row.fulfilled += milli
        if milli > row.allocated:
            shelf.counters["unmatched:order.fulfilled"] += 1
        return -milli, -min(milli, row.allocated)
    if kind == Kind.TRANSFER_COMING:
        row.in_transit += milli
        return 0, 0
    if kind == Kind.TRANSFER_ARRIVED:
        if milli > row.in_transit:
            shelf.counters["unmatched:stock.transfer_received"] += 1
        row.in_transit -= min(milli, row.in_transit)
        return milli, 0
    sign, total = _PLAIN.get(kind, (0, ""))
    if total:
        setattr(row, total, getattr(row, total) + milli)
    return sign * milli, 0


# the others that move stock: its sign, and the row's total that counts it
_PLAIN: dict[int, tuple[int, str]] = {
    Kind.ORDER_RETURNED: (1, "returned"),
    Kind.STOCK_RECEIVED: (1, "received"),
    Kind.STOCK_ADJUSTED: (1, ""),
    Kind.STOCK_WRITTEN_OFF: (-1, "written_off"),
    Kind.TRANSFER_LEFT: (-1, ""),
}


def _placed(row: Row, event: Event) -> tuple[int, int]:
    row.ordered += event.milli
    if event.price == event.price:
        row.price = event.price
    if event.flags & Flag.SOLD_AT_ONCE:
        row.fulfilled += event.milli
        return -event.milli, 0
    return 0, event.milli


def _demand(shelf: Shelf, row: Row, event: Event, late: bool) -> int:
    """Take demand into its day; returns the day, NO_DAY where it teaches nothing."""
    if late:
        row.late += event.milli
        shelf.counters["late"] += 1
        return NO_DAY
    day = bookings.day_of(shelf, row, event.occurred_ms)
    bookings.reach(shelf, row, day)
    if day == row.day:
        row.units0 += event.milli
    elif day == row.day + 1:
        row.units1 += event.milli
    else:
        row.ahead.setdefault(day, Ahead()).units += event.milli
    return day


def _cancelled(shelf: Shelf, row: Row, event: Event, placed_now: dict[int, tuple[int, bool]]) -> tuple[int, int]:
    """(on hand, allocated) a cancellation gives back; its demand leaves the day the order was placed on."""
    milli = event.milli
    row.cancelled += milli
    known = placed_now.get(event.order_hash)
    if known is None:
        kept = shelf.journal.placed(event.order_hash)
        known = (kept[1], kept[2]) if kept is not None else None
    if known is not None:
        _undemand(shelf, row, known[0], event)
        if known[1]:
            return milli, 0
    else:
        shelf.counters["cancelled_day_unknown"] += 1
    released = min(milli, row.allocated)
    if released < milli:
        shelf.counters["unmatched:order.cancelled"] += 1
    return milli - released, -released


def _undemand(shelf: Shelf, row: Row, day: int, event: Event) -> None:
    milli, late = event.milli, event.late
    if day == NO_DAY:
        return
    if day < row.day:
        if day >= row.day - HISTORY_DAYS:
            shelf.history[row.number, day % HISTORY_DAYS] -= milli
            shelf.dirty_model.add_one(row.number)
    elif day == row.day:
        if late or event.occurred_ms >= row.day_end_ms:
            row.after0 += milli
        else:
            row.units0 -= milli
    elif day == row.day + 1:
        if late or event.occurred_ms >= row.next_end_ms:
            row.after1 += milli
        else:
            row.units1 -= milli
    else:
        aside = row.ahead.setdefault(day, Ahead())
        if late or event.occurred_ms >= days.midnight_ms(bookings.zone_ahead(shelf, row), day + 1):
            aside.after += milli
        else:
            aside.units -= milli


def _counted(shelf: Shelf, row: Row, event: Event, before: Before) -> tuple[int, list[Outgoing]]:
    """The correction a count makes, true as of its instant; a refusal where the journal no longer reaches that far."""
    if event.occurred_ms <= row.counted_ms:
        shelf.counters["superseded:stock.counted"] += 1
        return 0, []
    if event.occurred_ms < shelf.journal.horizon_ms:
        shelf.counters["refused:count_too_old"] += 1
        counted, kept = instant(event.occurred_ms), instant(shelf.journal.horizon_ms)
        detail = f"counted as of {counted}; movements are kept from {kept} on"
        topic = Source(event.source).topic
        letter = dead_letter(
            topic, event.partition, event.offset, event.logged_ms, row.sku.encode(), event.raw, "count_too_old", detail
        )
        return 0, [letter]
    books = row.on_hand - before.moved
    correction = event.milli - books
    tolerance = max(1000, int(abs(books) * shelf.config.count_tolerance))
    row.count_off_day = max(row.day, 1) if row.known_day < NEVER and abs(correction) > tolerance else 0
    _book_count(shelf, row, event, correction, before.late)
    row.counted_ms = event.occurred_ms
    return correction, []


def _book_count(shelf: Shelf, row: Row, event: Event, correction: int, late: Sequence[LateMove]) -> None:
    """Book a count on its day. Late movements booked on days after it that it has seen are no news on those days."""
    day = bookings.day_of(shelf, row, bookings.booked_ms(row, event))
    seen = [m for m in late if m.day > day and row.counted_ms < m.occurred_ms <= event.occurred_ms]
    bookings.flow(shelf, row, day, correction + sum(m.delta for m in seen))
    for move in seen:
        bookings.flow(shelf, row, move.day, -move.delta)
    bookings.reach(shelf, row, day)
    bookings.mark_counted(row, day, event.occurred_ms)
    row.known_day = min(row.known_day, day)
