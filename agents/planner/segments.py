"""Segments: ABC by value and XYZ by variability of a shelf's rows, which say the service level where no fact does.

Once a week, as a closing begins, rows that sell are put into segments (`models.stock.segments`). Value is demand a day
at the stated price, else the last paid, else the cost. Variability is that of the weekly sums of the kept closed days,
from the first week with demand on; there must be three. It is kept in four bits of a row's flags: a restart changes
nothing.
Off unless the setting says so; what a fact says of `service_level` goes before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agents.planner.config import HISTORY_DAYS
from agents.planner.flags import CLOSED_ONCE, LEARNING, SEGMENT_BITS, SEGMENT_SHIFT
from models.stock import segments

if TYPE_CHECKING:
    from agents.planner.shelf import Rows, Shelf

SEGMENTS_FROM = 2  # the version from which they may decide
NAMES = ("", *segments.DEFAULT_SERVICE_LEVEL)
LEVELS = np.array([0.0, *segments.DEFAULT_SERVICE_LEVEL.values()])
EVERY_DAYS = WEEK_DAYS = 7
LEAST_WEEKS = 3


def sort(shelf: Shelf) -> None:
    """A closing begins: once a week every row that sells gets its segment, and the service level that goes with it."""
    n = shelf.n
    if not shelf.config.segments or shelf.version < SEGMENTS_FROM or n == 0:
        return
    hot = shelf.hot
    closed = hot["flags"][:n] & CLOSED_ONCE > 0  # one that is new may be a day ahead of all
    if not closed.any() or int(hot["day"][:n][closed].max()) % EVERY_DAYS:
        return
    rows = np.flatnonzero((hot["flags"][:n] & LEARNING > 0) & (hot["demand_rate"][:n] > 0))
    weeks, mean, sd = _weekly(shelf, rows)
    rows, mean, sd = rows[weeks >= LEAST_WEEKS], mean[weeks >= LEAST_WEEKS], sd[weeks >= LEAST_WEEKS]
    by_name = np.argsort(np.array([shelf.keys[row] for row in rows.tolist()], object), kind="stable")
    rows, mean, sd = rows[by_name], mean[by_name], sd[by_name]
    found = np.zeros(n, np.int64)
    names = np.char.add(segments.abc(_value(shelf, rows)), segments.xyz(mean, sd))
    found[rows] = [NAMES.index(name) for name in names.tolist()]
    flags = hot["flags"][:n] & ~(SEGMENT_BITS << SEGMENT_SHIFT) | found << SEGMENT_SHIFT
    shelf.dirty_hot.add(np.flatnonzero(flags != hot["flags"][:n]))
    hot["flags"][:n] = flags
    apply(shelf, np.arange(n))


def apply(shelf: Shelf, rows: Rows) -> None:
    """Lay the service levels of segments over those of rows of which no fact states one."""
    if not shelf.config.segments or shelf.version < SEGMENTS_FROM:
        return
    segment = shelf.hot["flags"][rows] >> SEGMENT_SHIFT & SEGMENT_BITS
    level = np.where(segment > 0, LEVELS[segment], shelf.config.policy.service_level)
    stated = shelf.policy["level_stated"][rows] > 0
    shelf.policy["service_level"][rows] = np.where(stated, shelf.policy["service_level"][rows], level)


def name(shelf: Shelf, row: int) -> str:
    """A row's segment, such as AX; empty where it has none."""
    return NAMES[int(shelf.hot["flags"][row]) >> SEGMENT_SHIFT & SEGMENT_BITS]


def _value(shelf: Shelf, rows: Rows) -> npt.NDArray[np.float64]:
    """Money a day (n,); units where no price or cost is known of any row."""
    p, seen = shelf.policy[rows], np.nan_to_num(shelf.hot["price"][rows])
    price = np.where(p["unit_price"] > 0, p["unit_price"], np.where(seen > 0, seen, p["unit_cost"]))
    return np.asarray(shelf.hot["demand_rate"][rows] * (price if price.any() else 1.0))


def _weekly(shelf: Shelf, rows: Rows) -> tuple[Rows, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weeks since the first with demand (n,), and mean and standard deviation (n,) of their sums, units."""
    slots = (shelf.hot["day"][rows][:, None] + np.arange(HISTORY_DAYS)) % HISTORY_DAYS  # the oldest day first
    days = np.maximum(np.take_along_axis(shelf.history[rows], slots, axis=1), 0) / 1000
    sums = days.reshape(len(rows), HISTORY_DAYS // WEEK_DAYS, WEEK_DAYS).sum(axis=2)
    since = np.cumsum(sums > 0, axis=1) > 0
    weeks = since.sum(axis=1)
    some = np.maximum(weeks, 1)
    mean = sums.sum(axis=1) / some
    variance = np.where(since, (sums - mean[:, None]) ** 2, 0.0).sum(axis=1) / some
    return weeks, mean, np.sqrt(variance)
