"""The fast lane: order lines of rows for which provably nothing is decided, in one compiled loop.

Of a row's events in a record those go through here that come before the first one that is not a placed, fulfilled or
returned order line or a receipt no order waits for, on time, of the open day or the next, after the last count, or
at which available stock leaves the row's guards. What is left over goes event by event.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.planner.shelf import Rows, Shelf
from models.demand.compiled import kernel, piece
from stream.events.kinds import Flag, Kind

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Lines(NamedTuple):
    """Rows of one record, in log order; every array has shape (n,), and all but `row` and `unnamed` are read-only."""

    row: Rows
    kind: npt.NDArray[np.uint8]
    milli: Ints
    occurred_ms: Ints
    flags: npt.NDArray[np.uint8]
    price: npt.NDArray[np.float64]
    unnamed: Bools  # whether it names no order, where it is a receipt


class Ran(NamedTuple):
    """What a run leaves over, by place in the record; and the rows it met, each once."""

    left: Rows
    met: Rows


def run(shelf: Shelf, lines: Lines, at: Rows, entries: npt.NDArray[Any], offset: int) -> Ran:
    """Fold those of the lines `at` that may be folded at once; `entries` (n,) of the journal learn what they do."""
    if shelf.config.force_slow:
        return Ran(at, np.unique(lines.row[at]))
    left, moved, met = np.empty((3, len(at)), np.int64)
    shelf.runs += 1
    state = (shelf.hot, shelf.guard, shelf.live, shelf.runs, offset)
    stays, moves, meets = _run(*state, lines, at, entries, left, moved, met)
    shelf.moved(moved[:moves])
    return Ran(left[:stays], met[:meets])


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
    guard: npt.NDArray[Any],
    live: bool,
    run: int,
    offset: int,
    lines: Lines,
    at: Rows,
    entries: npt.NDArray[Any],
    left: Rows,
    moved: Rows,
    met: Rows,
) -> tuple[int, int, int]:
    """Line by line; how many places are in `left`, and how many rows in `moved` and `met`."""
    stays, moves, meets = 0, 0, 0
    for i in at:
        number, kind, milli, at_ms = lines.row[i], lines.kind[i], lines.milli[i], lines.occurred_ms[i]
        bounds = guard[number]
        if bounds["seen"] >> 2 != run:
            bounds["seen"], met[meets] = run << 2, number
            meets += 1
        if bounds["seen"] & _LEFT:
            left[stays] = i
            stays += 1
            continue
        row = hot[number]
        leaves = kind == _FULFILLED or (kind == _PLACED and lines.flags[i] & _AT_ONCE > 0)  # units leave with the line
        comes = kind == _RETURNED or (kind == _RECEIVED and lines.unnamed[i] and _takes_receipts(row))
        hand = -milli if leaves else milli if comes else 0
        held = 0 if comes or (leaves and kind == _PLACED) else milli if kind == _PLACED else -milli
        free = row["on_hand"] - row["allocated"] + hand - held
        goes = (kind == _PLACED or leaves or comes) and lines.flags[i] & _LATE == 0
        goes = goes and row["day_start_ms"] <= at_ms < row["next_end_ms"] and at_ms > row["counted_ms"]
        goes = goes and bounds["lo"] < free < bounds["hi"] and row["allocated"] + held >= 0
        if not goes or (live and (row["on_hand"] + hand >= 0) != (row["on_hand"] >= 0)):
            bounds["seen"] |= _LEFT
            left[stays] = i
            stays += 1
            continue
        if not bounds["seen"] & _MOVED:
            bounds["seen"] |= _MOVED
            moved[moves] = number
            moves += 1
        _add(row, kind, milli, at_ms, lines.price[i], hand, held)
        row["as_of_offset"] = offset
        entries[i]["delta"] = hand
        if kind == _PLACED:
            entries[i]["day"] = row["day"] + (at_ms >= row["day_end_ms"])
    return stays, moves, meets
