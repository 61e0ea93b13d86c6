"""The fast lane: order lines of rows for which provably nothing is decided, in numpy; a few of them in plain integers.

Of a row's events in a record those go through here that come before the first one that is not a placed, fulfilled or
returned order line or a receipt no order waits for, on time, of the open day or the next, after the last count, or
at which a running sum leaves the row's guards. What is left over goes event by event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.planner.config import LONG_AGO
from agents.planner.journal import NO_DAY
from agents.planner.records import gathered
from agents.planner.shelf import Rows, Shelf
from stream.events.kinds import Flag, Kind

FEW_LINES = 64  # numpy's hundred calls take 0.3 ms whatever they do; a line in plain integers takes 2 us

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass
class Lines:
    """Position-changing rows of one record, in log order; every array has shape (n,)."""

    row: Rows
    kind: Ints
    milli: Ints
    occurred_ms: Ints
    flags: Ints
    price: npt.NDArray[np.float64]
    unnamed: Bools  # whether it names no order, where it is a receipt


@dataclass
class Moved:
    """What the journal keeps of the lines that went through: all of shape (n,); `slow` marks the others."""

    slow: Bools
    delta: Ints
    day: Ints


def run(shelf: Shelf, lines: Lines, offset: int) -> Moved:
    """Fold the lines that may be folded at once; touches each row's numbers once."""
    n = len(lines.row)
    if n == 0 or shelf.config.force_slow:
        return Moved(np.ones(n, np.bool_), np.zeros(n, np.int64), np.full(n, NO_DAY, np.int64))
    return (_run_few if n <= FEW_LINES else _run_many)(shelf, lines, offset)


# -- many -------------------------------------------------------------------------------------------------------------


class _Lot:
    """The lines by row, each row's in log order from its place in `starts` on: what they add, and the rows' numbers."""

    def __init__(self, shelf: Shelf, lines: Lines) -> None:
        self.n = len(lines.row)
        self.order = np.argsort(lines.row, kind="stable")
        row = lines.row[self.order]
        self.starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
        self.rows = row[self.starts]
        assert (self.rows[1:] > self.rows[:-1]).all(), "a row twice in one lot: += would keep only the last"
        self._sizes = np.diff(np.r_[self.starts, self.n])
        self.hot = gathered(shelf.hot, self.rows)
        self.kind, self.milli, self.at = (its[self.order] for its in (lines.kind, lines.milli, lines.occurred_ms))
        self.flags, self.price = lines.flags[self.order], lines.price[self.order]
        self.placed, self.fulfilled, self.returned = (
            self.kind == kind for kind in (Kind.ORDER_PLACED, Kind.ORDER_FULFILLED, Kind.ORDER_RETURNED)
        )
        self.received = (
            (self.kind == Kind.STOCK_RECEIVED) & lines.unnamed[self.order] & self.spread(_takes_receipts(self.hot))
        )
        self.leaves = leaves = self.placed & (self.flags & Flag.SOLD_AT_ONCE > 0) | self.fulfilled  # units go with it
        self.hand = np.where(leaves, -self.milli, np.where(self.returned | self.received, self.milli, 0))
        self.held = np.where(self.fulfilled, -self.milli, np.where(self.placed & ~leaves, self.milli, 0))

    def spread(self, values: npt.NDArray[Any]) -> Any:
        """A value a row, at each of its lines."""
        return np.repeat(values, self._sizes)

    def running(self, values: Ints, start: Ints) -> Ints:
        """What `start`, a value a row, has become behind each line."""
        sums = np.cumsum(values)
        sums += self.spread(start - (sums[self.starts] - values[self.starts]))
        return sums


def _run_many(shelf: Shelf, lines: Lines, offset: int) -> Moved:
    lot = _Lot(shelf, lines)
    inside = _inside(shelf, lot)
    stops = np.minimum.reduceat(np.where(inside, lot.n, np.arange(lot.n)), lot.starts)  # each row's first that stays
    done = np.arange(lot.n) < lot.spread(stops)
    today = lot.at < lot.spread(lot.hot["day_end_ms"])
    _write_many(shelf, lot, done, today, offset)
    slow, delta, day = np.empty(lot.n, np.bool_), np.empty(lot.n, np.int64), np.empty(lot.n, np.int64)
    slow[lot.order] = ~done
    delta[lot.order] = np.where(done, lot.hand, 0)
    day[lot.order] = np.where(lot.placed & done, lot.spread(lot.hot["day"]) + ~today, NO_DAY)
    return Moved(slow, delta, day)


