"""Straight lines and planes through a few points: least squares, and the tube of support-vector regression.

For what people ask of a handful of numbers (a trend, the pull of price or of abandoned carts); the stream learns with
`shared_learning`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from models.demand.contract import Floats


@dataclass(frozen=True)
class Plane:
    """`intercept` and `slopes` (p,)."""

    intercept: float
    slopes: Floats

    def at(self, features: Floats) -> Floats:
        """Values (m,) at features (m, p) or (m,)."""
        return np.asarray(self.intercept + _columns(features) @ self.slopes)


@dataclass(frozen=True)
class PeriodForecast:
    """A forecast that names its period and its sum: `mean` a `period`, `total` over `periods` of them."""

    mean: float
    period: str
    periods: int

    @property
    def total(self) -> float:
        """Units over all the periods."""
        return self.mean * self.periods


def least_squares(features: Floats, values: Floats, ridge: float = 0.0) -> Plane:
    """The plane of least squared error (Legendre 1805), slopes drawn to zero by `ridge`.

    >>> float(least_squares(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 4, 6, 8, 10])).at(np.array([6.0]))[0].round(9))
    12.0
    """
    columns = _columns(features)
    middle, level = columns.mean(axis=0), values.mean()
    centred = columns - middle
    if ridge == 0:
        slopes = np.linalg.lstsq(centred, values - level, rcond=None)[0]
    else:
        slopes = np.linalg.solve(centred.T @ centred + ridge * np.eye(columns.shape[1]), centred.T @ (values - level))
    return Plane(float(level - middle @ slopes), np.asarray(slopes))


def support_vector_line(features: Floats, values: Floats, epsilon: float = 0.0, ridge: float = 1e-9) -> Plane:
    """The plane of least absolute error outside a tube of `epsilon` (Vapnik 1995), as a linear program.

    Slopes are held small in absolute sum by `ridge`, which only decides between planes that are equally good.

    >>> line = support_vector_line(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 4, 6, 8, 10]))
    >>> float(line.at(np.array([6.0]))[0].round(6))
    12.0
    """
    columns = _columns(features)
    m, p = columns.shape
    # Variables: slopes above and below zero, intercept above and below zero, error over and under the tube.
    plane = np.concatenate([columns, -columns, np.ones((m, 1)), -np.ones((m, 1))], axis=1)
    over = np.concatenate([plane, -np.eye(m), np.zeros((m, m))], axis=1)  # plane - value <= epsilon + over
    under = np.concatenate([-plane, np.zeros((m, m)), -np.eye(m)], axis=1)
    cost = np.concatenate([np.full(2 * p, ridge), np.zeros(2), np.ones(2 * m)])
    limits = np.concatenate([values + epsilon, -values + epsilon])
    found = linprog(cost, A_ub=np.concatenate([over, under]), b_ub=limits, bounds=(0, None), method="highs")
    if found.status != 0:
        raise ValueError(f"no plane found: {found.message}")
    return Plane(float(found.x[2 * p] - found.x[2 * p + 1]), found.x[:p] - found.x[p : 2 * p])


def mean_forecast(values: Floats, period: str, periods: int) -> PeriodForecast:
    """The plain mean, with its period and how many of them are asked for.

    >>> mean_forecast(np.array([100.0, 120, 150, 130, 180]), "day", 30).total
    4080.0
    """
    return PeriodForecast(float(np.mean(values)), period, periods)


def _columns(features: Floats) -> Floats:
    array = np.asarray(features, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array
