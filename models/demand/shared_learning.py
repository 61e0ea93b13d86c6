"""What rows of a shelf learn together, from what each tells at a closing: named arrays, bounded, faded by periods.

* Plan effects: a quasi-Poisson log-linear regression, a Newton step a period.
* Weekday ratios, drifts and last year of everybody and of like rows: faded sums.
* For each band of horizons: quantile regressions, counts of pooled errors, losses of experts, calibration shifts.

Quantile regression in one pass: pinball loss is majorised by a parabola that touches it at today's error (Hunter &
Lange 2000), so each period's rows add a weighted least-squares problem to normal equations that fade; one p x p solve a
quantile, whatever the number of rows. Ridge draws coefficients to a prior, so a forecast is sensible before there is
evidence and where a feature never varied. A period counts as the square root of its rows: rows of one period share its
shocks. The flat part of the parabola must be narrow against usual errors: it follows their running mean.

Calibration is integral action on realised coverage by segment and level (Angelopoulos, Candes & Tibshirani 2023), with
leak, once the band is trained. Coverage of counts is the interval [P(D < q), P(D <= q)]: only the distance of the level
from it moves anything. Steps are in units of the usual error: rows of a period miss together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from models.demand.contract import Between, Floats, Ints, Shared, Told, go_on
from models.demand.exactly import FEATURE_STEP, WEIGHT_STEP, by_group, columns_by_group, exp_each, on_grid, solve, total
from models.demand.forgetting import learnt
from models.demand.places import LEVELS, Shape, quantiles_of
from models.demand.row_levels import LONG, MEMORIES_DAY, MEMORIES_LONG, MID, SLOW, USUAL, PlanNames
from models.demand.row_loops import Known
from models.demand.row_sums import (
    CASE_TIMES,
    CASES,
    CELLS,
    DRIFT_LEVELS,
    FARTHEST,
    FARTHEST_SHIFT,
    FIRST_GUEST,
    GROUPS,
    LARGEST,
    LEAST_COST,
    LEAST_SHARE,
    LEVEL_AT,
    POOLED,
    REGRESSION,
    SEGMENTS,
    SIZES,
    SPREAD_AT,
    feature_count,
    grid_coefficients,
    pinball_mean,
)

BAND_EDGES = np.array([2, 3, 5, 7, 9, 13, 17, 25, 41, 65])  # horizons 1, 2, 3-4, 5-6, 7-8, 9-12, ... share coefficients
BANDS = len(BAND_EDGES) + 1
MEMORIES_PERIODS = (40.0, 120.0, 400.0)  # of shocks, not of rows
RIDGE, SEGMENT_RIDGE = 0.1, 0.5
PRIOR_SPREADS = np.array([-0.05, 0.7, 1.3, 1.8, 2.3, 3.0])
PRIOR_BLEND = np.array([0.05, 0.2, 0.3, 0.25, 0.2])  # of the levels of 7, 14, 28, 90, 365 periods
MOST_LESSONS = 8192  # a band and period: more rows of one period say the same
FLAT_SHARE, FLAT_LEAST = 0.07, 0.002
ERROR_KEPT = 0.95

BINS = 256  # of u / (2 + |u|), u a pooled error in the row's spreads: 0.015 wide at 0
POOL_KEPT = 1.0 - 1.0 / 150.0
POOL_LEAST = 100.0  # a segment counts for itself beyond this many errors
FARTHEST_ERROR = 24.0
MEAN_KEPT = 1.0 - 1.0 / 50.0  # a mean that wandered off comes back within a quarter of daily, a year of weekly sales
MEAN_TIMES = 10.0  # of the mean scale: more of one row says little of others
MOST_CAME = 2.0

MIX_KEPT = 0.995  # losses look back 200 periods: one bad holiday must not turn the weights
LEAN_STEP, LEAN_LEAK, MOST_LEAN = 0.2, 0.002, 4.0  # of the logarithm of odds
CALIBRATION_STEP = 0.175  # of a normal score, over the periods of the horizon: those that overlap miss together
CALIBRATION_LEAK = 0.02  # of the step, a shift: a normal score of 0.3 costs 0.6 points of coverage
CALIBRATION_FULL_ROWS = 50.0
TRAINED_HORIZONS, TRAINED_LEAST, TRAINED_MOST = 3, 8, 21  # lessons' periods, beyond the horizon, until it starts

PLAN_KEPT, PLAN_RIDGE = 1.0 - 1.0 / 250.0, 50.0
SHARED_WEEK_KEPT = 0.97
DRIFT_KEPT_DAY, DRIFT_KEPT_LONG = 0.8, 0.3  # of weeks and months: each has its own shocks
CUTS_KEPT = 0.98
YEAR_BLOCKS = 64
YEAR_KEPT = 0.6  # of what the same weeks of the years before say
MOST_GAP_PERIODS = 400


@dataclass(frozen=True)
class Setting:
    """What shapes a family: plan columns, periods in a season and a year, guests."""

    names: PlanNames
    season: int
    year: int
    guests: int

    @property
    def features(self) -> int:
        """How many features a row has."""
        return feature_count(self.names)

    @property
    def experts(self) -> int:
        """Regression, pooled errors, and the guests."""
        return FIRST_GUEST + self.guests

    @property
    def block(self) -> int:
        """Periods of one block of the yearly profile."""
        return 7 if self.year > YEAR_BLOCKS - 4 else 1


def fresh(setting: Setting) -> Shared:
    """What is known before any row closed."""
    p, k, c = setting.features, len(LEVELS), setting.names.columns + setting.names.beside
    prior = np.zeros((k, p))
    prior[:, LEVEL_AT + 1 : LEVEL_AT + LONG + 1] = PRIOR_BLEND
    prior[:, SPREAD_AT] = PRIOR_SPREADS
    coefficients = np.broadcast_to(grid_coefficients(prior), (BANDS, SIZES, k, p)).copy()
    return {
        "period": np.full(1, -1, np.int64),
        "effect": np.zeros(c),
        "curvature": np.eye(c) * PLAN_RIDGE,
        "week": np.zeros((2, setting.season)),
        "drift": np.zeros((2, len(DRIFT_LEVELS), GROUPS)),
        "year_block": np.full(1, -1, np.int64),
        "year": np.zeros((3, 2, YEAR_BLOCKS, GROUPS), np.float32),
        "cuts": np.zeros(SIZES - 1),
        "coefficients": coefficients,
        "lessons": np.zeros(BANDS),
        "usual_error": np.zeros((2, BANDS)),
        "pool": np.zeros((BANDS, SIZES, BINS)),
        "came": np.zeros((BANDS, SIZES, 6)),
        "excess": np.zeros((BANDS, SIZES, 2, setting.experts)),
        "loss": np.zeros((BANDS, SIZES, 2)),
        "lean": np.zeros((BANDS, SIZES, k)),
        "pull": np.zeros((BANDS, SIZES, k)),
        "shift": np.zeros((BANDS, CELLS, k)),
    }


def band_of(horizon: Ints) -> Ints:
    """Band (n,) of a horizon in periods."""
    return np.searchsorted(BAND_EDGES, horizon, side="right").astype(np.int64)


def settle(setting: Setting, shared: Shared, told: Told, between: Between = go_on) -> Shared:
    """What all rows know after those that closed have told; `told` in the order of rows; see the contract."""
    closed = told["closed"] > 0
    told = told if closed.all() else told[closed]
    if len(told) == 0:
        return shared
    out = dict(shared)
    before, now = int(shared["period"][0]), int(told["period"].max())
    gap = min(max(now - before, 0), MOST_GAP_PERIODS) if before >= 0 else 1
    out["period"] = np.array([max(now, before)])
    _learn_plan(out, told, gap, between)
    _learn_week(setting, out, told)
    between()
    _learn_groups(setting, out, told, gap)
    between()
    lessons = told["lesson"]
    head, row = np.nonzero(lessons["taught"].T > 0)
    between()
    _learn_year(setting, out, told, head, row)
    bands = lessons["band"][row, head]
    for band in np.unique(bands).tolist():
        between()
        at = np.flatnonzero(bands == band)
        at = at[:: -(-len(at) // MOST_LESSONS)]
        _learn_band(setting, out, int(band), lessons[row[at], head[at]], gap, between)
    return out


# --- everybody ------------------------------------------------------------------------------------------------------


def _learn_plan(out: Shared, told: Told, gap: int, between: Between) -> None:
    columns = len(out["effect"])
    if columns == 0:
        return
    teaches = told["teaches"] > 0
    plan = [told["plan"][:, i].astype(np.float64) for i in range(columns)]
    # A row counts as the root of its level: large ones know more, but not in proportion.
    weight = np.where(teaches, 1.0 / np.sqrt(np.maximum(told["usual"].astype(np.float64), 1e-9)), 0.0)
    pull, mean = told["missed"] * weight, told["mean"] * weight
    gradient = np.array([total(p * pull) for p in plan])
    curvature = np.zeros((columns, columns))
    for i, p in enumerate(plan):
        between()
        for j in range(i + 1):
            curvature[i, j] = curvature[j, i] = total(p * plan[j] * mean)
    kept = PLAN_KEPT**gap
    out["curvature"] = out["curvature"] * kept + curvature + PLAN_RIDGE * (1.0 - kept) * np.eye(columns)
    out["effect"] = np.clip(out["effect"] + solve(out["curvature"][None], gradient[None])[0], -5.0, 5.0)


def _learn_week(setting: Setting, out: Shared, told: Told) -> None:
    place = np.mod(told["period"].astype(np.int64), setting.season)
    weight = np.where(told["teaches"] > 0, 1.0 / np.sqrt(np.maximum(told["usual"].astype(np.float64), 1e-9)), 0.0)
    came = np.stack([by_group(place, weight * told[name], setting.season) for name in ("plain_units", "believed")])
    kept = np.where(by_group(place, np.ones(len(told)), setting.season) > 0, SHARED_WEEK_KEPT, 1.0)
    out["week"] = out["week"] * kept + came


def _learn_groups(setting: Setting, out: Shared, told: Told, gap: int) -> None:
    """Drifts of like rows, and where the thirds of sizes lie."""
    scale = np.maximum(told["scale"].astype(np.float64), 1e-9)
    kinds = [told["groups"][:, i].astype(np.int64) for i in range(2)]
    level = [told["drift"][:, i] / scale for i in range(len(DRIFT_LEVELS))]
    now = np.array([[by_group(kind, value, GROUPS) for value in level] for kind in kinds])
    out["drift"] = out["drift"] * (DRIFT_KEPT_DAY if setting.season == 7 else DRIFT_KEPT_LONG) ** gap + now
    rate = told["rate"].astype(np.float64)
    rate = rate[rate > 0]
    if len(rate):
        cuts = np.quantile(rate, np.arange(1, SIZES) / SIZES)
        fresh_cuts = bool((out["cuts"] == 0).all())
        out["cuts"] = cuts if fresh_cuts else CUTS_KEPT * out["cuts"] + (1.0 - CUTS_KEPT) * cuts


def _learn_year(setting: Setting, out: Shared, told: Told, head: Ints, row: Ints) -> None:
    """The yearly profile: of everybody periods over the slow level, of like rows horizons over what it said of them.

    A horizon counts for the week of its middle, in the root of its scale.
    """
    block, blocks = int(out["period"][0]) // setting.block, setting.year // setting.block
    ahead = block - int(out["year_block"][0]) if int(out["year_block"][0]) >= 0 else 0
    year = out["year"].copy()
    if ahead > 0:
        year = np.zeros_like(year)
        if ahead < YEAR_BLOCKS:
            year[:, :, :-ahead] = out["year"][:, :, ahead:]
        for new in range(min(ahead, YEAR_BLOCKS - blocks), 0, -1):
            year[:, :, -new] = YEAR_KEPT * year[:, :, -new - blocks]
    year[0, :, -1, 0] += [total(told[name].astype(np.float64)) for name in ("came", "expected")]
    lessons = told["lesson"]
    middle = told["period"][row].astype(np.int64) - lessons["span"][row, head].astype(np.int64) // 2
    weeks = middle // setting.block - block + YEAR_BLOCKS - 1
    root = np.sqrt(lessons["scale"][row, head].astype(np.float64))
    came = root * np.minimum(lessons["target"][row, head].astype(np.float64), LARGEST)
    expected = root * (lessons["features"][row, head, LEVEL_AT + SLOW] * FEATURE_STEP)
    for week in np.unique(weeks[weeks >= 0]).tolist():
        here = weeks == week
        kinds = [told["groups"][row[here], i].astype(np.int64) for i in range(2)]
        sums = [[by_group(kind, of[here], GROUPS) for of in (came, expected)] for kind in kinds]
        year[1:, :, week] += np.array(sums)
    out["year"], out["year_block"] = year, np.array([block])


def known(setting: Setting, shape: Shape, slots: tuple[int, ...], shared: Shared) -> Known:
    """What of all this a row reads, made ready: tables by season, bucket, band and size."""
    nearest = trained_band(shared)
    pooled = {int(b): pooled_quantiles(shared, int(b)) for b in np.unique(nearest)}
    came = {int(b): came_over_mean(shared, int(b)) for b in np.unique(nearest)}
    excess = {int(b): expert_excess(shared, int(b)) for b in np.unique(nearest)}
    names, bands = setting.names, nearest.tolist()
    return Known(
        shape,
        -1 if names.closure is None else names.closure,
        setting.year,
        setting.block,
        (int(shared["year_block"][0]) - YEAR_BLOCKS + 1) * setting.block,
        np.array(names.prices + names.flags, np.int64),
        np.array(slots, np.int64),
        MEMORIES_DAY if setting.season == 7 else MEMORIES_LONG,
        BAND_EDGES,
        _season(shared["week"]),
        shared["effect"].copy(),
        shared["cuts"].copy(),
        _drifts(shared["drift"]),
        _year_edges(setting, shared["year"]),
        (shared["year"][:, 1] > 0).astype(np.float64),
        shared["coefficients"][nearest],
        np.stack([pooled[b] for b in bands]),
        np.stack([came[b] for b in bands]),
        np.stack([excess[b][0] for b in bands]),
        np.stack([excess[b][1] for b in bands]),
        exp_each(shared["lean"])[nearest],
        shared["shift"][nearest],
    )


def _season(week: Floats) -> Floats:
    """Everybody's ratio of each place in the season."""
    little = 0.02 * float(np.mean(week[1])) + 1e-9
    return np.asarray((week[0] + little) / (week[1] + little))


