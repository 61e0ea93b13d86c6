"""Cart signals: how much of a row was looked at, put into carts and taken out again, by local day until the day closes.

They are what a closing shows the family of its day, beside demand: known as of the close, never ahead. An event counts
on the day it occurred on, whichever partition is read first; one that comes late teaches nothing. What carts convert or
abandon is no signal: it depends on whether the order or the cart is read first.

Kept with the row until the day closes; off unless the setting says so, then nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agents.planner import days
from agents.planner.flags import CLOSED_ONCE
from models.demand.contract import SIGNALS, Floats

if TYPE_CHECKING:
    from agents.planner.shelf import Rows, Shelf

SIGNALS_FROM = 2  # the version from which they are shown
NAMES = SIGNALS[:3]  # viewed, added, removed

ByDay = dict[int, list[int]]  # day -> milli by name


def note(shelf: Shelf, row: int, name: str, milli: int, occurred_ms: int) -> None:
    """A cart event of a row, on time."""
    day = _day(shelf, row, occurred_ms)
    if day < int(shelf.hot["day"][row]) and shelf.hot["flags"][row] & CLOSED_ONCE:
        return
    kept = shelf.signals.setdefault(row, {}).setdefault(day, [0] * len(NAMES))
    kept[NAMES.index(name)] += milli
    shelf.tails.pop(row, None)


def wanted(shelf: Shelf) -> bool:
    """Whether anybody looks at them."""
    return shelf.config.cart_signals and shelf.version >= SIGNALS_FROM


def of_day(shelf: Shelf, rows: Rows, day: Rows) -> Floats:
    """Units of a day of each row (n, 5), as a contract's `Observation` has them."""
    out = np.zeros((len(rows), len(SIGNALS)))
    if shelf.carts_of is not None:
        out[:, : len(NAMES)] = shelf.carts_of(rows, day)
        return out
    if shelf.signals:
        for i, (row, its) in enumerate(zip(rows.tolist(), day.tolist(), strict=True)):
            kept = shelf.signals.get(row, {}).get(its)
            if kept is not None:
                out[i, : len(NAMES)] = kept
    return out / 1000.0


def close(shelf: Shelf, rows: Rows, day: Rows) -> None:
    """The day of each row closed: what was kept of it, and of days before, is over."""
    if not shelf.signals:
        return
    for row, its in zip(rows.tolist(), day.tolist(), strict=True):
        if row in shelf.signals:
            left = {at: kept for at, kept in shelf.signals[row].items() if at > its}
            if left:
                shelf.signals[row] = left
            else:
                del shelf.signals[row]
            shelf.tails.pop(row, None)


def _day(shelf: Shelf, row: int, at_ms: int) -> int:
    """The number of the local day of an instant, as `bookings.day_of` has it."""
    h = shelf.hot[row]
    if at_ms < h["day_start_ms"]:
        return days.day_of(shelf.zones[int(h["zone"])], at_ms)
    if at_ms < h["next_end_ms"]:
        return int(h["day"]) + int(at_ms >= h["day_end_ms"])
    return max(days.day_of(shelf.zones[int(shelf.fact_zone[row])], at_ms), int(h["day"]) + 2)
