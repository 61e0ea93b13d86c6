"""The baseline family: five cheap smoothers a row, weighed by recent loss, and pooled errors of the L-day sum.

Idea. Each row runs three levels of different memory, two weekly seasonals and TSB (Teunter, Syntetos & Babai 2011),
all as *ratios of sums over exposure*: units divided by the days in which demand could be seen, so closed days,
stock-outs and gaps need no case of their own. Their mean is weighed by recent squared error of 4-day sums. What a
planner needs is not the day but the sum over the wait, and the square root of the wait times a daily sigma misses it
(Saoud, Kourentzes & Boylan 2022): so forecasts of the L-day sum are kept until the L days are over, their errors,
divided by the row's own mean error, are counted in a pool shared by like rows, and quantiles are read off the pool.

Only + - * / and comparisons touch the state (no exp, no log, no matrix product), each column by itself: every operation
is exactly rounded, so results are the same bytes whatever the slicing, the vector width of the machine, or the order.

Assumptions: `day_number` grows from close to close (days skipped count as not seen); a horizon may change at any time,
pending forecasts keep theirs. Over 64 days the tracked error is that of 64 days and its spread is stretched in
proportion to the horizon (over a long wait the error is one of level, which does grow in proportion).
A fresh row forecasts zero: nobody has asked for it.
"""

from __future__ import annotations

import numpy as np

from models.demand.contract import (
    Ahead,
    Between,
    Bools,
    Closing,
    Explanation,
    Family,
    Floats,
    Ints,
    IntsLike,
    Observation,
    Outlook,
    Shared,
    State,
    Told,
    Verdict,
    go_on,
)

VERSION = 1
LONGEST_TRACKED_DAYS = 64
SLOTS = 16  # pending forecasts a row: one a day up to 16 days, every fourth day at 64: 16 x 6 x 8 B = 768 B
SEGMENTS = 12  # 4 classes of the sum's size x 3 of how often a day has demand
BINS = 128  # of u / (2 + |u|), u the error in row spreads: 0.03 wide at 0, 0.8 wide at 8

MEMORY = {"fast": 0.80, "mid": 0.94, "slow": 0.99}  # kept a day: about 5, 17 and 100 days
TSB_STEP = 0.08
WEEK_KEPT = 0.95  # a weekday's ratio remembers about 20 weeks
LOSS_KEPT = 0.94  # weights look back about 16 blocks
ERROR_KEPT = 0.98  # the row's spread looks back about 50 errors
BLOCK_DAYS = 4  # not a multiple of 7: over whole weeks nobody could tell who knows weekdays
MIN_SEEN_SHARE = 0.5  # an L-day sum of which less was seen teaches nothing
OUTLIER_AFTER_DAYS = 28
MIN_EXPOSURE = 0.05  # of a day: less than an hour or so says nothing about a day
OUTLIER_TIMES = 12.0  # learnt units of one day stay under this many (mean days + day spreads + 1)
ERROR_TIMES = 6.0  # an error teaches the row's spread at most this many of its spreads
FARTHEST_ERROR = 30.0  # in row spreads: no quantile lies further out
POOL_PRIOR_COUNTS = 50.0  # a segment counts for itself beyond this many errors

EXPERTS = 5
(LAST_DAY, SEEN_DAYS, CYCLES, FAST_UNITS, FAST_DAYS, MID_UNITS, MID_DAYS, SLOW_UNITS, SLOW_DAYS, CHANCE, SIZE) = range(
    11
)
WEEK_UNITS = 11
WEEK_MEANS = WEEK_UNITS + 7
LOSS = WEEK_MEANS + 7
LOSS_WEIGHT = LOSS + EXPERTS
BLOCK_FROM, BLOCK_SEEN, BLOCK_ACTUAL = LOSS_WEIGHT + 1, LOSS_WEIGHT + 2, LOSS_WEIGHT + 3
BLOCK_FORECAST = BLOCK_ACTUAL + 1
ERROR_SIZE, ERROR_WEIGHT = BLOCK_FORECAST + EXPERTS, BLOCK_FORECAST + EXPERTS + 1
SLOT_FROM = ERROR_WEIGHT + 1
SLOT_COLUMNS = [SLOT_FROM + SLOTS * k for k in range(6)]  # day made, span, mean, spread, days seen, actual units
WIDTH = SLOT_FROM + SLOTS * 6  # 137 float64, 1,096 B

