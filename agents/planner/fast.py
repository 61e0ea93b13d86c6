"""The fast lane: order lines of rows for which provably nothing is decided, in numpy.

A row goes through here only if every one of its events in this record is a placed, fulfilled or returned order line, on
time, of the open day or the next, after the last count; and if the running sums stay inside its guards. What is
left over goes event by event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

    def spread(values: Ints) -> Ints:
        return np.repeat(values, sizes)

    plain = (placed | fulfilled | returned) & (lines.flags[order] & Flag.LATE == 0)
    plain &= (at >= spread(h["day_start_ms"])) & (at < spread(h["next_end_ms"])) & (at > spread(h["counted_ms"]))
    hand = np.where(at_once | fulfilled, -milli, np.where(returned, milli, 0))
    held = np.where(placed & ~at_once, milli, np.where(fulfilled, -milli, 0))

    def running(values: Ints, start: Ints) -> tuple[Ints, Ints]:
        sums = np.cumsum(values)
        sums += spread(start - (sums[starts] - values[starts]))
        return np.minimum.reduceat(sums, starts), np.maximum.reduceat(sums, starts)

    on_hand, allocated = h["on_hand"], h["allocated"]
    hand_lo, hand_hi = running(hand, on_hand)
    held_lo, _ = running(held, allocated)
    free_lo, free_hi = running(hand - held, on_hand - allocated)
    good = np.logical_and.reduceat(plain, starts)
    good &= (held_lo >= 0) & (free_lo > shelf.guard_lo[rows]) & (free_hi < shelf.guard_hi[rows])
    good &= np.where(on_hand >= 0, hand_lo >= 0, hand_hi < 0) | (not shelf.live)

    def total(values: Ints) -> Ints:
        return np.asarray(np.add.reduceat(values, starts)[good])

    def add(field: str, values: Ints) -> None:
        shelf.hot[field][rows[good]] += values

    today = at < spread(h["day_end_ms"])
    free, asked = hand - held, np.where(placed, milli, 0)
    add("on_hand", total(hand))
    add("allocated", total(held))
    add("flow0", total(np.where(today, free, 0)))
    add("flow1", total(np.where(today, 0, free)))
    add("units0", total(np.where(today, asked, 0)))
    add("units1", total(np.where(today, 0, asked)))
    add("ordered", total(asked))
    add("fulfilled", total(np.where(at_once | fulfilled, milli, 0)))
    add("returned", total(np.where(returned, milli, 0)))
    taken = rows[good]
    shelf.hot["updated_ms"][taken] = np.maximum(h["updated_ms"][good], np.maximum.reduceat(at, starts)[good])
    shelf.hot["as_of_offset"][taken] = offset
    _last_price(shelf, lines.price[order], placed, starts, rows, good)
    shelf.dirty_hot[taken] = shelf.dirty_view[taken] = True
    slow = np.empty(n, np.bool_)
    slow[order] = ~np.repeat(good, sizes)
    delta[order] = hand
    day[order] = np.where(placed, spread(h["day"]) + ~today, NO_DAY)
    return Moved(slow, delta, day)


def _last_price(
    shelf: Shelf, price: npt.NDArray[np.float64], placed: Bools, starts: Rows, rows: Rows, good: Bools
) -> None:
    said = placed & ~np.isnan(price)
    if not said.any():
        return
    last = np.maximum.reduceat(np.where(said, np.arange(len(price)), -1), starts)
    use = good & (last >= 0)
    shelf.hot["price"][rows[use]] = price[last[use]]
