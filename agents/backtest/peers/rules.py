"""What most shops run today: rules on means, deviations and past sums.

All count a period without exposure as not seen; sums over seen periods are scaled to whole ones.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from agents.backtest.history import Floats, History
from agents.backtest.methods import Sums
from agents.planner.plan import LEVELS

MONTH_PERIODS = {"day": 28, "week": 8, "month": 6}  # of the textbook's mean
RESET_PERIODS = {"day": 28, "week": 4, "month": 1}  # static limits "redone monthly"
YEAR_PERIODS = {"day": 364, "week": 52, "month": 12}
SUMS_KEPT = {"day": 91, "week": 52, "month": 24}  # overlapping sums an empirical quantile is read from


def textbook(history: History, first: int, last: int, horizon: int) -> Sums:
    """Mean and deviation of the last 28 days, times L and the root of L, normal."""
    window = MONTH_PERIODS[history.period]
    mean, sd = _moments(history, window)
    at = np.arange(first, last + 1)
    return _normal(mean[:, at].T, sd[:, at].T, horizon)


def static(history: History, first: int, last: int, horizon: int, *, monthly: bool) -> Sums:
    """Min/max as an ERP's planner sets it: from the year before, once a year, or redone every month."""
    mean, sd = _moments(history, YEAR_PERIODS[history.period])
    every = (RESET_PERIODS if monthly else YEAR_PERIODS)[history.period]
    at = np.arange(first, last + 1)
    at = first + (at - first) // every * every
    return _normal(mean[:, at].T, sd[:, at].T, horizon)


def empirical(history: History, first: int, last: int, horizon: int) -> Sums:
    """Quantiles of the row's own last overlapping sums."""
    kept = SUMS_KEPT[history.period]
    demand = _filled(history)
    total = np.concatenate([np.zeros((len(demand), 1)), np.cumsum(demand, axis=1)], axis=1)
    sums = total[:, horizon:] - total[:, :-horizon]  # sums[:, j] ends with period j + horizon - 1
    means, quantiles = [], []
    for t in range(first, last + 1):
        stop = max(t - horizon + 2, 1)
        past = sums[:, max(0, stop - kept) : stop]
        means.append(past.mean(axis=1))
        quantiles.append(np.quantile(past, LEVELS, axis=1, method="higher").T)
    return Sums(np.stack(means), np.stack(quantiles))


def _normal(mean: Floats, sd: Floats, horizon: int) -> Sums:
    total = mean * horizon
    spread = sd * np.sqrt(horizon)
    return Sums(total, np.maximum(total[:, :, None] + spread[:, :, None] * ndtri(LEVELS), 0.0))


def _moments(history: History, window: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (n, T) over the last `window` periods that could be seen, at the end of each."""
    seen = (history.exposure > 0).astype(np.float64)
    units = np.where(seen > 0, history.demand, 0.0)

    def over(values: Floats) -> Floats:
        total = np.cumsum(values, axis=1)
        before = np.concatenate([np.zeros((len(total), window)), total[:, :-window]], axis=1)
        return np.asarray(total - before[:, : total.shape[1]])

    count = np.maximum(over(seen), 1.0)
    mean = over(units) / count
    variance = np.maximum(over(units * units) / count - mean * mean, 0.0) * count / np.maximum(count - 1.0, 1.0)
    return mean, np.sqrt(variance)


def _filled(history: History) -> Floats:
    """Demand with the row's mean so far where nothing could be seen."""
    seen = history.exposure > 0
    units = np.where(seen, history.demand, 0.0)
    mean = np.cumsum(units, axis=1) / np.maximum(np.cumsum(seen, axis=1), 1)
    return np.where(seen, units, mean)
