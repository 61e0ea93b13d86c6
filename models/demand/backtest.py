"""Forecasts of a whole history, made as they would have been made: learn a period, look ahead, go on.

Nothing here reads a period beyond the origin except plan columns (and units never): `tests/models/test_backtest.py`
shuffles everything after an origin and finds the forecast unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from models.demand.contract import Floats, Ints
from models.demand.horizon import Guest, Horizon, Lesson
from models.demand.levels import Levels
from models.demand.panel import FULLY_SEEN, Panel

QUANTILES = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99])
Trainer = Callable[[int, list[Lesson]], Guest | None]  # origin, lessons so far -> a guest expert


@dataclass(frozen=True)
class Forecasts:
    """Made at the end of each of `origins` (O,): `mean` (O, n) and `quantiles` (O, n, K) of the summed demand."""

    origins: Ints
    horizon_periods: int
    mean: Floats
    quantiles: Floats


def forecast_history(
    panel: Panel, horizons: Iterable[int], origins: Iterable[int], trainer: Trainer | None = None
) -> list[Forecasts]:
    """Forecasts of every horizon at every origin; `trainer`, if any, is asked for a guest expert at each of them."""
    wanted = sorted(set(origins))
    state = Levels(panel.rows, panel.season, len(panel.prices), len(panel.flags))
    censored = bool((panel.exposure[panel.exposure > 0] < FULLY_SEEN).any())
    heads = [Horizon(h, QUANTILES, state, panel.groups, panel.year, censored=censored) for h in horizons]
    lessons: list[list[Lesson]] = [[] for _ in heads]
    kept: list[list[tuple[Floats, Floats]]] = [[] for _ in heads]
    for period in range((wanted[-1] if wanted else -1) + 1):
        units, exposure = panel.units[:, period], panel.exposure[:, period]
        prices, flags = _plan_of(panel, period)
        plan = state.learn(period, units, exposure, prices, flags)
        ahead = [
            state.plan_columns(*_plan_of(panel, later))
            for later in range(period + 1, min(period + 1 + max(h.periods for h in heads), panel.periods))
        ]
        for head, taught, told in zip(heads, lessons, kept, strict=True):
            head.close(units, exposure, plan)
            if trainer is not None and head.matured is not None:
                taught.append(head.matured)
            if trainer is not None and period in wanted:
                head.guest = trainer(period, taught)
            out = head.outlook(period, _filled(ahead[: head.periods], head.periods, plan))
            if period in wanted:
                told.append((out.mean_sum_units[:, 0], out.quantile_sum_units[:, 0]))
    return [
        Forecasts(np.array(wanted), head.periods, np.array([m for m, _ in told]), np.array([q for _, q in told]))
        for head, told in zip(heads, kept, strict=True)
    ]


def _plan_of(panel: Panel, period: int) -> tuple[list[Floats], list[Floats]]:
    return [p[:, period] for p in panel.prices], [f[:, period] for f in panel.flags]


def _filled(ahead: list[Floats], periods: int, plan: Floats) -> list[Floats]:
    """Beyond the end of the file nothing is planned."""
    return ahead + [np.zeros_like(plan)] * (periods - len(ahead))
