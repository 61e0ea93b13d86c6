"""Levels of many rows as ratios of sums: units over the demand an average day would have brought.

Idea. A period's *expected exposure* is the share of it that could be seen, times the row's ratio of its weekday, times
the effect of its plan (price, promotion, holiday). Level = faded sum of units / faded sum of expected exposure, for
several memories at once. Closed days, stock-outs, gaps, Sundays and promotions need no case of their own, and a level
is what a plain average day brings; a forecast multiplies back what is known of the days ahead.

Plan effects are shared by all rows: a quasi-Poisson log-linear regression, Newton's step a period, faded. Each row's
own answer to each plan column is a further ratio, drawn to none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.demand.contract import Floats
from models.demand.panel import FULLY_SEEN

MEMORIES_DAY = (3.0, 7.0, 14.0, 28.0, 90.0, 365.0)
MEMORIES_LONG = (2.0, 4.0, 8.0, 13.0, 26.0, 52.0)  # of weeks or months
MEMORIES_CLEAN = (5.0, 14.0, 45.0)  # of fully seen periods only
FAST, MID, USUAL, SLOW, LONG = 1, 2, 3, 4, 5  # places in the memories

MIN_EXPOSURE = 0.05
YOUNG_PERIODS = 4  # a younger row teaches no plan effect
OUTLIER_AFTER = 28
OUTLIER_TIMES = 12.0
PLAN_KEPT = 1.0 - 1.0 / 250.0
PLAN_RIDGE = 50.0
LARGEST_EFFECT = 3.0  # of a logarithm: a plan multiplies demand by 1/20 to 20
PRICE_KEPT = 0.99
CHEAPER = -0.05  # of a logarithm: from here on a price counts as a deal
WEEK_KEPT, SHARED_WEEK_KEPT = 0.96, 0.97
TSB_CHANCE, TSB_SIZE = 0.05, 0.10


@dataclass(frozen=True)
class Ahead:
    """What the next periods are worth in average days: with plan, without, and each plan column's share (n, k)."""

    planned: Floats
    plain: Floats
    columns: Floats


