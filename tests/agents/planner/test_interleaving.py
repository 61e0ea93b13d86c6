"""In which order the partitions of different topics are read is nobody's to say: what a day teaches does not show it.

Small shops of one SKU-location over three source partitions, two of orders and one of movements, each with its own
marks. They are read in any interleaving, and the levels of days are compared with a plain reckoning of what
`agents/planner/README.md` says of them under "Days".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.planner import bookings
from agents.planner.config import DAY_MS
from agents.planner.fold import fold
from agents.planner.keeping import load
from agents.planner.row import Event, Row
from agents.planner.shelf import Shelf
from stream.events.kinds import Flag, Kind, Source
from stream.events.rows import Mark, SkuRecord, decode, encode, from_columns
from tests.agents.planner.worlds import HOUR_MS, START_MS, closings, config

LATENESS_MS = 3 * HOUR_MS
DAYS = 6
SOURCES = ((Source.ORDERS, 0), (Source.ORDERS, 1), (Source.STOCK_MOVEMENTS, 0))
EXAMPLES = 50  # 600 held when they were written
STARTS_MS = (0, 0, 1)  # movements and counts never share an instant with orders: a tie is a matter of convention


class Told(NamedTuple):
    """An event at its place in its partition."""

    kind: Kind
    at_ms: int
    milli: int
    flags: int
    late_ms: int
    order: int
    mark_ms: int  # of the partition after it

    @property
    def booked_day(self) -> int:
        return (self.at_ms + self.late_ms) // DAY_MS


Shop = tuple[list[Told], list[Told], list[Told]]


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    """Orders, sold at once or fulfilled later, and movements with counts; some out of order, some late by days."""
    parts: list[list[Told]] = []
    for number in range(3):
        said: list[Told] = []
        mark_ms, hour = -(2**62), 0
        open_orders: list[Told] = []
        for i in range(draw(st.integers(1, 7))):
            hour = min(hour + draw(st.sampled_from((0, 1, 5, 11, 24))), DAYS * 24 - 1)
            back = draw(st.sampled_from((0, 0, 2, 7, 30, 60)))
            at_ms = START_MS + (hour - min(back, hour)) * HOUR_MS + STARTS_MS[number] + 2 * i
            late_ms = max(0, mark_ms - at_ms)
            flags, order, units = (Flag.LATE if late_ms else 0), 0, draw(st.integers(1, 9))
            if number == 2:
                kind = draw(st.sampled_from((Kind.STOCK_COUNTED, Kind.STOCK_RECEIVED, Kind.STOCK_WRITTEN_OFF)))
                units = 2 * units - 2 if kind == Kind.STOCK_COUNTED else units
            elif open_orders and draw(st.booleans()):
                placed = open_orders.pop()
                kind, order, units = Kind.ORDER_FULFILLED, placed.order, placed.milli // 1000
            else:
                kind, order = Kind.ORDER_PLACED, number * 100 + i + 1
                flags |= draw(st.sampled_from((0, Flag.SOLD_AT_ONCE)))
            mark_ms = max(mark_ms, at_ms - LATENESS_MS)
            said.append(Told(kind, at_ms, units * 1000, flags, late_ms, order, mark_ms))
            if kind == Kind.ORDER_PLACED and not flags & Flag.SOLD_AT_ONCE:
                open_orders.append(said[-1])
        parts.append(said)
    return parts[0], parts[1], parts[2]


@st.composite
def shops_and_orders(draw: st.DrawFn) -> tuple[Shop, list[int], list[int]]:
    """A shop, and two orders in which its partitions may be read."""
    shop = draw(shops())
    turns = [number for number, part in enumerate(shop) for _ in part]
    return shop, draw(st.permutations(turns)), draw(st.permutations(turns))


def log_of(shop: Shop, turns: Sequence[int]) -> list[SkuRecord]:
    """One record an event, then marks that close all days, one partition at a time."""
    records: list[SkuRecord] = []
    at = [0, 0, 0]
    for number in turns:
        told = shop[number][at[number]]
        row: dict[str, Any] = {
            "kind": told.kind, "sku": "S", "location": "L", "milli": told.milli, "occurred_ms": told.at_ms,
            "source": SOURCES[number][0], "partition": SOURCES[number][1], "offset": at[number],
            "event_hash": 1 + number * 1000 + at[number], "order_hash": told.order, "flags": told.flags,
            "late_ms": told.late_ms, "raw": b"{}",
        }  # fmt: skip
        frame = encode(from_columns(**{k: [v] for k, v in row.items()}), [Mark(*SOURCES[number], told.mark_ms, 0)])
        records.append(decode(frame, len(records)))
        at[number] += 1
    for source in SOURCES:
        end_ms = START_MS + (DAYS + 4) * DAY_MS
        records.append(decode(encode(from_columns(kind=[]), [Mark(*source, end_ms, 0)]), len(records)))
    return records


def live(shop: Shop, turns: Sequence[int]) -> tuple[Shelf, dict[int, tuple[int, bool]]]:
    """Read it all in this order; what every closing saw, by day."""
    shelf = load(config(slice_rows=1000), {}, -1)
    with closings() as levels:
        fold(shelf, log_of(shop, turns))
    return shelf, {day: level for (_, day), level in levels.items()}


def reckoned(shop: Shop, day: int) -> tuple[int, bool]:
    """The level at the end of a day: the last count booked by then and what occurred after it, all booked by then."""
    newest_ms = counted_ms = -(2**62)
    hand, counted = 0, False
    for told in shop[2]:
        if told.kind == Kind.STOCK_COUNTED and told.at_ms > newest_ms:  # an older count than the last changes nothing
            newest_ms = told.at_ms
            if told.booked_day <= day:
                counted_ms, hand, counted = told.at_ms, told.milli, True
    held = 0
    for told in (t for part in shop for t in part if t.booked_day <= day):
        at_once = told.flags & Flag.SOLD_AT_ONCE
        moves = {
            Kind.ORDER_PLACED: -told.milli if at_once else 0, Kind.ORDER_FULFILLED: -told.milli,
            Kind.STOCK_RECEIVED: told.milli, Kind.STOCK_WRITTEN_OFF: -told.milli, Kind.STOCK_COUNTED: 0,
        }[told.kind]  # fmt: skip
        hand += moves if told.at_ms > counted_ms else 0
        held += {Kind.ORDER_PLACED: 0 if at_once else told.milli, Kind.ORDER_FULFILLED: -told.milli}.get(told.kind, 0)
    received = any(t.kind == Kind.STOCK_RECEIVED and t.booked_day <= day for t in shop[2])
    return hand - held, counted or received


@settings(max_examples=EXAMPLES, deadline=None)
@given(shops_and_orders())
def test_what_a_day_teaches_does_not_show_the_interleaving(world: tuple[Shop, list[int], list[int]]) -> None:
    """Levels of days, exposure, demand, forecasts and positions are the same in either order."""
    shop, one, other = world
    (a, ours), (b, theirs) = live(shop, one), live(shop, other)
    for day in ours.keys() & theirs.keys():
        assert ours[day] == theirs[day], f"day {day}"
    for name in ("on_hand", "allocated", "opening", "units0", "known_day", "reorder_point", "late"):
        assert a.hot[name][0] == b.hot[name][0], name
    assert a.history[0].tolist() == b.history[0].tolist()
    assert a.model[0].tobytes() == b.model[0].tobytes()


@settings(max_examples=EXAMPLES, deadline=None)
@given(shops_and_orders())
def test_the_level_of_a_day_is_what_was_known_by_its_end(world: tuple[Shop, list[int], list[int]]) -> None:
    """Late movements count from their partition's mark on, counts absorb what occurred before them."""
    shop, turns, _ = world
    shelf, levels = live(shop, turns)
    assert levels
    for day, level in levels.items():
        assert level == reckoned(shop, day), f"day {day - START_MS // DAY_MS}"
    assert int(shelf.hot["opening"][0] + shelf.hot["flow0"][0]) == int(shelf.available([0])[0])  # type: ignore[arg-type]


