"""Standing policies for one item under random demand: (r, Q), (s, S), base stock, (R, S).

Unmet demand waits. Costs: `order_cost` an order, `holding_cost` a unit held and period, `shortage_cost` a unit owed and
period. Source: Snyder & Shen, chapters 4 and 5; Federgruen & Zheng 1992 for (r, Q), Zheng & Federgruen 1991 for (s, S).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.stock.loss import discrete_shortfall_units, normal_shortfall_units, poisson_shortfall_units
from models.stock.newsvendor import critical_ratio
from models.stock.rates import Floats, FloatsLike

MAX_ROUNDS = 200  # of the (r, Q) iteration; textbook instances settle in under 20
MAX_STATES = 100_000  # of the exact searches, over the optimum of an item of 10,000 units a wait


@dataclass(frozen=True)
class ReorderLot:
    """(r, Q): when the position is at or under `reorder_point`, order `lot` units."""

    reorder_point: Floats
    lot: Floats
    cost: Floats


@dataclass(frozen=True)
class MinMax:
    """(s, S): when the position is at or under `reorder_point`, order up to `order_up_to`."""

    reorder_point: int
    order_up_to: int
    cost: float


def r_q_normal(
    holding_cost: FloatsLike,
    shortage_cost: FloatsLike,
    order_cost: FloatsLike,
    demand_mean: FloatsLike,
    demand_sd: FloatsLike,
    lead_time: FloatsLike,
) -> ReorderLot:
    """(r, Q) for normal demand, by the expected-inventory-level approximation; shortage cost a unit, not a period.

    Hadley & Whitin's iteration: Q = sqrt(2 d (K + p n(r)) / h) and F(r) = 1 - Q h / (p d), n(r) the units short a
    cycle (Snyder & Shen 5.1.2). Arrays broadcast.

    >>> both = r_q_normal(0.225, 7.5, 8, 1300, 150, 1 / 12)
    >>> both.reorder_point.round(2), both.lot.round(2)
    (np.float64(213.97), np.float64(318.59))
    """
    arrays = (holding_cost, shortage_cost, order_cost, demand_mean, demand_sd, lead_time)
    h, p, fixed, d, sd, wait = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in arrays))
    mean, spread = d * wait, sd * np.sqrt(wait)
    lot = np.sqrt(2.0 * fixed * d / h)
    point = mean
    for _ in range(MAX_ROUNDS):
        level = np.clip(1.0 - lot * h / (p * d), 1e-9, 1.0 - 1e-12)
        point = mean + spread * stats.norm.ppf(level)
        short = normal_shortfall_units(point, mean, spread)
        again = np.sqrt(2.0 * d * (fixed + p * short) / h)
        if bool(np.all(np.abs(again - lot) <= 1e-10 * lot)):
            break
        lot = again
    short = normal_shortfall_units(point, mean, spread)
    cost = h * (point - mean + lot / 2.0) + fixed * d / lot + p * d * short / lot
    return ReorderLot(point[()], lot[()], cost[()])


def r_q_poisson(
    holding_cost: float, shortage_cost: float, order_cost: float, demand_mean: float, lead_time: float
) -> ReorderLot:
    """(r, Q) for Poisson demand, exact: take the cheapest positions until one more no longer lowers the average cost.

    The position is uniform on r+1 .. r+Q, so cost is (order_cost d + sum of one-period costs there) / Q; one-period
    costs are convex, so the best Q positions are a run round the newsvendor's (Federgruen & Zheng 1992).

    >>> both = r_q_poisson(20, 150, 100, 1.5, 2)
    >>> int(both.reorder_point), int(both.lot), float(both.cost.round(4))
    (3, 5, 107.9236)
    """
    mean = demand_mean * lead_time

    def period_cost(y: int) -> float:
        short = float(poisson_shortfall_units(y, mean))
        return holding_cost * (y - mean + short) + shortage_cost * short

    low = high = int(stats.poisson.ppf(critical_ratio(holding_cost, shortage_cost), mean))
    total, lot = order_cost * demand_mean + period_cost(low), 1
    for _ in range(MAX_STATES):
        below, above = period_cost(low - 1), period_cost(high + 1)
        if min(below, above) >= total / lot:
            break
        total, lot = total + min(below, above), lot + 1
        low, high = (low - 1, high) if below < above else (low, high + 1)
    return ReorderLot(np.float64(low - 1), np.float64(lot), np.float64(total / lot))  # type: ignore[arg-type]


def s_s_discrete(holding_cost: float, shortage_cost: float, order_cost: float, pmf: Floats) -> MinMax:
    """(s, S) for whole demand a period with probabilities `pmf` (D,), reviewed every period, exact.

    The position is renewed at S by each order: cost(s, S) = (order_cost + sum_j m(j) G(S - j)) / M(S - s), where m is
    the renewal density of demand (Zheng & Federgruen 1991).

    >>> both = s_s_discrete(1, 4, 5, stats.poisson.pmf(np.arange(60), 6))
    >>> both.reorder_point, both.order_up_to, round(both.cost, 4)
    (4, 10, 8.0341)
    """
    table = _PeriodCosts(holding_cost, shortage_cost, pmf)
    best = int(np.argmin(table.of(np.arange(len(pmf)))))
    point, up_to = best - 1, best
    while table.average(point, up_to, order_cost) > table.one(point):
        point -= 1
    cost = table.average(point, up_to, order_cost)
    candidate = up_to + 1
    while table.one(candidate) <= cost:
        trial = table.average(point, candidate, order_cost)
        if trial < cost:
            up_to = candidate
            while table.average(point, up_to, order_cost) <= table.one(point + 1):
                point += 1
            cost = table.average(point, up_to, order_cost)
        candidate += 1
    return MinMax(point, up_to, cost)


class _PeriodCosts:
    """One-period costs G(y) of whole positions and the renewal density of a demand, grown as far as they are asked."""

    def __init__(self, holding_cost: float, shortage_cost: float, pmf: Floats) -> None:
        if not 0.0 <= pmf[0] < 1.0 or abs(float(pmf.sum()) - 1.0) > 1e-6:
            raise ValueError("probabilities must sum to one, and demand must not always be zero")
        self.holding, self.shortage, self.pmf = holding_cost, shortage_cost, pmf
        self.mean = float(np.arange(len(pmf)) @ pmf)
        self.density = [1.0 / (1.0 - float(pmf[0]))]

    def of(self, y: np.typing.NDArray[np.int64]) -> Floats:
        short = discrete_shortfall_units(y, self.pmf)
        return np.asarray(self.holding * (y - self.mean + short) + self.shortage * short)

    def one(self, y: int) -> float:
        return float(self.of(np.array([y]))[0])

    def average(self, point: int, up_to: int, order_cost: float) -> float:
        """Cost a period of (point, up_to)."""
        steps = up_to - point
        while len(self.density) < steps:
            n = len(self.density)
            k = min(n, len(self.pmf) - 1)
            past = np.array(self.density[n - k :][::-1])
            self.density.append(float(past @ self.pmf[1 : k + 1]) / (1.0 - float(self.pmf[0])))
        density = np.array(self.density[:steps])
        return float((order_cost + density @ self.of(np.arange(up_to, point, -1))) / density.sum())


def base_stock_normal(
    holding_cost: FloatsLike, shortage_cost: FloatsLike, mean: FloatsLike, sd: FloatsLike, lead_time: FloatsLike
) -> Floats:
    """Base-stock level, reviewed every period, normal demand: the critical quantile over lead time plus one (4.3.4).

    >>> base_stock_normal(0.18, 0.70, 50, 8, 4).round(2)
    np.float64(264.77)
    """
    return periodic_order_up_to_normal(critical_ratio(holding_cost, shortage_cost), mean, sd, lead_time, 1.0)


def periodic_order_up_to_normal(
    service_level: FloatsLike, mean: FloatsLike, sd: FloatsLike, lead_time: FloatsLike, review: FloatsLike
) -> Floats:
    """(R, S): every `review` periods order up to S, which must last until the order after next arrives.

    >>> periodic_order_up_to_normal(0.95, 20.0, 2.0, 7.0, 2.0).round(2)
    np.float64(189.87)
    """
    m, s, wait, r = (np.asarray(v, dtype=np.float64) for v in (mean, sd, lead_time, review))
    return np.asarray(m * (wait + r) + stats.norm.ppf(service_level) * s * np.sqrt(wait + r))[()]
