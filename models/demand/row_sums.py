"""The distribution of demand summed over a horizon, a row: features, experts, mixture, and what a horizon teaches.

Everything is in *row scales*: units over a blend of the row's level and its spread, so that rows of 0.1 and of 10,000
a day share coefficients. Two experts are always in: a linear quantile regression on the features, and pooled errors, a
row's best blend of plain forecasts with quantiles from everybody's errors in units of the row's own. Guests (trees, a
slow lane's fits) join with quantiles they made elsewhere; their word fades with age.

Kernels of one row and one horizon: `w` holds the row's words, `head` those of the horizon, as float64 (`places.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from models.demand.compiled import kernel, piece
from models.demand.contract import Floats
from models.demand.exactly import COEFFICIENT_STEP, FEATURE_STEP, on_grid
from models.demand.places import (
    BASE_ERROR,
    BIAS,
    BLEND_ERROR,
    BLEND_WEIGHT,
    CHANCE,
    ERROR,
    ERROR_WEIGHT,
    EXCESS,
    HELD,
    HORIZON,
    LARGEST_UNITS,
    LEVELS,
    POOLED_LOSS,
    SIGNAL_FAST,
    SIGNAL_SLOW,
    SINCE,
    SIZE,
    K,
    Shape,
)
from models.demand.row_levels import (
    AHEAD_TIMES,
    FAST,
    LONG,
    MID,
    SLOW,
    USUAL,
    PlanNames,
    answer,
    clean_rate,
    rate,
)

LARGEST = 8.0  # features and targets, in row scales: nothing learns from further out
FARTHEST = 12.0  # row scales: no quantile lies further out
SIZES = 3  # thirds of the rows
WILD_OVER = np.array([0.25, 0.4, 0.65, 1.0])  # usual error over level
WILDNESSES = 5  # classes of it
PLAN_OVER = np.array([0.93, 1.08])  # what the plan multiplies demand by: less, the same, more
TREND_OVER = np.array([0.7, 1.4])  # level of a fortnight over that of a year: falling, steady, rising
SEGMENTS, CASES = SIZES * WILDNESSES, 9  # size x wildness; plan x trend
CELLS = 1 + SEGMENTS + CASES  # that quantiles are calibrated in: everybody, each segment, each case
CASE_TIMES = 16  # a segment and a case in a byte
FARTHEST_SHIFT = 1.5  # of a normal score
SCORES = ndtri(LEVELS)
SPREAD_KEPT = 0.983
BIAS_KEPT = np.array([0.8, 0.95])
HELD_KEPT, HELD_LEVEL = 0.97, 1  # place in LEVELS
GROUPS = 128  # buckets of each kind of like rows; the first of all is everybody
DRIFT_LEVELS = (FAST, MID, USUAL, SLOW)
SIGNAL_FEATURES = 4  # viewed, added, removed, abandoned

KEPT = 0.985  # pooled errors' means look back about 67 periods
YOUNG_WEIGHT = 3.0  # a new row's error counts as the prior's for this many periods
PRIOR_ERROR = 0.35  # of the row's scale
BASES = 9

REGRESSION, POOLED, FIRST_GUEST = 0, 1, 2
LEAST_COST = 0.05  # over that of the pooled errors
LEAST_SHARE = 0.1  # a member that is out keeps a word: it is the one that does not break
LEAST_PART = 0.05  # of the regression and the pooled errors each, at any level
LOSS_KEPT = 0.98  # of a row's own losses, a horizon
ROW_EVIDENCE = 40.0  # a row's own losses count beyond this many horizons of like rows
GUEST_AGE = 28.0  # periods until a guest has nothing more to say

FIXED_FEATURES = 21  # before groups, signals and plan
LEVEL_AT, TSB_AT, SPREAD_AT, CLEAN_AT = 1, 7, 8, 15  # places of features that are read again
BASE_PLACES = np.array(
    [
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
)


def feature_count(names: PlanNames) -> int:
    """How many features a row has."""
    return FIXED_FEATURES + 6 + SIGNAL_FEATURES + 1 + 3 * names.columns


class View(NamedTuple):
    """One row before one horizon, besides its features; the scale is in units, no quantile lies beyond `farthest`."""

    scale: float
    farthest: float
    size: int
    cells: int


@piece
def grow(head: Floats, horizon: int) -> None:
    """A head's errors, from the horizon it learnt to the one asked: between a root and in proportion."""
    grown = 0.0
    if head[HORIZON] > 0:
        part = horizon / max(head[HORIZON], 1.0)
        grown = np.sqrt(part * np.sqrt(part))
    head[ERROR] *= grown
    for i in range(len(BIAS_KEPT)):
        head[BIAS + i] *= grown
    for i in range(BASES):
        head[BASE_ERROR + i] *= grown
    head[BLEND_ERROR] *= grown


