"""What a shelf shows its family of forecasters: a closed day, and what is planned for the days ahead."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agents.planner import calendar, signals
from agents.planner.shelf import Rows, Shelf
from models.demand.contract import CLOSURE, PRICE, Ahead, Observation, no_ahead

Floats = npt.NDArray[np.float64]

PLANS_FROM = 2  # the version from which the plan and who is alike are looked at

_FLAGS = {"discount": calendar.DISCOUNT, "promotion": calendar.PROMOTION, "holiday": calendar.HOLIDAY}


def seen(shelf: Shelf, rows: Rows, units: Floats, exposure: Floats, horizons: Rows) -> Observation:
    """The open day of rows as it closes: `units` (n,) wanted, `exposure` (n,), `horizons` (n, H) from here on."""
    day, family = shelf.hot["day"][rows], shelf.family
    horizons = horizons[:, : family.heads]
    carts = signals.of_day(shelf, rows, day)
    if shelf.version < PLANS_FROM:
        nobody = np.zeros((len(rows), 2), np.int64)
        return Observation(day, units, exposure, horizons, carts[:, :0], no_ahead(len(rows)), carts, nobody)
    today = planned(shelf, rows, day - 1, 1)
    shut = (today[:, 0, calendar.OPEN] == 0) & (units == 0)
    groups = [shelf.places.hashes(shelf.place[rows]), shelf.facts.categories.hashes(shelf.category[rows])]
    return Observation(
        day,
        units,
        np.where(shut, 0.0, exposure),
        horizons,
        _columns(shelf, rows, today, family.plan, last_price=True)[:, 0],
        ahead(shelf, rows, day),
        carts,
        np.stack(groups, axis=1),
    )


def ahead(shelf: Shelf, rows: Rows, day: Rows) -> Ahead:
    """What is planned for the days after `day` (n,): the columns the shelf's family knows, a fixed number of days.

    How many days are given depends on the shelf alone, never on the rows asked for, so that slices cannot show.
    """
    names = shelf.family.plan
    if shelf.version < PLANS_FROM or not names or (shelf.plan.empty and shelf.launches == 0):
        return no_ahead(len(rows))
    return Ahead(_columns(shelf, rows, planned(shelf, rows, day, shelf.config.plan_days), names))


def planned(shelf: Shelf, rows: Rows, day: Rows, days: int) -> Floats:
    """The plan of the days after `day` (n,), as `calendar.Plan` has it; nothing is sold before its launch."""
    plan = shelf.plan.ahead(shelf, rows, day, days)
    launch = shelf.policy["launch_day"][rows]
    new = np.flatnonzero(launch > day + 1)
    if len(new) == 0:
        return plan
    plan = np.array(plan)
    before = day[new, None] + 1 + np.arange(days) < launch[new, None]
    plan[new, :, calendar.OPEN] = np.where(before, 0.0, plan[new, :, calendar.OPEN])
    return plan


def _columns(shelf: Shelf, rows: Rows, planned: Floats, names: tuple[str, ...], *, last_price: bool = False) -> Floats:
    """Planned days (n, A, calendar columns) as a family's columns (n, A, C); raises KeyError for a name unknown here.

    A day's price is the planned one, else the usual less the discount; without either it is not known ahead, and for a
    day that is over it is the last one paid.
    """
    out = np.zeros((*planned.shape[:2], len(names)))
    for i, name in enumerate(names):
        if name == CLOSURE:
            out[:, :, i] = 1.0 - planned[:, :, calendar.OPEN]
        elif name == PRICE:
            out[:, :, i] = _log_price(shelf, rows, planned, last_price)
        else:
            out[:, :, i] = planned[:, :, _FLAGS[name]]
    return out


def _log_price(shelf: Shelf, rows: Rows, planned: Floats, last_price: bool) -> Floats:
    stated, paid = shelf.policy["unit_price"][rows], shelf.hot["price"][rows]
    usual = np.where(stated > 0, stated, paid)[:, None]
    off = planned[:, :, calendar.DISCOUNT]
    price = np.where(off > 0, usual * (1.0 - off), paid[:, None] if last_price else np.nan)
    price = np.where(np.isnan(planned[:, :, calendar.PRICE]), price, planned[:, :, calendar.PRICE])
    return np.log(np.where(price > 0, price, np.nan))