def _at_its_own_time(row: Row, event: Event) -> int:
    return max(event.occurred_ms, row.day_start_ms) if row.flags & 1 else event.occurred_ms


def test_levels_by_the_clock_of_events_alone_would_show_it() -> None:
    """The law can fail: with late movements booked where they occurred, or on the open day, two orders differ."""
    receipt = Told(Kind.STOCK_RECEIVED, START_MS + 1, 9_000, 0, 0, 0, START_MS - LATENESS_MS)
    count = Told(Kind.STOCK_COUNTED, START_MS + 3 * DAY_MS, 4_000, 0, 0, 0, START_MS + 3 * DAY_MS - LATENESS_MS)
    late = Told(
        Kind.STOCK_WRITTEN_OFF, START_MS + HOUR_MS, 9_000, Flag.LATE, count.mark_ms - START_MS - HOUR_MS, 0,
        count.mark_ms,
    )  # fmt: skip
    ahead = Told(Kind.STOCK_RECEIVED, START_MS + 4 * DAY_MS, 1_000, 0, 0, 0, START_MS + 4 * DAY_MS)
    sale = Told(Kind.ORDER_PLACED, START_MS + DAY_MS, 1_000, Flag.SOLD_AT_ONCE, 0, 1, START_MS + DAY_MS)
    shop = ([sale], [sale._replace(at_ms=sale.at_ms + 1, order=2)], [receipt, count, late, ahead])
    first, last = [0, 1, 2, 2, 2, 2], [2, 2, 2, 2, 0, 1]
    assert live(shop, first)[1] == live(shop, last)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bookings, "booked_ms", _at_its_own_time)
        assert live(shop, first)[1] != live(shop, last)[1]
