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


def _run_many(shelf: Shelf, lines: Lines, offset: int) -> Moved:
    n = len(lines.row)
    order = np.argsort(lines.row, kind="stable")
    row = lines.row[order]
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    rows = row[starts]  # each once
    assert len(np.unique(rows)) == len(rows), "a row twice in one lot: += would keep only the last"
    sizes = np.diff(np.r_[starts, n])
    h = gathered(shelf.hot, rows)
    kind, milli, at = lines.kind[order], lines.milli[order], lines.occurred_ms[order]
    placed, fulfilled, returned = (kind == k for k in (Kind.ORDER_PLACED, Kind.ORDER_FULFILLED, Kind.ORDER_RETURNED))
    at_once = placed & (lines.flags[order] & Flag.SOLD_AT_ONCE > 0)

    def spread(values: npt.NDArray[Any]) -> Any:
        return np.repeat(values, sizes)

    received = (kind == Kind.STOCK_RECEIVED) & lines.unnamed[order] & spread(_takes_receipts(h))
    inside = (placed | fulfilled | returned | received) & (lines.flags[order] & Flag.LATE == 0)
    inside &= (at >= spread(h["day_start_ms"])) & (at < spread(h["next_end_ms"])) & (at > spread(h["counted_ms"]))
    hand = np.where(at_once | fulfilled, -milli, np.where(returned | received, milli, 0))
    held = np.where(placed & ~at_once, milli, np.where(fulfilled, -milli, 0))

    def running(values: Ints, start: Ints) -> Ints:
        sums = np.cumsum(values)
        sums += spread(start - (sums[starts] - values[starts]))
        return sums

    on_hand, allocated = h["on_hand"], h["allocated"]
    hands, free = running(hand, on_hand), running(hand - held, on_hand - allocated)
    inside &= (free > spread(shelf.guard_lo[rows])) & (free < spread(shelf.guard_hi[rows]))
    inside &= running(held, allocated) >= 0
    if shelf.live:
        inside &= (hands >= 0) == spread(on_hand >= 0)
    leaves = np.minimum.reduceat(np.where(inside, n, np.arange(n)), starts)  # where each row's first one leaves
    done = np.arange(n) < spread(leaves)
    moved = done[starts]  # rows of which at least the first line goes through
    taken = rows[moved]

    def add(field: str, values: Ints | int) -> None:
        shelf.hot[field][taken] += np.add.reduceat(np.where(done, values, 0), starts)[moved]

    today = at < spread(h["day_end_ms"])
    add("on_hand", hand)
    add("allocated", held)
    add("flow0", np.where(today, hand - held, 0))
    add("flow1", np.where(today, 0, hand - held))
    asked = np.where(placed, milli, 0)
    add("units0", np.where(today, asked, 0))
    add("units1", np.where(today, 0, asked))
    add("ordered", asked)
    add("fulfilled", np.where(at_once | fulfilled, milli, 0))
    add("returned", np.where(returned, milli, 0))
    add("received", np.where(received, milli, 0))
    latest = np.maximum.reduceat(np.where(done, at, LONG_AGO), starts)[moved]
    shelf.hot["updated_ms"][taken] = np.maximum(h["updated_ms"][moved], latest)
    shelf.hot["as_of_offset"][taken] = offset
    _last_price(shelf, lines.price[order], placed & done, starts, rows)
    shelf.moved(taken)
    slow, delta, day = np.empty(n, np.bool_), np.empty(n, np.int64), np.empty(n, np.int64)
    slow[order] = ~done
    delta[order] = np.where(done, hand, 0)
    day[order] = np.where(placed & done, spread(h["day"]) + ~today, NO_DAY)
    return Moved(slow, delta, day)


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
