"""A way to forecast, as the backtest compares them: quantiles of demand summed over a horizon, at every origin.

Restock's own comes from the fold; peers compute theirs from the same arrays. All go through the same scores, the same
policy and the same simulated shop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.backtest.history import Floats, Ints
from agents.planner.plan import LEVELS

LEVEL_COUNT = len(LEVELS)


@dataclass(frozen=True)
class Sums:
    """Forecasts of one horizon at E origins: mean (E, n) and quantiles (E, n, K) at `agents.planner.plan.LEVELS`."""

    mean: Floats
    quantiles: Floats


@dataclass(frozen=True)
class Method:
    """A named way to forecast some rows (numbers in the history) over several horizons of periods."""

    name: str
    sums: Mapping[int, Sums]
    rows: Ints  # which rows it was run on
    knows_plan: bool = False
    note: str = ""  # how often it was refitted, on how many rows
    made_at: npt.NDArray[np.bool_] | None = None  # origins (E,) that were forecast afresh; None: all. Others are held

    def of(self, rows: Ints) -> Method:
        """The part of some rows, all of which it must have."""
        at = np.searchsorted(self.rows, rows)
        sums = {h: Sums(s.mean[:, at], s.quantiles[:, at]) for h, s in self.sums.items()}
        return Method(self.name, sums, rows, self.knows_plan, self.note, self.made_at)
