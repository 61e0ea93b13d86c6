"""Quantile regression that learns period by period and forgets: one pass, no refit.

Idea. Pinball loss is majorised by a parabola that touches it at today's error (Hunter & Lange 2000), so each period's
rows add a weighted least-squares problem to normal equations that fade; solving them moves all coefficients at once.
One p x p solve a quantile and period, whatever the number of rows. Ridge draws coefficients to a prior, so a forecast
is sensible before there is evidence and where a feature never varied.

A period counts as the square root of its rows: rows of one period share its shocks. The parabola's flat part must be
narrow against usual errors (a wide one pushes upper quantiles up by half): it follows their running mean.
"""

from __future__ import annotations

import numpy as np

from models.demand.contract import Floats, Ints

LARGEST = 8.0  # features and targets, in row scales: nothing learns from further out
FLAT_SHARE = 0.07  # half width of the parabola's flat part over the mean absolute error
FLAT_LEAST = 0.002
ERROR_KEPT = 0.95
CELLS_AT_ONCE = 400_000  # 3.2 MB, within the cache


class QuantileRegression:
    """Linear quantiles at `levels` (K,) of features (n, p): `coefficients` (K, p), drawn to `prior` (K, p)."""

    def __init__(self, levels: Floats, prior: Floats, memory_periods: float, ridge: float) -> None:
        self.levels, self.prior, self.ridge = levels, prior, ridge
        self.kept = 1.0 - 1.0 / memory_periods
        self.coefficients = prior.copy()
        k, p = prior.shape
        self._normal, self._right = np.zeros((k, p, p)), np.zeros((k, p))
        self._error, self._error_weight = 0.0, 0.0

    def learn(self, features: Floats, target: Floats, weight: Floats) -> None:
        """One period's rows: features (n, p) and target (n,) in row scales, weight (n,)."""
        weight = np.asarray(weight / (weight.mean() * np.sqrt(len(weight))))
        middle = int(np.argmin(np.abs(self.levels - 0.5)))
        usual = float(np.abs(target - features @ self.coefficients[middle]).mean())
        self._error = ERROR_KEPT * self._error + usual
        self._error_weight = ERROR_KEPT * self._error_weight + 1.0
        flat = max(FLAT_SHARE * self.usual_error, FLAT_LEAST)
        steep = weight / (flat + np.abs(target - self.coefficients @ features.T))
        right = (steep * target) @ features + (2.0 * self.levels - 1.0)[:, None] * (weight @ features)
        self._right = np.asarray(self.kept * self._right + right)
        self._normal *= self.kept
        for i in range(0, len(self.levels), self._at_once(features)):
            part = slice(i, i + self._at_once(features))
            self._normal[part] += (steep[part, None, :] * features.T) @ features
        self._solve()

    def _at_once(self, features: Floats) -> int:
        """How many levels' weighted features are made in one go: few rows in one call, many a level at a time."""
        return max(1, min(len(self.levels), CELLS_AT_ONCE // max(features.size, 1)))

    @property
    def usual_error(self) -> float:
        """Mean absolute error of the middle quantile lately, in row scales."""
        return self._error / self._error_weight if self._error_weight > 0 else 0.0

    def _solve(self) -> None:
        ridge = self.ridge * np.eye(self.prior.shape[1])
        left = self._normal + ridge
        right = self._right + self.ridge * self.prior
        self.coefficients = np.asarray(np.linalg.solve(left, right[..., None])[..., 0], dtype=np.float64)

    def predict(self, features: Floats) -> Floats:
        """Quantiles (n, K) in row scales; they may cross."""
        return np.asarray(features @ self.coefficients.T)


class AveragedRegression:
    """The mean of regressions of several memories: one matrix product on averaged coefficients."""

    def __init__(self, levels: Floats, prior: Floats, memories_periods: tuple[float, ...], ridge: float) -> None:
        self.members = [QuantileRegression(levels, prior, memory, ridge) for memory in memories_periods]

    def learn(self, features: Floats, target: Floats, weight: Floats) -> None:
        """One period's rows, to every member."""
        for member in self.members:
            member.learn(features, target, weight)

    def predict(self, features: Floats) -> Floats:
        """Quantiles (n, K) in row scales."""
        mean = sum(member.coefficients for member in self.members) / len(self.members)
        return np.asarray(features @ np.asarray(mean).T)


class SegmentedRegression:
    """A regression for all rows, and one a segment drawn to it: few rows in a segment, and it says what all say."""

    def __init__(
        self,
        levels: Floats,
        prior: Floats,
        memories_periods: tuple[float, ...],
        *,
        segments: int,
        ridge: float,
        segment_ridge: float,
    ) -> None:
        self.shared = AveragedRegression(levels, prior, memories_periods, ridge)
        self.own = [AveragedRegression(levels, prior, memories_periods, segment_ridge) for _ in range(segments)]

    def learn(self, features: Floats, target: Floats, weight: Floats, segment: Ints) -> None:
        """One period's rows; `segment` (n,) in 0 .. segments - 1."""
        self.shared.learn(features, target, weight)
        for k, own in enumerate(self.own):
            here = segment == k
            for member, all_rows in zip(own.members, self.shared.members, strict=True):
                member.prior = all_rows.coefficients
            if here.any():
                own.learn(features[here], target[here], weight[here])

    @property
    def usual_error(self) -> float:
        """Mean absolute error of the shared middle quantile lately, in row scales."""
        return self.shared.members[0].usual_error

    def predict(self, features: Floats, segment: Ints) -> Floats:
        """Quantiles (n, K) in row scales, ascending, not negative, within what could be learnt."""
        quantile = np.empty((len(features), self.shared.members[0].levels.size))
        for k, own in enumerate(self.own):
            here = segment == k
            quantile[here] = own.predict(features[here])
        return np.maximum.accumulate(np.clip(quantile, 0.0, 1.5 * LARGEST), axis=1)
