"""Shared learners as guests: a point forecast from the production family's features, and the errors it made.

One model a learner, over all rows in row scales, so that rows of 0.1 and of 10,000 a day teach each other. A lesson is
a matured horizon as rows told it; at most MOST_LESSONS of a period are taken, evenly over rows. Quantiles are the point
plus the quantiles of its own recent errors at lessons it had not seen, by size of row. Everything is a function of the
lessons and their order: only the outputs enter the log, by `adopt`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from river import forest, linear_model, neighbors, optim, preprocessing

from models.demand.contract import Ahead, Floats, Ints, Shared, State, Told
from models.demand.exactly import FEATURE_STEP
from models.demand.online import Online
from models.demand.places import LEVELS
from models.demand.row_sums import FARTHEST, LARGEST, SIZES
from models.demand.trees import lessons_of

MOST_LESSONS = 64  # a period: at 0.2 to 2 ms a lesson no learner takes more than an eighth of a second a period
KEPT_ERRORS = 600  # a size, 10 periods or more
LEAST_ERRORS = 60
SEED = 1


class Regressor(Protocol):
    """What river calls a regressor."""

    def learn_one(self, x: dict[int, float], y: float) -> Any:
        """Take one lesson."""

    def predict_one(self, x: dict[int, float]) -> float:
        """The point forecast."""


def linear() -> Regressor:
    """Least squares by Adam, features standardised."""
    model = linear_model.LinearRegression(optimizer=optim.Adam(0.01), l2=1e-4, intercept_lr=0.01)
    return preprocessing.StandardScaler() | model  # type: ignore[no-any-return]


def support_vector(epsilon: float = 0.05) -> Regressor:
    """Least absolute error outside a tube of `epsilon` row scales (Vapnik 1995), by stochastic gradient."""
    loss = optim.losses.EpsilonInsensitiveHinge(epsilon)
    model = linear_model.LinearRegression(optimizer=optim.Adam(0.005), loss=loss, l2=1e-4, intercept_lr=0.01)
    return preprocessing.StandardScaler() | model  # type: ignore[no-any-return]


def nearest(count: int = 15) -> Regressor:
    """Mean of the `count` nearest lessons kept."""
    return preprocessing.StandardScaler() | neighbors.KNNRegressor(n_neighbors=count)  # type: ignore[no-any-return]


def adaptive_forest(trees: int = 5) -> Regressor:
    """Adaptive random forest: Hoeffding trees that are replaced when their errors drift (Gomes et al. 2017)."""
    return forest.ARFRegressor(n_models=trees, seed=SEED, leaf_prediction="mean")  # type: ignore[no-any-return]


LEARNERS: dict[str, Callable[[], Regressor]] = {
    "linear": linear,
    "support vector": support_vector,
    "nearest": nearest,
    "adaptive forest": adaptive_forest,
}


@dataclass
class SharedLearner:
    """A learner as a guest of the backtest: it hears lessons, and speaks for every row after each closing."""

    name: str
    model: Regressor
    errors: list[deque[float]] = field(default_factory=lambda: [deque(maxlen=KEPT_ERRORS) for _ in range(SIZES)])

    def hear(self, period: int, told: Told) -> None:  # noqa: ARG002
        """Learn of a period's lessons, each first forecast, then learnt."""
        lessons = lessons_of(told)
        lessons = lessons[:: -(-len(lessons) // MOST_LESSONS)] if len(lessons) else lessons
        for lesson in lessons:
            x = _named(lesson["features"] * FEATURE_STEP)
            target = float(np.clip(lesson["target"], 0.0, LARGEST))
            self.errors[int(lesson["size"])].append(target - self.point(x))
            self.model.learn_one(x, target)

    def point(self, x: dict[int, float]) -> float:
        """The point forecast in row scales, within what can be learnt: a stray gradient must not show."""
        return float(np.clip(np.nan_to_num(self.model.predict_one(x)), 0.0, LARGEST))

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        """Quantiles (n, H, K) in units; None until there are errors enough of every size."""
        if min(len(errors) for errors in self.errors) < LEAST_ERRORS:
            return None
        spread = np.stack([np.quantile(np.array(errors), LEVELS) for errors in self.errors])
        told = []
        for horizon in horizons.T:
            features, scale = family.features(state, shared, np.full(len(state), period), horizon, ahead)
            size = family.sizes(state, shared)
            point = np.array([self.point(_named(row)) for row in features])
            told.append(np.clip(point[:, None] + spread[size], 0.0, FARTHEST) * scale[:, None])
        return np.stack(told, axis=1)


def learner(name: str) -> SharedLearner:
    """A fresh learner of a name in LEARNERS."""
    return SharedLearner(name, LEARNERS[name]())


def _named(features: Floats) -> dict[int, float]:
    return dict(enumerate(features.tolist()))


__all__ = ["LEARNERS", "SharedLearner", "learner"]