def _drifts(levels: Floats) -> Floats:
    """How far the faster levels of like rows are over slower ones, (2, GROUPS, 2)."""
    fast, mid, usual, slow = levels.transpose(1, 0, 2)
    pairs = ((fast, usual), (mid, slow))
    return np.stack([np.clip((above + 0.3) / (below + 0.3) - 1.0, -0.8, 2.0) for above, below in pairs], axis=2)


def _year_edges(setting: Setting, year: Floats) -> Floats:
    """What came over the slow level from the oldest block on to each edge between blocks, (3, blocks + 1, GROUPS)."""
    index = (year[:, 0].astype(np.float64) + 0.1) / (year[:, 1].astype(np.float64) + 0.1)
    edges = np.zeros((3, YEAR_BLOCKS + 1, GROUPS))
    np.cumsum(index * setting.block, axis=1, out=edges[:, 1:])
    return edges


# --- a band of horizons ---------------------------------------------------------------------------------------------


def _learn_band(setting: Setting, out: Shared, band: int, lessons: Told, gap: int, between: Between) -> None:
    features = lessons["features"] * FEATURE_STEP
    target = on_grid(np.clip(lessons["target"].astype(np.float64), 0.0, LARGEST), FEATURE_STEP)
    size = lessons["size"].astype(np.int64)
    for name in (
        "lessons",
        "usual_error",
        "pool",
        "came",
        "excess",
        "loss",
        "lean",
        "pull",
        "shift",
        "coefficients",
    ):
        out[name] = out[name].copy()
    _learn_pool(out, band, lessons, size, gap)
    _learn_losses(setting, out, band, lessons, target, size, gap)
    between()
    _learn_lean(out, band, lessons, target, size, gap)
    between()
    span = int(lessons["span"].max())
    if out["lessons"][band] > span + min(max(TRAINED_HORIZONS * span, TRAINED_LEAST), TRAINED_MOST):
        _calibrate(out, band, lessons, gap)
    if out["lessons"][band] > span + TRAINED_LEAST:
        _learn_mean(out, band, lessons, size, gap)
    between()
    _learn_regression(setting, out, band, features, target, np.sqrt(lessons["scale"].astype(np.float64)), size, gap)
    out["lessons"][band] += gap


