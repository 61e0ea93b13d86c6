"""ARIMA with regressors and state-space exponential smoothing of one row: fitted, explained, as quantiles of sums.

Both are linear Gaussian state-space models (Durbin & Koopman 2012). Their order is chosen by the corrected Akaike
criterion among few candidates; what was tried, and the autocorrelations people choose orders by, are answered too.
The sum over a horizon has the mean of the forecasts' sum, and the variance of shocks times cumulated impulse responses;
its quantiles are those of a gamma distribution of that mean and variance, since demand is not negative and lumpy.

A fit costs 20 to 500 ms: it runs in another process, and its quantiles enter as a guest's (`Online.adopt`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import gamma
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing
from statsmodels.tsa.statespace.sarimax import SARIMAX
from statsmodels.tsa.stattools import acf, pacf

from models.demand.contract import Floats, Ints

LEAST_PERIODS = 30
LONGEST_PERIODS = 400  # older history is left out: a fit's cost grows with it, its use does not
LAGS = 21
MOST_STEPS = 50  # of the likelihood's maximiser
ORDERS = ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (2, 0, 0))
TIMES_LARGEST = 2.0  # no mean lies above this many of the largest period, a period


@dataclass(frozen=True)
class Fit:
    """One row's model: `tried` is (name, criterion) of each candidate, the best first; autocorrelations (LAGS + 1,).

    `quantiles` (H, K) of demand summed over each horizon, `means` (H,), in units.
    """

    name: str
    tried: tuple[tuple[str, float], ...]
    means: Floats
    quantiles: Floats
    autocorrelation: Floats
    partial_autocorrelation: Floats


def arima(
    units: Floats,
    horizons: Ints,
    levels: Floats,
    *,
    season: int = 7,
    plan: Floats | None = None,
    ahead: Floats | None = None,
) -> Fit:
    """SARIMAX of `units` (T,; NaN where demand could not be seen), with `plan` (T, C) and `ahead` (A, C) if known.

    Raises ValueError where fewer than LEAST_PERIODS were seen.
    """
    return _best(_arima_candidates(season), units, horizons, levels, plan, ahead)


def smoothing(units: Floats, horizons: Ints, levels: Floats, *, season: int = 7) -> Fit:
    """State-space exponential smoothing (ETS) of `units` (T,): level, damped trend, season, by the same criterion.

    Raises ValueError where fewer than LEAST_PERIODS were seen.
    """
    return _best(_smoothing_candidates(season), units, horizons, levels, None, None)


Candidate = tuple[str, dict[str, Any], type]


def _arima_candidates(season: int) -> Iterator[Candidate]:
    for order in ORDERS:
        for seasonal in ((0, 0, 0, 0), (1, 0, 0, season)) if season > 1 else ((0, 0, 0, 0),):
            name = "ARIMA" + str(order).replace(" ", "") + ("" if seasonal[3] == 0 else f"(1,0,0)[{season}]")
            yield name, {"order": order, "seasonal_order": seasonal, "trend": None if order[1] else "c"}, SARIMAX


def _smoothing_candidates(season: int) -> Iterator[Candidate]:
    for trend in (False, True):
        for seasonal in (None, season) if season > 1 else (None,):
            name = "ETS(A," + ("Ad" if trend else "N") + "," + ("A" if seasonal else "N") + ")"
            yield name, {"trend": trend, "damped_trend": trend, "seasonal": seasonal}, ExponentialSmoothing


def _best(
    candidates: Iterator[Candidate],
    units: Floats,
    horizons: Ints,
    levels: Floats,
    plan: Floats | None,
    ahead: Floats | None,
) -> Fit:
    units = np.asarray(units, np.float64)[-LONGEST_PERIODS:]
    seen = np.isfinite(units)
    if int(seen.sum()) < LEAST_PERIODS:
        raise ValueError(f"{int(seen.sum())} periods seen; a fit needs {LEAST_PERIODS}")
    if np.ptp(units[seen]) == 0:
        return _constant(float(units[seen][0]), horizons, levels)
    known = None if plan is None else np.nan_to_num(plan[-LONGEST_PERIODS:])
    fitted = []
    for name, options, kind in candidates:
        result = _fitted(kind, options, units, known)
        if result is not None:
            fitted.append((float(result.aicc), name, result))
    if not fitted:
        raise ValueError("no candidate could be fitted")
    fitted.sort(key=lambda one: one[:2])
    _, name, result = fitted[0]
    means, quantiles = _sums(result, units, horizons, levels, ahead if known is not None else None)
    filled = np.where(seen, units, np.nanmean(units))
    lags = min(LAGS, len(units) // 2 - 1)
    tried = tuple((n, c) for c, n, _ in fitted)
    return Fit(name, tried, means, quantiles, acf(filled, nlags=lags), pacf(filled, nlags=lags))


def _constant(units: float, horizons: Ints, levels: Floats) -> Fit:
    """A row that never moved: nothing to choose, and nothing to doubt."""
    means = np.asarray(horizons, np.float64) * units
    none = np.zeros(LAGS + 1)
    return Fit("constant", (("constant", 0.0),), means, np.repeat(means[:, None], len(levels), axis=1), none, none)


def _fitted(kind: type, options: dict[str, Any], units: Floats, plan: Floats | None) -> Any | None:
    """A candidate's result, None where it has none: a flat row, or a likelihood that is not finite."""
    given = {**options, **({"exog": plan} if plan is not None and kind is SARIMAX else {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "did not converge" and the like: the criterion judges what came out
        try:
            result = kind(units, **given).fit(disp=False, maxiter=MOST_STEPS)
        except (np.linalg.LinAlgError, ValueError, ZeroDivisionError):
            return None
    return result if np.isfinite(result.aicc) else None


def _sums(result: Any, units: Floats, horizons: Ints, levels: Floats, ahead: Floats | None) -> tuple[Floats, Floats]:
    longest = int(np.max(horizons))
    given = {}
    if ahead is not None:
        rows = np.nan_to_num(ahead[:longest])
        given["exog"] = np.concatenate([rows, np.zeros((longest - len(rows), rows.shape[1]))])
    most = TIMES_LARGEST * float(np.nanmax(units))
    mean = np.clip(np.nan_to_num(result.forecast(longest, **given)), 0.0, most)
    response = np.nan_to_num(np.asarray(result.impulse_responses(longest - 1)).reshape(-1)[:longest])
    variance = float(np.nanvar(np.asarray(result.filter_results.forecasts_error).reshape(-1)))
    means, quantiles = np.zeros(len(horizons)), np.zeros((len(horizons), len(levels)))
    for i, horizon in enumerate(np.asarray(horizons).tolist()):
        # A shock j periods before the end of the sum is in it with its cumulated responses.
        weight = np.cumsum(np.concatenate([[1.0], response[1:horizon]]))
        spread = float(np.clip(variance * (weight * weight).sum(), 1e-12, (horizon * most) ** 2 + 1e-9))
        means[i] = float(mean[:horizon].sum())
        quantiles[i] = _gamma(means[i], spread, levels)
    return means, quantiles


def _gamma(mean: float, variance: float, levels: Floats) -> Floats:
    if mean <= 1e-9:
        return np.zeros(len(levels))
    return np.asarray(gamma.ppf(levels, mean * mean / variance, scale=variance / mean))
