"""A row's best blend of plain forecasts, with quantiles from everybody's errors in units of the row's own.

Idea. What a row's 90 past errors say about a 99 % quantile is next to nothing; what all rows' errors say, each divided
by its row's mean error, is much (2 to 5 % of pinball on our sets). The small, hard to break member of the mixture.
"""

from __future__ import annotations

import numpy as np

from models.demand.contract import Floats, Ints

KEPT = 0.97  # mean errors look back about 33 periods
SHARPNESS = 6.0  # blend weights fall with this power of the mean error
YOUNG_WEIGHT = 3.0  # a new row's error counts as the prior's for this many periods
PRIOR_ERROR = 0.35  # of the row's scale
POOL_PERIODS = 60
POOL_LEAST = 100  # a segment with fewer errors speaks with everybody's
LARGEST = 8.0


class PooledErrors:
    """State of n rows over `bases` plain forecasts of the same sum."""

    def __init__(self, levels: Floats, rows: int, bases: int, segments: int) -> None:
        self.levels, self.segments = levels, segments
        self.base_error, self.blend_error, self.weight = np.zeros((bases, rows)), np.zeros(rows), np.zeros(rows)
        self.pool: list[tuple[Floats, Ints]] = []

    def blend(self, bases: Floats, scale: Floats) -> Floats:
        """The blend (n,) of `bases` (b, n), each weighed by its recent mean error in this row."""
        error = (self.base_error + PRIOR_ERROR * YOUNG_WEIGHT * scale) / (self.weight + YOUNG_WEIGHT)
        weight = (error.min(axis=0) / np.maximum(error, 1e-12)) ** SHARPNESS
        return np.asarray((weight * bases).sum(axis=0) / weight.sum(axis=0))

    def spread(self, blend: Floats, scale: Floats) -> Floats:
        """Mean absolute error (n,) of the blend, never quite zero."""
        error = (self.blend_error + PRIOR_ERROR * YOUNG_WEIGHT * scale) / (self.weight + YOUNG_WEIGHT)
        return np.asarray(error + 0.02 * blend + 1e-9)

    def learn(self, bases: Floats, actual: Floats, scale: Floats, segment: Ints, teaches: np.ndarray) -> None:
        """One period's matured sums `actual` (n,), where `teaches` (n,)."""
        blend = self.blend(bases, scale)
        error = (actual - blend) / self.spread(blend, scale)
        self.pool = [*self.pool[1 - POOL_PERIODS :], (error[teaches], segment[teaches])]
        miss = np.minimum(np.abs(actual - bases), LARGEST * scale)
        self.base_error = np.where(teaches, KEPT * self.base_error + miss, self.base_error)
        miss = np.minimum(np.abs(actual - blend), LARGEST * scale)
        self.blend_error = np.where(teaches, KEPT * self.blend_error + miss, self.blend_error)
        self.weight = np.where(teaches, KEPT * self.weight + 1.0, self.weight)

    def predict(self, bases: Floats, scale: Floats, segment: Ints) -> tuple[Floats, Floats]:
        """Mean (n,) and quantiles (n, K) of the sum."""
        blend = self.blend(bases, scale)
        spread = self.spread(blend, scale)
        error, segments = self._pooled()
        mean, quantile = np.zeros(self.segments), np.zeros((self.segments, len(self.levels)))
        for k in range(self.segments):
            own = error[segments == k]
            own = own if len(own) >= POOL_LEAST else error
            mean[k], quantile[k] = np.clip(own, -LARGEST, LARGEST).mean(), np.quantile(own, self.levels)
        quantile = np.clip(quantile, -LARGEST, 3.0 * LARGEST)
        told = blend[:, None] + spread[:, None] * quantile[segment]
        return np.maximum(blend + spread * mean[segment], 0.0), np.maximum(told, 0.0)

    def _pooled(self) -> tuple[Floats, Ints]:
        error = np.concatenate([e for e, _ in self.pool]) if self.pool else np.zeros(0)
        if len(error) < POOL_LEAST:  # nothing known yet: errors skewed to the right, about one mean error wide
            return np.array([-1.1, -0.8, -0.5, -0.2, 0.0, 0.3, 0.7, 1.2, 2.0, 3.5]), np.zeros(10, dtype=np.int64)
        return error, np.concatenate([s for _, s in self.pool])
