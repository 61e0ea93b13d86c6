"""The distribution of demand summed over a horizon, a row: features, experts, mixture, calibration.

Everything is in *row scales*: units over a blend of the row's level and its spread, so that rows of 0.1 and of 10,000
a day share coefficients. Two experts are always in: a linear quantile regression on the features, and pooled errors, a
row's best blend of plain forecasts with quantiles from everybody's errors in units of the row's own. Guests (trees, a
slow lane's fits) join with quantiles they made elsewhere; their word fades with age.

Here `s` holds the columns of a slice of rows, `head` those of one horizon, as float64, (n,) or (k, n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.demand.contract import SIGNALS, Bools, Floats, Ints, Shared
from models.demand.exactly import COEFFICIENT_STEP, FEATURE_STEP, across, on_grid
from models.demand.row_levels import (
    AHEAD_TIMES,
    FAST,
    LONG,
    MID,
    SLOW,
    USUAL,
    Columns,
    Horizon,
    PlanNames,
    answers,
    clean_rates,
    rates,
)

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99])
LARGEST = 8.0  # features and targets, in row scales: nothing learns from further out
FARTHEST = 12.0  # row scales: no quantile lies further out
SIZES, WILDNESSES = 3, 3  # segments: thirds of the rows by size; usual error over level under 0.4, 0.8, more
WILD = (0.4, 0.8)
SPREAD_KEPT = (0.95, 0.983, 0.995)
GROUPS = 128  # buckets of each kind of like rows; the first of all is everybody
DRIFT_LEVELS = (FAST, MID, USUAL, SLOW, LONG)
SIGNAL_FEATURES = (0, 1, 2, 3)  # viewed, added, removed, abandoned

KEPT = 0.97  # pooled errors' means look back about 33 periods
SHARPNESS = 6  # blend weights fall with this power of the mean error
YOUNG_WEIGHT = 3.0  # a new row's error counts as the prior's for this many periods
PRIOR_ERROR = 0.35  # of the row's scale
BASES = 9

REGRESSION, POOLED, FIRST_GUEST = 0, 1, 2
MIX_SHARPNESS_SQUARINGS = 3  # weights fall with the 8th power of the loss: a tenth more costly is under a half
LEAST_SHARE = 0.1  # a member that is out keeps a word: it is the one that does not break
LOSS_KEPT = 0.98  # of a row's own losses, a horizon
ROW_EVIDENCE = 40.0  # a row's own losses count beyond this many horizons of like rows
GUEST_AGE = 28.0  # periods until a guest has nothing more to say

FIXED_FEATURES = 23  # before groups, signals and plan
LEVEL_AT, TSB_AT, SPREAD_AT, CLEAN_AT = 2, 8, 9, 18  # places of features that are read again
BASE_PLACES = [
    LEVEL_AT + MID,
    LEVEL_AT + USUAL,
    CLEAN_AT,
    CLEAN_AT + 1,
    CLEAN_AT + 2,
    LEVEL_AT + FAST,
    LEVEL_AT + SLOW,
    TSB_AT,
    LEVEL_AT + LONG,
]


def feature_count(names: PlanNames) -> int:
    """How many features a row has."""
    return FIXED_FEATURES + 6 + len(SIGNAL_FEATURES) + 1 + 3 * names.columns


@dataclass(frozen=True)
class View:
    """A slice of rows before one horizon: features (n, p) on the grid and in row scales, scale in units, segments."""

    features: Floats
    scale: Floats
    farthest: Floats  # no quantile lies further out
    size: Ints
    segment: Ints


def view(s: Columns, head: Columns, shared: Shared, last_year: Floats, worth: Horizon, horizon: Ints) -> View:
    """What is known of the horizon; `last_year` (3, n) is the drift of the same weeks a year ago."""
    most = AHEAD_TIMES * s["largest"] * np.maximum(horizon, 1)
    level = np.minimum(rates(s) * worth.planned, most)
    tsb = np.minimum(s["chance"] * s["size"] * worth.planned, most)
    clean = np.minimum(clean_rates(s) * worth.planned, most)
    middle = 0.5 * level[USUAL] + 0.25 * level[MID] + 0.25 * level[SLOW]
    guess = 0.35 * level[USUAL] + 0.5 * np.sqrt(level[USUAL])
    spread = (head["error"] + 2.0 * guess) / (head["error_weight"] + 2.0)
    scale = np.maximum(middle, 0.5 * spread[1]) + 0.3 * spread[1] + 1e-6
    plain = np.minimum(rates(s)[USUAL] * worth.plain, most)
    drift = drifts(s, shared)
    columns = [
        scale,
        scale / (1.0 + scale),
        *level,
        tsb,
        *spread,
        np.sqrt(middle),
        middle * s["since"] / (s["since"] + 5.0),
        middle * drift[0][0],
        middle * drift[0][1],
        np.sqrt(spread[1] * middle),
        np.maximum(level[FAST] - level[SLOW], 0.0),
        *clean,
        plain,
        middle * last_year[0],
        *(middle * d for kind in drift[1:] for d in kind),
        *(middle * y for y in last_year[1:]),
        *(middle * d for d in _signal_drifts(s)),
        *_plan_features(s, worth, plain, middle, horizon),
    ]
    scaled = np.stack(columns)
    scaled *= (1.0 / FEATURE_STEP) / scale
    np.rint(np.minimum(np.maximum(scaled, -LARGEST / FEATURE_STEP), LARGEST / FEATURE_STEP), out=scaled)
    scaled *= FEATURE_STEP
    size = np.searchsorted(shared["cuts"], middle / np.maximum(horizon, 1)).astype(np.int64)
    wild = np.searchsorted(WILD, spread[1] / np.maximum(middle, 1e-9)).astype(np.int64)
    farthest = np.minimum(FARTHEST, most / scale)
    return View(np.ascontiguousarray(scaled.T), scale, farthest, size, size * WILDNESSES + wild)


def drifts(s: Columns, shared: Shared) -> list[tuple[Floats, Floats]]:
    """How far the fast and the usual level of everybody, and of each kind of like rows, are over slower ones."""
    out = []
    for kind, bucket in enumerate(buckets(s)):
        fast, mid, usual, slow, long = shared["drift"][kind][:, bucket]
        pairs = ((fast, slow), (mid, long)) if kind == 0 else ((fast, usual), (mid, slow))
        one, two = (np.clip((above + 0.3) / (below + 0.3) - 1.0, -0.8, 2.0) for above, below in pairs)
        out.append((one, two))
    return out


def buckets(s: Columns) -> list[Ints]:
    """Place of each row among everybody (0), and among rows alike by location and by category."""
    own = np.asarray(s["groups"], dtype=np.int64)
    return [np.zeros(own.shape[1], np.int64), *own]


def _signal_drifts(s: Columns) -> list[Floats]:
    """How far what people looked at and put into carts is over what they usually do; in doubt, not at all."""
    fast, slow = s["signal_fast"], s["signal_slow"]
    assert len(fast) == len(SIGNALS)
    return [np.clip((fast[i] + 0.5) / (slow[i] + 0.5) - 1.0, -0.8, 2.0) for i in SIGNAL_FEATURES]


def _plan_features(s: Columns, worth: Horizon, plain: Floats, middle: Floats, horizon: Ints) -> list[Floats]:
    """Each plan column's share ahead and behind, what is beyond one period of it, and the row's own answer."""
    answer = np.zeros(len(plain))
    for own, share in zip(answers(s), worth.columns, strict=True):
        answer = answer + own * share
    columns = [np.clip(answer, -0.8, 2.0) * plain]
    for share, past in zip(worth.columns, s["plan_past"], strict=True):
        beyond = np.maximum(np.abs(share) - 1.01 / np.maximum(horizon, 1), 0.0)
        columns += [share * plain, past * middle, beyond * middle]
    return columns


# --- experts --------------------------------------------------------------------------------------------------------


def regression(seen: View, coefficients: Floats) -> Floats:
    """Quantiles (n, K) in row scales of the regression; `coefficients` (SIZES, K, p) on their grid."""
    told = np.zeros((len(seen.scale), coefficients.shape[1]))
    for size in range(SIZES):
        here = seen.size == size
        if here.any():
            told[here] = seen.features[here] @ coefficients[size].T  # exact: both are on grids
    return np.maximum.accumulate(np.clip(told, 0.0, FARTHEST), axis=1)


def blend(head: Columns, features: Floats, scale: Floats) -> Floats:
    """The row's blend (n,), in row scales, of its plain forecasts, each weighed by its recent mean error."""
    bases = np.maximum(features[:, BASE_PLACES].T, 0.0)
    error = (head["base_error"] + PRIOR_ERROR * YOUNG_WEIGHT * scale) / (head["weight"] + YOUNG_WEIGHT)
    least = error[0]
    for other in error[1:]:
        least = np.minimum(least, other)
    ratio = least / np.maximum(error, 1e-12)
    weight = (ratio * ratio) * (ratio * ratio) * (ratio * ratio)
    return np.asarray(across(weight * bases) / across(weight))


