"""Levels of rows as ratios of sums: units over the demand an average period would have brought.

Idea. A period's *expected exposure* is the share of it that could be seen, times the row's ratio of its weekday, times
the effect of its plan (price, promotion, holiday). Level = faded sum of units / faded sum of expected exposure, for
several memories at once. Closed days, stock-outs, gaps, Sundays and promotions need no case of their own, and a level
is what a plain average period brings; a forecast multiplies back what is known of the periods ahead.

Plan effects are shared by all rows (`shared_learning.py`); each row's own answer to each plan column is a further
ratio, drawn to none. A row begins with its first demand: zeros before a launch say nothing about it.

Kernels of one row: `w` holds its words as float64 (`places.py`), and is changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.demand.compiled import kernel, piece
from models.demand.contract import CLOSURE, PRICE, Floats, Ints
from models.demand.exactly import exp_of
from models.demand.places import (
    BELIEVED,
    BOUGHT,
    CAME,
    CAME_EXPECTED,
    CHANCE,
    CLEAN_EXPECTED,
    CLEAN_UNITS,
    DRIFT,
    EXPECTED,
    FRACTIONS,
    LARGEST_UNITS,
    MEAN,
    MISSED,
    PERIOD_ERROR,
    PERIOD_ERROR_WEIGHT,
    PLAIN_UNITS,
    PLAN,
    RATE,
    SEEN,
    SIGNAL_FAST,
    SIGNAL_SLOW,
    SINCE,
    SIZE,
    TOLD_SCALE,
    UNITS,
    USUAL_UNITS,
    WEEK,
    Shape,
)

MEMORIES_DAY = np.array([3.0, 7.0, 14.0, 28.0, 90.0, 365.0])
MEMORIES_LONG = np.array([2.0, 4.0, 8.0, 13.0, 26.0, 52.0])  # of weeks or months
MEMORIES_CLEAN = np.array([5.0, 14.0, 45.0])  # of fully seen periods only
FAST, MID, USUAL, SLOW, LONG = 1, 2, 3, 4, 5  # places in the memories
SIGNALS = 5
SIGNAL_FAST_KEPT, SIGNAL_SLOW_KEPT = (
    0.0,
    1.0 - 1.0 / 28.0,
)  # the last period alone: what is told of the next is over after it

FULLY_SEEN = 0.8  # of a period: what sold then is taken as what was wanted
MIN_EXPOSURE = 0.05
YOUNG_PERIODS = 4  # a younger row teaches no plan effect
OUTLIER_AFTER = 28
OUTLIER_TIMES = 12.0
LEAST_USUAL = 0.02  # of a row's largest period: one that sells no more tells little of plans when it sells once again
LARGEST_EFFECT = 3.0  # of a logarithm
MOST_WORTH = 20.0  # a plan multiplies demand by 1/20 to 20
PRICE_KEPT = 0.99
CHEAPER = -0.05  # of a logarithm: from here on a price counts as a deal
PLAN_PAST_KEPT = 1.0 - 1.0 / 7.0
WEEK_KEPT = 0.96
TSB_CHANCE, TSB_SIZE = 0.05, 0.10
MOST_UNITS = 1e12
LEAST_FRACTION = 1e-4
FRACTIONS_KEPT, FEW_FRACTIONS = 0.99, 0.01  # a row sells whole units where hardly a period of the last 100 had others
RATE_TIMES = 2.0  # no level lies above this many of the row's largest period
AHEAD_TIMES = 3.0  # no plan brings more an average period than this many of the row's largest


@dataclass(frozen=True)
class PlanNames:
    """Which plan columns are prices, flags and the closure; a price makes two columns: how far moved, and if a deal."""

    names: tuple[str, ...]

    @property
    def prices(self) -> list[int]:
        """Places of the prices."""
        return [i for i, name in enumerate(self.names) if name.startswith(PRICE)]

    @property
    def flags(self) -> list[int]:
        """Places of the flags."""
        return [i for i, name in enumerate(self.names) if not name.startswith(PRICE) and name != CLOSURE]

    @property
    def closure(self) -> int | None:
        """Place of the closure."""
        return self.names.index(CLOSURE) if CLOSURE in self.names else None

    @property
    def columns(self) -> int:
        """How many columns the models see."""
        return 2 * len(self.prices) + len(self.flags)

    @property
    def beside(self) -> int:
        """How many columns only the shared plan effect sees: each flag's period before and period after."""
        return 2 * len(self.flags)


@piece
def rate(w: Floats, memory: int) -> float:
    """Units an average period."""
    return min(w[UNITS + memory] / max(w[EXPECTED + memory], 1e-9), RATE_TIMES * w[LARGEST_UNITS])


