"""Global LightGBM quantile regression, one model a level and horizon: tuned before the evaluation, refitted in it.

Features are in units of the row's own level, so that all rows share the trees: levels and deviations of several
windows, the last sums, the same days a season ago, the calendar, and what is planned for the horizon. Tuned by random
search over periods before the evaluation, which are not reported. LightGBM is an extra and must be installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from agents.backtest.history import PRICE_NAMES, SEASON, Floats, History
from agents.backtest.methods import Method, Sums
from agents.backtest.plan import Plan
from agents.planner.plan import LEVELS
from stream.errors import SetupError

REFIT_PERIODS = {"day": 28, "week": 4, "month": 3}
WINDOWS = (7, 14, 28, 91)
LESSONS_MOST = 60_000  # rows x origins a fit sees: the newest
TUNED_LEVELS = (0.5, 0.95)
LARGEST = 20.0  # targets, in row levels
SEED = 7


def lightgbm_method(
    history: History, plan: Plan, horizons: list[int], trials: int, heard: Callable[[str, int, int], None]
) -> Method:
    """The tuned model on all rows. Raises SetupError where LightGBM is not installed."""
    try:
        lightgbm = importlib.import_module("lightgbm")
    except ImportError as absent:
        raise SetupError(
            "--compare needs LightGBM for its tuned quantile trees",
            str(absent),
            "pip install 'restock[trees]', or name other peers: --peers rules,statistical",
        ) from absent
    sums = {h: _horizon(lightgbm, history, plan, h, trials, heard) for h in horizons}
    note = f"{trials} trials, refitted every {REFIT_PERIODS[history.period]}"
    return Method("LightGBM, tuned", sums, np.arange(history.rows), bool(history.known), note)


def _horizon(
    lightgbm: Any, history: History, plan: Plan, horizon: int, trials: int, heard: Callable[[str, int, int], None]
) -> Sums:
    table = _Table(history, horizon)
    best = _tuned(lightgbm, table, plan, trials, heard)
    every = REFIT_PERIODS[history.period]
    refits = range(plan.first, plan.last + 1, every)
    mean, quantiles = [], []
    for k, at in enumerate(refits):
        heard(f"LightGBM over {horizon}", k, len(refits))
        x, y = table.lessons(at)
        models = [_fit(lightgbm, best, x, y, level) for level in LEVELS]
        for t in range(at, min(at + every, plan.last + 1)):
            x, scale = table.at(t)
            told = np.stack([m.predict(x) for m in models], axis=1)
            told = np.maximum(np.maximum.accumulate(told, axis=1), 0.0) * scale[:, None]
            quantiles.append(told)
            mean.append(told @ _mean_weights())
    return Sums(np.stack(mean), np.stack(quantiles))


def _mean_weights() -> Floats:
    """Weights that make a mean of quantiles: each level stands for what lies nearest to it."""
    edges = np.concatenate([[0.0], (LEVELS[1:] + LEVELS[:-1]) / 2.0, [1.0]])
    return np.asarray(np.diff(edges))


def _fit(lightgbm: Any, setting: dict[str, Any], x: Floats, y: Floats, level: float) -> Any:
    fixed = {"objective": "quantile", "alpha": float(level), "verbosity": -1, "num_threads": 1, "seed": SEED,
             "deterministic": True, "bagging_freq": 1}  # fmt: skip
    rounds = setting["rounds"]
    given = {k: v for k, v in setting.items() if k != "rounds"}
    return lightgbm.train({**fixed, **given}, lightgbm.Dataset(x, y), rounds)


def _tuned(
    lightgbm: Any, table: _Table, plan: Plan, trials: int, heard: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """The best of `trials` random settings, by pinball over the last fifth of the history before the evaluation."""
    draw = np.random.default_rng(SEED)
    cut = max(plan.first * 4 // 5, plan.first - 91)
    x, y = table.lessons(cut)
    origins = range(cut, max(plan.first - table.horizon, cut + 1))
    parts = [(*table.at(t), table.came(t)) for t in origins]
    best, least = _drawn(np.random.default_rng(SEED)), np.inf
    for trial in range(trials if len(y) else 0):
        heard("LightGBM tuning", trial, trials)
        setting = _drawn(draw)
        loss = 0.0
        for level in TUNED_LEVELS:
            model = _fit(lightgbm, setting, x, y, level)
            for features, scale, came in parts:
                error = came - np.maximum(model.predict(features), 0.0) * scale
                loss += float(np.maximum(level * error, (level - 1) * error).sum())
        if loss < least:
            best, least = setting, loss
    return best


def _drawn(draw: np.random.Generator) -> dict[str, Any]:
    return {
        "num_leaves": int(draw.choice([7, 15, 31, 63])),
        "learning_rate": float(draw.choice([0.03, 0.05, 0.1])),
        "min_data_in_leaf": int(draw.choice([20, 60, 200])),
        "feature_fraction": float(draw.choice([0.6, 0.8, 1.0])),
        "bagging_fraction": float(draw.choice([0.6, 0.8, 1.0])),
        "lambda_l2": float(draw.choice([0.0, 1.0, 10.0])),
        "rounds": int(draw.choice([80, 150, 250])),
    }


class _Table:
    """Features and targets of one horizon, worked out a period at a time and kept."""

    def __init__(self, history: History, horizon: int) -> None:
        self.history, self.horizon = history, horizon
        seen = history.exposure > 0
        zero = np.zeros((history.rows, 1))
        self.units = np.concatenate([zero, np.cumsum(np.where(seen, history.demand, 0.0), axis=1)], axis=1)
        self.squares = np.concatenate([zero, np.cumsum(np.where(seen, history.demand**2, 0.0), axis=1)], axis=1)
        self.some = np.concatenate([zero, np.cumsum(seen & (history.demand > 0), axis=1)], axis=1)
        self.seen = np.concatenate([zero, np.cumsum(history.exposure, axis=1)], axis=1)
        self.total = np.concatenate([zero, np.cumsum(history.demand, axis=1)], axis=1)
        self.kept: dict[int, tuple[Floats, Floats]] = {}

    def at(self, t: int) -> tuple[Floats, Floats]:
        """Features (n, p) and scale (n,) as known at the end of period t."""
        if t not in self.kept:
            self.kept[t] = self._made(t)
        return self.kept[t]

    def came(self, t: int) -> Floats:
        """Demand (n,) summed over the horizon after t."""
        stop = min(t + 1 + self.horizon, self.history.periods)
        return np.asarray(self.total[:, stop] - self.total[:, t + 1])

    def lessons(self, now: int) -> tuple[Floats, Floats]:
        """What is over by the end of `now`: features and targets in scales, the newest LESSONS_MOST."""
        origins = range(now - self.horizon, max(WINDOWS[1], 0), -1)
        xs, ys, count = [], [], 0
        for t in origins:
            x, scale = self.at(t)
            gone = self.history.exposure[:, t + 1 : t + 1 + self.horizon].min(axis=1) >= 0.8
            good = gone & (self.units[:, t + 1] > 0)
            xs.append(x[good])
            ys.append(np.minimum(self.came(t)[good] / scale[good], LARGEST))
            count += int(good.sum())
            if count >= LESSONS_MOST:
                break
        if not xs:
            return np.zeros((0, self.at(now)[0].shape[1])), np.zeros(0)
        return np.concatenate(xs), np.concatenate(ys)

    def _over(self, total: Floats, t: int, window: int) -> Floats:
        return np.asarray(total[:, t + 1] - total[:, max(t + 1 - window, 0)])

    def _made(self, t: int) -> tuple[Floats, Floats]:
        h, season = self.horizon, SEASON[self.history.period]
        rate = [self._over(self.units, t, w) / np.maximum(self._over(self.seen, t, w), 0.5) for w in WINDOWS]
        scale = h * (0.5 * rate[2] + 0.5 * rate[3]) + 0.3 * np.sqrt(h * rate[3]) + 1e-3
        columns = [r * h / scale for r in rate]
        for w in WINDOWS[1:]:
            n = np.maximum(self._over(self.seen, t, w), 1.0)
            mean = self._over(self.units, t, w) / n
            spread = np.sqrt(np.maximum(self._over(self.squares, t, w) / n - mean * mean, 0.0) * h)
            columns += [spread / scale, self._over(self.some, t, w) / n]
        ago = max(t + 1 - 364, 0) if season == 7 else max(t + 1 - (52 if self.history.period == "week" else 12), 0)
        columns += [
            (self.total[:, min(ago + h, t + 1)] - self.total[:, ago]) / scale,
            self._over(self.seen, t, h) / h,
            np.log(scale),
            np.full(len(scale), float(t % season)),
            np.full(len(scale), float(self.history.dates[t].astype("M8[M]").astype(int) % 12)),
        ]
        for name, column in self.history.known.items():
            columns += self._planned(name, column, t)
        return np.stack(columns, axis=1), scale

    def _planned(self, name: str, column: Floats, t: int) -> list[Floats]:
        """What a known column says of the horizon, and against what was usual."""
        ahead, past = column[:, t + 1 : t + 1 + self.horizon], column[:, max(t - 27, 0) : t + 1]
        if name in PRICE_NAMES:
            ahead, past = (np.log(np.where(part > 0, part, np.nan)) for part in (ahead, past))
        before, coming = _mean(past), _mean(ahead) if ahead.shape[1] else _mean(past)
        return [coming, coming - before, _mean(ahead[:, :1]) if ahead.shape[1] else before]


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
