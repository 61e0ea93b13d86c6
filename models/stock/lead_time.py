"""Lead times that vary: demand over a wait whose length is not known is a mixture of demand over several lengths.

The usual textbook term, z x rate x sd(lead) in quadrature (Silver, Pyke & Thomas, Inventory and Production Management,
6.10), takes demand and wait as normal. Here the wait has three lengths that keep its mean and sd (Gauss-Hermite nodes:
mean and mean +- sqrt(3) sd, weights 2/3, 1/6, 1/6), and quantiles are read off the mixture of the three forecasts.

Mean and sd are learnt from waits that are over, drawn to what was known before (`drawn`), and from those that are not:
an order that is overdue counts as what a normal wait that outlasts its age would be on average (`outlasting`), which is
the expectation step for right-censored normal data (Dempster, Laird & Rubin 1977, 4.2).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from models.stock.rates import Floats

NODES = (0.0, -np.sqrt(3.0), np.sqrt(3.0))  # in sd from the mean
WEIGHTS = (2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0)
BISECTIONS = 16  # 1/65,536 of the distance between the shortest and the longest wait's quantile


def waits_days(lead_days: Floats, lead_days_sd: Floats) -> Floats:
    """The three lengths (n, 3) of a wait, the mean first; never under half a day.

    >>> waits_days(np.array([9.0]), np.array([2.0])).round(2)
    array([[ 9.  ,  5.54, 12.46]])
    """
    lengths = [lead_days + node * lead_days_sd for node in NODES]
    return np.asarray(np.maximum(np.stack(lengths, axis=1), 0.5))


def drawn(prior_days: Floats, prior_sd: Floats, prior_weight: float, sums: Floats) -> tuple[Floats, Floats]:
    """Mean and sd (n,) of waits known by `sums` (n, 3): their weight, weighted days and days squared.

    The prior counts as `prior_weight` waits; a prior sd of 0 is none, and then spread is what the waits say alone.

    >>> waits = np.array([8.0, 12.0, 10.0, 10.0])
    >>> sums = np.array([[4.0, waits.sum(), (waits**2).sum()]])
    >>> [x.round(3).tolist() for x in drawn(np.array([7.0]), np.array([0.0]), 4.0, sums)]
    [[8.5], [1.633]]
    """
    weight, total, squares = sums[:, 0], sums[:, 1], sums[:, 2]
    mean = (prior_weight * prior_days + total) / (prior_weight + weight)
    scatter = np.maximum(squares - total * total / np.maximum(weight, 1e-9), 0.0)
    before = np.where(prior_sd > 0, prior_weight, 0.0)
    spread = (before * prior_sd**2 + scatter) / np.maximum(before + weight - 1.0, 1.0)
    return np.asarray(mean), np.sqrt(np.where(weight > 0, spread, prior_sd**2))


def outlasting(mean_days: float, sd_days: float, age_days: float) -> tuple[float, float]:
    """Mean and mean square of a normal wait that is known to outlast `age_days`.

    >>> [round(x, 3) for x in outlasting(7.0, 2.0, 7.0)]  # half a normal: 7 + 2 sqrt(2 / pi)
    [8.596, 75.341]
    """
    beyond = (age_days - mean_days) / sd_days
    hazard = float(np.exp(-0.5 * beyond * beyond - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-beyond)))
    return (
        mean_days + sd_days * hazard,
        mean_days**2 + sd_days**2 + sd_days * (mean_days + age_days) * hazard,
    )


def mixture_quantile_units(levels: Floats, quantile_units: Floats, asked: Floats) -> Floats:
    """Quantiles (n,) at `asked` (n,) of the mixture of three demands known by `quantile_units` (n, 3, K) at `levels`.

    Between levels a curve is straight, from zero at level 0; beyond the last its chance falls with the square of the
    distance. An `asked` over the last level counts as that.

    >>> levels = np.array([0.5, 0.9])
    >>> mixture_quantile_units(levels, np.array([[[9.0, 18.0], [6.0, 12.0], [12.0, 24.0]]]), np.array([0.9])).round(2)
    array([19.9])
    """
    rows = np.arange(len(quantile_units))
    asked = np.minimum(asked, levels[-1])
    own = np.stack([_at(levels, quantile_units[:, k], asked) for k in range(len(WEIGHTS))], axis=1)
    low, high = own.min(axis=1), own.max(axis=1)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        reached = np.zeros(len(rows))
        for k, weight in enumerate(WEIGHTS):
            reached = reached + weight * _chance_within(levels, quantile_units[:, k], middle)
        low, high = np.where(reached < asked, middle, low), np.where(reached < asked, high, middle)
    return np.asarray(high)


def _at(levels: Floats, quantile: Floats, asked: Floats) -> Floats:
    """Quantile (n,) at `asked` (n,) of curves (n, K)."""
    level, curve = _from_zero(levels, quantile)
    up = np.clip(np.searchsorted(level, asked), 1, len(level) - 1)
    rows = np.arange(len(curve))
    part = (asked - level[up - 1]) / (level[up] - level[up - 1])
    return np.asarray(curve[rows, up - 1] + part * (curve[rows, up] - curve[rows, up - 1]))


def _chance_within(levels: Floats, quantile: Floats, units: Floats) -> Floats:
    """Chance (n,) that demand is at most `units` (n,)."""
    level, curve = _from_zero(levels, quantile)
    last = len(level) - 1
    at = np.clip((curve <= units[:, None]).sum(axis=1) - 1, 0, last)
    up, rows = np.minimum(at + 1, last), np.arange(len(curve))
    gap = curve[rows, up] - curve[rows, at]
    part = np.where(gap > 0, (units - curve[rows, at]) / np.where(gap > 0, gap, 1.0), 0.0)
    inside = level[at] + np.clip(part, 0.0, 1.0) * (level[up] - level[at])
    ratio = curve[:, -1] / np.where(units > 0, units, 1.0)
    return np.asarray(np.where(at == last, 1.0 - (1.0 - level[-1]) * np.minimum(ratio * ratio, 1.0), inside))


def _from_zero(levels: Floats, quantile: Floats) -> tuple[Floats, Floats]:
    return np.concatenate([[0.0], levels]), np.concatenate([np.zeros((len(quantile), 1)), quantile], axis=1)
