"""Forecasts against what came: every score of `models.demand.scores`, overall and by segment, with intervals.

An origin counts where its whole horizon lies in the file and could be seen (every period's availability at least
`FULLY_SEEN`), and where the row had sold before: nobody can forecast what nobody has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.backtest.history import SEASON, Floats, History, Ints
from agents.backtest.methods import Sums
from agents.backtest.plan import QUANTILE_NAMES, QUANTILES, Plan
from models.demand import scores
from models.demand.panel import FULLY_SEEN
from models.stock import segments

LEVELS = np.array(QUANTILES)
UPPER = slice(2, None)  # levels from 90 % on: what reorder points are made of
BOOTSTRAP = 400
LEAST = 100  # forecasts a segment needs to be told
PIT_BINS = 20
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Actual:
    """What came: the sum (E, n) over the horizon after each origin, and whether it counts (E, n)."""

    units: Floats
    counts: npt.NDArray[np.bool_]


def actual(history: History, plan: Plan, horizon: int, rows: Ints) -> Actual:
    """The sums of some rows after each evaluated origin."""
    demand, exposure = history.demand[rows], history.exposure[rows]
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(demand, axis=1)], axis=1)
    unseen = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(exposure < FULLY_SEEN, axis=1)], axis=1)
    origins = np.arange(plan.first, plan.last + 1)
    stop = np.minimum(origins + 1 + horizon, history.periods)
    whole = origins + 1 + horizon <= plan.last + 1
    units = (total[:, stop] - total[:, origins + 1]).T
    seen = (unseen[:, stop] - unseen[:, origins + 1]).T == 0
    born = total[:, origins + 1].T > 0
    return Actual(units, whole[:, None] & seen & born)


def segments_of(history: History, plan: Plan) -> Names:
    """ABC by units (by money where prices are known) and XYZ by weekly sums (n,), as they stood before evaluation."""
    before = history.demand[:, : plan.first]
    _, price = history.worth(plan.first)
    value = before.sum(axis=1) * (1.0 if price is None else price)
    week = min(SEASON[history.period], before.shape[1])
    weeks = before.shape[1] // week
    sums = before[:, before.shape[1] - weeks * week :].reshape(len(before), weeks, week).sum(axis=2)
    return np.char.add(segments.abc(value), segments.xyz(sums.mean(axis=1), sums.std(axis=1)))


def naive_errors(history: History, plan: Plan) -> tuple[Floats, Floats]:
    """Mean absolute and mean squared error (n,) of the seasonal naive forecast of one period, before the evaluation."""
    before, lag = history.demand[:, : plan.first], SEASON[history.period]
    if before.shape[1] <= lag:
        return np.zeros(history.rows), np.zeros(history.rows)
    error = before[:, lag:] - before[:, :-lag]
    return np.abs(error).mean(axis=1), (error**2).mean(axis=1)


@dataclass(frozen=True)
class Scored:
    """Columns of the forecasts that count, (M,) or (M, K)."""

    origin: Ints
    row: Ints
    units: Floats
    mean: Floats
    quantiles: Floats


def scored(made: Sums, came: Actual, whole: bool) -> Scored:
    """The forecasts that count. Quantiles of whole demand are rounded up, as reorder points are."""
    origin, row = np.nonzero(came.counts)
    quantiles = made.quantiles[origin, row, : len(QUANTILES)]
    if whole:
        quantiles = np.ceil(quantiles - 1e-6)
    return Scored(origin, row, came.units[origin, row], made.mean[origin, row], quantiles)


def told(
    one: Scored, raw: Sums, horizon: int, naive: tuple[Floats, Floats], segment: Names, seed: int
) -> dict[str, Any]:
    """Every score of one method and horizon, as the report has it."""
    if len(one.row) == 0:
        return {"forecasts": 0}
    exact = raw.quantiles[one.origin, one.row, : len(QUANTILES)]
    loss = scores.pinball(one.units, exact, LEVELS)
    under, within = scores.coverage(one.units, one.quantiles)
    percent, zeros = scores.mape(one.units, one.mean)
    scale = np.maximum(float(one.units.sum()), 1e-9)
    randomness = np.random.default_rng(seed).random(len(one.row))
    transform = scores.pit(one.units, one.quantiles, LEVELS, randomness)
    out: dict[str, Any] = {
        "forecasts": len(one.row),
        "origins": len(np.unique(one.origin)),
        "zero_share": float((one.units == 0).mean()),
        "pinball": dict(zip(QUANTILE_NAMES, loss.mean(axis=0).tolist(), strict=True)),
        "scaled_pinball": float(2.0 * loss.mean(axis=1).sum() / scale),
        "scaled_pinball_90": interval(loss.mean(axis=1), one.units, one.origin, seed),
        "crps": float(scores.crps(one.units, exact, LEVELS).mean()),
        "coverage_under": dict(zip(QUANTILE_NAMES, under.tolist(), strict=True)),
        "coverage_within": dict(zip(QUANTILE_NAMES, within.tolist(), strict=True)),
        "coverage_error_from_90": float(scores.coverage_error(one.units, one.quantiles, LEVELS)[UPPER].max()),
        "pit": (np.histogram(transform, PIT_BINS, (0.0, 1.0))[0] / len(transform)).tolist(),
        "mae": scores.mae(one.units, one.mean),
        "rmse": scores.rmse(one.units, one.mean),
        "mase": scores.mase(one.units, one.mean, naive[0][one.row] * horizon),
        "rmsse": scores.rmsse(one.units, one.mean, naive[1][one.row] * horizon * horizon),
        "mape": percent,
        "mape_zero_share": zeros,
        "wape": scores.wape(one.units, one.mean),
        "bias": scores.bias(one.units, one.mean),
        "r2": scores.r2(one.units, one.mean),
    }
    out["segments"] = {
        name: _segment(one, loss, segment[one.row] == name)
        for name in sorted(set(segment.tolist()))
        if (segment[one.row] == name).sum() >= LEAST
    }
    return out


def _segment(one: Scored, loss: Floats, here: npt.NDArray[np.bool_]) -> dict[str, Any]:
    units, quantiles = one.units[here], one.quantiles[here]
    under, within = scores.coverage(units, quantiles)
    return {
        "forecasts": int(here.sum()),
        "scaled_pinball": float(2.0 * loss[here].mean(axis=1).sum() / max(float(units.sum()), 1e-9)),
        "coverage_under": dict(zip(QUANTILE_NAMES, under.tolist(), strict=True)),
        "coverage_within": dict(zip(QUANTILE_NAMES, within.tolist(), strict=True)),
        "coverage_error_from_90": float(scores.coverage_error(units, quantiles, LEVELS)[UPPER].max()),
        "bias": scores.bias(units, one.mean[here]),
        "wape": scores.wape(units, one.mean[here]),
    }


def interval(loss: Floats, units: Floats, origin: Ints, seed: int) -> tuple[float, float]:
    """90 % of the scaled pinball under resampling of origins: rows of one origin share its weather."""
    labels, at = np.unique(origin, return_inverse=True)
    lost, came = np.bincount(at, loss), np.bincount(at, units)
    drawn = np.random.default_rng(seed).integers(0, len(labels), (BOOTSTRAP, len(labels)))
    ratio = 2.0 * lost[drawn].sum(axis=1) / np.maximum(came[drawn].sum(axis=1), 1e-9)
    low, high = np.quantile(ratio, [0.05, 0.95])
    return float(low), float(high)


def ratio_interval(ours: Floats, theirs: Floats, origin: Ints, seed: int) -> tuple[float, float, float]:
    """Ours over theirs in summed loss, and 90 % of it under resampling of origins (the same draw for both)."""
    labels, at = np.unique(origin, return_inverse=True)
    a, b = np.bincount(at, ours), np.bincount(at, theirs)
    drawn = np.random.default_rng(seed).integers(0, len(labels), (BOOTSTRAP, len(labels)))
    ratio = a[drawn].sum(axis=1) / np.maximum(b[drawn].sum(axis=1), 1e-12)
    low, high = np.quantile(ratio, [0.05, 0.95])
    return float(a.sum() / max(b.sum(), 1e-12)), float(low), float(high)


def worst_rows(one: Scored, raw: Sums, history: History, rows: Ints, most: int = 20) -> list[dict[str, Any]]:
    """The rows that lose most pinball, with what they were told and what came."""
    loss = scores.pinball(one.units, raw.quantiles[one.origin, one.row, : len(QUANTILES)], LEVELS).mean(axis=1)
    n = len(rows)
    lost, came = np.bincount(one.row, loss, n), np.bincount(one.row, one.units, n)
    mean, count = np.bincount(one.row, one.mean, n), np.bincount(one.row, minlength=n)
    order = np.argsort(-lost, kind="stable")[:most]
    total = max(float(lost.sum()), 1e-12)
    return [
        {
            "sku": history.skus[rows[i]],
            "location": history.locations[rows[i]],
            "share_of_loss": float(lost[i] / total),
            "units": float(came[i] / max(count[i], 1)),
            "mean": float(mean[i] / max(count[i], 1)),
            "scaled_pinball": float(2.0 * lost[i] / max(came[i], 1e-9)),
        }
        for i in order.tolist()
        if lost[i] > 0
    ]


def by_name(methods: Mapping[str, Any]) -> list[str]:
    """Method names, our own first."""
    return sorted(methods, key=lambda name: (name != "restock", name))