@kernel
def describe(
    w: Floats,
    head: Floats,
    shape: Shape,
    cuts: Floats,
    drifts: Floats,
    last_year: Floats,
    planned: float,
    unplanned: float,
    shares: Floats,
    horizon: int,
    x: Floats,
) -> View:
    """What is known of the horizon, its features into `x` (p,) in row scales and on their grid.

    `drifts` (2, 2) are those of like rows, `last_year` (3,) that of everybody and of like rows, `planned` and
    `unplanned` what the horizon is worth in average periods, `shares` (C,) its plan.
    """
    most = AHEAD_TIMES * w[LARGEST_UNITS] * max(horizon, 1)
    for i in range(6):
        x[LEVEL_AT + i] = min(rate(w, i) * planned, most)
    for i in range(3):
        x[CLEAN_AT + i] = min(clean_rate(w, i) * planned, most)
    x[TSB_AT] = min(w[CHANCE] * w[SIZE] * planned, most)
    usual = x[LEVEL_AT + USUAL]
    middle = 0.5 * usual + 0.25 * (x[LEVEL_AT + MID] + x[LEVEL_AT + SLOW])
    guess = 0.35 * usual + 0.5 * np.sqrt(usual)
    x[SPREAD_AT] = spread = (head[ERROR] + 2.0 * guess) / (head[ERROR_WEIGHT] + 2.0)
    scale = max(middle, 0.5 * spread) + 0.3 * spread + 1e-6
    plain = min(rate(w, USUAL) * unplanned, most)
    x[0], x[9], x[10] = scale, head[BIAS], head[BIAS + 1]
    x[11], x[12] = np.sqrt(middle), middle * w[SINCE] / (w[SINCE] + 5.0)
    x[13], x[14] = head[HELD] * spread, np.sqrt(spread * middle)
    x[18], x[19], x[20] = plain, middle * last_year[0], min(w[SIZE], most)
    _more_features(w, shape, drifts, last_year, plain, middle, shares, horizon, x)
    _to_grid(x, scale)
    size = _over(cuts, middle / max(horizon, 1))
    wild = spread / max(middle, 1e-9)
    case = 3 * _over(PLAN_OVER, planned / max(unplanned, 1e-9)) + _over(TREND_OVER, _trend(w))
    cells = CASE_TIMES * case + WILDNESSES * size + _over(WILD_OVER, wild)
    return View(scale, min(FARTHEST, most / scale), size, cells)


@piece
def _trend(w: Floats) -> float:
    return rate(w, MID) / max(rate(w, LONG), 1e-9)


@piece
def _more_features(
    w: Floats,
    shape: Shape,
    drifts: Floats,
    last_year: Floats,
    plain: float,
    middle: float,
    shares: Floats,
    horizon: int,
    x: Floats,
) -> None:
    """Drifts and last year of like rows, carts, and of the plan: ahead, behind, beyond one period, the own answer."""
    at = FIXED_FEATURES
    for kind in range(2):
        for i in range(2):
            x[at + 2 * kind + i] = middle * drifts[kind, i]
        x[at + 4 + kind] = x[LEVEL_AT + SLOW] * last_year[1 + kind]
    at += 6
    for i in range(SIGNAL_FEATURES):
        more = _bounded((w[SIGNAL_FAST + i] + 0.5) / (w[SIGNAL_SLOW + i] + 0.5) - 1.0, -0.8, 2.0)
        x[at + i] = middle * more / max(horizon, 1)  # a period's carts tell of a period
    at += SIGNAL_FEATURES
    own = 0.0
    for i in range(shape.columns):
        own = own + answer(w, shape, i) * shares[i]
    x[at] = _bounded(own, -0.8, 2.0) * plain
    for i in range(shape.columns):
        beyond = max(abs(shares[i]) - 1.01 / max(horizon, 1), 0.0)
        x[at + 1 + 3 * i] = shares[i] * plain
        x[at + 2 + 3 * i] = w[shape.plan_past + i] * middle
        x[at + 3 + 3 * i] = beyond * middle


@piece
def _bounded(value: float, least: float, most: float) -> float:
    return max(min(value, most), least)


@piece
def _over(cuts: Floats, value: float) -> int:
    above = 0
    for cut in cuts:
        above += 1 if value > cut else 0
    return above


@piece
def _to_grid(x: Floats, scale: float) -> None:
    steps = (1.0 / FEATURE_STEP) / scale
    for i in range(len(x)):
        x[i] = np.rint(_bounded(x[i] * steps, -LARGEST / FEATURE_STEP, LARGEST / FEATURE_STEP)) * FEATURE_STEP


