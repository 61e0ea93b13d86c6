"""Lot sizes for known, varying demand over a finite horizon (Wagner & Whitin 1958; Snyder & Shen 3.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.stock.rates import Floats, FloatsLike


@dataclass(frozen=True)
class LotPlan:
    """`order_units` (n, T) a period and total `cost` (n,)."""

    order_units: Floats
    cost: Floats


def wagner_whitin(
    demand_units: Floats, order_cost: FloatsLike, holding_cost: FloatsLike, unit_cost: FloatsLike = 0.0
) -> LotPlan:
    """The cheapest plan that meets `demand_units` (n, T) without shortage; costs a row (n,) or the same for all.

    An order always brings whole periods' demand, so a plan is a choice of order periods: cost[t] = least over s < t of
    cost[s] + one order at s for s..t-1. Holding is paid on what is left at the end of a period. Cost is O(T^2) a row.

    >>> plan = wagner_whitin(np.array([[90.0, 120.0, 80.0, 70.0]]), 500.0, 2.0)
    >>> plan.order_units, plan.cost
    (array([[210.,   0., 150.,   0.]]), array([1380.]))
    """
    demand = np.atleast_2d(np.asarray(demand_units, dtype=np.float64))
    if not bool((demand >= 0).all()):
        raise ValueError("demand must not be negative")
    n, periods = demand.shape
    costs = (np.asarray(v, dtype=np.float64) for v in (order_cost, holding_cost, unit_cost))
    fixed, holding, unit = (np.broadcast_to(v, (n,)) for v in costs)
    cost = np.concatenate([np.zeros((n, 1)), np.full((n, periods), np.inf)], axis=1)
    source = np.zeros((n, periods + 1), dtype=np.int64)
    for start in range(periods):
        # An order that would bring nothing costs nothing: a horizon may begin with empty periods.
        carried, brought = np.zeros(n), np.zeros(n)
        for end in range(start + 1, periods + 1):
            carried = carried + (end - 1 - start) * demand[:, end - 1]
            brought = brought + demand[:, end - 1]
            trial = cost[:, start] + np.where(brought > 0, fixed, 0.0) + holding * carried + unit * brought
            better = trial < cost[:, end]
            cost[:, end] = np.where(better, trial, cost[:, end])
            source[:, end] = np.where(better, start, source[:, end])
    orders = np.zeros((n, periods))
    for row in range(n):
        end = periods
        while end > 0:
            start = int(source[row, end])
            orders[row, start] = demand[row, start:end].sum()
            end = start
    return LotPlan(orders, cost[:, -1])
