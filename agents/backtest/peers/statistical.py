"""statsforecast's AutoETS, AutoTheta, CrostonSBA and TSB, refitted weekly on a sample of rows.

Their points are summed over the horizon, and quantiles come from pooled errors of that sum (split conformal, by thirds
of size), in units of the row's own usual error: the stronger form, as their own intervals are of single days.
A refit is held until the next one. statsforecast is not a part of Restock's service and must be installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from agents.backtest.history import SEASON, Floats, History, Ints
from agents.backtest.methods import Method, Sums
from agents.backtest.plan import Plan
from agents.planner.plan import LEVELS
from stream.errors import SetupError

NAMES = ("AutoETS", "AutoTheta", "CrostonSBA", "TSB")
REFIT_PERIODS = {"day": 7, "week": 1, "month": 1}
WARM_ORIGINS = 8  # before the evaluation: errors to begin with
KEPT_PERIODS = 730  # of history a fit sees: two years of days
LEAST_FIT = 14  # periods of history
ERROR_KEPT = 0.9  # a row's usual error remembers about ten origins


def statistical_methods(
    history: History, plan: Plan, rows: Ints, horizons: list[int], heard: Callable[[str, int, int], None]
) -> Iterator[Method]:
    """Each model on the sampled rows. Raises SetupError where statsforecast is not installed."""
    try:
        models = importlib.import_module("statsforecast.models")
    except ImportError as absent:
        raise SetupError(
            "--compare needs statsforecast for AutoETS, AutoTheta, CrostonSBA and TSB",
            str(absent),
            "pip install 'restock[compare]', or name other peers: --peers rules,lightgbm",
        ) from absent
    every = REFIT_PERIODS[history.period]
    origins = np.arange(plan.last, LEAST_FIT, -every)[::-1]
    begin = max(int(np.searchsorted(origins, plan.first)) - WARM_ORIGINS - max(horizons) // every, 0)
    origins = origins[begin:]
    season = SEASON[history.period]
    for name in NAMES:
        paths = np.zeros((len(origins), len(rows), max(horizons)))
        for k, origin in enumerate(origins.tolist()):
            heard(name, k, len(origins))
            paths[k] = [_path(models, name, season, y, max(horizons)) for y in _past(history, rows, origin)]
        sums = {h: _pooled(history, plan, rows, origins, paths[:, :, :h].sum(axis=2), h) for h in horizons}
        note = f"refitted every {every}, {len(rows)} rows"
        yield Method(name, sums, rows, note=note, made_at=np.isin(np.arange(plan.first, plan.last + 1), origins))


def _past(history: History, rows: Ints, origin: int) -> Floats:
    """Demand up to an origin, with the row's mean so far where nothing could be seen."""
    begin = max(0, origin + 1 - KEPT_PERIODS)
    units, seen = history.demand[rows, begin : origin + 1], history.exposure[rows, begin : origin + 1] > 0
    mean = np.where(seen, units, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return np.where(seen, units, mean[:, None])


def _path(models: Any, name: str, season: int, y: Floats, horizon: int) -> Floats:
    """Point forecasts of the next periods; the mean where the model has none to give."""
    made = {
        "AutoETS": lambda: models.AutoETS(season_length=season),
        "AutoTheta": lambda: models.AutoTheta(season_length=season),
        "CrostonSBA": lambda: models.CrostonSBA(),
        "TSB": lambda: models.TSB(alpha_d=0.1, alpha_p=0.1),
    }[name]()
    try:
        path = np.asarray(made.forecast(y=y, h=horizon)["mean"], dtype=np.float64)
    except (ValueError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError):
        path = np.full(horizon, np.nan)
    return np.maximum(np.where(np.isfinite(path), path, y.mean()), 0.0)


def _pooled(history: History, plan: Plan, rows: Ints, origins: Ints, point: Floats, horizon: int) -> Sums:
    """Quantiles (E, n, K) from errors of earlier origins whose horizon was over, held between refits."""
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(history.demand[rows], axis=1)], axis=1)
    size = np.searchsorted(np.quantile(point[0], [1 / 3, 2 / 3]), point[0])
    usual = np.maximum(0.5 * point[0] + 0.5 * np.sqrt(point[0]), 1e-6)
    errors: list[Floats] = []
    made: dict[int, Floats] = {}
    told = 0
    scale_at: list[Floats] = []
    for k, origin in enumerate(origins.tolist()):
        while told < k and origins[told] + horizon <= origin:
            came = total[:, origins[told] + horizon + 1] - total[:, origins[told] + 1]
            errors.append((came - point[told]) / scale_at[told])
            usual = ERROR_KEPT * usual + (1 - ERROR_KEPT) * np.maximum(np.abs(came - point[told]), 1e-6)
            told += 1
        scale_at.append(usual)
        made[origin] = np.maximum(point[k][:, None] + usual[:, None] * _error_quantiles(errors, size), 0.0)
    last = np.searchsorted(origins, np.arange(plan.first, plan.last + 1), side="right") - 1
    last = np.maximum(last, 0)
    quantiles = np.stack([made[int(origins[k])] for k in last.tolist()])
    return Sums(point[last], quantiles)


def _error_quantiles(errors: list[Floats], size: Ints) -> Floats:
    """Quantiles (n, K) of pooled errors in usual errors, by third of size; a wide prior before there are any."""
    if not errors:
        return np.broadcast_to(np.interp(LEVELS, [0.5, 0.9, 0.995], [0.0, 1.6, 4.0]), (len(size), len(LEVELS)))
    every = np.stack(errors)
    by_size = [
        np.quantile(every[:, size == k], LEVELS) if (size == k).any() else np.zeros(len(LEVELS)) for k in range(3)
    ]
    return np.stack(by_size)[size]
