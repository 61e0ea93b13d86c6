"""What a backtest was asked to do, checked, in periods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agents.backtest.history import DAYS, History

POLICIES = {"min-max": -1.0, "order-up-to": 0.0}  # and the cover that makes them
QUANTILE_NAMES = ("q50", "q80", "q90", "q95", "q975", "q99")
QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.975, 0.99)
ROWS_A_SHELF = 20_000  # rows of one shelf share what they learn of each other; the number of jobs does not show
LONGEST_HORIZON = 64  # periods
FIRST_ORDINAL_DAY = 14_000  # the planner day of period 0 where periods are no days: a Monday


@dataclass(frozen=True)
class Plan:
    """One backtest. Times are in periods; money a unit; `seed` draws lead times."""

    horizons: tuple[int, ...]
    first: int  # first evaluated period: its stock begins full
    last: int  # last one
    lead: float
    lead_sd: float
    review: int
    cover: float  # periods of demand an order brings beyond the reorder point; under 0: what an order's cost says
    set_cover: float  # of orders whose cost is not known
    service_level: float
    backorders: bool
    pack_milli: int
    order_cost: float
    holding_cost_rate: float  # of a unit's cost, a period
    seed: int = 0

    @property
    def whole_lead(self) -> int:
        """Lead time, whole periods."""
        return math.ceil(self.lead)

    @property
    def wait(self) -> int:
        """Lead time plus review: the periods an order must cover."""
        return max(math.ceil(self.lead + self.review), 1)


def in_periods(days: float, period: str) -> float:
    """Days as periods, whole ones where a period is longer than a day.

    >>> in_periods(7, "week"), in_periods(7, "month"), in_periods(2.5, "day")
    (1, 1, 2.5)
    """
    return days if period == "day" else math.ceil(days / DAYS[period] - 1e-9)


def shelves_of(history: History) -> int:
    """How many shelves the rows are spread over."""
    return max(1, math.ceil(history.rows / ROWS_A_SHELF))


def first_day_of(history: History) -> int:
    """The planner's day of period 0: the date itself where periods are days, so that weekdays are what they are."""
    if history.period == "day":
        return int(history.dates[0].astype("M8[D]").astype(np.int64))
    return FIRST_ORDINAL_DAY
