"""A shop under a policy: thresholds a period in, stock, sales and orders a period out. Many rows at once.

At the end of period t, if it is a review, the position (on hand + on order - waiting) is compared with `point[t]`; at
or under it, whole packs are ordered up to `up_to[t]` (`reorder.order_quantity_milli`). What is ordered at the end of t
with lead time L arrives before period t + 1 + L opens. Unmet demand is lost, or waits. It is the shop that `restock
backtest` puts around the planner's fold, so both give the same days where the planner reviews at closings.

Arrays are (T, n), quantities int64 milli.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.stock.reorder import Floats, Ints, order_quantity_milli


@dataclass(frozen=True)
class Thresholds:
    """A policy's numbers as they stand at the end of each period: reorder point and order-up-to level (T, n)."""

    point: Ints
    up_to: Ints


@dataclass(frozen=True)
class Shop:
    """What surrounds every policy alike: demand (T, n), whole lead times (T, n), the stock it opens with (n,)."""

    demand: Ints
    lead: Ints
    opening: Ints
    pack: Ints | int = 1000
    review: int = 1
    first_review: int = 0
    backorders: bool = False


@dataclass(frozen=True)
class Days:
    """What happened, (T, n): stock and orders under way at the end of the period, what was ordered then, what came."""

    on_hand: Ints
    on_order: Ints
    sold: Ints
    lost: Ints
    ordered: Ints
    arrived: Ints


def simulate(shop: Shop, thresholds: Thresholds) -> Days:
    """Run the shop; rows do not know of each other.

    >>> ten = np.full((4, 1), 2_000)
    >>> shop = Shop(ten, np.zeros((4, 1), int), np.array([5_000]))
    >>> simulate(shop, Thresholds(np.full((4, 1), 2_000), np.full((4, 1), 6_000))).on_hand[:, 0].tolist()
    [3000, 1000, 4000, 2000]
    """
    periods, rows = shop.demand.shape
    longest = int(shop.lead.max(initial=0)) + 1
    coming = np.zeros((periods + longest + 1, rows), np.int64)
    every = np.arange(rows)
    on_hand, on_order, waiting = shop.opening.astype(np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    out = Days(*(np.zeros((periods, rows), np.int64) for _ in range(6)))
    for t in range(periods):
        arrived = coming[t]
        on_hand, on_order = on_hand + arrived, on_order - arrived
        served = np.minimum(waiting, on_hand)
        on_hand, waiting = on_hand - served, waiting - served
        sold = np.minimum(shop.demand[t], on_hand)
        short = shop.demand[t] - sold
        on_hand = on_hand - sold
        if shop.backorders:
            waiting = waiting + short
        if (t + shop.first_review) % shop.review == 0:
            position = on_hand + on_order - waiting
            order = order_quantity_milli(position, thresholds.point[t], thresholds.up_to[t], shop.pack)
            np.add.at(coming, (t + 1 + shop.lead[t], every), order)
            on_order = on_order + order
            out.ordered[t] = order
        out.on_hand[t], out.on_order[t], out.sold[t], out.lost[t], out.arrived[t] = (
            on_hand, on_order, sold, short, arrived,
        )  # fmt: skip
    return out


# --- what it was worth ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Service:
    """How well customers were served, and with how much. Units, not milli; money where values are known."""

    fill_rate: float
    cycle_service: float
    cycles: int
    stockout_share: float
    stockout_days: int
    mean_stock_units: float
    mean_stock_money: float
    days_of_cover: float
    turnover_year: float
    slow_share: float
    dead_share: float
    orders: int
    cost: float
    profit: float


@dataclass(frozen=True)
class Money:
    """Worth of a unit (n,): what it costs and what it sells for; an order's cost; holding a unit's cost a period."""

    cost: Floats
    price: Floats
    order: float
    holding_share: float


def cycles_kept(days: Days) -> tuple[Ints, Ints]:
    """Per row (n,), complete replenishment cycles, and those in which nobody found nothing.

    A cycle runs from one arrival to the next. What lies before the first arrival and after the last is none.

    >>> zero, lost = np.zeros((5, 1), int), np.array([[0], [1], [0], [0], [0]])
    >>> arrived = np.array([[1], [0], [1], [0], [1]])
    >>> [v.tolist() for v in cycles_kept(Days(zero, zero, zero, lost, zero, arrived))]
    [[2], [1]]
    """
    number = np.cumsum(days.arrived > 0, axis=0)
    last = number[-1] if len(number) else np.zeros(0, np.int64)
    rows = np.broadcast_to(np.arange(number.shape[1]), number.shape)
    inside = (number > 0) & (number < last)
    missed = inside & (days.lost > 0)
    most = int(number.max(initial=0)) + 1
    broken = np.unique(rows[missed] * most + number[missed]) // most
    counts = np.maximum(last - 1, 0)
    return counts, np.asarray(counts - np.bincount(broken, minlength=number.shape[1]))


def service(days: Days, demand: Ints, money: Money, periods_year: float) -> Service:
    """Scores of a simulation; the definitions are in docs/backtest.md. Shapes as in `Days`."""
    counts, kept = cycles_kept(days)
    wanted, sold = demand.sum() / 1000.0, days.sold.sum() / 1000.0
    stock = days.on_hand / 1000.0
    periods = len(stock)
    mean = stock.mean(axis=0) if periods else np.zeros(0)
    rate = demand.sum(axis=0) / 1000.0 / max(periods, 1)
    total_rate = float(rate.sum())
    orders = int((days.ordered > 0).sum())
    holding = float((mean * money.cost).sum()) * money.holding_share * periods
    cost = holding + orders * money.order
    margin = float(((money.price - money.cost) * days.sold.sum(axis=0) / 1000.0).sum())
    value = float((mean * money.cost).sum())
    slow = mean > np.maximum(rate, 0.0) * periods_year / 4.0
    out = days.lost > 0
    return Service(
        fill_rate=float(sold / wanted) if wanted > 0 else 1.0,
        cycle_service=float(kept.sum() / counts.sum()) if counts.sum() else 1.0,
        cycles=int(counts.sum()),
        stockout_share=float(out.mean()) if out.size else 0.0,
        stockout_days=int(out.sum()),
        mean_stock_units=float(mean.sum()),
        mean_stock_money=value,
        days_of_cover=float(mean.sum() / total_rate) if total_rate > 0 else 0.0,
        turnover_year=float(sold / max(periods, 1) * periods_year / mean.sum()) if mean.sum() > 0 else 0.0,
        slow_share=float(mean[slow].sum() / mean.sum()) if mean.sum() > 0 else 0.0,
        dead_share=float(mean[rate == 0].sum() / mean.sum()) if mean.sum() > 0 else 0.0,
        orders=orders,
        cost=cost,
        profit=margin - cost,
    )
