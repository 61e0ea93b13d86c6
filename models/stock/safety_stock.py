"""What to hold beyond the mean of demand over the wait, by what is known of that demand.

Where the forecaster gives quantiles of the summed demand, use those (`models.stock.reorder`): they need no shape. These
are the textbook forms, for explanation, for comparison, and for rows somebody describes by hand. Service levels are
*cycle* service levels: the chance that a cycle ends without a stock-out. Arrays broadcast; periods are whatever period
`mean` and `sd` are of, and `wait` is counted in it.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from models.stock.loss import negative_binomial_parameters
from models.stock.rates import Floats, FloatsLike


def normal_safety_stock_units(service_level: FloatsLike, sd: FloatsLike, wait: FloatsLike) -> Floats:
    """Normal demand, independent by period, over a fixed wait: z sd sqrt(wait) (Snyder & Shen 4.3).

    >>> normal_safety_stock_units(0.95, 2.0, 9.0).round(2)
    np.float64(9.87)
    """
    z = stats.norm.ppf(_level(service_level))
    return np.asarray(z * np.asarray(sd) * np.sqrt(np.asarray(wait, dtype=np.float64)))[()]


def stochastic_wait_sd(mean: FloatsLike, sd: FloatsLike, wait_mean: FloatsLike, wait_sd: FloatsLike) -> Floats:
    """Standard deviation of demand over a wait that varies itself: sqrt(L sd^2 + mean^2 sd_L^2) (Silver et al. 7.8).

    >>> stochastic_wait_sd(10.0, 3.0, 4.0, 1.5).round(4)
    np.float64(16.1555)
    """
    m, s, w, v = (np.asarray(a, dtype=np.float64) for a in (mean, sd, wait_mean, wait_sd))
    return np.sqrt(w * s * s + m * m * v * v)[()]


def stochastic_safety_stock_units(
    service_level: FloatsLike, mean: FloatsLike, sd: FloatsLike, wait_mean: FloatsLike, wait_sd: FloatsLike
) -> Floats:
    """Normal demand over an uncertain wait."""
    return np.asarray(stats.norm.ppf(_level(service_level)) * stochastic_wait_sd(mean, sd, wait_mean, wait_sd))[()]


def gamma_safety_stock_units(service_level: FloatsLike, mean_sum: FloatsLike, sd_sum: FloatsLike) -> Floats:
    """Gamma demand over the wait (never negative, skewed), given mean and sd of the *sum* (Burgin 1975)."""
    m, s = np.asarray(mean_sum, dtype=np.float64), np.asarray(sd_sum, dtype=np.float64)
    return np.asarray(stats.gamma.ppf(_level(service_level), (m / s) ** 2, scale=s * s / m) - m)[()]


def negative_binomial_safety_stock_units(
    service_level: FloatsLike, mean_sum: FloatsLike, variance_sum: FloatsLike
) -> Floats:
    """Counts with a variance over their mean; reorder point in whole units (Syntetos & Boylan 2006)."""
    r, p = negative_binomial_parameters(mean_sum, variance_sum)
    return np.asarray(stats.nbinom.ppf(_level(service_level), r, p) - np.asarray(mean_sum))[()]


def empirical_safety_stock_units(service_level: FloatsLike, sums: Floats) -> Floats:
    """From past demand over waits, `sums` (n, W): the smallest of them that covers the level, less their mean."""
    level = np.broadcast_to(_level(service_level), sums.shape[:1])
    ordered = np.sort(sums, axis=1)
    at = np.clip(np.ceil(level * sums.shape[1] - 1e-9).astype(np.int64) - 1, 0, sums.shape[1] - 1)
    return np.asarray(ordered[np.arange(len(sums)), at] - sums.mean(axis=1))


def _level(service_level: FloatsLike) -> Floats:
    level = np.asarray(service_level, dtype=np.float64)
    if not bool(((level > 0) & (level < 1)).all()):
        raise ValueError("service_level must lie in (0, 1)")
    return level
