"""From forecasts to thresholds: reorder point, order-up-to level, safety stock and alert limits, for many rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from agents.planner import alerts, learning
from agents.planner.config import NEVER
from agents.planner.records import gathered
from agents.planner.row import Row
from agents.planner.shelf import Rows, Shelf
from agents.planner.versions import FIRST
from models.demand.contract import Outlook
from models.stock import lead_time, portfolio, reorder

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995])
LONGEST_DAYS = 730  # a protection time beyond two years is a typing error

Floats = npt.NDArray[np.float64]


def whole_days(days: Floats) -> Rows:
    """Days as the forecaster counts them: rounded up, between 1 and LONGEST_DAYS."""
    return np.asarray(np.clip(np.ceil(days), 1, LONGEST_DAYS), np.int64)


def horizons(shelf: Shelf, rows: Rows) -> Rows:
    """The sums each row learns, days (n, H): over lead time plus review first, then the fixed ones."""
    fixed = _fixed(shelf.config.forecast_days, len(rows))
    return np.concatenate([horizon_days(shelf, rows)[:, None], fixed], axis=1)


def horizon_days(shelf: Shelf, rows: Rows) -> Rows:
    """Lead time plus review of each row, whole days."""
    return whole_days(shelf.policy["lead_days"][rows] + shelf.policy["review_days"][rows])


@dataclass(frozen=True)
class Wanted:
    """What rows are expected to need, in units, of shape (n,); `made`, over `days` (n, J), is what it is read off."""

    rate_day: Floats
    mean: Floats  # over lead time plus review
    point: Floats  # the quantile that was promised
    imminent: Floats  # until the next confirmed receipt, at the chance that is allowed
    cycles: Rows
    made: Outlook
    days: Rows
    levels: Floats


def replan(shelf: Shelf, rows: Rows, now_ms: Rows, also_days: tuple[int, ...] = ()) -> Wanted:
    """Set the thresholds of rows from their forecasts, policies and confirmed receipts; `now_ms` (n,) is their present.

    The reorder point is the promised quantile of demand over lead time plus review. Order-up-to lies an EOQ above it
    where order cost, unit cost and holding rate are known, else a set cover.
    """
    hot, p = shelf.hot, gathered(shelf.policy, rows)
    days = p["lead_days"].copy()
    for i, row in enumerate(() if shelf.config.silent else rows.tolist()):
        if row in shelf.orders:
            days[i] = alerts.imminent_days(shelf.orders[row], days[i], int(now_ms[i]))
    wait = whole_days(days)
    wanted = (_wanted_1 if shelf.version == FIRST else _wanted)(shelf, rows, wait, also_days)
    rate = wanted.rate_day
    step = np.minimum(np.maximum(p["pack_milli"], 1), 1000)
    hot["demand_rate"][rows] = rate
    hot["cycles"][rows] = wanted.cycles
    hot["reorder_point"][rows] = point_milli = reorder.to_milli_up(wanted.point, step)
    hot["expected"][rows] = expected = np.minimum(reorder.to_milli_up(wanted.mean, step), point_milli)
    hot["safety_stock"][rows] = point_milli - expected
    up_to = point_milli + reorder.to_milli_up(cycle_units(shelf, rate, p), step)
    hot["order_up_to"][rows] = up_to
    most = np.where(rate > 0, up_to + np.asarray(rate * shelf.config.overstock_days * 1000, np.int64), NEVER)
    hot["over_point"][rows] = np.where(p["max_stock_milli"] > 0, p["max_stock_milli"], most)
    hot["imminent_point"][rows] = reorder.to_milli_up(wanted.imminent, step)
    return wanted


def _wanted_1(shelf: Shelf, rows: Rows, wait_days: Rows, also_days: tuple[int, ...]) -> Wanted:
    """Version 1: a lead time that varies adds z * rate * sd(lead) in quadrature to the safety stock."""
    p = gathered(shelf.policy, rows)
    days = np.concatenate([horizon_days(shelf, rows)[:, None], _fixed(also_days, len(rows))], axis=1)
    made = outlook(shelf, rows, days, LEVELS)
    mean = made.mean_sum_units[:, 0]
    quantile = made.quantile_sum_units[:, 0]
    cycle = order_units(shelf, made.mean_period_units, p)
    level = promised_level(LEVELS, quantile, cycle, p, straight=True)
    point = np.maximum(reorder.reorder_point_units(LEVELS, quantile, level), 0.0)
    spread = ndtri(np.clip(level, 0.5, 0.9999)) * made.mean_period_units * p["lead_days_sd"]
    safety = np.sqrt(reorder.safety_stock_units(point, mean) ** 2 + spread**2)
    point = np.where(spread > 0, np.maximum(point, mean + safety), point)
    imminent = _imminent(shelf, rows, wait_days)
    return Wanted(made.mean_period_units, mean, point, imminent, made.cycles, made, days, LEVELS)


def _wanted(shelf: Shelf, rows: Rows, wait_days: Rows, also_days: tuple[int, ...]) -> Wanted:
    """One outlook over all that is asked; a lead time that varies makes a mixture of the sums over several lengths."""
    p = gathered(shelf.policy, rows)
    days = [horizon_days(shelf, rows)[:, None], wait_days[:, None], _fixed(also_days, len(rows))]
    asked = np.concatenate(days, axis=1)
    levels = np.unique(np.append(LEVELS, 1.0 - shelf.config.stockout_limit))
    made = outlook(shelf, rows, asked, levels)
    quantile = made.quantile_sum_units[:, 0]
    level = promised_level(levels, quantile, order_units(shelf, made.mean_period_units, p), p)
    point = reorder.reorder_point_units(levels, quantile, level)
    vague = np.flatnonzero((p["lead_days_sd"] > 0) & (made.mean_period_units > 0))
    if len(vague):
        point[vague] = _over_lead_times(shelf, rows[vague], p[vague], quantile[vague], levels, level[vague])
    imminent = made.quantile_sum_units[:, 1, int(np.searchsorted(levels, 1.0 - shelf.config.stockout_limit))]
    mean = made.mean_sum_units[:, 0]
    return Wanted(made.mean_period_units, mean, np.maximum(point, 0.0), imminent, made.cycles, made, asked, levels)


def _over_lead_times(
    shelf: Shelf, rows: Rows, p: npt.NDArray[np.void], usual: Floats, levels: Floats, asked: Floats
) -> Floats:
    """The quantile of demand over a lead time that varies, plus review; `usual` (n, K) are those over its mean."""
    waits = lead_time.waits_days(p["lead_days"], p["lead_days_sd"])[:, 1:]
    other = outlook(shelf, rows, whole_days(waits + p["review_days"][:, None]), levels).quantile_sum_units
    return lead_time.mixture_quantile_units(levels, np.concatenate([usual[:, None], other], axis=1), asked)


def _fixed(days: tuple[int, ...], n: int) -> Rows:
    return np.broadcast_to(np.array(days, np.int64), (n, len(days)))


def _imminent(shelf: Shelf, rows: Rows, wait_days: Rows, open_day: Rows | None = None) -> Floats:
    level = np.array([1.0 - shelf.config.stockout_limit])
    return outlook(shelf, rows, wait_days[:, None], level, open_day).quantile_sum_units[:, 0, 0]


def outlook(shelf: Shelf, rows: Rows, horizons: Rows, levels: Floats, open_day: Rows | None = None) -> Outlook:
    """What is expected of rows over each of `horizons` (n, J) after their last closed day, at `levels` (K,)."""
    state, day = gathered(shelf.model, rows), (shelf.hot["day"][rows] if open_day is None else open_day) - 1
    return shelf.family.outlook(state, shelf.commons.shared, day, horizons, learning.ahead(shelf, rows, day), levels)


def replan_imminent(shelf: Shelf, row: Row, now_ms: int) -> None:
    """A promise of supply changed: until when must the stock last now?"""
    wait = whole_days(np.array([alerts.imminent_days(row.orders, row.policy.lead_days, now_ms)]))
    step = np.array([min(max(row.policy.pack_milli, 1), 1000)])
    units = _imminent(shelf, np.array([row.number]), wait, np.array([row.day]))
    row.imminent_point = int(reorder.to_milli_up(units, step)[0])


def cycle_units(shelf: Shelf, rate: Floats, p: npt.NDArray[np.void]) -> Floats:
    """How much an order brings beyond the reorder point: what the policy says, the EOQ (Harris 1913), a set cover."""
    holding = p["unit_cost"] * p["holding_cost_rate_year"]
    known = (p["order_cost"] > 0) & (holding > 0)
    eoq = np.sqrt(2.0 * rate * 365.0 * p["order_cost"] / np.where(known, holding, 1.0))
    cycle = np.where(known, eoq, rate * np.maximum(p["review_days"], shelf.config.cover_days))
    return np.asarray(np.where(p["cover_days"] >= 0, rate * p["cover_days"], cycle))


def order_units(shelf: Shelf, rate: Floats, p: npt.NDArray[np.void]) -> Floats:
    """Demand (n,) between two orders."""
    return np.asarray(np.maximum(cycle_units(shelf, rate, p), rate * p["review_days"]))


def promised_level(
    levels: Floats, quantile: Floats, cycle: Floats, p: npt.NDArray[np.void], *, straight: bool = False
) -> Floats:
    """Cycle service level (n,) that keeps each row's promise; `cycle` (n,) is demand between two orders, units."""
    level = p["service_level"].copy()
    fill = np.flatnonzero((p["fill"] > 0) & (cycle > 0))
    if len(fill):
        level[fill] = portfolio.level_for_fill_rate(levels, quantile[fill], cycle[fill], level[fill], straight=straight)
    return np.asarray(level)