NEVER = -1.0
NO_BIN = -1  # this closing has no error to add to the pool
POOL_LIMIT_COUNTS = 200_000
NAMES = ("fast level", "slow level", "weekly, usual level", "weekly, slow level", "TSB")


class Baseline:
    """The family as the contract has it; forecasts any horizon, learns the first one asked for."""

    name = "baseline"
    version = VERSION
    row = np.dtype((np.float64, (WIDTH,)))
    told = np.dtype([("segment", "<i8"), ("bin", "<i8")])
    heads = 1
    plan: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()

    def fresh(self, phase: IntsLike) -> State:
        """State of rows nobody has seen demand of, shape (n, WIDTH): forecast 0, reorder point 0."""
        state = np.zeros(len(phase), self.row)
        state[:, [LAST_DAY, BLOCK_FROM]] = NEVER
        # A seen day without demand, which fades: one sale on a row's first day is not a trend, later it biases nothing.
        state[:, [FAST_DAYS, MID_DAYS, SLOW_DAYS]] = 1.0
        state[:, SLOT_FROM : SLOT_FROM + SLOTS] = NEVER
        return state

    def fresh_shared(self) -> Shared:
        """A pool without evidence: counts (SEGMENTS, BINS) of errors in row spreads."""
        return {"pool": np.zeros((SEGMENTS, BINS), dtype=np.int64)}

    def start(self, like: State, phase: IntsLike) -> State:  # noqa: ARG002 the contract's
        """This family knows no like rows: as `fresh`."""
        return self.fresh(phase)

    def close(self, state: State, shared: Shared, seen: Observation) -> Closing:  # noqa: ARG002 no use for the pool here
        """Learn one closed local day of each row."""
        return close_day(state, seen)

    def verdict(self, told: Told) -> Verdict:  # noqa: ARG002 the contract's
        """It does not say."""
        return Verdict(np.zeros(0), np.zeros((0, 0)), ())

    def settle(self, shared: Shared, told: Told, between: Between = go_on) -> Shared:  # noqa: ARG002 one step
        """The pool with one count more for each row that has an error, halved where it is full."""
        return {"pool": fade_pool(shared["pool"] + counts(told))}

    def outlook(
        self,
        state: State,
        shared: Shared,
        period: IntsLike,
        horizons: IntsLike,
        ahead: Ahead,  # noqa: ARG002 it knows no plan
        levels: Floats,
    ) -> Outlook:
        """Mean and quantiles of demand summed over each of `horizons` (n, J)."""
        made = [outlook_of(state, shared["pool"], period, horizon, levels) for horizon in np.asarray(horizons).T]
        weights = _weights(state)
        return Outlook(
            _mix(weights, _rates(state)),
            np.stack([mean for mean, _ in made], axis=1),
            np.stack([quantile for _, quantile in made], axis=1),
            state[:, CYCLES].astype(np.int64),
            NAMES,
            np.stack(weights, axis=1),
        )

    def explain(self, state: State, shared: Shared) -> Explanation:  # noqa: ARG002 experts are weighed a row
        """Weights of the five smoothers and the root of their recent squared error of 4-day sums."""
        loss = np.sqrt(state[:, LOSS : LOSS + EXPERTS] / np.maximum(state[:, LOSS_WEIGHT], 1.0)[:, None])
        return Explanation(NAMES, np.stack(_weights(state), axis=1), loss, (("",) * EXPERTS,) * len(state))

    def heard(self, state: State) -> Ints:
        """There are no guests here."""
        return np.zeros((len(state), 0), np.int64)

    def adopt(
        self,
        state: State,  # noqa: ARG002
        guest: int,
        as_of: IntsLike,  # noqa: ARG002
        horizons: IntsLike,  # noqa: ARG002
        quantile_sum_units: Floats,  # noqa: ARG002
        levels: Floats,  # noqa: ARG002
    ) -> State:
        """There are no guests here."""
        raise ValueError(f"the baseline family has no guest {guest}")

    def inherit(self, source: Family, state: State, phase: IntsLike) -> State:
        """Rows of its own kind only."""
        if source.version != self.version:
            raise ValueError(f"the baseline family cannot take over rows of {source.name}")
        return state.reshape(len(phase), WIDTH).copy()


