"""What stock a place could spare and what it will lack, when receipts come at known times.

Each stratum of demand is walked through period by period: receipts arrive, then what is there is sold. What is left at
the leanest moment could have gone elsewhere; what is lost from some period on could still be served by an arrival then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.network.circulation import Floats


@dataclass(frozen=True)
class Paths:
    """`spare` (u, k, l) units; `lost_from` (u, t + 1, k, l): sales lost in period t and later, 0 after the last."""

    spare: Floats
    lost_from: Floats
    period_days: float

    def reach(self, lead_days: Floats, at: np.ndarray) -> Floats:
        """Losses that arrivals after `lead_days` (d,) at the places `at` (d,) can still serve, shape (u, k, d)."""
        last = self.lost_from.shape[1] - 1
        period = np.minimum(np.ceil(lead_days / self.period_days - 1e-9).astype(np.int64), last)
        return np.stack([self.lost_from[:, t, :, i] for t, i in zip(period, at, strict=True)], axis=2)

    def some(self, skus: slice) -> Paths:
        """The same for some of the SKUs."""
        return Paths(self.spare[:, skus], self.lost_from[:, :, skus], self.period_days)


def walk(on_hand: Floats, receipts: Floats, demand: Floats, period_days: float) -> Paths:
    """Paths of stock (k, l) with receipts (t, k, l) under demand (u, t, k, l); demand of nothing where it ends earlier.

    >>> one = walk(np.array([[4.0]]), np.array([[[0.0]], [[2.0]]]), np.array([[[[5.0]], [[1.0]]]]), 7.0)
    >>> one.spare[0, :, 0], one.lost_from[0, :, 0, 0]
    (array([0.]), array([1., 0., 0.]))
    """
    strata, periods = demand.shape[:2]
    stock = np.broadcast_to(on_hand, (strata, *on_hand.shape)).astype(float)
    spare, lost = np.full(stock.shape, np.inf), np.zeros((strata, periods + 1, *on_hand.shape))
    for t in range(periods):
        stock = stock + receipts[t][None]
        sold = np.minimum(np.maximum(stock, 0.0), demand[:, t])
        lost[:, t] = demand[:, t] - sold
        stock = stock - sold
        spare = np.minimum(spare, stock)
    lost_from = np.cumsum(lost[:, ::-1], axis=1)[:, ::-1]
    return Paths(np.maximum(spare, 0.0), lost_from, period_days)
