"""The production family row by row: closing, looking ahead, and why, in one pass over each row's words.

A row is taken from its record into float64 once, worked on, and put back; a few hundred nanoseconds a horizon, and
nothing is kept between rows, so slices cannot show.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from models.demand import row_levels as levels
from models.demand import row_sums as sums
from models.demand.compiled import kernel, piece
from models.demand.contract import Floats, Ints
from models.demand.exactly import FEATURE_STEP
from models.demand.places import (
    ABSENT,
    ABSENT_QUANTILE,
    ACTUAL,
    BAND,
    BOUGHT,
    CELLS_BYTE,
    CLOSED,
    CYCLES,
    GROUP_BYTES,
    GUEST_STEPS,
    HORIZON,
    LAST,
    LESSON_CELLS,
    LESSON_COUNTS,
    LESSON_ERROR,
    LESSON_MEAN,
    LESSON_QUANTILES,
    LESSON_SCALE,
    LESSON_SIZE,
    LESSON_SPAN,
    OPENED,
    PHASE,
    QUANTILE_STEP,
    QUANTILES,
    SCALE,
    SEEN,
    SPAN,
    TARGET,
    TAUGHT,
    TEACHES,
    TOLD_GROUPS,
    TOLD_LEVELS,
    TOLD_PERIOD,
    WHOLE,
    K,
    Seen,
    Shape,
    Words,
)
from models.demand.row_levels import FULLY_SEEN
from models.demand.row_sums import CASE_TIMES, FARTHEST, FIRST_GUEST, GROUPS, GUEST_AGE, POOLED, REGRESSION, WILDNESSES

MOST_AHEAD = 64  # periods of plan that are looked at
LONGEST = 1000  # periods a horizon may have; beyond it is that of LONGEST, in proportion
FIRST_LESSON_PERIODS = 7.0  # a row seen less knows too little for its forecasts to teach


class Known(NamedTuple):
    """What a setting says and rows know together, as kernels read it."""

    shape: Shape
    closure: int  # place of the closure in the plan, -1: none
    year: int
    block: int
    first_edge: int  # period of the first edge of the yearly profile
    kinds: Ints  # places of prices, then of flags, in the plan
    slots: Ints  # (heads,)
    memories: Floats
    edges: Ints  # of the bands
    weeks: Floats  # (season,)
    effect: Floats  # (columns + 2 F,)
    cuts: Floats
    drifts: Floats  # (2, GROUPS, 2) of like rows
    year_edges: Floats  # (3, blocks + 1, GROUPS)
    year_known: Floats  # (3, blocks, GROUPS), 1: known
    coefficients: Floats  # (bands, SIZES, K, p); each array of a band is that of the nearest one that has learnt
    pooled: Floats  # (bands, SIZES, K)
    came: Floats  # (bands, SIZES), what came over the mean
    excess: Floats  # (bands, SIZES, E)
    usual: Floats  # (bands, SIZES)
    lean: Floats  # (bands, SIZES, K)
    shift: Floats  # (bands, CELLS, K)


class Desk(NamedTuple):
    """Where one row is worked on."""

    w: Floats
    head: Floats
    ratios: Floats
    columns: Floats  # (periods, columns)
    worth: Floats  # (periods,)
    shares: Floats  # (columns,)
    before: Floats  # (F,), flags of the period before
    near: Floats  # (2 F,), how far a period lies before and after each flag
    drifts: Floats  # (2, 2)
    year: Floats  # (3,)
    x: Floats  # (p,)
    told: Floats  # (E, K)
    blended: Floats  # (K,)
    final: Floats  # (K,)
    present: Floats  # (E,)
    cost: Floats  # (E,)
    share: Floats  # (E,)
    teaching: Floats  # words told
    buckets: Ints  # (3,)


def desk(shape: Shape, ahead_periods: int) -> Desk:
    """An empty one."""
    experts, columns = shape.experts, shape.columns
    return Desk(
        np.zeros(shape.head),
        np.zeros(shape.head_words),
        np.zeros(shape.season),
        np.zeros((max(1, min(ahead_periods, MOST_AHEAD)), columns)),
        np.zeros(min(ahead_periods, MOST_AHEAD)),
        np.zeros(columns),
        np.zeros(shape.flags),
        np.zeros(2 * shape.flags),
        np.zeros((2, 2)),
        np.zeros(3),
        np.zeros(shape.features),
        np.zeros((experts, K)),
        np.zeros(K),
        np.zeros(K),
        np.zeros(experts),
        np.zeros(experts),
        np.zeros(experts),
        np.zeros(shape.lesson),
        np.zeros(3, np.int64),
    )


# --- closing --------------------------------------------------------------------------------------------------------


@kernel
def close(known: Known, at: Desk, rows: Words, told: Words, seen: Seen) -> None:
    """Learn one closed period of each row; `rows` and `told` are written, `told` begins as zeros."""
    shape = known.shape
    for i in range(len(seen.period)):
        take(shape, rows, i, at)
        period, exposure = seen.period[i], _share(seen.exposure[i])
        units = _units(seen.units[i]) if exposure > 0 else 0.0
        for g in range(2):
            rows.u1[i, GROUP_BYTES + g] = told.u1[i, TOLD_GROUPS + g] = seen.groups[i, g] % GROUPS
        levels.week_ratios(at.w, shape, known.weeks, at.ratios)
        ahead = seen.ahead[i]
        _take_flags(shape, rows, i, at, period - 1)
        teaches = levels.learn(
            at.w, shape, known.effect, known.kinds, at.ratios, known.memories, period, units, exposure, seen.plan[i],
            ahead[0] if len(ahead) > 0 else seen.plan[i], len(ahead) > 0, at.shares, at.before, at.near, at.teaching,
        )  # fmt: skip
        levels.learn_signals(at.w, seen.signals[i])
        levels.tell_levels(at.w, at.teaching)
        told.u1[i, CLOSED], told.u1[i, TEACHES], told.i4[i, TOLD_PERIOD] = 1, 1 if teaches else 0, period
        for k in range(TOLD_LEVELS, shape.lesson):
            told.f4[i, k] = at.teaching[k]
        _mature(known, rows, told, i, at, period, units, exposure)
        rows.i4[i, LAST] = period
        _open(known, rows, i, at, period, seen.horizons[i], ahead)
        for k in range(SEEN, shape.head):
            rows.f4[i, k] = at.w[k]


@kernel
def tell_again(known: Known, at: Desk, rows: Words, period: Ints, horizons: Ints, ahead: Floats) -> None:
    """Keep once more what is told as `period` closes, of rows whose guests have spoken since `close`."""
    for i in range(len(period)):
        take(known.shape, rows, i, at)
        _open(known, rows, i, at, period[i], horizons[i], ahead[i])


@piece
def take(shape: Shape, rows: Words, i: int, at: Desk) -> None:
    """The levels of row `i`, and who is like it."""
    for k in range(SEEN, shape.head):
        at.w[k] = rows.f4[i, k]


@piece
def _take_flags(shape: Shape, rows: Words, i: int, at: Desk, period: int) -> None:
    """The flags of `period`, if it was the last to close; of another nothing is known."""
    closed = rows.i4[i, LAST] == period
    for k in range(shape.flags):
        at.before[k] = at.w[shape.flag_before + k] if closed else 0.0


@piece
def _whole(number: Any) -> int:
    """As every other number of periods: `tell` is compiled for one type."""
    return np.int64(number)  # type: ignore[return-value]


@piece
def _share(exposure: float) -> float:
    return min(exposure, 1.0) if exposure > 0 else 0.0


@piece
def _units(units: float) -> float:
    return min(units, levels.MOST_UNITS) if units > 0 else 0.0


@piece
def _mature(
    known: Known, rows: Words, told: Words, i: int, at: Desk, period: int, units: float, exposure: float
) -> None:
    """Add the period to every pending origin; of those whose horizon is over, one a head teaches."""
    shape, slot = known.shape, 0
    follows = rows.i4[i, LAST] == period - 1
    for head in range(shape.heads):
        taught = False
        for _ in range(known.slots[head]):
            base = shape.pending + slot * shape.pending_words
            slot += 1
            opened = rows.i4[i, base + OPENED]
            if opened == ABSENT:
                continue
            over = opened + rows.i2[i, 2 * base + SPAN]
            if period <= over:
                rows.f4[i, base + ACTUAL] = np.float64(rows.f4[i, base + ACTUAL]) + units
                if not follows or exposure < FULLY_SEEN:
                    rows.u1[i, 4 * base + WHOLE] = 0
            if period == over and rows.u1[i, 4 * base + WHOLE] > 0 and not taught:
                taught = True
                _teach(known, rows, told, i, head, base, at)
            if period >= over:
                rows.i4[i, base + OPENED] = ABSENT


@piece
def take_head(shape: Shape, rows: Words, i: int, head: int, at: Desk) -> None:
    """The words of a head."""
    base = shape.head + head * shape.head_words
    at.head[CYCLES], at.head[HORIZON] = rows.i4[i, base + CYCLES], rows.i4[i, base + HORIZON]
    for k in range(HORIZON + 1, shape.head_words):
        at.head[k] = rows.f4[i, base + k]


@kernel
def _teach(known: Known, rows: Words, told: Words, i: int, head: int, base: int, at: Desk) -> None:
    """A pending origin at `base` is over: its head learns, and what it was is told."""
    shape, kept = known.shape, known.shape.experts * K
    take_head(shape, rows, i, head, at)
    first = 2 * base + QUANTILES
    for k in range(kept):
        word = rows.u2[i, first + k]
        at.told[k // K, k % K] = np.nan if word == ABSENT_QUANTILE else word * QUANTILE_STEP
    for k in range(shape.features):
        at.x[k] = rows.i2[i, first + kept + K + k] * FEATURE_STEP
    scale, actual = np.float64(rows.f4[i, base + SCALE]), np.float64(rows.f4[i, base + ACTUAL])
    error, mean = sums.learn(at.head, at.x, scale, at.told, actual)
    own = shape.head + head * shape.head_words
    rows.i4[i, own + CYCLES] += 1
    for k in range(HORIZON + 1, shape.head_words):
        rows.f4[i, own + k] = at.head[k]
    lesson, span = shape.lesson + head * shape.lesson_words, _whole(rows.i2[i, 2 * base + SPAN])
    cells = rows.u1[i, 4 * base + CELLS_BYTE]
    told.u1[i, 4 * lesson + TAUGHT], told.u1[i, 4 * lesson + BAND] = 1, band_of(known.edges, span)
    told.u1[i, 4 * lesson + LESSON_CELLS], told.u1[i, 4 * lesson + LESSON_SIZE] = (
        cells,
        cells % CASE_TIMES // WILDNESSES,
    )
    told.f4[i, lesson + LESSON_SCALE], told.f4[i, lesson + TARGET] = scale, min(actual / scale, 1e6)
    told.f4[i, lesson + LESSON_ERROR], told.f4[i, lesson + LESSON_MEAN] = max(min(error, 1e6), -1e6), mean
    told.i2[i, 2 * lesson + LESSON_SPAN], told.i2[i, 2 * lesson + LESSON_COUNTS] = span, 1 if levels.counts(at.w) else 0
    for k in range(kept + K + shape.features):
        told.u2[i, 2 * lesson + LESSON_QUANTILES + k] = rows.u2[i, first + k]


@piece
def band_of(edges: Ints, horizon: int) -> int:
    """Band of a horizon in periods."""
    band = 0
    for edge in edges:
        band += 1 if horizon >= edge else 0
    return band


@piece
def _open(known: Known, rows: Words, i: int, at: Desk, period: int, horizons: Ints, planned: Floats) -> None:
    """Keep what is told now of the horizons ahead, where it is the row's turn."""
    shape, first, steps = known.shape, 0, -1
    turn = period + rows.u2[i, PHASE]
    for head in range(min(shape.heads, len(horizons))):
        slots, horizon = known.slots[head], max(1, min(horizons[head], LONGEST))
        rows.i4[i, shape.head + head * shape.head_words + HORIZON] = horizon
        stride = -(-horizon // slots)
        if turn % stride == 0 and at.w[BOUGHT] > 0 and at.w[SEEN] >= FIRST_LESSON_PERIODS:
            if steps < 0:
                steps = begin(known, rows, i, at, period, planned)
            view, _ = tell(known, rows, i, at, head, period, horizon, steps)
            slot = first + (turn // stride) % slots
            _keep(shape, rows, i, shape.pending + slot * shape.pending_words, period, horizon, view, at)
        first += slots


@piece
def _keep(shape: Shape, rows: Words, i: int, base: int, period: int, horizon: int, view: sums.View, at: Desk) -> None:
    rows.i4[i, base + OPENED], rows.f4[i, base + ACTUAL], rows.f4[i, base + SCALE] = period, 0.0, view.scale
    rows.i2[i, 2 * base + SPAN] = horizon
    rows.u1[i, 4 * base + CELLS_BYTE], rows.u1[i, 4 * base + WHOLE] = view.cells, 1
    first, kept = 2 * base + QUANTILES, shape.experts * K
    for e in range(shape.experts):
        for k in range(K):
            rows.u2[i, first + e * K + k] = _word(at.told[e, k]) if at.present[e] > 0 else ABSENT_QUANTILE
    for k in range(K):
        rows.u2[i, first + kept + k] = _word(at.final[k])
    for k in range(shape.features):
        rows.i2[i, first + kept + K + k] = int(np.rint(at.x[k] / FEATURE_STEP))


@piece
def _word(quantile: float) -> int:
    return int(np.rint(quantile / QUANTILE_STEP))


# --- looking ahead --------------------------------------------------------------------------------------------------


@piece
def begin(known: Known, rows: Words, i: int, at: Desk, period: int, planned: Floats) -> int:
    """What all horizons of a row share; returns how many periods of its plan there are to look at."""
    _take_flags(known.shape, rows, i, at, period)
    levels.week_ratios(at.w, known.shape, known.weeks, at.ratios)
    at.buckets[0] = 0
    for kind in range(3):
        if kind > 0:
            at.buckets[kind] = rows.u1[i, GROUP_BYTES + kind - 1]
            for k in range(2):
                at.drifts[kind - 1, k] = known.drifts[kind - 1, at.buckets[kind], k]
    return levels.plan_steps(
        at.w, known.shape, known.effect, known.kinds, known.closure, planned, at.columns, at.before, at.near, at.worth
    )


@piece
def see(known: Known, rows: Words, i: int, at: Desk, head: int, period: int, horizon: int, steps: int) -> sums.View:
    """The features of a horizon into `at.x`, by a head whose errors are grown to it."""
    take_head(known.shape, rows, i, head, at)
    sums.grow(at.head, horizon)
    planned, plain = levels.ahead(period, horizon, at.columns, at.worth, steps, at.ratios, at.shares)
    _last_year(known, at, period, horizon)
    return sums.describe(
        at.w, at.head, known.shape, known.cuts, at.drifts, at.year, planned, plain, at.shares, horizon, at.x
    )


@kernel
def tell(
    known: Known, rows: Words, i: int, at: Desk, head: int, period: int, horizon: int, steps: int
) -> tuple[sums.View, float]:
    """Experts' quantiles into `at.told`, the final ones into `at.final`, in row scales; the view, and the mean."""
    view = see(known, rows, i, at, head, period, horizon, steps)
    band = band_of(known.edges, horizon)
    sums.regression(at.x, known.coefficients[band, view.size], at.told[REGRESSION])
    mean = sums.pooled(at.head, at.x, view.scale, known.pooled[band, view.size], at.told[POOLED])
    at.present[REGRESSION] = at.present[POOLED] = 1.0
    _guests(known.shape, rows, i, at, period, horizon, view.scale)
    sums.costs(at.head, known.excess[band, view.size], known.usual[band, view.size], at.cost)
    sums.shares(at.cost, at.present, at.share)
    sums.mixed(at.share, known.lean[band, view.size], at.told, at.blended)
    sums.calibrated(at.blended, known.shift[band], view.cells, view.farthest, at.final)
    return view, min(mean * known.came[band, view.size], view.farthest)


@piece
def _guests(shape: Shape, rows: Words, i: int, at: Desk, period: int, horizon: int, scale: float) -> None:
    """Guests' quantiles in row scales, and how fresh they are in 0..1."""
    for g in range(shape.guests):
        base, e = shape.guest + g * shape.guest_words, FIRST_GUEST + g
        as_of = rows.i4[i, base]
        at.present[e] = 0.0
        if as_of == ABSENT or period < as_of or period - as_of >= GUEST_AGE:
            continue
        for head in range(shape.heads):
            if rows.i2[i, 2 * base + 4 + shape.heads * K + head] == horizon:
                at.present[e] = 1.0 - (period - as_of) / GUEST_AGE
                most = np.float64(rows.f4[i, base + 1])
                for k in range(K):
                    units = rows.u2[i, 2 * base + 4 + head * K + k] / GUEST_STEPS * most
                    at.told[e, k] = min(units / scale, FARTHEST)
                break


@piece
def _last_year(known: Known, at: Desk, period: int, horizon: int) -> None:
    """What last year says of the horizon, less one, (3,); 0: not known.

    Of everybody: demand a year before it over that of two such horizons before that. Of like rows: what came a year
    before it, over what their slow levels said of it.
    """
    span, blocks = max(horizon, 1), known.year_known.shape[1]
    start = period + 1 - known.year - known.first_edge
    for kind in range(3):
        at.year[kind], bucket = 0.0, at.buckets[kind]
        first = start - 2 * span if kind == 0 else start
        if first < 0 or start + span > blocks * known.block:
            continue
        if known.year_known[kind, min(first // known.block, blocks - 1), bucket] > 0:
            edges = known.year_edges[kind]
            now = _edge(edges, start, known.block, bucket)
            usual = float(span) if kind > 0 else (now - _edge(edges, first, known.block, bucket)) / 2.0
            came = _edge(edges, start + span, known.block, bucket) - now
            at.year[kind] = max(min(came / max(usual, 1e-9) - 1.0, 2.0), -0.7)


@piece
def _edge(edges: Floats, when: int, block: int, bucket: int) -> float:
    low = min(when // block, len(edges) - 2)
    part = when / block - low
    return edges[low, bucket] + part * (edges[low + 1, bucket] - edges[low, bucket])


@kernel
def look(
    known: Known,
    at: Desk,
    rows: Words,
    period: Ints,
    horizons: Ints,
    ahead: Floats,
    asked: Floats,
    one: Floats,
    mean: Floats,
    quantile: Floats,
    share: Floats,
) -> None:
    """Mean of a period into `one` (n,), of sums over `horizons` (n, J) into `mean`, their quantiles (n, J, Q).

    `asked` (Q, 3): the place of each level among LEVELS, the part of the way to the next, and 1 where it is mirrored.
    Experts' shares of the first horizon go into `share` (n, E).
    """
    for i in range(len(period)):
        take(known.shape, rows, i, at)
        steps = begin(known, rows, i, at, period[i], ahead[i])
        born = at.w[BOUGHT] > 0
        one[i] = levels.middle_rate(at.w) if born else 0.0
        for j in range(horizons.shape[1]):
            same = _same_before(horizons[i], j)
            if same < j:  # a lead time of a week, and the week that is told anyway
                mean[i, j] = mean[i, same]
                for q in range(len(asked)):
                    quantile[i, j, q] = quantile[i, same, q]
                continue
            horizon = max(1, min(horizons[i, j], LONGEST))
            view, middle = tell(
                known, rows, i, at, nearest_head(known.shape, rows, i, horizon), period[i], horizon, steps
            )
            stretch = max(horizons[i, j], 0) / horizon  # 0 periods bring nothing, a decade ten times a year
            units = view.scale * stretch if born else 0.0
            mean[i, j] = middle * units
            at_levels(at.final, asked, units, levels.counts(at.w), quantile[i, j])
            for e in range(len(at.share) if j == 0 else 0):
                share[i, e] = at.share[e]


@piece
def _same_before(horizons: Ints, j: int) -> int:
    """The first place of the same horizon."""
    place = 0
    while horizons[place] != horizons[j]:
        place += 1
    return place


@piece
def nearest_head(shape: Shape, rows: Words, i: int, horizon: int) -> int:
    """Which head tells most of a horizon: the one whose own is nearest in proportion."""
    best, place = -1.0, 0
    for head in range(shape.heads):
        own = rows.i4[i, shape.head + head * shape.head_words + HORIZON]
        ratio = own / horizon if own > 0 else 1e-9
        near = min(ratio, 1.0 / ratio)
        if near > best:
            best, place = near, head
    return place


@piece
def at_levels(final: Floats, asked: Floats, units: float, counts: bool, quantile: Floats) -> None:
    """Quantiles at LEVELS as quantiles at the levels asked, in units, whole ones of a row that sells whole ones."""
    for q in range(len(asked)):
        place, part = int(asked[q, 0]), asked[q, 1]
        told = final[place] + part * (final[place + 1] - final[place])
        if asked[q, 2] > 0:
            root = max(2.0 * np.sqrt(final[0]) - np.sqrt(told), 0.0)
            told = root * root
        told = min(told, 2.0 * FARTHEST) * units
        told = np.rint(told) if counts else told
        quantile[q] = max(told, quantile[q - 1]) if q > 0 else told


@kernel
def features(
    known: Known, at: Desk, rows: Words, period: Ints, horizon: Ints, ahead: Floats, x: Floats, scale: Floats
) -> None:
    """What the regression sees of one horizon (n,), into `x` (n, p) in row scales and `scale` (n,) in units."""
    for i in range(len(period)):
        take(known.shape, rows, i, at)
        steps = begin(known, rows, i, at, period[i], ahead[i])
        span = max(1, min(horizon[i], LONGEST))
        view = see(known, rows, i, at, nearest_head(known.shape, rows, i, span), period[i], span, steps)
        scale[i] = view.scale
        for k in range(known.shape.features):
            x[i, k] = at.x[k]


@kernel
def carriers(known: Known, at: Desk, nothing: Floats, rows: Words, share: Floats, loss: Floats, fresh: Floats) -> None:
    """At each row's first horizon: experts' shares (n, E), losses (n, E) in units, and how fresh they are (n, E)."""
    for i in range(len(share)):
        take(known.shape, rows, i, at)
        horizon, period = max(1, _whole(rows.i4[i, known.shape.head + HORIZON])), _whole(rows.i4[i, LAST])
        steps = begin(known, rows, i, at, period, nothing)
        view, _ = tell(known, rows, i, at, _whole(0), period, horizon, steps)
        usual = known.usual[band_of(known.edges, horizon), view.size] * view.scale
        for e in range(len(at.cost)):
            share[i, e], fresh[i, e], loss[i, e] = at.share[e], at.present[e], at.cost[e] * usual