FAMILY = Baseline()


def close_day(state: Floats, seen_day: Observation) -> Closing:
    """Learn one closed local day of each row; returns new state, `state` itself is not touched."""
    state = np.array(state, dtype=np.float64, order="C")
    horizon_days = seen_day.horizons[:, 0]
    day = np.asarray(seen_day.period, dtype=np.float64)
    seen = np.clip(np.nan_to_num(np.asarray(seen_day.exposure, dtype=np.float64), nan=0.0), 0.0, 1.0)
    seen = np.where(seen >= MIN_EXPOSURE, seen, 0.0)
    units = _cleaned(state, np.asarray(seen_day.units, dtype=np.float64), seen)
    told = np.zeros(len(state), FAMILY.told)
    told["segment"] = segment_of(state, horizon_days)
    told["bin"] = _mature_slots(state, day, units, seen)
    _mature_block(state, day, units, seen)
    _learn_levels(state, day, units, seen)
    state[:, LAST_DAY] = day
    state[:, SEEN_DAYS] += seen
    _open_block(state, day)
    _open_slot(state, day, _tracked(horizon_days))
    return Closing(state, told)


def outlook_of(
    state: Floats, pool: Ints, day_number: IntsLike, horizon_days: IntsLike, levels: Floats
) -> tuple[Floats, Floats]:
    """Mean (n,) and quantiles (n, K) of demand summed over the `horizon_days` (n,) that follow `day_number` (n,).

    Quantiles never cross and are never negative.
    """
    horizon = np.maximum(np.asarray(horizon_days, dtype=np.float64), 0.0)
    day = np.asarray(day_number, dtype=np.float64)
    mean_sum = _mix(_weights(state), _sums(state, day, horizon))
    tracked = _tracked(horizon_days)
    stretch = np.where(horizon > tracked, horizon / tracked, 1.0)
    spread = _spread(state, tracked, mean_sum / stretch) * stretch
    error = _error_quantiles(pool, np.asarray(levels, dtype=np.float64))
    segment = segment_of(state, horizon_days)
    quantile = np.maximum(mean_sum[:, None] + spread[:, None] * error[segment], 0.0)
    return mean_sum, np.where((mean_sum > 0)[:, None], quantile, 0.0)


def segment_of(state: Floats, horizon_days: IntsLike) -> Ints:
    """Pool segment (n,) of a row: size of the L-day sum (under 0.5, 2, 10 units, more) x share of days with demand."""
    size = state[:, SLOW_UNITS] / state[:, SLOW_DAYS] * _tracked(horizon_days)
    often = state[:, CHANCE]
    size_class = (size >= 0.5).astype(np.int64) + (size >= 2.0) + (size >= 10.0)
    return size_class * 3 + (often >= 0.2) + (often >= 0.6)


# --- what a day teaches ---------------------------------------------------------------------------------------------


def _cleaned(state: Floats, units: Floats, seen: Floats) -> Floats:
    """Units a row may learn from: not negative, and no more than a far outlier of a row we know."""
    units = np.maximum(np.nan_to_num(units, nan=0.0, posinf=1e15), 0.0)
    units = np.where(seen > 0, units, 0.0)
    mean = _mix(_weights(state), _rates(state))
    ceiling = OUTLIER_TIMES * (mean + _spread(state, np.ones(len(state)), mean) + 1.0)
    return np.where(state[:, SEEN_DAYS] >= OUTLIER_AFTER_DAYS, np.minimum(units, ceiling), units)


