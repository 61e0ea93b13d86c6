"""What every family of forecasters promises to the fold that keeps its state.

A family is a set of pure functions over arrays. A row is one SKU at one location; its state is one row of a float64
matrix, so `state[i].tobytes()` is all there is to keep and `np.frombuffer` brings it back exactly. Days are local days,
counted as integers since any fixed day (day_number mod 7 is the weekday).

Three promises, held by `tests/models/conformance.py`:

* *Cut-invariance*: a row's result is a function of that row (and of the frozen pool) alone. Closing rows in any slices
  gives the bytes that closing all of them at once gives.
* *Commuting pools*: what rows tell each other is integer counts added to `pool[segment, bin]`, so the order of adding
  does not matter; a closing reads only the pool frozen before it.
* *Boundedness*: whatever came in, every answer is finite, not negative, and quantiles do not cross.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
IntsLike: TypeAlias = npt.NDArray[np.integer[Any]]

NO_BIN = -1  # this closing has no error to add to the pool


@dataclass(frozen=True)
class Outlook:
    """What a family expects of the days after `day_number`, one entry per row.

    `mean_day_units` is the mean of one average day, `mean_sum_units` the mean of demand summed over the horizon,
    `quantile_sum_units` (n, K) its quantiles at the levels asked for, `cycles` how many horizons' errors were learnt.
    """

    mean_day_units: Floats
    mean_sum_units: Floats
    quantile_sum_units: Floats
    cycles: Ints


@dataclass(frozen=True)
class Closing:
    """State after one closed day, and the count each row adds to the pool (`bin` is NO_BIN where it adds none)."""

    state: Floats
    segment: Ints
    bin: Ints


class Family(Protocol):
    """A family of forecasters: a module (or object) with these names."""

    WIDTH: int
    VERSION: int
    SEGMENTS: int
    BINS: int

    def fresh(self, n: int) -> Floats:
        """State of `n` rows nobody has seen demand of, shape (n, WIDTH)."""

    def segment_of(self, state: Floats, horizon_days: IntsLike) -> Ints:
        """The pool segment each row belongs to, shape (n,)."""

    def close(
        self,
        state: Floats,
        pool: Ints,
        day_number: IntsLike,
        demand_units: Floats,
        exposure: Floats,
        horizon_days: IntsLike,
    ) -> Closing:
        """Learn one closed local day a row; `exposure` in 0..1 is the share of it in which demand could be seen."""

    def outlook(
        self, state: Floats, pool_frozen: Ints, day_number: IntsLike, horizon_days: IntsLike, levels: Floats
    ) -> Outlook:
        """The distribution of demand summed over the `horizon_days` after `day_number`, the last closed day."""


def empty_pool(family: Family) -> Ints:
    """A pool without evidence, shape (SEGMENTS, BINS)."""
    return np.zeros((family.SEGMENTS, family.BINS), dtype=np.int64)


def add_to_pool(pool: Ints, closing: Closing) -> Ints:
    """The pool with one count more for each row that has an error; sums of integers, so the order is free."""
    told = closing.bin != NO_BIN
    grown = pool.copy()
    np.add.at(grown, (closing.segment[told], closing.bin[told]), 1)  # rows repeat: `+=` would keep only the last
    return grown


def fade_pool(pool: Ints, limit_counts: int = 200_000) -> Ints:
    """Halve the segments that hold more than `limit_counts`, so that a pool forgets and never overflows."""
    return np.where(pool.sum(axis=1, keepdims=True) > limit_counts, pool // 2, pool)