class Levels:
    """State of n rows; `learn` closes a period, `ahead` looks over the periods after it."""

    def __init__(self, rows: int, season: int, prices: int, flags: int) -> None:
        self.rows, self.season, self.prices = rows, season, prices
        self.columns = 2 * prices + flags
        self.kept = 1.0 - 1.0 / np.array(MEMORIES_DAY if season > 1 else MEMORIES_LONG)
        self.units, self.expected = np.zeros((len(self.kept), rows)), np.ones((len(self.kept), rows))
        self.clean_kept = 1.0 - 1.0 / np.array(MEMORIES_CLEAN)
        self.clean_units, self.clean_expected = np.zeros((3, rows)), np.full((3, rows), 0.5)
        self.week_units, self.week_expected = np.zeros((season, rows)), np.zeros((season, rows))
        self.shared_week = np.zeros((2, season))
        self.effect, self._curvature = np.zeros(self.columns), np.eye(self.columns) * PLAN_RIDGE
        self.answer_more, self.answer_weight = np.zeros((rows, self.columns)), np.zeros((rows, self.columns))
        self.price_sum, self.price_weight = np.zeros((prices, rows)), np.zeros((prices, rows))
        self.chance, self.size = np.zeros(rows), np.zeros(rows)
        self.seen_periods, self.bought_periods, self.since = np.zeros(rows), np.zeros(rows), np.zeros(rows)
        self.day_error, self.day_error_weight = np.zeros(rows), np.zeros(rows)

    @property
    def rates(self) -> Floats:
        """Units an average period, (memories, n)."""
        return np.asarray(self.units / np.maximum(self.expected, 1e-9))

    @property
    def clean_rates(self) -> Floats:
        """Units an average period, from fully seen periods only, (3, n)."""
        return np.asarray(self.clean_units / np.maximum(self.clean_expected, 1e-9))

    @property
    def answers(self) -> Floats:
        """Each row's own answer to each plan column beyond the shared effect, (n, columns), drawn to none."""
        prior = 15.0 * (self.units[MID] / self.expected[MID])[:, None]
        return np.asarray(self.answer_more / (self.answer_weight + prior + 1e-9))

    def plan_columns(self, prices: list[Floats], flags: list[Floats]) -> Floats:
        """Plan of one period, (n, columns): each price as log over the row's usual, and again where it is a deal."""
        columns = []
        for price, total, weight in zip(prices, self.price_sum, self.price_weight, strict=True):
            usual = np.where(weight > 0, total / np.maximum(weight, 1e-9), np.nan)
            known = np.isfinite(price) & (price > 0)
            logged = np.log(np.where(known, price, 1.0))
            moved = np.clip(np.nan_to_num(np.where(known, logged, np.nan) - usual), -1.5, 1.5)
            columns += [moved, np.abs(moved) * (moved < CHEAPER)]
        columns += [np.nan_to_num(flag) for flag in flags]
        return np.stack(columns, axis=1) if columns else np.zeros((self.rows, 0))

    def learn(self, period: int, units: Floats, exposure: Floats, prices: list[Floats], flags: list[Floats]) -> Floats:
        """Close one period; returns its plan columns (n, columns). Units of periods not seen are not looked at."""
        plan = self.plan_columns(prices, flags)
        # A row begins with its first demand: zeros before a launch say nothing about it.
        seen = (exposure > MIN_EXPOSURE) & ((self.bought_periods > 0) | (units > 0))
        multiple = self._multiple(plan)
        week = self._week(period)
        usual = self.units[MID] / self.expected[MID]
        believed = usual * exposure
        expected = exposure * week * multiple
        units = np.where(seen, self._cut(units, usual, expected), 0.0)
        teaches = seen & (self.seen_periods > YOUNG_PERIODS) & (usual > 0)
        self._learn_plan(plan, units, believed * week * multiple, usual, teaches)
        self._learn_week(period, units / multiple, believed, usual, seen, teaches)
        self._learn_levels(units, expected, week * multiple, exposure, seen)
        self._learn_prices(prices)
        return plan

    def ahead(self, period: int, plans: list[Floats]) -> Ahead:
        """The periods after `period`, whose plan columns are `plans` (a list of (n, columns))."""
        planned, plain = np.zeros(self.rows), np.zeros(self.rows)
        columns = np.zeros((self.rows, self.columns))
        for step, plan in enumerate(plans, start=1):
            week = self._week(period + step)
            planned += week * self._multiple(plan)
            plain += week
            columns += plan * week[:, None] / len(plans)
        return Ahead(planned, plain, columns)

    def _multiple(self, plan: Floats) -> Floats:
        return np.asarray(np.exp(np.clip(plan @ self.effect, -LARGEST_EFFECT, LARGEST_EFFECT)))

    def _week(self, period: int) -> Floats:
        """Each row's ratio of this weekday, drawn to everybody's by four average days and three units."""
        if self.season == 1:
            return np.ones(self.rows)
        j = period % self.season
        little = 0.02 * self.shared_week[1].mean() + 1e-9
        shared = (self.shared_week[0, j] + little) / (self.shared_week[1, j] + little)
        prior = 4.0 * self.units[SLOW] / np.maximum(self.expected[SLOW], 1e-9) + 3.0
        return np.asarray((self.week_units[j] + prior * shared) / (self.week_expected[j] + prior))

    def _cut(self, units: Floats, usual: Floats, expected: Floats) -> Floats:
        """No more than a far outlier of a row we know: 80,995 units, cancelled 12 minutes later, teach nobody."""
        error = self.day_error / np.maximum(self.day_error_weight, 1e-9)
        most = OUTLIER_TIMES * (usual * np.maximum(expected, 0.2) + error + 1.0)
        return np.where(self.seen_periods > OUTLIER_AFTER, np.minimum(units, most), units)

    def _learn_plan(self, plan: Floats, units: Floats, mean: Floats, usual: Floats, teaches: np.ndarray) -> None:
        missed = np.where(teaches, units - mean, 0.0)
        self.day_error = np.where(teaches, 0.98 * self.day_error + np.abs(missed), self.day_error)
        self.day_error_weight = np.where(teaches, 0.98 * self.day_error_weight + 1.0, self.day_error_weight)
        if self.columns == 0:
            return
        self.answer_more += np.minimum(missed, 5.0 * mean + 3.0 * usual)[:, None] * plan
        self.answer_weight += np.where(teaches, mean, 0.0)[:, None] * np.abs(plan)
        # A row counts as the root of its level: large ones know more, but not in proportion.
        weight = np.where(teaches, 1.0 / np.sqrt(np.maximum(usual, 1e-9)), 0.0)
        gradient = plan.T @ (np.minimum(missed, 5.0 * mean + 3.0 * np.maximum(usual, 1.0)) * weight)
        ridge = PLAN_RIDGE * (1.0 - PLAN_KEPT) * np.eye(self.columns)
        self._curvature = self._curvature * PLAN_KEPT + (plan * (mean * weight)[:, None]).T @ plan + ridge
        self.effect = np.clip(self.effect + np.linalg.solve(self._curvature, gradient), -5.0, 5.0)

    def _learn_week(
        self, period: int, units: Floats, believed: Floats, usual: Floats, seen: np.ndarray, teaches: np.ndarray
    ) -> None:
        j = period % self.season
        self.week_units[j] = np.where(seen, WEEK_KEPT * self.week_units[j] + units, self.week_units[j])
        self.week_expected[j] = np.where(seen, WEEK_KEPT * self.week_expected[j] + believed, self.week_expected[j])
        weight = np.where(teaches, 1.0 / np.sqrt(np.maximum(usual, 1e-9)), 0.0)
        for k, value in enumerate((np.minimum(units, 8.0 * believed + 3.0), believed)):
            self.shared_week[k, j] = SHARED_WEEK_KEPT * self.shared_week[k, j] + float((weight * value).sum())

    def _learn_levels(
        self, units: Floats, expected: Floats, unhindered: Floats, exposure: Floats, seen: np.ndarray
    ) -> None:
        kept = self.kept[:, None]
        self.units = np.where(seen, kept * self.units + units, self.units)
        self.expected = np.where(seen, kept * self.expected + expected, self.expected)
        clean, kept = exposure >= FULLY_SEEN, self.clean_kept[:, None]
        self.clean_units = np.where(clean, kept * self.clean_units + units, self.clean_units)
        self.clean_expected = np.where(clean, kept * self.clean_expected + unhindered, self.clean_expected)
        bought = seen & (units > 0)
        self.seen_periods = self.seen_periods + seen
        self.bought_periods = self.bought_periods + bought
        chance_step = np.maximum(TSB_CHANCE, 1.0 / np.maximum(self.seen_periods, 1.0))
        size_step = np.maximum(TSB_SIZE, 1.0 / np.maximum(self.bought_periods, 1.0))
        self.chance = np.where(seen, self.chance + chance_step * (bought - self.chance), self.chance)
        size = units / np.maximum(expected, 0.1)
        self.size = np.where(bought, self.size + size_step * (size - self.size), self.size)
        self.since = np.where(bought, 0.0, self.since + seen)

    def _learn_prices(self, prices: list[Floats]) -> None:
        for i, price in enumerate(prices):
            known = np.isfinite(price) & (price > 0)
            logged = np.log(np.where(known, price, 1.0))
            self.price_sum[i] = np.where(known, PRICE_KEPT * self.price_sum[i] + logged, self.price_sum[i])
            self.price_weight[i] = np.where(known, PRICE_KEPT * self.price_weight[i] + 1.0, self.price_weight[i])