def _learn_levels(state: Floats, day: Floats, units: Floats, seen: Floats) -> None:
    """Move levels, weekday ratios and TSB by one day; a day not seen moves nothing, a day half seen moves half."""
    looked = seen > 0
    week_mean = state[:, MID_UNITS] / state[:, MID_DAYS]
    for sum_units, sum_days, kept in (
        (FAST_UNITS, FAST_DAYS, MEMORY["fast"]),
        (MID_UNITS, MID_DAYS, MEMORY["mid"]),
        (SLOW_UNITS, SLOW_DAYS, MEMORY["slow"]),
    ):
        state[:, sum_units] = np.where(looked, kept * state[:, sum_units] + units, state[:, sum_units])
        state[:, sum_days] = np.where(looked, kept * state[:, sum_days] + seen, state[:, sum_days])
    rows = np.flatnonzero(looked)
    weekday = np.mod(day[rows], 7.0).astype(np.int64)
    for at, value in ((WEEK_UNITS, units), (WEEK_MEANS, week_mean * seen)):
        state[rows, at + weekday] = WEEK_KEPT * state[rows, at + weekday] + value[rows]
    # TSB as ratios: the chance of a day with demand moves every seen day, the size only when there is demand.
    # The step shrinks from 1 / days to TSB_STEP, so that a young row takes the plain mean.
    step = np.maximum(TSB_STEP, 1.0 / (state[:, SEEN_DAYS] + 2.0)) * seen
    bought = looked & (units > 0)
    first = bought & (state[:, SIZE] == 0)
    state[:, CHANCE] = np.where(looked, state[:, CHANCE] + step * (bought - state[:, CHANCE]), state[:, CHANCE])
    size = np.where(bought, state[:, SIZE] + TSB_STEP * 2.0 * (units - state[:, SIZE]), state[:, SIZE])
    state[:, SIZE] = np.where(first, units, size)


def _mature_slots(state: Floats, day: Floats, units: Floats, seen: Floats) -> Ints:
    """Add the day to every pending forecast of an L-day sum; at most one that is over teaches, and gives its bin."""
    made, span, mean, spread, slot_seen, actual = (state[:, at : at + SLOTS] for at in SLOT_COLUMNS)
    today = day[:, None]
    is_open = made != NEVER
    inside = is_open & (today <= made + span)
    actual += np.where(inside, units[:, None], 0.0)
    slot_seen += np.where(inside, seen[:, None], 0.0)
    over = is_open & (today >= made + span)
    could = over & (slot_seen >= MIN_SEEN_SHARE * span) & (spread > 0)
    rows, k = np.arange(len(state)), np.argmax(could, axis=1)  # the first; a second only exists after L has changed
    teaches = could[rows, k]
    usual, days = np.where(teaches, spread[rows, k], 1.0), np.where(teaches, span[rows, k], 1.0)
    share = np.where(teaches, slot_seen[rows, k] / days, 1.0)
    error = actual[rows, k] / share - mean[rows, k]
    _learn_error(state, teaches, np.minimum(np.abs(error), ERROR_TIMES * usual), days)
    made[over] = NEVER
    return np.where(teaches, _bin_of(error / usual), NO_BIN)


def _learn_error(state: Floats, teaches: Bools, error: Floats, span: Floats) -> None:
    size = error / np.sqrt(span)
    state[:, ERROR_SIZE] = np.where(teaches, ERROR_KEPT * state[:, ERROR_SIZE] + size, state[:, ERROR_SIZE])
    state[:, ERROR_WEIGHT] = np.where(teaches, ERROR_KEPT * state[:, ERROR_WEIGHT] + 1.0, state[:, ERROR_WEIGHT])
    state[:, CYCLES] += teaches


def _open_slot(state: Floats, day: Floats, horizon: Floats) -> None:
    """Keep today's forecast of the next `horizon` days until they are over."""
    stride = np.floor((horizon + (SLOTS - 1)) / SLOTS)
    slot = np.mod(np.floor(day / stride), SLOTS).astype(np.int64)
    mean = _mix(_weights(state), _sums(state, day, horizon))
    spread = _spread(state, horizon, mean)
    rows = np.flatnonzero((np.mod(day, stride) == 0) & (mean > 0))
    for at, value in zip(
        SLOT_COLUMNS, (day, horizon, mean, spread, np.zeros_like(day), np.zeros_like(day)), strict=True
    ):
        state[rows, at + slot[rows]] = value[rows]


