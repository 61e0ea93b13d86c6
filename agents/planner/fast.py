"""The fast lane: order lines of rows for which provably nothing is decided, in numpy.

Of a row's events in a record those go through here that come before the first one that is not a placed, fulfilled or
returned order line, on time, of the open day or the next, after the last count, or at which a running sum leaves the
row's guards. What is left over goes event by event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.planner.config import LONG_AGO
from agents.planner.journal import NO_DAY
from agents.planner.shelf import Rows, Shelf
from stream.events.kinds import Flag, Kind

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


@dataclass
class Moved:
    """What the journal keeps of the lines that went through: all of shape (n,); `slow` marks the others."""

    slow: Bools
    delta: Ints
    day: Ints


def run(shelf: Shelf, lines: Lines, offset: int) -> Moved:
    """Fold the lines that may be folded at once; touches each row's numbers once."""
    n = len(lines.row)
    delta, day = np.zeros(n, np.int64), np.full(n, NO_DAY, np.int64)
    if n == 0 or shelf.config.force_slow:
        return Moved(np.ones(n, np.bool_), delta, day)
    order = np.argsort(lines.row, kind="stable")
    row = lines.row[order]
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    rows = row[starts]  # each once
    assert len(np.unique(rows)) == len(rows), "a row twice in one lot: += would keep only the last"
    sizes = np.diff(np.r_[starts, n])
    h = shelf.hot[rows]
    kind, milli, at = lines.kind[order], lines.milli[order], lines.occurred_ms[order]
    placed, fulfilled, returned = (kind == k for k in (Kind.ORDER_PLACED, Kind.ORDER_FULFILLED, Kind.ORDER_RETURNED))
    at_once = placed & (lines.flags[order] & Flag.SOLD_AT_ONCE > 0)

    def spread(values: npt.NDArray[Any]) -> Any:
        return np.repeat(values, sizes)

    inside = (placed | fulfilled | returned) & (lines.flags[order] & Flag.LATE == 0)
    inside &= (at >= spread(h["day_start_ms"])) & (at < spread(h["next_end_ms"])) & (at > spread(h["counted_ms"]))
    hand = np.where(at_once | fulfilled, -milli, np.where(returned, milli, 0))
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
    latest = np.maximum.reduceat(np.where(done, at, LONG_AGO), starts)[moved]
    shelf.hot["updated_ms"][taken] = np.maximum(h["updated_ms"][moved], latest)
    shelf.hot["as_of_offset"][taken] = offset
    _last_price(shelf, lines.price[order], placed & done, starts, rows)
    shelf.dirty_hot[taken] = shelf.dirty_view[taken] = True
    slow = np.empty(n, np.bool_)
    slow[order] = ~done
    delta[order] = np.where(done, hand, 0)
    day[order] = np.where(placed & done, spread(h["day"]) + ~today, NO_DAY)
    return Moved(slow, delta, day)


def _last_price(shelf: Shelf, price: npt.NDArray[np.float64], placed: Bools, starts: Rows, rows: Rows) -> None:
    said = placed & ~np.isnan(price)
    if not said.any():
        return
    last = np.maximum.reduceat(np.where(said, np.arange(len(price)), -1), starts)
    use = last >= 0
    shelf.hot["price"][rows[use]] = price[last[use]]