def _inside(shelf: Shelf, lot: _Lot) -> Bools:
    """Lines of a kind, a time and a size at which their row decides nothing, if all before them are, too."""
    h, spread, at = lot.hot, lot.spread, lot.at
    inside = (lot.placed | lot.fulfilled | lot.returned | lot.received) & (lot.flags & Flag.LATE == 0)
    inside &= (at >= spread(h["day_start_ms"])) & (at < spread(h["next_end_ms"])) & (at > spread(h["counted_ms"]))
    on_hand, allocated = h["on_hand"], h["allocated"]
    free = lot.running(lot.hand - lot.held, on_hand - allocated)
    inside &= (free > spread(shelf.guard_lo[lot.rows])) & (free < spread(shelf.guard_hi[lot.rows]))
    inside &= lot.running(lot.held, allocated) >= 0
    if shelf.live:
        inside &= (lot.running(lot.hand, on_hand) >= 0) == spread(on_hand >= 0)
    return np.asarray(inside)


def _write_many(shelf: Shelf, lot: _Lot, done: Bools, today: Bools, offset: int) -> None:
    """Add what the lines that go through add to their rows."""
    moved = done[lot.starts]  # rows of which at least the first line goes through
    taken, hot = lot.rows[moved], shelf.hot

    def add(field: str, values: Ints | int) -> None:
        hot[field][taken] += np.add.reduceat(np.where(done, values, 0), lot.starts)[moved]

    flow, asked = lot.hand - lot.held, np.where(lot.placed, lot.milli, 0)
    add("on_hand", lot.hand)
    add("allocated", lot.held)
    add("flow0", np.where(today, flow, 0))
    add("flow1", np.where(today, 0, flow))
    add("units0", np.where(today, asked, 0))
    add("units1", np.where(today, 0, asked))
    add("ordered", asked)
    add("fulfilled", np.where(lot.leaves, lot.milli, 0))
    add("returned", np.where(lot.returned, lot.milli, 0))
    add("received", np.where(lot.received, lot.milli, 0))
    latest = np.maximum.reduceat(np.where(done, lot.at, LONG_AGO), lot.starts)[moved]
    hot["updated_ms"][taken] = np.maximum(lot.hot["updated_ms"][moved], latest)
    hot["as_of_offset"][taken] = offset
    _last_price(shelf, lot.price, lot.placed & done, lot.starts, lot.rows)
    shelf.moved(taken)


def _takes_receipts(h: npt.NDArray[np.void]) -> Bools:
    """Rows where a receipt closes nothing, as nothing is on order, and whose stock is known already."""
    return np.asarray((h["on_order"] == 0) & (h["known_day"] <= h["day"]))


def _last_price(shelf: Shelf, price: npt.NDArray[np.float64], placed: Bools, starts: Rows, rows: Rows) -> None:
    said = placed & ~np.isnan(price)
    if not said.any():
        return
    last = np.maximum.reduceat(np.where(said, np.arange(len(price)), -1), starts)
    use = last >= 0
    shelf.hot["price"][rows[use]] = price[last[use]]


# -- few --------------------------------------------------------------------------------------------------------------

# plain numbers: an enumeration's members are looked up by name each time
_PLACED, _FULFILLED, _RETURNED = map(int, (Kind.ORDER_PLACED, Kind.ORDER_FULFILLED, Kind.ORDER_RETURNED))
_RECEIVED = int(Kind.STOCK_RECEIVED)
_LATE, _AT_ONCE = int(Flag.LATE), int(Flag.SOLD_AT_ONCE)
_READ = ("on_hand", "allocated", "day_start_ms", "day_end_ms", "next_end_ms", "counted_ms", "day", "updated_ms")
_ADDED = ("on_hand", "allocated", "flow0", "flow1", "units0", "units1", "ordered", "fulfilled", "returned", "received")