def _mature_block(state: Floats, day: Floats, units: Floats, seen: Floats) -> None:
    """Add the day to the open block of 4; when it is over, every expert's squared error moves its loss."""
    open_ = state[:, BLOCK_FROM] != NEVER
    inside = open_ & (day <= state[:, BLOCK_FROM] + BLOCK_DAYS)
    state[:, BLOCK_SEEN] += np.where(inside, seen, 0.0)
    state[:, BLOCK_ACTUAL] += np.where(inside, units, 0.0)
    over = open_ & (day >= state[:, BLOCK_FROM] + BLOCK_DAYS)
    share = state[:, BLOCK_SEEN] / BLOCK_DAYS
    teaches = over & (share >= MIN_SEEN_SHARE)
    actual = state[:, BLOCK_ACTUAL] / np.where(teaches, share, 1.0)
    for i in range(EXPERTS):
        miss = actual - state[:, BLOCK_FORECAST + i]
        loss = LOSS_KEPT * state[:, LOSS + i] + miss * miss
        state[:, LOSS + i] = np.where(teaches, loss, state[:, LOSS + i])
    weight = LOSS_KEPT * state[:, LOSS_WEIGHT] + 1.0
    state[:, LOSS_WEIGHT] = np.where(teaches, weight, state[:, LOSS_WEIGHT])
    state[:, BLOCK_FROM] = np.where(over, NEVER, state[:, BLOCK_FROM])


def _open_block(state: Floats, day: Floats) -> None:
    starts = state[:, BLOCK_FROM] == NEVER
    sums = _sums(state, day, np.full(len(state), float(BLOCK_DAYS)))
    for i in range(EXPERTS):
        state[:, BLOCK_FORECAST + i] = np.where(starts, sums[i], state[:, BLOCK_FORECAST + i])
    state[:, BLOCK_SEEN] = np.where(starts, 0.0, state[:, BLOCK_SEEN])
    state[:, BLOCK_ACTUAL] = np.where(starts, 0.0, state[:, BLOCK_ACTUAL])
    state[:, BLOCK_FROM] = np.where(starts, day, state[:, BLOCK_FROM])


# --- what a row expects ---------------------------------------------------------------------------------------------


def _rates(state: Floats) -> list[Floats]:
    """Units an average day, one column an expert."""
    fast = state[:, FAST_UNITS] / state[:, FAST_DAYS]
    mid = state[:, MID_UNITS] / state[:, MID_DAYS]
    slow = state[:, SLOW_UNITS] / state[:, SLOW_DAYS]
    return [fast, slow, mid, slow, state[:, CHANCE] * state[:, SIZE]]


def _sums(state: Floats, day: Floats, horizon: Floats) -> list[Floats]:
    """Units over the `horizon` days after `day`, one column an expert: the third and fourth know weekdays."""
    rates = _rates(state)
    prior = (4.0 * rates[1] + 2.0)[:, None]  # a weekday's ratio is drawn to 1 by four average days and two units
    ratio = (state[:, WEEK_UNITS : WEEK_UNITS + 7] + prior) / (state[:, WEEK_MEANS : WEEK_MEANS + 7] + prior)
    days_ahead = np.mod(np.arange(7.0) - (day + 1.0)[:, None], 7.0)  # of the first such weekday
    times = np.floor(horizon / 7.0)[:, None] + (days_ahead < np.mod(horizon, 7.0)[:, None])
    ratio_sum = _across(times * ratio)
    return [
        rates[0] * horizon,
        rates[1] * horizon,
        rates[2] * ratio_sum,
        rates[3] * ratio_sum,
        rates[4] * horizon,
    ]


def _weights(state: Floats) -> list[Floats]:
    """Weight of each expert, falling with the square of its recent squared error; sums to one."""
    loss = state[:, LOSS : LOSS + EXPERTS]
    usual = _across(loss) / EXPERTS
    known = usual > 0
    relative = np.where(known[:, None], loss, 1.0) / np.where(known, usual, 1.0)[:, None] + 0.2
    raw = 1.0 / (relative * relative)
    share = raw / _across(raw)[:, None]
    return [share[:, i] for i in range(EXPERTS)]


def _across(columns: Floats) -> Floats:
    """Sum of each row, column after column: a reduction of numpy's own might pair them differently."""
    total = columns[:, 0]
    for i in range(1, columns.shape[1]):
        total = total + columns[:, i]
    return total