def _learn_pool(out: Shared, band: int, lessons: Told, size: Ints, gap: int) -> None:
    error = lessons["error"].astype(np.float64)
    squeezed = error / (2.0 + np.abs(error))
    place = np.clip(np.floor((squeezed + 1.0) * (BINS / 2)), 0, BINS - 1).astype(np.int64)
    kept = POOL_KEPT**gap
    counts = by_group(size * BINS + place, np.ones(len(place)), SIZES * BINS).reshape(SIZES, BINS)
    out["pool"][band] = kept * out["pool"][band] + counts


def _learn_mean(out: Shared, band: int, lessons: Told, size: Ints, gap: int) -> None:
    """Sums of what came and of means told, their products, and periods: units over a period's mean scale."""
    ones, scale = np.ones(len(size)), lessons["scale"].astype(np.float64)
    rows = by_group(size, ones, SIZES)
    usual = by_group(size, scale, SIZES) / np.maximum(rows, 1.0)
    weight = np.minimum(scale / np.maximum(usual[size], 1e-9), MEAN_TIMES)
    target = np.minimum(lessons["target"].astype(np.float64), FARTHEST)
    came, told = (by_group(size, weight * each, SIZES) for each in (target, lessons["mean"].astype(np.float64)))
    sums = np.stack([came, told, came * came, came * told, told * told, (rows > 0).astype(np.float64)], axis=1)
    out["came"][band] = MEAN_KEPT**gap * out["came"][band] + sums


