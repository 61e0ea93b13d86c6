"""Peers: classical smoothers and statsforecast's automatic models, in the strongest form we know of them.

What they forecast is a mean. Their strongest form as quantiles of the *sum* over a horizon: the errors they made of
that very sum, each over its row's own mean error, pooled over rows of like size, times the row's mean error. A smoother
takes the best of its memories a row, by its past error. None of them knows a plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.demand.contract import Floats, Ints
from models.demand.smoothing import Croston, Forecaster, HoltWinters, SimpleSmoothing, Tsb

STEPS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
POOL_PERIODS = 60  # of errors behind an origin
LEAST_ERRORS = 30
SIZES = 3
AUTOMATIC = ("AutoETS", "AutoTheta", "CrostonSBA", "TSB")
LONGEST_HISTORY = 400  # periods an automatic model is fitted to: its cost grows with them

SMOOTHERS: dict[str, Callable[[int, int, float], Forecaster]] = {
    "simple": lambda rows, _season, step: SimpleSmoothing(rows, step),
    "Holt-Winters": lambda rows, season, step: HoltWinters(rows, season, step),
    "SBA": lambda rows, _season, step: Croston(rows, step, debiased=True),
    "TSB": lambda rows, _season, step: Tsb(rows, step),
}


@dataclass(frozen=True)
class PeerForecasts:
    """`mean` (O, n) and `quantiles` (O, n, K) of demand summed over the horizon after each of O origins."""

    mean: Floats
    quantiles: Floats


def smoother(
    name: str, units: Floats, exposure: Floats, horizon: int, origins: Ints, levels: Floats, *, season: int = 7
) -> PeerForecasts:
    """A smoother of SMOOTHERS over all rows, `units` and `exposure` (n, T), the best memory a row."""
    rows, periods = units.shape
    last = int(max(origins))
    told = np.zeros((len(STEPS), last + 1, rows))
    for i, step in enumerate(STEPS):
        model = SMOOTHERS[name](rows, season, step)
        for t in range(last + 1):
            model.learn(t, units[:, t], exposure[:, t])
            told[i, t] = model.mean_sum(t, horizon)
    actual, seen = sums(units, exposure, horizon)
    means, quantiles = [], []
    for origin in np.asarray(origins).tolist():
        made = np.arange(max(0, origin - horizon - 6 * POOL_PERIODS), origin - horizon + 1)
        made = made[made < periods]
        miss = np.where(seen[:, made], np.abs(told[:, made].transpose(0, 2, 1) - actual[:, made]), np.nan)
        with np.errstate(all="ignore"):
            cost = np.nan_to_num(_mean(miss), nan=0.0)
        best = np.argmin(cost, axis=0)
        past = told[best[:, None], made[None, -POOL_PERIODS:], np.arange(rows)[:, None]]
        recent = made[-POOL_PERIODS:]
        error = np.where(seen[:, recent], actual[:, recent] - past, np.nan)
        now = told[best, origin, np.arange(rows)]
        means.append(now)
        quantiles.append(pooled(now, error, cost[best, np.arange(rows)], levels))
    return PeerForecasts(np.array(means), np.array(quantiles))


def automatic(
    name: str, units: Floats, horizon: int, origins: Ints, levels: Floats, *, season: int = 7, calibrations: int = 8
) -> PeerForecasts:
    """A model of AUTOMATIC by statsforecast, fitted anew at each origin and at `calibrations` origins before the first.

    `units` (n, T). Costs 5 ms to 1 s a row and origin: sample the rows. Raises ModuleNotFoundError where statsforecast
    is not installed.
    """
    first, step = int(min(origins)), max(horizon, 1)
    before = [first - step * k for k in range(calibrations, 0, -1) if first - step * k >= 2 * max(season, 7)]
    asked = [*before, *np.asarray(origins).tolist()]
    told = {o: np.array([_automatic_sum(name, row[: o + 1], horizon, season) for row in units]) for o in asked}
    actual, _ = sums(units, np.ones_like(units), horizon)
    means, quantiles = [], []
    for origin in np.asarray(origins).tolist():
        known = [o for o in asked if o + horizon <= origin]
        error = np.stack([actual[:, o] - told[o] for o in known], axis=1)
        spread = np.abs(error).mean(axis=1)
        means.append(told[origin])
        quantiles.append(pooled(told[origin], error, spread, levels))
    return PeerForecasts(np.array(means), np.array(quantiles))


def pooled(mean: Floats, error: Floats, spread: Floats, levels: Floats) -> Floats:
    """Quantiles (n, K): `mean` (n,) plus errors (n, m; NaN: none) over mean errors `spread` (n,), pooled by size."""
    spread = spread + 0.05 * mean + 1e-6
    size = np.searchsorted(np.quantile(mean, np.arange(1, SIZES) / SIZES), mean)
    relative = error / spread[:, None]
    everybody = relative[np.isfinite(relative)]
    out = np.zeros((len(mean), len(levels)))
    for s in range(SIZES):
        own = relative[size == s]
        own = own[np.isfinite(own)]
        own = own if len(own) >= LEAST_ERRORS else everybody
        found = np.quantile(own, levels) if len(own) else np.zeros(len(levels))
        here = size == s
        out[here] = mean[here, None] + spread[here, None] * found
    return np.maximum(out, 0.0)


def sums(units: Floats, exposure: Floats, horizon: int) -> tuple[Floats, Floats]:
    """Demand (n, T) summed over the `horizon` periods after each, and whether all of it could be seen."""
    rows, periods = units.shape
    after = np.concatenate([np.zeros((rows, 1)), np.cumsum(units, axis=1)], axis=1)
    dark = np.concatenate([np.zeros((rows, 1)), np.cumsum(exposure < 0.8, axis=1)], axis=1)
    end = np.minimum(np.arange(periods) + 1 + horizon, periods)
    whole = np.arange(periods) + horizon < periods
    actual = after[:, end] - after[:, 1 : periods + 1]
    return actual, (dark[:, end] - dark[:, 1 : periods + 1] == 0) & whole


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1))


def _automatic_sum(name: str, history: Floats, horizon: int, season: int) -> float:
    from statsforecast import models

    history = np.asarray(history[-LONGEST_HISTORY:], np.float64)
    options: dict[str, dict[str, Any]] = {
        "AutoETS": {"season_length": season},
        "AutoTheta": {"season_length": season},
        "CrostonSBA": {},
        "TSB": {"alpha_d": 0.1, "alpha_p": 0.1},
    }
    if np.ptp(history) == 0:
        return float(history[-1]) * horizon
    try:
        told = getattr(models, name)(**options[name]).forecast(y=history, h=horizon)["mean"]
    except (ValueError, ZeroDivisionError, IndexError, FloatingPointError):
        return float(history[-28:].mean()) * horizon  # too short or too odd a row for it: the recent mean
    return float(np.clip(np.nan_to_num(np.asarray(told, np.float64)), 0.0, 3.0 * history.max()).sum())