def _mix(weights: list[Floats], values: list[Floats]) -> Floats:
    mixed = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        mixed = mixed + weight * value
    return mixed


def _spread(state: Floats, horizon: Floats, mean_sum: Floats) -> Floats:
    """Mean absolute error of the row's L-day sum; while few are known, that of counts a little wilder than Poisson."""
    root = np.sqrt(horizon)
    guess = (np.sqrt(mean_sum) + 0.3 * mean_sum) / root
    size = (state[:, ERROR_SIZE] + 2.0 * guess) / (state[:, ERROR_WEIGHT] + 2.0)
    return np.maximum(size * root, 0.02 * mean_sum)


def _tracked(horizon_days: IntsLike) -> Floats:
    return np.clip(np.asarray(horizon_days, dtype=np.float64), 1.0, float(LONGEST_TRACKED_DAYS))


# --- the pool -------------------------------------------------------------------------------------------------------


def counts(told: Told) -> Ints:
    """What rows told, as counts (SEGMENTS, BINS): sums of integers, so the order is free."""
    told = told[told["bin"] != NO_BIN]
    grown = np.zeros((SEGMENTS, BINS), dtype=np.int64)
    np.add.at(grown, (told["segment"], told["bin"]), 1)  # rows repeat: `+=` would keep only the last
    return grown


def fade_pool(pool: Ints) -> Ints:
    """Halve the segments that hold more than POOL_LIMIT_COUNTS: a pool forgets and never overflows."""
    return np.where(pool.sum(axis=1, keepdims=True) > POOL_LIMIT_COUNTS, pool // 2, pool)


def _bin_of(error: Floats) -> Ints:
    """Bin of an error in row spreads: u / (2 + |u|) cut into BINS equal parts."""
    squeezed = error / (2.0 + np.abs(error))
    return np.clip(np.floor((squeezed + 1.0) * (BINS / 2)), 0, BINS - 1).astype(np.int64)


def _unsqueeze(v: Floats) -> Floats:
    return 2.0 * v / (1.0 - np.abs(v))


# Before there is evidence: errors about +-1 mean absolute error wide, skewed to the right (a gamma of shape 3, less its
# mean, over its mean absolute deviation, in parts per thousand by bin edge -1.4 .. 4.5).
_PRIOR_EDGES = np.array([-1.34, -1.15, -0.85, -0.5, -0.15, 0.25, 0.7, 1.15, 1.75, 2.6, 3.5, 4.6])
_PRIOR_CDF = np.array([0.0, 0.02, 0.13, 0.32, 0.5, 0.66, 0.79, 0.875, 0.94, 0.98, 0.995, 1.0])


def _error_quantiles(pool: Ints, levels: Floats) -> Floats:
    """Quantiles (SEGMENTS, K) of errors in row spreads: own counts, drawn to all rows', drawn to a prior."""
    edges = np.arange(BINS + 1) * (2.0 / BINS) - 1.0
    squeezed_prior = _PRIOR_EDGES / (2.0 + np.abs(_PRIOR_EDGES))
    prior = np.interp(edges[1:], squeezed_prior, _PRIOR_CDF)
    own = np.cumsum(pool, axis=1)  # integers: exact in any order
    everybody = np.cumsum(pool.sum(axis=0))
    shared = (everybody + POOL_PRIOR_COUNTS * prior) / (everybody[-1] + POOL_PRIOR_COUNTS)
    cdf = (own + POOL_PRIOR_COUNTS * shared) / (own[:, -1:] + POOL_PRIOR_COUNTS)
    below = np.minimum((cdf[:, None, :] < levels[None, :, None]).sum(axis=2), BINS - 1)
    rows = np.arange(len(pool))[:, None]
    upper = cdf[rows, below]
    lower = np.where(below == 0, 0.0, cdf[rows, np.maximum(below - 1, 0)])
    part = np.where(upper > lower, (levels - lower) / np.where(upper > lower, upper - lower, 1.0), 1.0)
    squeezed = edges[below] + np.clip(part, 0.0, 1.0) * (2.0 / BINS)
    reach = FARTHEST_ERROR / (2.0 + FARTHEST_ERROR)
    return np.maximum.accumulate(_unsqueeze(np.clip(squeezed, -reach, reach)), axis=1)