@piece
def middle_rate(w: Floats) -> float:
    """Units an average period, between the memories."""
    return 0.5 * rate(w, USUAL) + 0.25 * rate(w, MID) + 0.25 * rate(w, SLOW)


@piece
def clean_rate(w: Floats, memory: int) -> float:
    """Units an average period, from fully seen periods only."""
    return min(w[CLEAN_UNITS + memory] / max(w[CLEAN_EXPECTED + memory], 1e-9), RATE_TIMES * w[LARGEST_UNITS])


@piece
def counts(w: Floats) -> bool:
    """Whether the row sells whole units."""
    return w[FRACTIONS] < FEW_FRACTIONS


@piece
def answer(w: Floats, shape: Shape, column: int) -> float:
    """The row's own answer to a plan column beyond the shared effect, drawn to none."""
    prior = 15.0 * (w[UNITS + MID] / max(w[EXPECTED + MID], 1e-9))
    return w[shape.answer_more + column] / (w[shape.answer_weight + column] + prior + 1e-9)


@piece
def plan_columns(w: Floats, shape: Shape, planned: Floats, kinds: Ints, columns: Floats) -> None:
    """Plan (C,) of one period as the models see it, into `columns`: each price over the row's usual, and as a deal."""
    for i in range(shape.prices):
        price, moved = planned[kinds[i]], 0.0
        if np.isfinite(price) and w[shape.price_weight + i] > 0:
            usual = w[shape.price_sum + i] / max(w[shape.price_weight + i], 1e-9)
            moved = max(min(price - usual, 1.5), -1.5)
        columns[2 * i] = moved
        columns[2 * i + 1] = -moved if moved < CHEAPER else 0.0
    for i in range(shape.columns - 2 * shape.prices):
        columns[2 * shape.prices + i] = share_of(planned[kinds[shape.prices + i]])


@piece
def beside(
    shape: Shape, here: Floats, following: Floats, known: bool, kinds: Ints, before: Floats, columns: Floats
) -> None:
    """How far a period planned `here` lies just before, and just after, each flag, into `columns` (2 F,).

    `following` (C,) is the plan of the next period, where it is `known`; `before` (F,) are the flags of the last one,
    and become those of this one. A period that has a flag itself lies beside none of it.
    """
    for i in range(shape.flags):
        kind = kinds[shape.prices + i]
        now = share_of(here[kind])
        to_come = share_of(following[kind]) if known else 0.0
        columns[2 * i], columns[2 * i + 1] = max(to_come - now, 0.0), max(before[i] - now, 0.0)
        before[i] = now


@piece
def share_of(flag: float) -> float:
    """A flag in 0..1, what is not known as 0."""
    return min(flag, 1.0) if flag > 0 else 0.0


@piece
def multiple(columns: Floats, effect: Floats, first: int) -> float:
    """What a plan multiplies demand by; its columns' effects are those from `first` on."""
    logged = 0.0
    for i in range(len(columns)):
        logged = logged + columns[i] * effect[first + i]
    return exp_of(max(min(logged, LARGEST_EFFECT), -LARGEST_EFFECT)) if logged != 0 else 1.0


@piece
def both(alone: float, near: float) -> float:
    """What the plan of a period and that of its neighbours multiply demand by, no more than one of them may."""
    return max(min(alone * near, MOST_WORTH), 1.0 / MOST_WORTH)


@piece
def week_ratios(w: Floats, shape: Shape, everybody: Floats, ratios: Floats) -> None:
    """The row's ratio of each place in the season (season,), drawn to everybody's; one on average."""
    prior, total = 4.0 * w[UNITS + SLOW] / max(w[EXPECTED + SLOW], 1e-9) + 3.0, 0.0
    for i in range(shape.season):
        ratios[i] = (w[WEEK + i] + prior * everybody[i]) / (w[shape.week_expected + i] + prior)
        total = total + ratios[i]
    for i in range(shape.season):
        ratios[i] = ratios[i] * shape.season / total if total > 0 and shape.season > 1 else 1.0


@kernel
def plan_steps(
    w: Floats,
    shape: Shape,
    effect: Floats,
    kinds: Ints,
    closure: int,
    planned: Floats,
    columns: Floats,
    before: Floats,
    near: Floats,
    worth: Floats,
) -> int:
    """The plan (A, C) of the periods ahead as the models see it, into `columns` (A, .) and what it multiplies by (A,).

    `before` (F,) are the flags of the period that closed, and are written over. Returns how many periods are to be
    looked at: those beyond are like any other.
    """
    last, alone, open_share = 0, 1.0, 1.0
    for step in range(min(len(planned), len(worth))):
        if step > 0 and _same(planned[step], planned[step - 1]):
            for i in range(shape.columns):
                columns[step, i] = columns[step - 1, i]
        else:
            plan_columns(w, shape, planned[step], kinds, columns[step])
            alone = multiple(columns[step], effect, 0)
            open_share = 1.0 - share_of(planned[step, closure]) if closure >= 0 else 1.0
        known = step + 1 < len(planned)
        beside(shape, planned[step], planned[step + 1 if known else step], known, kinds, before, near)
        worth[step] = both(alone, multiple(near, effect, shape.columns)) * open_share
        if worth[step] != 1.0 or _any(columns[step]):
            last = step + 1
    return last


