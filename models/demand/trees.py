"""Gradient-boosted quantile trees over all rows, trained now and then: the nightly expert (LightGBM, an extra).

Two forests speak as one, the mean of their quantiles: one grown from nothing, one on what the regression leaves
(targets less its quantiles, as its coefficients of the day of training tell them). Where the regression is good the
second refines it, where it errs the first does not inherit it. One model a forest and level, on the features the
regression sees, plus the row's size, the horizon, and the row's own past as it was (`own_past.py`).

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
from models.demand.own_past import Past
from models.demand.panel import FULLY_SEEN, Panel
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
MOST_LESSONS = 60_000  # rows a training reads: 71 features x 8 B: 34 MB
LEAST_LESSONS = 500


Forest = tuple[Any, ...]  # trained models, one a level of LEVELS


@dataclass(frozen=True)
class Trees:
    """Two forests: of demand itself, and of what the regression leaves of it."""

    of_demand: Forest
    of_the_rest: Forest

    def quantiles(self, features: Floats, scale: Floats, horizon: Ints, past: Floats, regressed: Floats) -> Floats:
        """Quantiles (n, K) in row scales of rows with features (n, p), scale (n,) and horizon (n,).

        `past` (n, PAST_COLUMNS) is the rows' own past, `regressed` (n, K) what the regression says of them.
        """
        known = with_past(features, scale, horizon, past)
        return 0.5 * (told_by(self.of_demand, known, np.zeros(1)) + told_by(self.of_the_rest, known, regressed))

    def from_nothing(self, features: Floats, scale: Floats, horizon: Ints, past: Floats) -> Floats:
        """The first forest's quantiles (n, K) alone, as plain quantile trees tell them."""
        return told_by(self.of_demand, with_past(features, scale, horizon, past), np.zeros(1))


def told_by(forest: Forest, sized: Floats, base: Floats) -> Floats:
    """Quantiles (n, K) in row scales that a forest tells over `base`, ascending and bounded."""
    told = base + np.stack([model.predict(sized, num_threads=1) for model in forest], axis=1)
    return np.maximum.accumulate(np.clip(told, 0.0, FARTHEST), axis=1)


def lessons_of(told: Told) -> Told:
    """The matured horizons in what rows told, (m,): all that trees learn from."""
    lessons = told["lesson"].reshape(-1)
    return lessons[lessons["taught"] > 0]


def taught_by(told: Told) -> tuple[Ints, Ints]:
    """Row (m,) and origin (m,) of each of the lessons in what rows told, in the order of `lessons_of`."""
    row, head = np.nonzero(told["lesson"]["taught"] > 0)
    return row, told["period"][row].astype(np.int64) - told["lesson"]["span"][row, head]


def train(
    lessons: Told, past: Floats, regressed: Floats, rounds: int = 120, parameters: dict[str, Any] | None = None
) -> Trees:
    """Quantile trees of `lessons` (m,) with their rows' own past (m, PAST_COLUMNS).

    `regressed` (m, K) in row scales is what the regression says of them. Evenly thinned over all of history where they
    are more than MOST_LESSONS.
    """
    kept = thinned(len(lessons))
    lessons, past, regressed = lessons[kept], past[kept], regressed[kept]
    scale = lessons["scale"].astype(np.float64)
    known = with_past(features_of(lessons), scale, lessons["span"], past)
    nothing = np.zeros_like(regressed)
    return Trees(*(grown(known, lessons, base, rounds, parameters) for base in (nothing, regressed)))


def thinned(count: int) -> Ints:
    """Places of at most MOST_LESSONS of `count` lessons, evenly."""
    return np.arange(count) if count <= MOST_LESSONS else np.linspace(0, count - 1, MOST_LESSONS).astype(np.int64)


def grown(known: Floats, lessons: Told, base: Floats, rounds: int, parameters: dict[str, Any] | None = None) -> Forest:
    """A forest on what is `known` (m, p) of `lessons` (m,), of what `base` (m, K) in row scales leaves of them."""
    import lightgbm

    weight = np.sqrt(lessons["scale"].astype(np.float64))
    target = np.clip(lessons["target"].astype(np.float64), 0.0, LARGEST)
    data = lightgbm.Dataset(known, target, weight=weight, free_raw_data=False)
    settings, models = {**DEFAULTS, **(parameters or {}), **FIXED}, []
    for k, level in enumerate(LEVELS):
        data.set_label(target - base[:, k])
        models.append(lightgbm.train({**settings, "alpha": float(level)}, data, rounds))
    return tuple(models)


