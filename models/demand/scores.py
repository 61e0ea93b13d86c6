"""How good forecasts were: one definition each, the same code in the backtest and live.

`actual` (M,) is demand summed over the horizon, `quantile` (M, K) at `levels` (K,), `mean` (M,).
"""

from __future__ import annotations

import numpy as np

from models.demand.contract import Floats

__all__ = ["bias", "coverage", "coverage_error", "crps", "mae", "mape", "mase", "pinball", "pit", "r2", "rmse", "wape"]


def pinball(actual: Floats, quantile: Floats, levels: Floats) -> Floats:
    """Pinball loss (n, K) of quantiles (n, K) against `actual` (n,).

    >>> pinball(np.array([10.0]), np.array([[8.0, 12.0]]), np.array([0.5, 0.9]))
    array([[1. , 0.2]])
    """
    error = actual[:, None] - quantile
    return np.asarray(np.maximum(levels * error, (levels - 1.0) * error))


def coverage(actual: Floats, quantile: Floats) -> tuple[Floats, Floats]:
    """Shares (K,) of actuals under, and at or under, each quantile: for counts, coverage is the interval between.

    >>> [v.tolist() for v in coverage(np.array([0.0, 0.0, 1.0, 3.0]), np.array([[1.0]] * 4))]
    [[0.5], [0.75]]
    """
    came = actual[:, None]
    return (came < quantile - 1e-9).mean(axis=0), (came <= quantile + 1e-9).mean(axis=0)


def coverage_error(actual: Floats, quantile: Floats, levels: Floats) -> Floats:
    """Distance (K,) of each level from its coverage interval: zero is calibrated."""
    under, within = coverage(actual, quantile)
    return np.asarray(np.maximum(0.0, np.maximum(levels - within, under - levels)))


def crps(actual: Floats, quantile: Floats, levels: Floats) -> Floats:
    """Continuous ranked probability score (M,) from the quantiles: twice the integral of pinball over the level.

    The integral is the trapezoid between levels, and the first and last loss out to 0 and 1; comparable only between
    forecasts at the same levels.
    """
    loss = pinball(actual, quantile, levels)
    inside = ((loss[:, 1:] + loss[:, :-1]) / 2.0 * np.diff(levels)).sum(axis=1)
    return np.asarray(2.0 * (inside + loss[:, 0] * levels[0] / 2.0 + loss[:, -1] * (1.0 - levels[-1]) / 2.0))


def pit(actual: Floats, quantile: Floats, levels: Floats, randomness: Floats) -> Floats:
    """Randomised probability integral transform (M,): uniform on 0..1 when calibrated (Czado, Gneiting & Held 2009).

    `randomness` (M,) in 0..1 spreads an actual over the levels its count covers; the caller brings it, with its seed.
    """
    edges = np.concatenate([[0.0], levels, [1.0]])
    lower = edges[(quantile < actual[:, None] - 1e-9).sum(axis=1)]
    upper = edges[(quantile <= actual[:, None] + 1e-9).sum(axis=1) + 1]
    return np.asarray(lower + randomness * (upper - lower))


def mae(actual: Floats, mean: Floats) -> float:
    """Mean absolute error."""
    return float(np.abs(actual - mean).mean())


def rmse(actual: Floats, mean: Floats) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(((actual - mean) ** 2).mean()))


def mape(actual: Floats, mean: Floats) -> tuple[float, float]:
    """Mean absolute error over the actual, zero actuals left out, and their share.

    >>> mape(np.array([10.0, 0.0]), np.array([8.0, 1.0]))
    (0.2, 0.5)
    """
    some = actual > 0
    if not some.any():
        return float("nan"), 1.0
    return float((np.abs(actual - mean)[some] / actual[some]).mean()), float(1.0 - some.mean())


def wape(actual: Floats, mean: Floats) -> float:
    """Sum of absolute errors over the sum of actuals."""
    return float(np.abs(actual - mean).sum() / max(float(actual.sum()), 1e-12))


def bias(actual: Floats, mean: Floats) -> float:
    """Forecast less actual, over actual: above zero is too much."""
    return float((mean.sum() - actual.sum()) / max(float(actual.sum()), 1e-12))


def r2(actual: Floats, mean: Floats) -> float:
    """Share of variance explained; below zero is worse than the mean."""
    return float(1.0 - ((actual - mean) ** 2).sum() / max(float(((actual - actual.mean()) ** 2).sum()), 1e-12))


def mase(actual: Floats, mean: Floats, naive_error: Floats) -> float:
    """Mean of absolute errors, each over its row's mean absolute naive error (M,) in history (Hyndman & Koehler 2006).

    RMSSE is the root of the mean of squares over squares: `rmsse`.
    """
    known = naive_error > 0
    if not known.any():
        return float("nan")
    return float((np.abs(actual - mean)[known] / naive_error[known]).mean())


def rmsse(actual: Floats, mean: Floats, naive_squared_error: Floats) -> float:
    """Root of the mean squared error over the row's mean squared naive error (M,) (M5 competition)."""
    known = naive_squared_error > 0
    if not known.any():
        return float("nan")
    return float(np.sqrt(((actual - mean) ** 2)[known] / naive_squared_error[known]).mean())
