"""Gradient-boosted quantile trees over all rows, trained now and then: the nightly expert (LightGBM, an extra).

Two forests speak as one, the mean of their quantiles: one grown from nothing, one on what the regression leaves
(targets less its quantiles, as its coefficients of the day of training tell them). Where the regression is good the
second refines it, where it errs the first does not inherit it. One model a forest and level, on the features the
regression sees, plus the row's size and the horizon.

Training is the slow lane's business: lessons are what rows told at closings, and the trees' quantiles are taken over by
`adopt`. Same lessons and parameters, same trees (one thread, fixed seed).
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


Forest = tuple[Any, ...]  # trained models, one a level of LEVELS


@dataclass(frozen=True)
class Trees:
    """Two forests: of demand itself, and of what the regression leaves of it."""

    of_demand: Forest
    of_the_rest: Forest

    def quantiles(self, features: Floats, scale: Floats, horizon: Ints, regressed: Floats) -> Floats:
        """Quantiles (n, K) in row scales of rows with features (n, p), scale (n,) and horizon (n,).

        `regressed` (n, K) is what the regression says of them.
        """
        sized = with_size(features, scale, horizon)
        return 0.5 * (_told(self.of_demand, sized, np.zeros(1)) + _told(self.of_the_rest, sized, regressed))

    def from_nothing(self, features: Floats, scale: Floats, horizon: Ints) -> Floats:
        """The first forest's quantiles (n, K) alone, as plain quantile trees tell them."""
        return _told(self.of_demand, with_size(features, scale, horizon), np.zeros(1))


def _told(forest: Forest, sized: Floats, base: Floats) -> Floats:
    told = base + np.stack([model.predict(sized, num_threads=1) for model in forest], axis=1)
    return np.maximum.accumulate(np.clip(told, 0.0, FARTHEST), axis=1)


def lessons_of(told: Told) -> Told:
    """The matured horizons in what rows told, (m,): all that trees learn from."""
    lessons = told["lesson"].reshape(-1)
    return lessons[lessons["taught"] > 0]


def train(lessons: Told, regressed: Floats, rounds: int = 120, parameters: dict[str, Any] | None = None) -> Trees:
    """Quantile trees of `lessons` (m,), of which the regression says `regressed` (m, K) in row scales.

    Evenly thinned over all of history where they are more than MOST_LESSONS.
    """
    import lightgbm

    if len(lessons) > MOST_LESSONS:
        kept = np.linspace(0, len(lessons) - 1, MOST_LESSONS).astype(np.int64)
        lessons, regressed = lessons[kept], regressed[kept]
    scale = lessons["scale"].astype(np.float64)
    features = with_size(features_of(lessons), scale, lessons["span"])
    target = np.clip(lessons["target"].astype(np.float64), 0.0, LARGEST)
    data = lightgbm.Dataset(features, target, weight=np.sqrt(scale), free_raw_data=False)
    settings = {**DEFAULTS, **(parameters or {}), **FIXED}

    def grown(base: Floats) -> Forest:
        models = []
        for k, level in enumerate(LEVELS):
            data.set_label(target - base[:, k])
            models.append(lightgbm.train({**settings, "alpha": float(level)}, data, rounds))
        return tuple(models)

    return Trees(grown(np.zeros_like(regressed)), grown(regressed))


def regressed_of(family: Online, shared: Shared, lessons: Told) -> Floats:
    """What the regression, as it is now, says of lessons (m,): quantiles (m, K) in row scales."""
    scale, span = lessons["scale"].astype(np.float64), lessons["span"].astype(np.int64)
    return family.regressed(shared, features_of(lessons), scale, span)


def features_of(lessons: Told) -> Floats:
    """Features (m, p) of lessons, in row scales."""
    return np.asarray(lessons["features"] * FEATURE_STEP)


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

    def hear(self, period: int, told: Told) -> None:  # noqa: ARG002
        """Keep the lessons."""
        self.lessons.append(lessons_of(told))

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        """Quantiles (n, H, K) in units; None until trained. Trains where it is time and there are lessons enough."""
        due = self.trained_at is None or period - self.trained_at >= self.every_periods
        if due and period >= self.from_period and sum(len(lesson) for lesson in self.lessons) >= LEAST_LESSONS:
            self.lessons = [np.concatenate(self.lessons)]
            self.trees = self.trained(family, shared, self.lessons[0])
            self.trained_at = period
        if self.trees is None:
            return None
        told = []
        for horizon in horizons.T:
            features, scale = family.features(state, shared, np.full(len(state), period), horizon, ahead)
            regressed = family.regressed(shared, features, scale, horizon)
            told.append(self.trees.quantiles(features, scale, horizon, regressed) * scale[:, None])
        return np.stack(told, axis=1)

    def trained(self, family: Online, shared: Shared, lessons: Told) -> Trees:
        """Trees of all lessons so far."""
        return train(lessons, regressed_of(family, shared, lessons), self.rounds, self.parameters)


def with_size(features: Floats, scale: Floats, horizon: Ints) -> Floats:
    """Features (n, p) with the logarithm of the scale and the horizon beside them."""
    return np.concatenate([features, np.log(scale + 1e-3)[:, None], np.asarray(horizon, np.float64)[:, None]], axis=1)
