"""The economic order quantity and its family: what one order should bring when demand is steady.

Source: Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd ed., chapter 3. Demand is constant and known, orders
arrive at once, order cost is paid an order and holding cost a unit and period. Arrays broadcast; one entry a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.stock.rates import Floats, FloatsLike, Period, Rate, same_period


@dataclass(frozen=True)
class Lot:
    """One order's size, how often, and what it costs a period (`per`); `short_share` of demand waits, if any may."""

    units: Floats
    orders: Floats
    cost: Floats
    per: Period
    short_share: Floats | float = 0.0


def economic_order_quantity(demand: Rate, order_cost: FloatsLike, holding_cost: Rate) -> Lot:
    """The lot that makes order and holding cost a period least (theorem 3.1).

    Raises MixedPeriods where demand and holding cost are of different periods, ValueError where a cost is not positive.

    >>> lot = economic_order_quantity(Rate(10_000, "year"), 50, Rate(2, "year"))
    >>> lot.units.round(4), lot.orders.round(2), lot.cost.round(2)
    (np.float64(707.1068), np.float64(14.14), np.float64(1414.21))
    """
    per = same_period(demand=demand, holding_cost=holding_cost)
    rate, fixed, holding = _positive(demand.values, order_cost, holding_cost.values)
    units = np.sqrt(2.0 * fixed * rate / holding)
    return Lot(units, _over(rate, units), np.sqrt(2.0 * fixed * rate * holding), per)


def economic_order_quantity_with_backorders(
    demand: Rate, order_cost: FloatsLike, holding_cost: Rate, backorder_cost: Rate
) -> Lot:
    """The lot when customers wait at `backorder_cost` a unit and period; `short_share` of each lot is owed (3.5).

    >>> lot = economic_order_quantity_with_backorders(Rate(1300, "year"), 8, Rate(0.225, "year"), Rate(5, "year"))
    >>> lot.units.round(2), lot.cost.round(2)
    (np.float64(310.81), np.float64(66.92))
    """
    per = same_period(demand=demand, holding_cost=holding_cost, backorder_cost=backorder_cost)
    rate, fixed, holding = _positive(demand.values, order_cost, holding_cost.values)
    short = np.asarray(backorder_cost.values)
    if not bool((short > 0).all()):
        raise ValueError("backorder_cost must be positive")
    units = np.sqrt(2.0 * fixed * rate * (holding + short) / (holding * short))
    cost = np.sqrt(2.0 * fixed * rate * holding * short / (holding + short))
    return Lot(units, _over(rate, units), cost, per, holding / (holding + short))


def economic_order_quantity_with_discounts(
    demand: Rate,
    order_cost: FloatsLike,
    holding_rate: Rate,
    break_units: FloatsLike,
    unit_costs: FloatsLike,
    *,
    on_all_units: bool = True,
) -> Lot:
    """The lot when a unit costs `unit_costs[k]` from `break_units[k]` units on (3.4); cost includes the purchase.

    `holding_rate` is money a unit of money held and period; `break_units` (K,) starts at 0 and ascends. With
    `on_all_units` the lower price is for the whole lot, else for the units beyond the break. One row or many.

    >>> lot = economic_order_quantity_with_discounts(
    ...     Rate(1300, "year"), 8, Rate(0.3, "year"), [0, 400, 800], [0.75, 0.72, 0.68])
    >>> lot.units, lot.cost.round(3)
    (array(800.), np.float64(978.6))
    """
    per = same_period(demand=demand, holding_rate=holding_rate)
    rate, fixed, interest = (v[..., None] for v in _positive(demand.values, order_cost, holding_rate.values))
    breaks, prices = np.asarray(break_units, dtype=np.float64), np.asarray(unit_costs, dtype=np.float64)
    if breaks[0] != 0 or not bool((np.diff(breaks) > 0).all()) or not bool((np.diff(prices) < 0).all()):
        raise ValueError("break_units start at 0 and ascend, unit_costs descend")
    ends = np.append(breaks[1:], np.inf)
    # Incremental: the first units of a lot in range k cost sum (price_j - price_{j+1}) x break_{j+1} more than price_k.
    extra = np.concatenate([[0.0], np.cumsum((prices[:-1] - prices[1:]) * breaks[1:])]) * (not on_all_units)
    best = np.sqrt(2.0 * (fixed + extra) * rate / (interest * prices))
    units = np.clip(best, breaks, ends) if on_all_units else best
    allowed = units < ends if on_all_units else (units >= breaks) & (units < ends)
    safe = np.where(allowed & (units > 0), units, 1.0)
    cost = prices * rate + (fixed + extra) * rate / safe + interest * (prices * safe + extra) / 2.0
    cost = np.where(allowed & (units > 0), cost, np.inf)
    k = np.argmin(cost, axis=-1)[..., None]
    lot = np.take_along_axis(np.broadcast_to(units, cost.shape), k, -1)[..., 0]
    return Lot(lot, _over(rate[..., 0], lot), np.take_along_axis(cost, k, -1)[..., 0], per)


def fixed_period_units(demand: Rate, days: FloatsLike) -> Floats:
    """What `days` of demand come to: the lot of somebody who orders every so many days.

    >>> fixed_period_units(Rate(20.0, "day"), 14)
    np.float64(280.0)
    """
    return np.asarray(demand.to("day").values * np.asarray(days, dtype=np.float64))[()]


def _positive(demand: Floats, order_cost: FloatsLike, holding: Floats) -> tuple[Floats, Floats, Floats]:
    fixed = np.asarray(order_cost, dtype=np.float64)
    if not (bool((demand >= 0).all()) and bool((fixed > 0).all()) and bool((holding > 0).all())):
        raise ValueError("demand must not be negative, order and holding cost must be positive")
    rate, fixed, holding = np.broadcast_arrays(demand, fixed, holding)
    return rate, fixed, holding


def _over(rate: Floats, units: Floats) -> Floats:
    return np.where(units > 0, rate / np.where(units > 0, units, 1.0), 0.0)[()]