@piece
def _any(values: Floats) -> bool:
    found = False
    for value in values:
        found = found or value != 0
    return found


@piece
def _same(one: Floats, two: Floats) -> bool:
    same = True
    for i in range(len(one)):
        same = same and (one[i] == two[i] or (np.isnan(one[i]) and np.isnan(two[i])))
    return same


@piece
def ahead(
    period: int, horizon: int, columns: Floats, worth: Floats, steps: int, ratios: Floats, shares: Floats
) -> tuple[float, float]:
    """What the next `horizon` periods are worth in average ones: with the plan, and without; its columns' `shares`."""
    season, plain = len(ratios), 0.0
    start = (period + 1) % season
    for place in range(season):
        first = place - start if place >= start else place - start + season
        plain = plain + (horizon // season + (1 if first < horizon % season else 0)) * ratios[place]
    planned, part = plain, 1.0 / max(horizon, 1)
    for i in range(len(shares)):
        shares[i] = 0.0
    for step in range(min(steps, horizon)):
        week = ratios[(start + step) % season]
        planned = planned + week * (worth[step] - 1.0)
        for i in range(len(shares)):
            shares[i] = shares[i] + columns[step, i] * (week * part)
    return max(planned, 0.0), plain


@piece
def learn(
    w: Floats,
    shape: Shape,
    effect: Floats,
    kinds: Ints,
    ratios: Floats,
    memories: Floats,
    period: int,
    units: float,
    exposure: float,
    planned: Floats,
    following: Floats,
    known: bool,
    columns: Floats,
    before: Floats,
    near: Floats,
    told: Floats,
) -> bool:
    """Close one period; `told` (words,) gets what it teaches about plans and weekdays. Returns whether it teaches.

    `following` (C,) is the plan of the next period where it is `known`, `before` (F,) the flags of the last one.
    """
    count_year(w, units, told)
    plan_columns(w, shape, planned, kinds, columns)
    beside(shape, planned, following, known, kinds, before, near)
    for i in range(shape.flags):
        w[shape.flag_before + i] = before[i]
    seen = exposure > MIN_EXPOSURE and (w[BOUGHT] > 0 or units > 0)
    worth = both(multiple(columns, effect, 0), multiple(near, effect, shape.columns))
    place = period % shape.season
    week = ratios[place]
    usual = w[UNITS + MID] / max(w[EXPECTED + MID], 1e-9)
    expected = exposure * week * worth
    broken = abs(units - np.rint(units)) > LEAST_FRACTION
    units = cut(w, units, usual, expected) if seen else 0.0
    if seen:
        w[LARGEST_UNITS] = max(w[LARGEST_UNITS] * 0.9995, units / max(exposure, 0.25))
    teaches = seen and w[SEEN] > YOUNG_PERIODS and usual > 0
    _teach(w, shape, columns, units, usual, exposure, week, worth, teaches, told)
    for i in range(len(near)):
        told[PLAN + shape.columns + i] = near[i]
    if seen:
        w[FRACTIONS] = FRACTIONS_KEPT * w[FRACTIONS] + ((1.0 - FRACTIONS_KEPT) if broken else 0.0)
        at = shape.week_expected + place
        w[WEEK + place] = WEEK_KEPT * w[WEEK + place] + units / worth
        w[at] = WEEK_KEPT * w[at] + usual * exposure
        _learn_levels(w, memories, units, expected, week * worth, exposure)
    for i in range(shape.prices):
        price = planned[kinds[i]]
        if np.isfinite(price):
            w[shape.price_sum + i] = PRICE_KEPT * w[shape.price_sum + i] + max(min(price, 50.0), -50.0)
            w[shape.price_weight + i] = PRICE_KEPT * w[shape.price_weight + i] + 1.0
    for i in range(shape.columns):
        at = shape.plan_past + i
        w[at] = PLAN_PAST_KEPT * w[at] + (1.0 - PLAN_PAST_KEPT) * columns[i]
    return teaches


@piece
def learn_signals(w: Floats, signals: Floats) -> None:
    """Close a period of what people looked at and put into carts, (5,)."""
    for i in range(SIGNALS):
        came = min(signals[i], MOST_UNITS) if signals[i] > 0 else 0.0
        w[SIGNAL_FAST + i] = SIGNAL_FAST_KEPT * w[SIGNAL_FAST + i] + (1.0 - SIGNAL_FAST_KEPT) * came
        w[SIGNAL_SLOW + i] = SIGNAL_SLOW_KEPT * w[SIGNAL_SLOW + i] + (1.0 - SIGNAL_SLOW_KEPT) * came


@piece
def count_year(w: Floats, units: float, told: Floats) -> None:
    """Demand over what the slow level expected, for the yearly profile of everybody."""
    slow = rate(w, SLOW)
    root = np.sqrt(max(slow, 1e-9))
    told[CAME] = min(units, 10.0 * slow + 3.0) / root if slow > 0 else 0.0
    told[CAME_EXPECTED] = slow / root


@piece
def tell_levels(w: Floats, told: Floats) -> None:
    """What the row says of its levels after the period."""
    error, middle = w[PERIOD_ERROR] / max(w[PERIOD_ERROR_WEIGHT], 1.0), middle_rate(w)
    told[RATE], told[TOLD_SCALE] = middle, max(middle, 0.5 * error) + 0.3 * error + 1e-6
    for i in range(4):
        told[DRIFT + i] = rate(w, FAST + i)


@piece
def cut(w: Floats, units: float, usual: float, expected: float) -> float:
    """No more than a far outlier of a row we know: 80,995 units, cancelled 12 minutes later, teach nobody."""
    error = w[PERIOD_ERROR] / max(w[PERIOD_ERROR_WEIGHT], 1e-9)
    most = OUTLIER_TIMES * (usual * max(expected, 0.2) + error + 1.0)
    return min(units, most) if w[SEEN] > OUTLIER_AFTER else units


@kernel
def _teach(
    w: Floats,
    shape: Shape,
    columns: Floats,
    units: float,
    usual: float,
    exposure: float,
    week: float,
    worth: float,
    teaches: bool,
    told: Floats,
) -> None:
    mean, believed = usual * exposure * week * worth, usual * exposure
    missed = units - mean if teaches else 0.0
    if teaches:
        w[PERIOD_ERROR] = 0.98 * w[PERIOD_ERROR] + abs(missed)
        w[PERIOD_ERROR_WEIGHT] = 0.98 * w[PERIOD_ERROR_WEIGHT] + 1.0
    for i in range(shape.columns):
        w[shape.answer_more + i] += min(missed, 5.0 * mean + 3.0 * usual) * columns[i]
        if teaches:
            w[shape.answer_weight + i] += mean * abs(columns[i])
        told[PLAN + i] = columns[i]
    told[MEAN], told[BELIEVED] = mean, believed
    told[USUAL_UNITS] = max(usual, LEAST_USUAL * w[LARGEST_UNITS])
    told[MISSED] = min(missed, 5.0 * mean + 3.0 * max(usual, 1.0))
    told[PLAIN_UNITS] = min(units / worth, 8.0 * believed + 3.0)


@piece
def _doubt(seen: float) -> float:
    """Periods without demand that a new row is taken to have had: one, and after three weeks none in all memories."""
    return 1.0 / (1.0 + seen * seen / 8.0)


@piece
def _learn_levels(
    w: Floats, memories: Floats, units: float, expected: float, unhindered: float, exposure: float
) -> None:
    doubt, less = _doubt(w[SEEN]), _doubt(w[SEEN] + 1.0)
    for i in range(len(memories)):
        kept = 1.0 - 1.0 / memories[i]
        w[UNITS + i] = kept * w[UNITS + i] + units
        w[EXPECTED + i] = kept * max(w[EXPECTED + i] - doubt, 0.0) + expected + less
    if exposure >= FULLY_SEEN:
        for i in range(len(MEMORIES_CLEAN)):
            kept = 1.0 - 1.0 / MEMORIES_CLEAN[i]
            w[CLEAN_UNITS + i] = kept * w[CLEAN_UNITS + i] + units
            w[CLEAN_EXPECTED + i] = kept * w[CLEAN_EXPECTED + i] + unhindered
    w[SEEN] += 1.0
    bought = 1.0 if units > 0 else 0.0
    w[BOUGHT] += bought
    w[CHANCE] += max(TSB_CHANCE, 1.0 / max(w[SEEN], 1.0)) * (bought - w[CHANCE])
    if units > 0:
        w[SIZE] += max(TSB_SIZE, 1.0 / max(w[BOUGHT], 1.0)) * (units / max(expected, 0.1) - w[SIZE])
        w[SINCE] = 0.0
    else:
        w[SINCE] += 1.0