# --- experts --------------------------------------------------------------------------------------------------------


@piece
def regression(x: Floats, coefficients: Floats, told: Floats) -> None:
    """Quantiles (K,) in row scales of the regression, into `told`; `coefficients` (K, p) on their grid."""
    whole = len(x) - len(x) % 4
    for k in range(K):
        c, one, two, three, four = coefficients[k], 0.0, 0.0, 0.0, 0.0
        for i in range(0, whole, 4):  # four sums at once: both are on grids, so they are exact in any order
            one += c[i] * x[i]
            two += c[i + 1] * x[i + 1]
            three += c[i + 2] * x[i + 2]
            four += c[i + 3] * x[i + 3]
        for i in range(whole, len(x)):
            one += c[i] * x[i]
        told[k] = _bounded((one + two) + (three + four), 0.0, FARTHEST)
    _ascending(told)


@piece
def _ascending(told: Floats) -> None:
    for k in range(1, len(told)):
        told[k] = max(told[k], told[k - 1])


@piece
def blend(head: Floats, x: Floats, scale: float) -> tuple[float, float]:
    """The row's blend of its plain forecasts, in row scales, each by the inverse 6th power of its mean error.

    Second comes their blend by the square: who has the least mean error lies low where demand is skewed, so it is for
    a mean, which is to be right on average.
    """
    young, least = PRIOR_ERROR * YOUNG_WEIGHT * scale, np.inf
    for i in range(BASES):
        least = min(least, head[BASE_ERROR + i] + young)
    total, weights, even, evens = 0.0, 0.0, 0.0, 0.0
    for i in range(BASES):
        ratio = least / max(head[BASE_ERROR + i] + young, 1e-12)
        square = ratio * ratio
        weight, told = square * square * square, max(x[BASE_PLACES[i]], 0.0)
        total, weights = total + weight * told, weights + weight
        even, evens = even + square * told, evens + square
    return total / weights, even / evens


@piece
def blend_spread(head: Floats, blended: float, scale: float) -> float:
    """Mean absolute error of the blend, in row scales, never quite zero."""
    error = (head[BLEND_ERROR] + PRIOR_ERROR * YOUNG_WEIGHT * scale) / (head[BLEND_WEIGHT] + YOUNG_WEIGHT)
    return error / scale + 0.02 * blended + 1e-9


@piece
def pooled(head: Floats, x: Floats, scale: float, errors: Floats, told: Floats) -> float:
    """Quantiles (K,) in row scales into `told`, and a mean; `errors` (K,) are quantiles of pooled errors."""
    blended, mean = blend(head, x, scale)
    spread = blend_spread(head, blended, scale)
    for k in range(K):
        told[k] = _bounded(blended + spread * errors[k], 0.0, FARTHEST)
    return mean


@piece
def costs(head: Floats, excess: Floats, usual: float, cost: Floats) -> None:
    """Recent pinball (E,) of each expert over that of the pooled errors on the same horizons, into `cost`.

    The row's own excess is drawn to `excess` (E,) of like rows, whose mean loss is `usual`, in row scales.
    """
    evidence = ROW_EVIDENCE * usual
    for e in range(len(cost)):
        cost[e] = 1.0 + (head[EXCESS + e] + evidence * excess[e]) / (head[POOLED_LOSS] + evidence + 1e-12)


@piece
def shares(cost: Floats, present: Floats, share: Floats) -> None:
    """Share (E,) of each expert by the 8th power of its cost; `present` (E,) in 0..1 fades guests with age."""
    least = np.inf
    for e in range(len(cost)):
        if present[e] > 0:
            least = min(least, max(cost[e], LEAST_COST))
    total = 0.0
    for e in range(len(cost)):
        ratio = least / max(cost[e], LEAST_COST) if present[e] > 0 else 0.0
        square = ratio * ratio
        fourth = square * square
        share[e] = fourth * fourth
        total = total + share[e]
    whole = 0.0
    for e in range(len(cost)):
        share[e] = max(share[e] / total, LEAST_SHARE) * present[e]
        whole = whole + share[e]
    for e in range(len(cost)):
        share[e] = share[e] / whole


