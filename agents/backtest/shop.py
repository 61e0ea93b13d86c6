"""The simulated shop around the fold: stock on the shelf, customers who wait or go away, a supplier with a lead time.

All quantities are int64 milli, one entry a row. What is ordered at the end of period t arrives before period
t + 1 + lead opens: so an order must cover lead + review periods, which is the planner's horizon.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Delivery:
    """What arrives for one replenishment."""

    row: int
    milli: int
    replenishment_id: str


@dataclass
class Shop:
    """Stock of n rows; `lost` demand is gone, `waiting` demand is served before anybody else."""

    rows: int
    backorders: bool
    on_hand: Ints = field(init=False)
    waiting: Ints = field(init=False)
    on_order: Ints = field(init=False)
    coming: dict[int, list[Delivery]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.on_hand, self.waiting, self.on_order = (np.zeros(self.rows, np.int64) for _ in range(3))

    def receive(self, period: int) -> list[Delivery]:
        """Put away what arrives before this period."""
        arrived = self.coming.pop(period, [])
        for one in arrived:
            self.on_hand[one.row] += one.milli
            self.on_order[one.row] -= one.milli
        return arrived

    def serve_waiting(self) -> Ints:
        """Give those who wait what there is; returns how much a row."""
        served = np.minimum(self.waiting, self.on_hand)
        self.on_hand -= served
        self.waiting -= served
        return served

    def sell(self, asked: Ints) -> Ints:
        """Serve a period's demand from stock; returns what was sold. The rest waits, or is lost."""
        sold = np.minimum(asked, self.on_hand)
        self.on_hand -= sold
        if self.backorders:
            self.waiting += asked - sold
        return sold

    def order(self, delivery: Delivery, arrives: int) -> None:
        """A replenishment is on its way."""
        self.on_order[delivery.row] += delivery.milli
        self.coming[arrives].append(delivery)


def lead_periods(rows: int, period: int, mean: float, sd: float, seed: int) -> Ints:
    """Whole lead times (n,) of orders placed at the end of a period: normal, rounded, never under zero.

    A row's draw depends on the seed, the period and its number in the file, not on who simulates it.
    """
    if sd == 0:
        return np.full(rows, round(mean), np.int64)
    drawn = np.random.default_rng([seed, period]).normal(mean, sd, rows)
    return np.maximum(np.rint(drawn), 0).astype(np.int64)
