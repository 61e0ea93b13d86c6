"""Levels of rows as ratios of sums: units over the demand an average period would have brought.

Idea. A period's *expected exposure* is the share of it that could be seen, times the row's ratio of its weekday, times
the effect of its plan (price, promotion, holiday). Level = faded sum of units / faded sum of expected exposure, for
several memories at once. Closed days, stock-outs, gaps, Sundays and promotions need no case of their own, and a level
is what a plain average period brings; a forecast multiplies back what is known of the periods ahead.

Plan effects are shared by all rows (`shared_learning.py`); each row's own answer to each plan column is a further
ratio, drawn to none. A row begins with its first demand: zeros before a launch say nothing about it.

Here `s` holds the columns of a slice of rows as float64, (n,) or (k, n); functions change it in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.demand.contract import CLOSURE, PRICE, SIGNALS, Bools, Floats, Ints, Shared
from models.demand.exactly import exp

MEMORIES_DAY = (3.0, 7.0, 14.0, 28.0, 90.0, 365.0)
MEMORIES_LONG = (2.0, 4.0, 8.0, 13.0, 26.0, 52.0)  # of weeks or months
MEMORIES_CLEAN = (5.0, 14.0, 45.0)  # of fully seen periods only
FAST, MID, USUAL, SLOW, LONG = 1, 2, 3, 4, 5  # places in the memories
SIGNAL_FAST_KEPT, SIGNAL_SLOW_KEPT = 1.0 - 1.0 / 3.0, 1.0 - 1.0 / 28.0

FULLY_SEEN = 0.8  # of a period: what sold then is taken as what was wanted
MIN_EXPOSURE = 0.05
YOUNG_PERIODS = 4  # a younger row teaches no plan effect
OUTLIER_AFTER = 28
OUTLIER_TIMES = 12.0
LARGEST_EFFECT = 3.0  # of a logarithm: a plan multiplies demand by 1/20 to 20
PRICE_KEPT = 0.99
CHEAPER = -0.05  # of a logarithm: from here on a price counts as a deal
PLAN_PAST_KEPT = 1.0 - 1.0 / 7.0
WEEK_KEPT = 0.96
TSB_CHANCE, TSB_SIZE = 0.05, 0.10
MOST_UNITS = 1e12
RATE_TIMES = 2.0  # no level lies above this many of the row's largest period
AHEAD_TIMES = 3.0  # no plan brings more an average period than this many of the row's largest

Columns = dict[str, Floats]


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


@dataclass(frozen=True)
class Horizon:
    """What the next periods are worth in average periods: with plan, without, and each plan column's share (C, n)."""

    planned: Floats
    plain: Floats
    columns: Floats


def rates(s: Columns) -> Floats:
    """Units an average period, (memories, n)."""
    return np.asarray(np.minimum(s["units"] / np.maximum(s["expected"], 1e-9), RATE_TIMES * s["largest"]))


def middle_rate(s: Columns) -> Floats:
    """Units an average period, (n,), between the memories."""
    rate = rates(s)
    return np.asarray(0.5 * rate[USUAL] + 0.25 * rate[MID] + 0.25 * rate[SLOW])


def clean_rates(s: Columns) -> Floats:
    """Units an average period, from fully seen periods only, (3, n)."""
    return np.asarray(np.minimum(s["clean_units"] / np.maximum(s["clean_expected"], 1e-9), RATE_TIMES * s["largest"]))


def answers(s: Columns) -> Floats:
    """Each row's own answer to each plan column beyond the shared effect, (C, n), drawn to none."""
    prior = 15.0 * (s["units"][MID] / np.maximum(s["expected"][MID], 1e-9))
    return np.asarray(s["answer_more"] / (s["answer_weight"] + prior + 1e-9))


def plan_columns(s: Columns, plan: Floats, names: PlanNames) -> Floats:
    """Plan (n, C) of one period as the models see it, (columns, n): each price over the row's usual, and as a deal."""
    out = []
    for i, place in enumerate(names.prices):
        price = np.ascontiguousarray(plan[:, place])
        known = np.isfinite(price) & (s["price_weight"][i] > 0)
        usual = s["price_sum"][i] / np.maximum(s["price_weight"][i], 1e-9)
        moved = np.maximum(np.minimum(np.where(known, price - usual, 0.0), 1.5), -1.5)
        out += [moved, np.where(moved < CHEAPER, -moved, 0.0)]
    out += [_share(plan[:, place]) for place in names.flags]
    return np.stack(out) if out else np.zeros((0, len(plan)))