def blend_spread(head: Columns, blended: Floats, scale: Floats) -> Floats:
    """Mean absolute error (n,) of the blend, in row scales, never quite zero."""
    error = (head["blend_error"] + PRIOR_ERROR * YOUNG_WEIGHT * scale) / (head["weight"] + YOUNG_WEIGHT)
    return np.asarray(error / scale + 0.02 * blended + 1e-9)


def pooled(seen: View, head: Columns, quantiles: Floats, means: Floats) -> tuple[Floats, Floats]:
    """Mean (n,) and quantiles (n, K) in row scales; `quantiles` (SIZES, K) and `means` (SIZES,) of pooled errors."""
    blended = blend(head, seen.features, seen.scale)
    spread = blend_spread(head, blended, seen.scale)
    told = blended[:, None] + spread[:, None] * quantiles[seen.size]
    return np.maximum(blended + spread * means[seen.size], 0.0), np.clip(told, 0.0, FARTHEST)


def shares(head: Columns, excess: Floats, usual: Floats, present: Floats) -> Floats:
    """Share (E, n) of each expert by recent pinball over that of the pooled errors, on the same horizons.

    The row's own excess is drawn to `excess` (E, n) of like rows, whose mean loss is `usual` (n,), in row scales.
    `present` (E, n) in 0..1 fades guests with age.
    """
    cost = 1.0 + (head["excess"] + ROW_EVIDENCE * usual * excess) / (head["pooled_loss"] + ROW_EVIDENCE * usual + 1e-12)
    cost = np.where(present > 0, np.maximum(cost, 0.05), np.inf)
    least = cost[0]
    for other in cost[1:]:
        least = np.minimum(least, other)
    raw = least / cost
    for _ in range(MIX_SHARPNESS_SQUARINGS):
        raw = raw * raw
    raw = np.maximum(raw / across(raw), LEAST_SHARE) * present
    return np.asarray(raw / across(raw))