def _learn_losses(
    setting: Setting, out: Shared, band: int, lessons: Told, target: Floats, size: Ints, gap: int
) -> None:
    told = quantiles_of(lessons["told"])
    pooled = pinball_mean(target, told[:, POOLED])
    kept = MIX_KEPT**gap
    n = by_group(size, np.ones(len(size)), SIZES)
    per = 1.0 / np.maximum(n, 1.0)[size]  # a period's mean, whatever the number of its rows
    for expert in range(setting.experts):
        loss = pinball_mean(target, told[:, expert])
        here = np.isfinite(loss)
        over = by_group(size, np.where(here, (loss - pooled) * per, 0.0), SIZES)
        base = by_group(size, np.where(here, pooled * per, 0.0), SIZES)
        out["excess"][band, :, 0, expert] = kept * out["excess"][band, :, 0, expert] + over
        out["excess"][band, :, 1, expert] = kept * out["excess"][band, :, 1, expert] + base
    sums = np.stack([by_group(size, pooled * per, SIZES), (n > 0).astype(np.float64)], axis=1)
    out["loss"][band] = kept * out["loss"][band] + sums


def _learn_lean(out: Shared, band: int, lessons: Told, target: Floats, size: Ints, gap: int) -> None:
    """Lean each level to the regression or to the pooled errors: a step down the pinball of their mixture.

    Steps are over the root of their own faded squares (Duchi, Hazan & Singer 2011): they add up where periods agree.
    """
    told = quantiles_of(lessons["told"][:, :FIRST_GUEST])
    excess, _ = expert_excess(out, band)
    odds = _eighth(1.0 / np.maximum(1.0 + excess[:, REGRESSION], LEAST_COST))[:, None] * exp_each(out["lean"][band])
    part = np.clip(odds / (1.0 + odds), LEAST_SHARE, 1.0 - LEAST_SHARE)[size]
    apart = told[:, REGRESSION] - told[:, POOLED]
    over = target[:, None] < told[:, POOLED] + part * apart
    weight = np.sqrt(lessons["scale"].astype(np.float64))
    weight = weight / np.maximum(by_group(size, weight, SIZES), 1e-12)[size]
    slope = (over - LEVELS) * apart * part * (1.0 - part) * weight[:, None]
    down = np.stack([by_group(size, slope[:, k], SIZES) for k in range(len(LEVELS))], axis=1)
    here = (by_group(size, np.ones(len(size)), SIZES) > 0)[:, None]
    pull = np.where(here, MIX_KEPT**gap * out["pull"][band] + down * down, out["pull"][band])
    lean = (1.0 - LEAN_LEAK) ** gap * out["lean"][band] - LEAN_STEP * down / np.sqrt(pull + 1e-18)
    out["pull"][band] = pull
    out["lean"][band] = np.where(here, np.clip(lean, -MOST_LEAN, MOST_LEAN), out["lean"][band])


