"""Outlooks of a slow lane, as the log brings them: which rows take them over, and why others do not.

A guest's word is taken over at its place in the log and speaks from the row's next forecast on; thresholds move when
the day closes, as ever. A day that is being closed is closed first for these rows, so that slices cannot show. What is
refused is counted and changes nothing. (run, part) of an outlooks record are its coordinates: one that is not over the
high-water mark was folded before. Nothing here waits for a slow lane, and a replay finds its words where they were.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.planner import wakes
from agents.planner.records import gathered, put
from agents.planner.shelf import Rows, Shelf
from models.demand.row_sums import GUEST_AGE
from stream.events.kinds import SLOW_LANE
from stream.events.outgoing import Outgoing
from stream.events.outlooks import Head, Outlooks

PART_BITS = 20  # of a coordinate, as lines of a row's
MOST_LEVELS = 32
MOST_DAYS = 730  # no horizon is longer
MOST_TIMES = 8.0  # no quantile lies above this many of the row's largest kept day, a day
# why a whole record is not taken over, then why a row is not
REFUSED = (
    *("repeated", "version", "family", "levels"),
    *("unknown_row", "twice", "shape", "ahead", "old", "superseded", "quantiles"),
)
MICRO = 1e-6

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def take_over(shelf: Shelf, said: Outlooks) -> list[Outgoing]:
    """Let the rows hear their guest; what a day owes that had to be closed for it."""
    why = _refused(shelf, said.head)
    if why:
        shelf.counters[f"guests_refused:{why}"] += max(said.rows.num_rows, 1)
        return []
    rows, horizons, quantiles, as_of = _of_known_rows(shelf, said)
    out = wakes.catch_up(shelf, rows)
    guest = shelf.family.guests.index(said.head.guest)
    good = _lawful(shelf, rows, guest, as_of, horizons, quantiles)
    rows = rows[good]
    if len(rows):
        word = (as_of[good], horizons[good], quantiles[good], np.array(said.head.levels))
        put(shelf.model, rows, shelf.family.adopt(gathered(shelf.model, rows), guest, *word))
        shelf.dirty_model.add(rows)
        shelf.counters[f"guests_adopted:{said.head.guest}"] += len(rows)
    return out


def most_units(shelf: Shelf, rows: Rows) -> Floats:
    """The most a guest may expect of a day of each row (n,)."""
    return np.asarray(np.maximum(shelf.history[rows].max(axis=1), 0) / 1000.0 * MOST_TIMES)


def _refused(shelf: Shelf, head: Head) -> str:
    """Why nothing of a record is taken over; lifts the high-water mark."""
    coordinate, last = head.run << PART_BITS | head.part, shelf.high_water.get((SLOW_LANE, 0), -1)
    shelf.high_water[SLOW_LANE, 0] = max(last, coordinate)
    if coordinate <= last:
        return "repeated"
    family, levels = shelf.family, np.array(head.levels)
    if not family.guests:
        return "version"
    if (head.family, head.version) != (family.name, family.version) or head.guest not in family.guests:
        return "family"
    ascending = bool((np.diff(levels) > 0).all()) and bool(((levels > 0) & (levels < 1)).all())
    return "" if 2 <= len(levels) <= MOST_LEVELS and ascending else "levels"


def _of_known_rows(shelf: Shelf, said: Outlooks) -> tuple[Rows, Rows, Floats, Rows]:
    """Rows of the shelf, each once: horizons (n, H), quantiles (n, H, K) and as-of days (n,) of the right shape."""
    names = zip(said.rows.column("sku").to_pylist(), said.rows.column("location").to_pylist(), strict=True)
    row = np.array([shelf.index.get(name, -1) for name in names], np.int64)
    heads, levels = shelf.family.heads, len(said.head.levels)
    horizon, quantile = said.rows.column("horizon"), said.rows.column("quantile")
    shaped = np.asarray(horizon.value_lengths()) == heads
    shaped &= np.asarray(quantile.value_lengths()) == heads * levels
    first = np.zeros(len(row), np.bool_)
    first[np.unique(row, return_index=True)[1]] = True
    good = _counted(shelf, {"unknown_row": row >= 0, "twice": first, "shape": shaped})
    at = np.flatnonzero(good)
    horizons = horizon.take(at).flatten().to_numpy(zero_copy_only=False).astype(np.int64).reshape(-1, heads)
    quantiles = quantile.take(at).flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    as_of = said.rows.column("as_of").to_numpy().astype(np.int64)[at]
    return row[at], horizons, quantiles.reshape(-1, heads, levels), as_of


def _lawful(shelf: Shelf, rows: Rows, guest: int, as_of: Rows, horizons: Rows, quantiles: Floats) -> Bools:
    """Which rows may take it over (n,); the others are counted by reason."""
    age = shelf.hot["day"][rows] - 1 - as_of
    before = shelf.family.heard(gathered(shelf.model, rows))[:, guest]
    most = (most_units(shelf, rows)[:, None] * horizons)[:, :, None] * (1.0 + MICRO)
    with np.errstate(invalid="ignore"):  # NaN is neither over nor under: it is no lawful quantile
        bounded: Bools = np.asarray(((quantiles >= 0.0) & (quantiles <= most)).all(axis=(1, 2)))
        ascending: Bools = np.asarray((np.diff(quantiles, axis=2) >= 0.0).all(axis=(1, 2)))
    lasting: Bools = np.asarray(((horizons >= 1) & (horizons <= MOST_DAYS)).all(axis=1))
    return _counted(
        shelf,
        {
            "ahead": age >= 0,
            "old": age < GUEST_AGE,
            "superseded": as_of >= before,
            "shape": lasting,
            "quantiles": bounded & ascending,
        },
    )


def _counted(shelf: Shelf, lawful: dict[str, Bools]) -> Bools:
    """Which pass every check (n,); of the others, the first they fail counts."""
    good = np.ones(len(next(iter(lawful.values()))), np.bool_)
    for why, passes in lawful.items():
        gone = int(np.count_nonzero(good & ~passes))
        if gone:
            shelf.counters[f"guests_refused:{why}"] += gone
        good &= passes
    return good