def _share(flag: Floats) -> Floats:
    """A flag in 0..1, what is not known as 0."""
    return np.asarray(np.fmax(np.minimum(flag, 1.0), 0.0))


def multiple(columns: Floats, effect: Floats) -> Floats:
    """What a plan multiplies demand by, (n,)."""
    logged = np.zeros(columns.shape[1])
    for column, slope in zip(columns, effect, strict=True):
        logged = logged + column * slope
    return exp(np.clip(logged, -LARGEST_EFFECT, LARGEST_EFFECT))


def week_ratios(s: Columns, shared: Shared) -> Floats:
    """Each row's ratio of each place in the season, (season, n), drawn to everybody's."""
    season = len(s["week_units"])
    if season == 1:
        return np.ones_like(s["week_units"])
    little = 0.02 * float(np.mean(shared["week"][1])) + 1e-9
    everybody = (shared["week"][0] + little) / (shared["week"][1] + little)
    prior = 4.0 * s["units"][SLOW] / np.maximum(s["expected"][SLOW], 1e-9) + 3.0
    return np.asarray((s["week_units"] + prior * everybody[:, None]) / (s["week_expected"] + prior))


Steps = list[tuple[Floats, Floats]]  # a period ahead: plan columns (columns, n), and what they multiply demand by (n,)


def plan_steps(s: Columns, shared: Shared, names: PlanNames, plan: Floats) -> Steps:
    """The plan (n, A, C) of the periods ahead as the models see it; one planned like the one before costs nothing."""
    steps: Steps = []
    for step in range(plan.shape[1]):
        if step and np.array_equal(plan[:, step], plan[:, step - 1], equal_nan=True):
            steps.append(steps[-1])
            continue
        columns = plan_columns(s, plan[:, step], names)
        worth = multiple(columns, shared["effect"])
        if names.closure is not None:
            worth = worth * (1.0 - _share(plan[:, step, names.closure]))
        steps.append((columns, worth))
    return steps