def _eighth(values: Floats) -> Floats:
    square = values * values
    fourth = square * square
    return fourth * fourth


def _calibrate(out: Shared, band: int, lessons: Told, gap: int) -> None:
    cells, step = lessons["cells"].astype(np.int64), CALIBRATION_STEP / float(lessons["span"].max())
    under, within = _covered(lessons)
    kinds = (np.zeros(len(cells), np.int64), 1), (cells % CASE_TIMES, SEGMENTS), (cells // CASE_TIMES, CASES)
    first = 0
    for cell, count in kinds:
        rows = by_group(cell, np.ones(len(cell)), count)
        per, weight = np.maximum(rows, 1.0), step * np.minimum(1.0, rows / CALIBRATION_FULL_ROWS)
        kept = np.where(rows > 0, (1.0 - CALIBRATION_LEAK * step) ** gap, 1.0)
        low, high = (columns_by_group(cell, share, count) / per[:, None] for share in (under, within))
        missed = np.maximum(LEVELS - high, 0.0) - np.maximum(low - LEVELS, 0.0)
        missed[rows == 0] = 0.0
        shift = kept[:, None] * out["shift"][band, first : first + count] + weight[:, None] * missed
        out["shift"][band, first : first + count] = np.clip(shift, -FARTHEST_SHIFT, FARTHEST_SHIFT)
        first += count


def _covered(lessons: Told) -> tuple[Floats, Floats]:
    """Whether demand came in under, and at or under, each quantile (n, K), of counts as they are told: whole."""
    scale, counts = lessons["scale"].astype(np.float64)[:, None], lessons["counts"][:, None] > 0
    came, final = lessons["target"].astype(np.float64)[:, None], quantiles_of(lessons["final"])
    came = np.where(counts, np.rint(came * scale), came)
    final = np.where(counts, np.rint(final * scale), final)
    near = np.where(counts, 0.0, 1e-4)  # a quantile is kept in steps
    return (came < final - near).astype(np.float64), (came <= final + near).astype(np.float64)


def usual_error(shared: Shared, band: int) -> float:
    """Mean absolute error of the middle quantile lately, in row scales."""
    error, weight = shared["usual_error"][:, band]
    return float(error / weight) if weight > 0 else 0.0


def _learn_regression(
    setting: Setting, out: Shared, band: int, features: Floats, target: Floats, weight: Floats, size: Ints, gap: int
) -> None:
    n = len(target)
    weight = weight * (np.sqrt(n) / total(weight))
    missed = total(np.abs(target - features @ out["coefficients"][band, 1, 0]))
    out["usual_error"][:, band] = ERROR_KEPT**gap * out["usual_error"][:, band] + (missed / n, 1.0)
    flat = max(FLAT_SHARE * usual_error(out, band), FLAT_LEAST)
    k, p, m = len(LEVELS), setting.features, len(MEMORIES_PERIODS)
    normal, right = np.zeros((SIZES, k, p, p)), np.zeros((SIZES, k, p))
    for s in range(SIZES):
        here = size == s
        if here.any():
            _equations(features[here], target[here], weight[here], out, band, s, flat, normal[s], right[s])
    kept = np.array([1.0 - 1.0 / memory for memory in MEMORIES_PERIODS]) ** gap
    name, side = f"normal/{band}", f"right/{band}"
    before = (out[name], out[side]) if name in out else (np.zeros((m, SIZES, k, p, p)), np.zeros((m, SIZES, k, p)))
    prior = fresh(setting)["coefficients"][0, 0]
    out[name], out[side], mean = learnt(before, kept, (normal, right), prior, (RIDGE, SEGMENT_RIDGE))
    out["coefficients"][band] = grid_coefficients(mean)


def _equations(
    features: Floats,
    target: Floats,
    weight: Floats,
    out: Shared,
    band: int,
    size: int,
    flat: float,
    normal: Floats,
    right: Floats,
) -> None:
    """What one period's rows of one size add to equations, into `normal` (K, p, p) and right sides `right` (K, p)."""
    error = np.abs(target - (features @ out["coefficients"][band, size].T).T)
    steep = weight / (flat + error)  # (K, n)
    largest, most = float(weight.max()) / flat, float(weight.max())
    steep = on_grid(steep / largest, WEIGHT_STEP)
    for k, w in enumerate(steep):
        np.matmul((w[:, None] * features).T, features, out=normal[k])
        np.matmul(w * target, features, out=right[k])
    normal *= largest
    right *= largest
    right += (2.0 * LEVELS - 1.0)[:, None] * (on_grid(weight / most, WEIGHT_STEP) @ features * most)


# --- read off by rows -----------------------------------------------------------------------------------------------

_PRIOR_ERRORS = np.array([-1.1, -0.8, -0.5, -0.2, 0.0, 0.3, 0.7, 1.2, 2.0, 3.5])


def pooled_quantiles(shared: Shared, band: int) -> Floats:
    """Quantiles (SIZES, K) of pooled errors in spreads, drawn to all sizes' and a prior."""
    pool = shared["pool"][band]
    return _quantiles(pool) if pool.any() else _quantiles_of_nothing()


def came_over_mean(shared: Shared, band: int) -> Floats:
    """What came over the means told (SIZES,), within MOST_CAME of it, believed as far as periods agree.

    Its error is that of a ratio of sums (Cochran 1977, ch. 6) over periods, not rows: those of one period share its
    shocks, and horizons overlap. Of its distance d from 1 the part d^2 / (d^2 + error^2) is kept.
    """
    came, told, squared, crossed, told_squared, periods = shared["came"][band].T
    ratio = np.where(told > 0, came / np.maximum(told, 1e-12), 1.0)
    spread = np.maximum(squared - 2.0 * ratio * crossed + ratio * ratio * told_squared, 0.0)
    overlapping = float(BAND_EDGES[band - 1]) if band > 0 else 1.0
    free = np.maximum(periods - overlapping, 1e-9)
    error = spread / np.maximum(told, 1e-12) ** 2 * overlapping * periods / free
    apart = np.clip(ratio, 1.0 / MOST_CAME, MOST_CAME) - 1.0
    square = apart * apart
    return np.asarray(1.0 + np.where(periods > overlapping, apart * square / (square + error + 1e-12), 0.0))


@cache
def _quantiles_of_nothing() -> Floats:
    """Of a young shelf's bands: each of its closings reads them all."""
    return _quantiles(np.zeros((SIZES, BINS)))


def _quantiles(pool: Floats) -> Floats:
    squeezed = _PRIOR_ERRORS / (2.0 + np.abs(_PRIOR_ERRORS))
    place = np.floor((squeezed + 1.0) * (BINS / 2)).astype(np.int64)
    prior = np.bincount(place, minlength=BINS) / len(place)
    everybody = pool[0] + pool[1] + pool[2] + 0.2 * POOL_LEAST * prior
    own = pool + POOL_LEAST * everybody / np.maximum(total(everybody), 1e-12)
    edges = np.arange(BINS + 1) * (2.0 / BINS) - 1.0
    reach = FARTHEST_ERROR / (2.0 + FARTHEST_ERROR)
    out = np.zeros((SIZES, len(LEVELS)))
    for s in range(SIZES):
        below = np.concatenate([[0.0], np.cumsum(own[s])])
        found = np.clip(np.interp(LEVELS * below[-1], below, edges), -reach, reach)
        out[s] = 2.0 * found / (1.0 - np.abs(found))
    quantiles: Floats = np.maximum.accumulate(out, axis=1)
    return quantiles


def regressed(shared: Shared, features: Floats, scale: Floats, horizon: Ints) -> Floats:
    """Quantiles (n, K) in row scales that the regression tells of features (n, p) and scale (n,) before `horizon` (n,).

    As rows tell them themselves, for whoever has features without their rows: finished lessons, guests.
    """
    at = LEVEL_AT + np.array([USUAL, MID, SLOW])
    middle = (features[:, at] @ np.array([0.5, 0.25, 0.25])) * scale  # sizes are thirds by it a period
    size = np.searchsorted(shared["cuts"], middle / np.maximum(horizon, 1))
    band, told = trained_band(shared)[band_of(horizon)], np.zeros((len(features), len(LEVELS)))
    for own in np.unique(band).tolist():
        for s in range(SIZES):
            here = (band == own) & (size == s)
            told[here] = features[here] @ shared["coefficients"][own, s].T
    return np.maximum.accumulate(np.clip(told, 0.0, FARTHEST), axis=1)


def expert_excess(shared: Shared, band: int) -> tuple[Floats, Floats]:
    """Relative excess (SIZES, E) of each expert's loss over the pooled errors', and their mean loss (SIZES,)."""
    over, base = shared["excess"][band, :, 0], shared["excess"][band, :, 1]
    loss = shared["loss"][band]
    return np.where(base > 0, over / np.maximum(base, 1e-12), 0.0), (loss[:, 0] + 0.1) / (loss[:, 1] + 1.0)


def trained_band(shared: Shared) -> Ints:
    """For each band the nearest one that has learnt, itself if none has, (BANDS,)."""
    learnt = np.flatnonzero(shared["lessons"] > 0)
    bands = np.arange(BANDS)
    if len(learnt) == 0:
        return bands
    return np.asarray(learnt[np.argmin(np.abs(learnt[None] - bands[:, None]), axis=1)])
