"""From forecasts to thresholds: reorder point, order-up-to level, safety stock and alert limits, for many rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from agents.planner import alerts
from agents.planner.config import NEVER
from agents.planner.machine import Row, take
from agents.planner.shelf import Rows, Shelf
from models.demand import baseline
from models.demand.contract import Outlook, no_ahead
from models.stock import portfolio, reorder

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995])
LONGEST_DAYS = 730  # a protection time beyond two years is a typing error

Floats = npt.NDArray[np.float64]


def whole_days(days: Floats) -> Rows:
    """Days as the forecaster counts them: rounded up, between 1 and LONGEST_DAYS."""
    return np.asarray(np.clip(np.ceil(days), 1, LONGEST_DAYS), np.int64)


def horizon_days(shelf: Shelf, rows: Rows) -> Rows:
    """Lead time plus review of each row, whole days."""
    p = shelf.policy[rows]
    return whole_days(p["lead_days"] + p["review_days"])


def replan(shelf: Shelf, rows: Rows, now_ms: Rows) -> None:
    """Set the thresholds of rows from their forecasts, policies and confirmed receipts; `now_ms` (n,) is their present.

    The reorder point is the service-level quantile of demand over lead time plus review. A lead time that varies adds
    z * rate * sd(lead) in quadrature to the safety stock (Silver, Pyke & Thomas, Inventory and Production Management,
    6.10). Order-up-to lies an EOQ above it where order cost, unit cost and holding rate are known, else a set cover.
    """
    hot, p = shelf.hot, shelf.policy[rows]
    state, day = np.ascontiguousarray(shelf.model[rows]), hot["day"][rows] - 1
    made = _outlook(shelf, state, day, horizon_days(shelf, rows)[:, None], LEVELS)
    rate, mean, quantile = made.mean_period_units, made.mean_sum_units[:, 0], made.quantile_sum_units[:, 0]
    cycle = cycle_units(shelf, rate, p)
    level = promised_level(quantile, np.maximum(cycle, rate * p["review_days"]), p)
    point = np.maximum(reorder.reorder_point_units(LEVELS, quantile, level), 0.0)
    spread = ndtri(np.clip(level, 0.5, 0.9999)) * rate * p["lead_days_sd"]
    safety = np.sqrt(reorder.safety_stock_units(point, mean) ** 2 + spread**2)
    point = np.where(spread > 0, np.maximum(point, mean + safety), point)
    step = np.minimum(np.maximum(p["pack_milli"], 1), 1000)
    hot["demand_rate"][rows] = rate
    hot["cycles"][rows] = made.cycles
    hot["reorder_point"][rows] = point_milli = reorder.to_milli_up(point, step)
    hot["expected"][rows] = expected = np.minimum(reorder.to_milli_up(mean, step), point_milli)
    hot["safety_stock"][rows] = point_milli - expected
    up_to = point_milli + reorder.to_milli_up(cycle, step)
    hot["order_up_to"][rows] = up_to
    most = np.where(rate > 0, up_to + np.asarray(rate * shelf.config.overstock_days * 1000, np.int64), NEVER)
    hot["over_point"][rows] = np.where(p["max_stock_milli"] > 0, p["max_stock_milli"], most)
    wait = whole_days(p["lead_days"])
    for i, row in enumerate(rows.tolist()):
        if row in shelf.orders:
            wait[i] = whole_days(np.array(alerts.imminent_days(take(shelf, [row])[row], int(now_ms[i]))))
    hot["imminent_point"][rows] = _imminent(shelf, state, day, wait, step)


def _imminent(shelf: Shelf, state: Floats, day: Rows, wait_days: Rows, step: Rows) -> Rows:
    level = np.array([1.0 - shelf.config.stockout_limit])
    return reorder.to_milli_up(_outlook(shelf, state, day, wait_days[:, None], level).quantile_sum_units[:, 0, 0], step)


def outlook(shelf: Shelf, rows: Rows, horizons: Rows, levels: Floats) -> Outlook:
    """What is expected of rows over each of `horizons` (n, J) after their last closed day, at `levels` (K,)."""
    state, day = np.ascontiguousarray(shelf.model[rows]), shelf.hot["day"][rows] - 1
    return _outlook(shelf, state, day, horizons, levels)


def _outlook(shelf: Shelf, state: Floats, day: Rows, horizons: Rows, levels: Floats) -> Outlook:
    return baseline.FAMILY.outlook(state, {"pool": shelf.pool}, day, horizons, no_ahead(len(day)), levels)


def replan_imminent(shelf: Shelf, row: Row, now_ms: int) -> None:
    """A promise of supply changed: until when must the stock last now?"""
    state = np.ascontiguousarray(shelf.model[row.number : row.number + 1])
    wait = whole_days(np.array([alerts.imminent_days(row, now_ms)]))
    step = np.array([min(max(row.policy.pack_milli, 1), 1000)])
    row.imminent_point = int(_imminent(shelf, state, np.array([row.day - 1]), wait, step)[0])


def cycle_units(shelf: Shelf, rate: Floats, p: npt.NDArray[np.void]) -> Floats:
    """How much an order brings beyond the reorder point: what the policy says, the EOQ (Harris 1913), a set cover."""
    holding = p["unit_cost"] * p["holding_cost_rate_year"]
    known = (p["order_cost"] > 0) & (holding > 0)
    eoq = np.sqrt(2.0 * rate * 365.0 * p["order_cost"] / np.where(known, holding, 1.0))
    cycle = np.where(known, eoq, rate * np.maximum(p["review_days"], shelf.config.cover_days))
    return np.asarray(np.where(p["cover_days"] >= 0, rate * p["cover_days"], cycle))


def promised_level(quantile: Floats, cycle: Floats, p: npt.NDArray[np.void]) -> Floats:
    """Cycle service level (n,) that keeps each row's promise; `cycle` (n,) is demand between two orders, units."""
    level = p["service_level"].copy()
    fill = np.flatnonzero((p["fill"] > 0) & (cycle > 0))
    if len(fill):
        level[fill] = portfolio.level_for_fill_rate(LEVELS, quantile[fill], cycle[fill], level[fill])
    return np.asarray(level)
