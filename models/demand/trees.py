"""Gradient-boosted quantile trees over all rows, trained now and then: the nightly expert (LightGBM, an extra).

One model a level on the same features the regression sees, plus the row's size. Training is the slow lane's business:
`train` gets lessons and gives a guest expert for `Horizon`; between trainings the guest stands still. Same lessons and
parameters, same trees (one thread, fixed seed).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.demand.contract import Floats
from models.demand.horizon import Guest, Lesson
from models.demand.quantile_regression import LARGEST

DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
}
FIXED: dict[str, Any] = {"verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True, "objective": "quantile"}
MOST_LESSONS = 60_000  # rows a training reads: 45 features x 8 B: 22 MB
LEAST_LESSONS = 500


@dataclass
class TreeTrainer:
    """Trains at the first origin asked and every `every_periods` after; usable as `forecast_history`'s trainer."""

    levels: Floats
    every_periods: int = 28
    rounds: int = 120
    parameters: dict[str, Any] = field(default_factory=dict)
    trained_at: int | None = None
    guest: Guest | None = None

    def __call__(self, period: int, lessons: list[Lesson]) -> Guest | None:
        """The guest expert to use from `period` on; None while there is too little to learn from."""
        due = self.trained_at is None or period - self.trained_at >= self.every_periods
        if due and sum(int(lesson.teaches.sum()) for lesson in lessons) >= LEAST_LESSONS:
            self.guest, self.trained_at = self.train(lessons), period
        return self.guest

    def train(self, lessons: list[Lesson]) -> Guest:
        """Quantile trees of `lessons`, the newest kept where there are more than MOST_LESSONS a training reads."""
        import lightgbm

        features = np.concatenate([_with_size(x.features, x.scale)[x.teaches] for x in lessons])
        target = np.concatenate([np.clip(x.actual / x.scale, 0.0, LARGEST)[x.teaches] for x in lessons])
        weight = np.concatenate([np.sqrt(x.scale[x.teaches]) for x in lessons])
        if len(target) > MOST_LESSONS:
            kept = np.linspace(0, len(target) - 1, MOST_LESSONS).astype(np.int64)  # evenly over all of history
            features, target, weight = features[kept], target[kept], weight[kept]
        data = lightgbm.Dataset(features, target, weight=weight, free_raw_data=False)
        settings = {**DEFAULTS, **self.parameters, **FIXED}
        models = [lightgbm.train({**settings, "alpha": float(q)}, data, self.rounds) for q in self.levels]

        def guest(rows: Floats, scale: Floats) -> Floats:
            sized = _with_size(rows, scale)
            told = np.stack([model.predict(sized, num_threads=1) for model in models], axis=1)
            return np.maximum.accumulate(np.maximum(told, 0.0), axis=1)

        return guest


def _with_size(features: Floats, scale: Floats) -> Floats:
    return np.concatenate([features, np.log(scale + 1e-3)[:, None]], axis=1)