def regressed_of(family: Online, shared: Shared, lessons: Told) -> Floats:
    """What the regression, as it is now, says of lessons (m,): quantiles (m, K) in row scales."""
    scale, span = lessons["scale"].astype(np.float64), lessons["span"].astype(np.int64)
    return family.regressed(shared, features_of(lessons), scale, span)


def features_of(lessons: Told) -> Floats:
    """Features (m, p) of lessons, in row scales."""
    return np.asarray(lessons["features"] * FEATURE_STEP)


def past_of(panel: Panel, season: int, year: int) -> Past:
    """The past of a panel's rows, as trees read it."""
    units = np.where(panel.exposure >= FULLY_SEEN, panel.units, np.nan)
    return Past(units, np.zeros(panel.rows, np.int64), season, year)


@dataclass
class NightlyTrees:
    """The trees as a backtest's guest over `panel`: trained anew every `every_periods`, asked after each closing."""

    panel: Panel
    every_periods: int = 28
    rounds: int = 120
    parameters: dict[str, Any] = field(default_factory=dict)
    from_period: int = 0
    name: str = "trees"
    trained_at: int | None = None
    trees: Trees | None = None
    lessons: list[Told] = field(default_factory=list)
    rows: list[Ints] = field(default_factory=list)
    origins: list[Ints] = field(default_factory=list)
    past: Past = field(init=False)

    def __post_init__(self) -> None:
        self.past = past_of(self.panel, self.panel.season, self.panel.year)

    def hear(self, period: int, told: Told) -> None:  # noqa: ARG002
        """Keep the lessons, whose they are and when they began."""
        row, origin = taught_by(told)
        self.lessons.append(lessons_of(told))
        self.rows.append(row)
        self.origins.append(origin)

    def quantiles(
        self, family: Online, state: State, shared: Shared, period: int, horizons: Ints, ahead: Ahead
    ) -> Floats | None:
        """Quantiles (n, H, K) in units; None until trained. Trains where it is time and there are lessons enough."""
        due = self.trained_at is None or period - self.trained_at >= self.every_periods
        if due and period >= self.from_period and sum(len(lesson) for lesson in self.lessons) >= LEAST_LESSONS:
            lessons = np.concatenate(self.lessons)
            self.trees = self.trained(family, shared, lessons, self.past_of(lessons))
            self.trained_at = period
        if self.trees is None:
            return None
        told, rows, now = [], np.arange(len(state)), np.full(len(state), period)
        for horizon in horizons.T:
            features, scale = family.features(state, shared, now, horizon, ahead)
            regressed = family.regressed(shared, features, scale, horizon)
            past = self.past.before(rows, now, horizon, scale)
            told.append(self.trees.quantiles(features, scale, horizon, past, regressed) * scale[:, None])
        return np.stack(told, axis=1)

    def past_of(self, lessons: Told) -> Floats:
        """The own past of all lessons so far, (m, PAST_COLUMNS)."""
        row, origin = np.concatenate(self.rows), np.concatenate(self.origins)
        return self.past.before(row, origin, lessons["span"].astype(np.int64), lessons["scale"].astype(np.float64))

    def trained(self, family: Online, shared: Shared, lessons: Told, past: Floats) -> Trees:
        """Trees of all lessons so far."""
        return train(lessons, past, regressed_of(family, shared, lessons), self.rounds, self.parameters)


def with_past(features: Floats, scale: Floats, horizon: Ints, past: Floats) -> Floats:
    """Features (n, p) with size and horizon, and the rows' own past, beside them."""
    return np.concatenate([with_size(features, scale, horizon), past], axis=1)


def with_size(features: Floats, scale: Floats, horizon: Ints) -> Floats:
    """Features (n, p) with the logarithm of the scale and the horizon beside them."""
    return np.concatenate([features, np.log(scale + 1e-3)[:, None], np.asarray(horizon, np.float64)[:, None]], axis=1)
