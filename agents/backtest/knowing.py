"""What a forecaster is told besides demand: the family's setting for a period, and the plan columns of the file.

The plan goes in by the door the calendar uses (`agents.planner.calendar.ArrayPlan`), so known-ahead columns reach the
fold as facts of a calendar would: a price, a promotion, a holiday a day.
"""

from __future__ import annotations

import numpy as np

from agents.backtest.history import FULL_PRICE_SHARE, SEASON, YEAR, Floats, History
from agents.backtest.plan import Plan
from agents.planner import calendar
from models.demand.backtest import SLOTS
from models.demand.online import Online

HOLIDAYS = ("holiday", "event", "school")  # a name that holds one of these is a holiday, any other a promotion


def family_of(history: History, plan: Plan) -> Online:
    """The production family, its season and year counted in the file's periods, learning the horizons asked for."""
    columns = columns_of(history) if history.known else np.zeros((0, 0, len(calendar.COLUMNS)))
    used = [name for i, name in enumerate(("price", "discount", "promotion", "holiday")) if _told(columns, i)]
    asked = 1 + len(plan.horizons)
    slots = SLOTS.get(asked, (1,) * asked)
    return Online(plan=tuple(used), season=SEASON[history.period], year=YEAR[history.period], slots=slots)


def _told(columns: Floats, at: int) -> bool:
    values = columns[:, :, at]
    return bool((np.isfinite(values) & (values != 0)).any())


def columns_of(history: History) -> Floats:
    """Known-ahead columns (n, T, 5) as a calendar has them; several of one kind are taken together, the most counts."""
    columns = np.tile(calendar.NOTHING, (history.rows, history.periods, 1))
    for name, values in history.known.items():
        said = np.nan_to_num(values)
        if name == "price" or (name == "discount" and _is_price(values) and "price" not in history.known):
            columns[:, :, calendar.PRICE] = np.where(values > 0, values, np.nan)
        elif name == "discount":
            off = 1.0 - values if _is_price(values) else values
            columns[:, :, calendar.DISCOUNT] = np.clip(np.nan_to_num(off), 0.0, 0.99)
        else:
            kind = calendar.HOLIDAY if any(word in name for word in HOLIDAYS) else calendar.PROMOTION
            columns[:, :, kind] = np.maximum(columns[:, :, kind], np.clip(said, 0.0, 1.0))
    return columns


def _is_price(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known) and np.median(known) > FULL_PRICE_SHARE)
