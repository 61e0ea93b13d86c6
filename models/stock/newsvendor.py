"""One period, one order: hold the quantile at which the next unit is as likely to be too many as worth having.

Source: Snyder & Shen, section 4.3. `over_cost` is lost on a unit left over, `under_cost` on a unit missing; the best
stock is the under / (under + over) quantile of demand (the critical ratio).
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from models.stock.loss import discrete_shortfall_units, normal_shortfall_units, poisson_shortfall_units
from models.stock.rates import Floats, FloatsLike


def critical_ratio(over_cost: FloatsLike, under_cost: FloatsLike) -> Floats:
    """The service level at which cost is least.

    >>> critical_ratio(0.18, 0.70).round(4)
    np.float64(0.7955)
    """
    over, under = np.asarray(over_cost, dtype=np.float64), np.asarray(under_cost, dtype=np.float64)
    if not bool(((over > 0) & (under > 0)).all()):
        raise ValueError("over_cost and under_cost must be positive")
    return (under / (under + over))[()]


def newsvendor_normal(over_cost: FloatsLike, under_cost: FloatsLike, mean: FloatsLike, sd: FloatsLike) -> Floats:
    """Best stock for normal demand.

    >>> newsvendor_normal(0.18, 0.70, 50.0, 8.0).round(4)
    np.float64(56.604)
    """
    z = stats.norm.ppf(critical_ratio(over_cost, under_cost))
    return np.asarray(np.asarray(mean) + z * np.asarray(sd), dtype=np.float64)[()]


def newsvendor_normal_cost(
    stock: FloatsLike, over_cost: FloatsLike, under_cost: FloatsLike, mean: FloatsLike, sd: FloatsLike
) -> Floats:
    """Expected cost of a stock under normal demand."""
    short = normal_shortfall_units(stock, mean, sd)
    left = np.asarray(stock) - np.asarray(mean) + short
    return np.asarray(np.asarray(over_cost) * left + np.asarray(under_cost) * short)[()]


def newsvendor_poisson(over_cost: FloatsLike, under_cost: FloatsLike, mean: FloatsLike) -> Floats:
    """Best whole stock for Poisson demand: the first at which P(D <= x) reaches the critical ratio."""
    return np.asarray(stats.poisson.ppf(critical_ratio(over_cost, under_cost), mean), dtype=np.float64)[()]


def newsvendor_poisson_cost(
    stock: FloatsLike, over_cost: FloatsLike, under_cost: FloatsLike, mean: FloatsLike
) -> Floats:
    """Expected cost of a whole stock under Poisson demand."""
    short = poisson_shortfall_units(stock, mean)
    left = np.asarray(stock) - np.asarray(mean) + short
    return np.asarray(np.asarray(over_cost) * left + np.asarray(under_cost) * short)[()]


def newsvendor_discrete(over_cost: float, under_cost: float, pmf: Floats) -> tuple[int, float]:
    """Best whole stock, and its cost, where demand is 0, 1, .. with probabilities `pmf` (D,), which sum to one.

    >>> newsvendor_discrete(1.0, 4.0, np.array([0.25, 0.5, 0.2, 0.05]))
    (2, 1.2)
    """
    if abs(float(pmf.sum()) - 1.0) > 1e-9:
        raise ValueError(f"probabilities must sum to one; they sum to {pmf.sum():.6f}")
    stock = min(int(np.searchsorted(np.cumsum(pmf), critical_ratio(over_cost, under_cost) - 1e-12)), len(pmf) - 1)
    short = float(discrete_shortfall_units(stock, pmf))
    left = stock - float(np.arange(len(pmf)) @ pmf) + short
    return stock, round(over_cost * left + under_cost * short, 12)


def newsvendor_quantile(
    over_cost: FloatsLike, under_cost: FloatsLike, levels: Floats, quantile_units: Floats
) -> Floats:
    """Best stock (n,) for forecast quantiles (n, K) at `levels` (K,): that of the critical ratio, interpolated.

    >>> newsvendor_quantile(1.0, 4.0, np.array([0.5, 0.9]), np.array([[10.0, 20.0]]))
    array([17.5])
    """
    ratio = np.broadcast_to(critical_ratio(over_cost, under_cost), quantile_units.shape[:1])
    return np.array([np.interp(r, levels, row) for r, row in zip(ratio, quantile_units, strict=True)])