def ahead(names: PlanNames, period: Ints, horizon: Ints, steps: Steps, ratios: Floats) -> Horizon:
    """The `horizon` (n,) periods after `period` (n,), planned as `steps`; beyond them nothing is planned."""
    season, n = len(ratios), len(period)
    every, rows = np.arange(season)[:, None], np.arange(n)
    first = np.mod(every - (period + 1), season)  # periods until the first such place in the season
    plain = np.zeros(n)
    for times, ratio in zip(horizon // season + (first < np.mod(horizon, season)), ratios, strict=True):
        plain = plain + times * ratio
    planned, shares = plain.copy(), np.zeros((names.columns, n))
    part = 1.0 / np.maximum(horizon, 1)
    for step, (columns, worth) in enumerate(steps[: int(horizon.max(initial=0))]):
        week = np.where(step < horizon, ratios[np.mod(period + 1 + step, season), rows], 0.0)
        planned = planned + week * (worth - 1.0)
        shares = shares + columns * (week * part)
    return Horizon(np.maximum(planned, 0.0), plain, shares)


def learn(
    s: Columns, shared: Shared, names: PlanNames, period: Ints, units: Floats, exposure: Floats, plan: Floats
) -> Columns:
    """Close one period; returns what it teaches about plans and weekdays; units of periods not seen do not count."""
    columns = plan_columns(s, plan, names)
    seen = (exposure > MIN_EXPOSURE) & ((s["bought"] > 0) | (units > 0))
    worth = multiple(columns, shared["effect"])
    week = week_ratios(s, shared)[np.mod(period, len(s["week_units"])), np.arange(len(period))]
    usual = s["units"][MID] / np.maximum(s["expected"][MID], 1e-9)
    expected = exposure * week * worth
    units = np.where(seen, _cut(s, units, usual, expected), 0.0)
    s["largest"] = np.where(seen, np.maximum(s["largest"] * 0.9995, units / np.maximum(exposure, 0.25)), s["largest"])
    teaches = seen & (s["seen"] > YOUNG_PERIODS) & (usual > 0)
    lesson = _lesson(s, columns, units, usual, exposure, week, worth, teaches)
    _learn_week(s, period, units / worth, usual * exposure, seen)
    _learn_levels(s, units, expected, week * worth, exposure, seen)
    for i, place in enumerate(names.prices):
        known = np.isfinite(plan[:, place])
        price = np.fmax(np.minimum(plan[:, place], 50.0), -50.0)
        s["price_sum"][i] = np.where(known, PRICE_KEPT * s["price_sum"][i] + price, s["price_sum"][i])
        s["price_weight"][i] = np.where(known, PRICE_KEPT * s["price_weight"][i] + 1.0, s["price_weight"][i])
    s["plan_past"] = PLAN_PAST_KEPT * s["plan_past"] + (1.0 - PLAN_PAST_KEPT) * columns
    return lesson


def learn_signals(s: Columns, signals: Floats) -> None:
    """Close a period of what people looked at and put into carts, (n, 5)."""
    for i in range(len(SIGNALS)):
        came = np.fmax(np.minimum(signals[:, i], MOST_UNITS), 0.0)
        s["signal_fast"][i] = SIGNAL_FAST_KEPT * s["signal_fast"][i] + (1.0 - SIGNAL_FAST_KEPT) * came
        s["signal_slow"][i] = SIGNAL_SLOW_KEPT * s["signal_slow"][i] + (1.0 - SIGNAL_SLOW_KEPT) * came


def _cut(s: Columns, units: Floats, usual: Floats, expected: Floats) -> Floats:
    """No more than a far outlier of a row we know: 80,995 units, cancelled 12 minutes later, teach nobody."""
    error = s["period_error"] / np.maximum(s["period_error_weight"], 1e-9)
    most = OUTLIER_TIMES * (usual * np.maximum(expected, 0.2) + error + 1.0)
    return np.where(s["seen"] > OUTLIER_AFTER, np.minimum(units, most), units)


def _lesson(
    s: Columns,
    columns: Floats,
    units: Floats,
    usual: Floats,
    exposure: Floats,
    week: Floats,
    worth: Floats,
    teaches: Bools,
) -> Columns:
    mean = usual * exposure * week * worth
    missed = np.where(teaches, units - mean, 0.0)
    for name, value in (("period_error", np.abs(missed)), ("period_error_weight", np.ones_like(missed))):
        s[name] = np.where(teaches, 0.98 * s[name] + value, s[name])
    s["answer_more"] = s["answer_more"] + np.minimum(missed, 5.0 * mean + 3.0 * usual) * columns
    s["answer_weight"] = s["answer_weight"] + np.where(teaches, mean, 0.0) * np.abs(columns)
    believed = usual * exposure
    return {
        "teaches": teaches.astype(np.float64),
        "plan": columns,
        "mean": mean,
        "missed": np.minimum(missed, 5.0 * mean + 3.0 * np.maximum(usual, 1.0)),
        "usual": usual,
        "plain_units": np.minimum(units / worth, 8.0 * believed + 3.0),
        "believed": believed,
    }


def _learn_week(s: Columns, period: Ints, units: Floats, believed: Floats, seen: Bools) -> None:
    rows = np.flatnonzero(seen)
    place = np.mod(period[rows], len(s["week_units"]))
    for name, value in (("week_units", units), ("week_expected", believed)):
        s[name][place, rows] = WEEK_KEPT * s[name][place, rows] + value[rows]


def _learn_levels(
    s: Columns, units: Floats, expected: Floats, unhindered: Floats, exposure: Floats, seen: Bools
) -> None:
    kept = (1.0 - 1.0 / np.array(MEMORIES_DAY if len(s["week_units"]) == 7 else MEMORIES_LONG))[:, None]
    s["units"] = np.where(seen, kept * s["units"] + units, s["units"])
    s["expected"] = np.where(seen, kept * s["expected"] + expected, s["expected"])
    clean, kept = seen & (exposure >= FULLY_SEEN), (1.0 - 1.0 / np.array(MEMORIES_CLEAN))[:, None]
    s["clean_units"] = np.where(clean, kept * s["clean_units"] + units, s["clean_units"])
    s["clean_expected"] = np.where(clean, kept * s["clean_expected"] + unhindered, s["clean_expected"])
    bought = seen & (units > 0)
    s["seen"] = s["seen"] + seen
    s["bought"] = s["bought"] + bought
    chance_step = np.maximum(TSB_CHANCE, 1.0 / np.maximum(s["seen"], 1.0))
    size_step = np.maximum(TSB_SIZE, 1.0 / np.maximum(s["bought"], 1.0))
    s["chance"] = np.where(seen, s["chance"] + chance_step * (bought - s["chance"]), s["chance"])
    size = units / np.maximum(expected, 0.1)
    s["size"] = np.where(bought, s["size"] + size_step * (size - s["size"]), s["size"])
    s["since"] = np.where(bought, 0.0, s["since"] + seen)