@piece
def mixed(share: Floats, lean: Floats, told: Floats, blended: Floats) -> None:
    """Quantiles (K,) in row scales of experts `told` (E, K) by `share`, into `blended`.

    The odds of the regression against the pooled errors are multiplied by `lean` (K,) of the level.
    """
    own = share[REGRESSION] + share[POOLED]
    for k in range(K):
        leaning = share[REGRESSION] * lean[k]
        part = _bounded(leaning / (leaning + share[POOLED]), LEAST_PART, 1.0 - LEAST_PART)
        total = own * (part * told[REGRESSION, k] + (1.0 - part) * told[POOLED, k])
        for e in range(FIRST_GUEST, len(share)):
            if share[e] > 0:
                total = total + share[e] * told[e, k]
        blended[k] = total
    _ascending(blended)


@piece
def calibrated(blended: Floats, shift: Floats, cells: int, farthest: float, final: Floats) -> None:
    """Quantiles (K,) read off the row's own curve where its cells' shifts (CELLS, K) say, into `final`, bounded.

    A shift is of the level's normal score: where errors are wide it moves far, and not at all where all demand is zero.
    """
    segment, case = 1 + cells % CASE_TIMES, 1 + SEGMENTS + cells // CASE_TIMES
    for k in range(K):
        by = shift[0, k] + shift[segment, k] + shift[case, k]
        score, place = SCORES[k] + _bounded(by, -FARTHEST_SHIFT, FARTHEST_SHIFT), 0
        while place < K - 2 and score >= SCORES[place + 1]:
            place += 1
        part = (score - SCORES[place]) / (SCORES[place + 1] - SCORES[place])
        final[k] = blended[place] + part * (blended[place + 1] - blended[place])
    _ascending(final)
    for k in range(K):
        final[k] = _bounded(final[k], 0.0, farthest)


@piece
def pinball_of(target: float, quantile: Floats) -> float:
    """Pinball loss of quantiles (K,) against `target`, mean over LEVELS."""
    total = 0.0
    for k in range(K):
        error = target - quantile[k]
        total = total + max(LEVELS[k] * error, (LEVELS[k] - 1.0) * error)
    return total / K


@piece
def learn(head: Floats, x: Floats, scale: float, told: Floats, actual: float) -> tuple[float, float]:
    """A horizon is over whose origin had features `x` (p,) and experts' `told` (E, K), NaN where absent.

    `actual` units came; returns the blend's error in its own spreads, and the mean in row scales.
    """
    middle = 0.5 * x[LEVEL_AT + USUAL] + 0.25 * (x[LEVEL_AT + MID] + x[LEVEL_AT + SLOW])
    blended, mean = blend(head, x, scale)
    error = (actual / scale - blended) / blend_spread(head, blended, scale)
    for i in range(BASES):
        head[BASE_ERROR + i] = KEPT * head[BASE_ERROR + i] + _miss(actual, max(x[BASE_PLACES[i]], 0.0), scale)
    head[BLEND_ERROR] = KEPT * head[BLEND_ERROR] + _miss(actual, blended, scale)
    head[BLEND_WEIGHT] = KEPT * head[BLEND_WEIGHT] + 1.0
    head[ERROR] = SPREAD_KEPT * head[ERROR] + _miss(actual, middle, scale)
    head[ERROR_WEIGHT] = SPREAD_KEPT * head[ERROR_WEIGHT] + 1.0
    target = _bounded(actual / scale, 0.0, LARGEST)
    for i in range(len(BIAS_KEPT)):
        head[BIAS + i] += (1.0 - BIAS_KEPT[i]) * ((target - told[REGRESSION, 0]) * scale - head[BIAS + i])
    over = (1.0 if target < told[REGRESSION, HELD_LEVEL] else 0.0) - LEVELS[HELD_LEVEL]
    head[HELD] += (1.0 - HELD_KEPT) * (over - head[HELD])
    loss = pinball_of(target, told[POOLED])
    for e in range(len(told)):
        over = pinball_of(target, told[e]) - loss
        head[EXCESS + e] = LOSS_KEPT * head[EXCESS + e] + (0.0 if np.isnan(over) else over)
    head[POOLED_LOSS] = LOSS_KEPT * head[POOLED_LOSS] + loss
    return error, mean


@piece
def _miss(actual: float, forecast: float, scale: float) -> float:
    return min(abs(actual - forecast * scale), LARGEST * scale)


def grid_coefficients(coefficients: Floats) -> Floats:
    """Coefficients as they are used: bounded, and on their grid."""
    return on_grid(np.clip(coefficients, -63.0, 63.0), COEFFICIENT_STEP)


def pinball_mean(actual: Floats, quantile: Floats) -> Floats:
    """Pinball loss (n,) of quantiles (n, K) against `actual` (n,), mean over LEVELS."""
    error = actual[:, None] - quantile
    loss, total = np.maximum(LEVELS * error, (LEVELS - 1.0) * error), np.zeros(len(actual))
    for k in range(K):
        total = total + loss[:, k]
    return total / K