class _Few:
    """A row while a few lines go through: what it was, and what they add, in the order of `_ADDED`."""

    __slots__ = ("added", "allocated", "day", "end", "free", "hi", "latest", "left", "lo", "moved", "on_hand", "price",
                 "receives", "since", "start", "then", "was")  # fmt: skip

    def __init__(self, lo: int, hi: int, receives: bool, numbers: tuple[int, ...]) -> None:
        self.on_hand, self.allocated, self.start, self.end, self.then, self.since, self.day, self.latest = numbers
        self.lo, self.hi, self.receives = lo, hi, receives
        self.free, self.was = self.on_hand - self.allocated, self.on_hand >= 0
        self.added = [0] * len(_ADDED)
        self.price: float | None = None
        self.moved = False
        self.left = False  # at a line that may not go through: none of its later ones may


def _run_few(shelf: Shelf, lines: Lines, offset: int) -> Moved:
    """As `_run_many`, line by line."""
    n = len(lines.row)
    slow, delta, day = [True] * n, [0] * n, [NO_DAY] * n
    numbers = lines.row.tolist()
    rows = dict(zip(dict.fromkeys(numbers), _few(shelf, list(dict.fromkeys(numbers))), strict=True))
    of_lines = (lines.kind, lines.milli, lines.occurred_ms, lines.flags, lines.price, lines.unnamed)
    columns = (its.tolist() for its in of_lines)
    for i, (number, kind, milli, at, flags, price, unnamed) in enumerate(zip(numbers, *columns, strict=True)):
        row = rows[number]
        if row.left:
            continue
        effect = _effect(kind, milli, flags, unnamed and row.receives)
        if effect is None or not _goes(shelf, row, at, *effect):
            row.left = True
            continue
        _take(row, kind, milli, at, price, *effect)
        slow[i], delta[i] = False, effect[0]
        if kind == _PLACED:
            day[i] = row.day + (at >= row.end)
    _write_few(shelf, {number: row for number, row in rows.items() if row.moved}, offset)
    return Moved(np.array(slow, np.bool_), np.array(delta, np.int64), np.array(day, np.int64))


def _few(shelf: Shelf, rows: list[int]) -> list[_Few]:
    at = np.array(rows, np.int64)
    h = gathered(shelf.hot, at)
    numbers = zip(*(h[name].tolist() for name in _READ), strict=True)
    receives = _takes_receipts(h).tolist()
    return list(map(_Few, shelf.guard_lo[at].tolist(), shelf.guard_hi[at].tolist(), receives, numbers))


def _effect(kind: int, milli: int, flags: int, receives: bool) -> tuple[int, int] | None:
    """What a line adds to (on hand, allocated); None for one that has to go slowly whatever its row."""
    if flags & _LATE:
        return None
    if kind == _PLACED:
        return (-milli, 0) if flags & _AT_ONCE else (0, milli)
    if kind == _FULFILLED:
        return -milli, -milli
    return (milli, 0) if kind == _RETURNED or (kind == _RECEIVED and receives) else None


def _goes(shelf: Shelf, row: _Few, at: int, hand: int, held: int) -> bool:
    if not (row.start <= at < row.then and at > row.since and row.lo < row.free + hand - held < row.hi):
        return False
    return row.allocated + held >= 0 and (not shelf.live or (row.on_hand + hand >= 0) == row.was)


def _take(row: _Few, kind: int, milli: int, at: int, price: float, hand: int, held: int) -> None:
    row.on_hand, row.allocated, row.free = row.on_hand + hand, row.allocated + held, row.free + hand - held
    row.latest, row.moved = max(row.latest, at), True
    added, later = row.added, int(at >= row.end)
    added[0] += hand
    added[1] += held
    added[2 + later] += hand - held
    if kind == _PLACED:
        added[4 + later] += milli
        added[6] += milli
        if price == price:
            row.price = price
    if kind == _RETURNED:
        added[8] += milli
    elif kind == _RECEIVED:
        added[9] += milli
    elif hand != 0:
        added[7] += milli


def _write_few(shelf: Shelf, rows: dict[int, _Few], offset: int) -> None:
    if not rows:
        return
    at, hot = np.fromiter(rows, np.int64, len(rows)), shelf.hot
    for name, values in zip(_ADDED, zip(*(row.added for row in rows.values()), strict=True), strict=True):
        if any(values):
            hot[name][at] += np.array(values, np.int64)
    hot["updated_ms"][at] = [row.latest for row in rows.values()]
    hot["as_of_offset"][at] = offset
    for number, row in rows.items():
        if row.price is not None:
            hot["price"][number] = row.price
    shelf.moved(at)
