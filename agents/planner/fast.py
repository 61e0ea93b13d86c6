"""The fast lane: order lines of rows for which provably nothing is decided, in one compiled loop.

Of a row's events in a record those go through here that come before the first one that is not a placed, fulfilled or
returned order line or a receipt no order waits for, on time, of the open day or the next, after the last count, or
at which available stock leaves the row's guards. What is left over goes event by event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.planner.journal import NO_DAY
from agents.planner.packing import HOT
from agents.planner.shelf import Rows, Shelf
from models.demand.compiled import kernel, piece
from stream.events.kinds import Flag, Kind

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Lines(NamedTuple):
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


_TYPES = (*5 * (np.int64,), np.float64, np.bool_)  # of lines: what the loop is compiled for


def lines_of(*columns: npt.NDArray[Any]) -> Lines:
    """Lines of columns in the order of `Lines`, of whatever width."""
    return Lines._make(column.astype(its, copy=False) for column, its in zip(columns, _TYPES, strict=True))


def run(shelf: Shelf, lines: Lines, offset: int) -> Moved:
    """Fold the lines that may be folded at once."""
    n = len(lines.row)
    moved = Moved(np.ones(n, np.bool_), np.zeros(n, np.int64), np.full(n, NO_DAY, np.int64))
    if n > 0 and not shelf.config.force_slow:
        seen, touched = np.zeros(shelf.n, np.uint8), np.empty(n, np.int64)
        rows = (shelf.hot, shelf.guard_lo, shelf.guard_hi)
        count = _run(*rows, shelf.live, offset, lines, seen, moved.slow, moved.delta, moved.day, touched)
        shelf.moved(touched[:count])
    return moved


# Plain numbers: a compiled loop knows no enumerations. They are the log's, and stay: so may code that is kept.
_PLACED, _FULFILLED, _RETURNED = map(int, (Kind.ORDER_PLACED, Kind.ORDER_FULFILLED, Kind.ORDER_RETURNED))
_RECEIVED = int(Kind.STOCK_RECEIVED)
_LATE, _AT_ONCE = int(Flag.LATE), int(Flag.SOLD_AT_ONCE)
_MOVED, _LEFT = 1, 2  # of a row: a line of it went through; at a line of it that may not: none of its later ones may


@piece
def _takes_receipts(row: Any) -> bool:
    """A receipt closes nothing, as nothing is on order, and the row's stock is known already."""
    return bool(row["on_order"] == 0 and row["known_day"] <= row["day"])


@piece
def _add(row: Any, kind: int, milli: int, at: int, price: float, hand: int, held: int) -> None:
    """What a line that goes through adds to its row."""
    row["on_hand"] += hand
    row["allocated"] += held
    row["updated_ms"] = max(row["updated_ms"], at)
    asked = milli if kind == _PLACED else 0
    if at < row["day_end_ms"]:
        row["flow0"] += hand - held
        row["units0"] += asked
    else:
        row["flow1"] += hand - held
        row["units1"] += asked
    row["ordered"] += asked
    if hand < 0:
        row["fulfilled"] += milli
    if kind == _RETURNED:
        row["returned"] += milli
    if kind == _RECEIVED:
        row["received"] += milli
    if kind == _PLACED and price == price:
        row["price"] = price


@kernel
def _run(
    hot: npt.NDArray[Any],
    guard_lo: Ints,
    guard_hi: Ints,
    live: bool,
    offset: int,
    lines: Lines,
    seen: npt.NDArray[np.uint8],
    slow: Bools,
    delta: Ints,
    day: Ints,
    touched: Rows,
) -> int:
    """Line by line; how many rows were touched, which are in `touched`."""
    count = 0
    for i in range(len(lines.row)):
        number, kind, milli, at = lines.row[i], lines.kind[i], lines.milli[i], lines.occurred_ms[i]
        if seen[number] & _LEFT:
            continue
        row = hot[number]
        leaves = kind == _FULFILLED or (kind == _PLACED and lines.flags[i] & _AT_ONCE > 0)  # units leave with the line
        comes = kind == _RETURNED or (kind == _RECEIVED and lines.unnamed[i] and _takes_receipts(row))
        hand = -milli if leaves else milli if comes else 0
        held = 0 if comes or (leaves and kind == _PLACED) else milli if kind == _PLACED else -milli
        free = row["on_hand"] - row["allocated"] + hand - held
        goes = (kind == _PLACED or leaves or comes) and lines.flags[i] & _LATE == 0
        goes = goes and row["day_start_ms"] <= at < row["next_end_ms"] and at > row["counted_ms"]
        goes = goes and guard_lo[number] < free < guard_hi[number] and row["allocated"] + held >= 0
        if not goes or (live and (row["on_hand"] + hand >= 0) != (row["on_hand"] >= 0)):
            seen[number] |= _LEFT
            continue
        if not seen[number]:
            seen[number] = _MOVED
            touched[count] = number
            count += 1
        _add(row, kind, milli, at, lines.price[i], hand, held)
        row["as_of_offset"] = offset
        slow[i], delta[i] = False, hand
        if kind == _PLACED:
            day[i] = row["day"] + (at >= row["day_end_ms"])
    return count


def warm() -> None:
    """Compile the loop, or load what is kept."""
    bounds, some = np.zeros(1, np.int64), np.zeros(1, np.uint8)
    none = lines_of(*(np.zeros(0, its) for its in _TYPES))
    _run(np.zeros(1, HOT), bounds, bounds, True, 0, none, some, none.unnamed, none.row, none.row, none.row)
