"""One multiplier over all rows: an asked *total* fill rate, or a budget, with the least money in stock.

Idea. The next unit held for a row costs its `unit_cost` while it lies there, chance F(q) of being left over, and saves
`worth` (a unit sold: 1; or its margin) with chance 1 - F(q). Spending where saved worth for held money is greatest
makes worth (1 - F) / (unit_cost F) equal for all rows: F = worth / (worth + multiplier x unit_cost), the newsvendor's
ratio with one price for money (Lagrange; Everett 1963). With equal costs and worths that is one quantile for all rows;
with real ones equal service would hold dear things that earn little.

Rows are described by quantiles (n, K) of demand over their wait at ascending `levels` (K,), straight between levels,
mirrored in roots under the median, and with an exponential tail beyond the last. Expected units are of that curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.stock.rates import Floats, FloatsLike

LOWEST_LEVEL, HIGHEST_LEVEL = 0.05, 0.999
BISECTIONS = 80  # halve the logarithm of the multiplier from 1e-12..1e12 down to rounding


@dataclass(frozen=True)
class Portfolio:
    """A level and a stock a row, what they hold and miss, and the multiplier (worth a unit of money held saves)."""

    service_level: Floats
    stock_units: Floats
    short_units: Floats
    money: float
    fill_rate: float
    multiplier: float


class QuantileCurve:
    """Demand of n rows known by quantiles: its quantile, and the expected shortfall, at any level.

    `straight`: no mirror; down from the lowest level in a line to zero demand, as version 1 of the planner decides.
    """

    def __init__(self, levels: Floats, quantile_units: Floats, *, straight: bool = False) -> None:
        known = np.maximum.accumulate(np.maximum(np.asarray(quantile_units, dtype=np.float64), 0.0), axis=1)
        given = np.asarray(levels, dtype=np.float64)
        lower, mirrored = _mirrored(given, known[:, :0] if straight else known)
        quantile = np.concatenate([mirrored, known], axis=1)
        self.levels = np.concatenate([[0.0], lower, given])
        self.units = np.concatenate([np.zeros((len(quantile), 1)), quantile], axis=1)
        # Tail: exponential, its mean overshoot m set so that it passes through the last two quantiles.
        last = np.log((1.0 - self.levels[-2]) / (1.0 - self.levels[-1]))
        self.overshoot = (self.units[:, -1] - self.units[:, -2]) / last
        widths, middle = np.diff(self.levels), (self.units[:, 1:] + self.units[:, :-1]) / 2.0
        beyond = (1.0 - self.levels[-1]) * (self.units[:, -1] + self.overshoot)
        parts = np.concatenate([middle * widths, beyond[:, None]], axis=1)
        self.above = np.cumsum(parts[:, ::-1], axis=1)[:, ::-1]  # E[D; level > levels[k]]

    @property
    def mean_units(self) -> Floats:
        """Mean demand (n,) of the curve."""
        return self.above[:, 0]

    def at(self, level: Floats) -> tuple[Floats, Floats]:
        """Quantile (n,) and expected shortfall of holding it (n,), at `level` (n,)."""
        rows, last = np.arange(len(self.units)), len(self.levels) - 1
        k = np.clip(np.searchsorted(self.levels, level, side="right") - 1, 0, last)
        up = np.minimum(k + 1, last)
        width = np.where(up > k, self.levels[up] - self.levels[k], 1.0)
        part = (level - self.levels[k]) / width
        inside = self.units[rows, k] + part * (self.units[rows, up] - self.units[rows, k])
        between = self.above[rows, k] - (level - self.levels[k]) * (self.units[rows, k] + inside) / 2.0
        over = np.log((1.0 - self.levels[-1]) / (1.0 - np.maximum(level, self.levels[-1])))
        tail = self.units[:, -1] + self.overshoot * over
        units = np.where(k == last, tail, inside)
        short = np.where(k == last, (1.0 - level) * self.overshoot, between - (1.0 - level) * inside)
        return units, np.maximum(short, 0.0)


def _mirrored(levels: Floats, quantile_units: Floats) -> tuple[Floats, Floats]:
    """Levels under the median, and their quantiles (n, k): in roots as far under it as those over it are above.

    Demand is skewed and never negative; roots of counts, and nearly those of gamma demand, lie even about their middle
    (Anscombe 1948). None where the lowest level is not the median.
    """
    if levels[0] != 0.5 or quantile_units.shape[1] == 0:
        return np.zeros(0), np.zeros((len(quantile_units), 0))
    upper, median = quantile_units[:, :0:-1], quantile_units[:, :1]
    return 1.0 - levels[:0:-1], np.maximum(2.0 * np.sqrt(median) - np.sqrt(upper), 0.0) ** 2


def for_fill_rate(
    levels: Floats,
    quantile_units: Floats,
    cycle_units: Floats,
    fill_rate: float,
    unit_cost: FloatsLike = 1.0,
    worth: FloatsLike = 1.0,
) -> Portfolio:
    """Stock a row so that the total fill rate is at least `fill_rate` (of worth) with the least money left in stock.

    `cycle_units` (n,) is demand between two orders: units short a cycle are measured against it.
    """
    if not 0.0 < fill_rate < 1.0:
        raise ValueError(f"fill_rate must lie in (0, 1); got {fill_rate}")
    return _bisect(levels, quantile_units, cycle_units, unit_cost, worth, lambda p: p.fill_rate >= fill_rate)


def for_budget(
    levels: Floats,
    quantile_units: Floats,
    cycle_units: Floats,
    money: float,
    unit_cost: FloatsLike = 1.0,
    worth: FloatsLike = 1.0,
) -> Portfolio:
    """Stock a row so that expected money left in stock is at most `money`, and the most worth is served with it."""
    spent = _bisect(levels, quantile_units, cycle_units, unit_cost, worth, lambda p: p.money > money)
    return _at(QuantileCurve(levels, quantile_units), cycle_units, unit_cost, worth, spent.multiplier * (1.0 + 1e-9))


def at_levels(
    levels: Floats,
    quantile_units: Floats,
    cycle_units: Floats,
    service_level: Floats,
    unit_cost: FloatsLike = 1.0,
    worth: FloatsLike = 1.0,
) -> Portfolio:
    """What rows hold and miss at cycle service levels (n,) of their own; the multiplier is NaN, as there is none."""
    return _held(QuantileCurve(levels, quantile_units), cycle_units, service_level, unit_cost, worth, np.nan)


def level_for_fill_rate(
    levels: Floats, quantile_units: Floats, cycle_units: Floats, fill_rate: FloatsLike, *, straight: bool = False
) -> Floats:
    """The cycle service level (n,) at which each row by itself reaches the `fill_rate` (n,) it was promised."""
    curve = QuantileCurve(levels, quantile_units, straight=straight)
    asked = np.broadcast_to(np.asarray(fill_rate, dtype=np.float64), cycle_units.shape)
    low, high = np.full(len(cycle_units), LOWEST_LEVEL), np.full(len(cycle_units), HIGHEST_LEVEL)
    for _ in range(60):
        middle = (low + high) / 2.0
        enough = curve.at(middle)[1] <= (1.0 - asked) * cycle_units
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def _bisect(
    levels: Floats,
    quantile_units: Floats,
    cycle_units: Floats,
    unit_cost: FloatsLike,
    worth: FloatsLike,
    enough: Callable[[Portfolio], bool],
) -> Portfolio:
    """The largest multiplier (least stock) at which `enough` still holds."""
    curve = QuantileCurve(levels, quantile_units)
    low, high = -12.0, 12.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        if enough(_at(curve, cycle_units, unit_cost, worth, 10.0**middle)):
            low = middle
        else:
            high = middle
    return _at(curve, cycle_units, unit_cost, worth, 10.0**low)


def _at(
    curve: QuantileCurve, cycle_units: Floats, unit_cost: FloatsLike, worth: FloatsLike, multiplier: float
) -> Portfolio:
    n = len(curve.units)
    cost = np.broadcast_to(np.asarray(unit_cost, dtype=np.float64), (n,))
    value = np.broadcast_to(np.asarray(worth, dtype=np.float64), (n,))
    level = np.clip(value / (value + multiplier * cost), LOWEST_LEVEL, HIGHEST_LEVEL)
    return _held(curve, cycle_units, level, cost, value, multiplier)


def _held(
    curve: QuantileCurve,
    cycle_units: Floats,
    level: Floats,
    unit_cost: FloatsLike,
    worth: FloatsLike,
    multiplier: float,
) -> Portfolio:
    cost, value = (np.broadcast_to(np.asarray(amount, np.float64), level.shape) for amount in (unit_cost, worth))
    units, short = curve.at(level)
    left = units - curve.mean_units + short
    asked = float((value * cycle_units).sum())
    fill = 1.0 - float((value * np.minimum(short, cycle_units)).sum()) / asked if asked > 0 else 1.0
    return Portfolio(level, units, short, float((cost * np.maximum(left, 0.0)).sum()), fill, multiplier)
