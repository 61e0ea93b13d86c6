"""What a backtest was asked to do, checked, in periods."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agents.backtest.history import DAYS, History

QUANTILE_NAMES = ("q50", "q80", "q90", "q95", "q975", "q99")
QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.975, 0.99)
ROWS_A_SHELF = 20_000  # rows of one shelf share what they learn of each other; the number of jobs does not show
LONGEST_HORIZON = 64  # periods


@dataclass(frozen=True)
class Plan:
    """One backtest. Times are in periods; money a unit; `seed` draws lead times."""

    horizons: tuple[int, ...]
    first: int  # first evaluated period: its stock begins full
    last: int  # last one
    lead: float
    lead_sd: float
    review: int
    cover: int
    service_level: float
    backorders: bool
    pack_milli: int
    order_cost: float
    holding_cost_rate: float  # of a unit's cost, a period
    seed: int = 0

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
