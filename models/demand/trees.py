"""Gradient-boosted quantile trees over all rows, trained now and then: the nightly expert (LightGBM, an extra).

One model a level on the features the regression sees, plus the row's size and the horizon. Training is the slow lane's
business: lessons are what rows told at closings, and the trees' quantiles are taken over by `adopt`. Same lessons and
parameters, same trees (one thread, fixed seed).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.demand.contract import Ahead, Floats, Ints, Shared, State, Told
from models.demand.exactly import FEATURE_STEP
from models.demand.online import Online
from models.demand.places import LEVELS
from models.demand.row_sums import FARTHEST, LARGEST

DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
}
FIXED: dict[str, Any] = {
    "verbose": -1,
    "feature_pre_filter": False,
    "num_threads": 1,
    "seed": 1,
    "deterministic": True,
    "objective": "quantile",
}
MOST_LESSONS = 60_000  # rows a training reads: 48 features x 8 B: 23 MB
LEAST_LESSONS = 500


@dataclass(frozen=True)
class Trees:
    """Trained models, one a level of LEVELS."""

    models: tuple[Any, ...]

    def quantiles(self, features: Floats, scale: Floats, horizon: Ints) -> Floats:
        """Quantiles (n, K) in row scales of rows with features (n, p), scale (n,) and horizon (n,)."""
        sized = with_size(features, scale, horizon)
        told = np.stack([model.predict(sized, num_threads=1) for model in self.models], axis=1)
        return np.maximum.accumulate(np.clip(told, 0.0, FARTHEST), axis=1)


def lessons_of(told: Told) -> Told:
    """The matured horizons in what rows told, (m,): all that trees learn from."""
    lessons = told["lesson"].reshape(-1)
    return lessons[lessons["taught"] > 0]


def train(lessons: Told, rounds: int = 120, parameters: dict[str, Any] | None = None) -> Trees:
    """Quantile trees of `lessons` (m,), evenly thinned over all of history where they are more than MOST_LESSONS."""
    import lightgbm

    if len(lessons) > MOST_LESSONS:
        lessons = lessons[np.linspace(0, len(lessons) - 1, MOST_LESSONS).astype(np.int64)]
    scale = lessons["scale"].astype(np.float64)
    features = with_size(lessons["features"] * FEATURE_STEP, scale, lessons["span"])
    data = lightgbm.Dataset(
        features, np.clip(lessons["target"], 0.0, LARGEST), weight=np.sqrt(scale), free_raw_data=False
    )
    settings = {**DEFAULTS, **(parameters or {}), **FIXED}
    return Trees(tuple(lightgbm.train({**settings, "alpha": float(q)}, data, rounds) for q in LEVELS))


@dataclass
class NightlyTrees:
    """The trees as a backtest's guest: trained anew every `every_periods`, asked after each closing."""

    every_periods: int = 28
    rounds: int = 120
    parameters: dict[str, Any] = field(default_factory=dict)
    from_period: int = 0
    name: str = "trees"
    trained_at: int | None = None
    trees: Trees | None = None
    lessons: list[Told] = field(default_factory=list)

    def hear(self, period: int, told: Told) -> None:
        """Keep the lessons; train when it is time and there are enough."""
        self.lessons.append(lessons_of(told))
        due = self.trained_at is None or period - self.trained_at >= self.every_periods
        if due and period >= self.from_period and sum(len(lesson) for lesson in self.lessons) >= LEAST_LESSONS:
            self.lessons = [np.concatenate(self.lessons)]
            self.trees, self.trained_at = train(self.lessons[0], self.rounds, self.parameters), period

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        """Quantiles (n, H, K) in units; None until trained."""
        if self.trees is None:
            return None
        told = []
        for horizon in horizons.T:
            features, scale = family.features(state, shared, np.full(len(state), period), horizon, ahead)
            told.append(self.trees.quantiles(features, scale, horizon) * scale[:, None])
        return np.stack(told, axis=1)


def with_size(features: Floats, scale: Floats, horizon: Ints) -> Floats:
    """Features (n, p) with the logarithm of the scale and the horizon beside them."""
    return np.concatenate([features, np.log(scale + 1e-3)[:, None], np.asarray(horizon, np.float64)[:, None]], axis=1)