def mixed(share: Floats, told: Floats, shift: Floats, farthest: Floats) -> Floats:
    """Quantiles (n, K) in row scales: experts `told` (E, n, K) by `share` (E, n), moved by `shift`, bounded."""
    quantile = across(share[:, :, None] * told) + shift
    return np.asarray(np.clip(np.maximum.accumulate(quantile, axis=1), 0.0, farthest[:, None]))


def pinball_mean(actual: Floats, quantile: Floats) -> Floats:
    """Pinball loss (n,) of quantiles (n, K) against `actual` (n,), mean over LEVELS."""
    error = actual[:, None] - quantile
    return across(np.maximum(LEVELS * error, (LEVELS - 1.0) * error).T) / len(LEVELS)


def learn(head: Columns, taught: Bools, features: Floats, scale: Floats, told: Floats, actual: Floats) -> Floats:
    """A horizon is over whose origin had `features` (n, p), `scale` (n,) and experts' `told` (E, n, K, NaN: absent).

    `taught` (n,) are the rows that learn of `actual` (n,) units; returns the blend's error (n,) in its own spreads.
    """
    middle = 0.5 * features[:, LEVEL_AT + USUAL] + 0.25 * (features[:, LEVEL_AT + MID] + features[:, LEVEL_AT + SLOW])

    def keep(name: str, kept: Floats | float, value: Floats | float) -> None:
        head[name] = np.where(taught, kept * head[name] + value, head[name])

    blended = blend(head, features, scale)
    error = (actual / scale - blended) / blend_spread(head, blended, scale)
    bases = np.maximum(features[:, BASE_PLACES].T, 0.0)
    for name, forecast in (("base_error", bases), ("blend_error", blended), ("error", middle[None])):
        miss = np.minimum(np.abs(actual - forecast * scale), LARGEST * scale)
        keep(name, np.array(SPREAD_KEPT)[:, None] if name == "error" else KEPT, miss)
    keep("weight", KEPT, 1.0)
    keep("error_weight", np.array(SPREAD_KEPT)[:, None], 1.0)
    target = np.clip(actual / scale, 0.0, LARGEST)
    loss = pinball_mean(target, told[POOLED])
    for expert in range(len(told)):
        over = np.nan_to_num(pinball_mean(target, told[expert]) - loss)
        head["excess"][expert] = np.where(taught, LOSS_KEPT * head["excess"][expert] + over, head["excess"][expert])
    keep("pooled_loss", LOSS_KEPT, loss)
    return error


def grid_coefficients(coefficients: Floats) -> Floats:
    """Coefficients as they are used: bounded, and on their grid."""
    return on_grid(np.clip(coefficients, -63.0, 63.0), COEFFICIENT_STEP)
