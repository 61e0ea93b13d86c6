"""A plan in words and in the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.network.circulation import Floats, Ints
from models.network.cuts import BUDGET_SPENT, LANE_FULL, STOCK_SPENT
from models.network.plan import Blame
from models.network.transfer import BUDGET, Picture, doors_of, reach_units, spare_units

MEASURES = ("unit", "unit of weight", "unit of volume")


class Reasons(NamedTuple):
    """Per transfer: expected shortage there and left-over here before, both in units over the horizon, and money."""

    short_units: Floats
    left_units: Floats
    saved: Floats  # expected margin and holding saved where it arrives
    lost: Floats  # the same, given up where it leaves
    lane_cost: Floats


def reasons(p: Picture, sku: Ints, lane: Ints, units: Floats) -> Reasons:
    """The numbers behind transfers (n,) of one period; those into or out of one place share gain and loss evenly.

    A transfer that serves a minimum may save less than it costs.
    """
    doors = doors_of(p.lanes)
    spare, reach = spare_units(p), reach_units(p, doors)
    origin, there, door = p.lanes.origin[lane], p.lanes.destination[lane], doors.of_lane[lane]
    chance = p.strata.probability[:, sku]
    out, come = _together(p, sku, origin, units), _together(p, sku, there, units)
    sold_more = (chance * np.minimum(come[None], reach[:, sku, door])).sum(axis=0)
    sold_less = (chance * np.maximum(out[None] - spare[:, sku, origin], 0.0)).sum(axis=0)
    stock = p.on_hand + p.in_transit
    short = (chance * np.maximum(p.strata.units[:, sku, there] - stock[sku, there][None], 0.0)).sum(axis=0)
    return Reasons(
        short,
        (chance * spare[:, sku, origin]).sum(axis=0),
        (p.worth[sku, there] * sold_more - p.holding[sku, there] * come) * units / np.maximum(come, 1e-9),
        (p.worth[sku, origin] * sold_less - p.holding[sku, origin] * out) * units / np.maximum(out, 1e-9),
        p.lanes.unit_cost[lane] * units,
    )


def _together(p: Picture, sku: Ints, place: Ints, units: Floats) -> Floats:
    """All units of the same SKU and place, for each row."""
    key = sku * p.on_hand.shape[1] + place
    total = np.bincount(key, units, p.on_hand.size)
    return np.asarray(total[key], dtype=float)


def reason_words(short: float, left: float, origin: str, destination: str, days: float) -> str:
    """Why a transfer is proposed.

    >>> reason_words(12.44, 30, "W1", "S3", 14)
    'S3 is expected to run 12.4 short within 14 days; W1 would have 30.0 left over'
    """
    return (
        f"{destination} is expected to run {short:,.1f} short within {days:g} days; "
        f"{origin} would have {left:,.1f} left over"
    )


def price_words(kind: int, lane: str, price: float, days: float) -> str:
    """What one more of a limit would be worth.

    >>> from models.network.transfer import BUDGET, UNITS
    >>> price_words(UNITS, "W1-W3", 82.0, 14)
    'one more unit on W1-W3 would be worth 41.00 a week'
    >>> price_words(BUDGET, "", 0.5, 7)
    'one more of money for lanes would be worth 0.50'
    """
    if kind == BUDGET:
        return f"one more of money for lanes would be worth {price:,.2f}"
    return f"one more {MEASURES[kind]} on {lane} would be worth {price * 7 / max(days, 1e-9):,.2f} a week"


def blame_words(blame: Blame, skus: Sequence[str], places: Sequence[str], lanes: Sequence[str]) -> str:
    """One constraint of a conflict.

    >>> blame_words(Blame("stock", 0, 1, 100.0), ["A"], ["W", "S"], [])
    'A: S has 100 to give'
    """
    units = f"{blame.units:,.10g}"
    if blame.kind == "need":
        return f"{skus[blame.sku]}: {places[blame.place]} lacks {units} of its minimum"
    if blame.kind == "stock":
        return f"{skus[blame.sku]}: {places[blame.place]} has {units} to give"
    if blame.kind == "fixed":
        return f"{skus[blame.sku]}: {units} are to be sent on {lanes[blame.place]}"
    if blame.kind == "budget":
        return f"the budget allows {units}"
    return f"{lanes[blame.place]} carries {units} ({blame.kind.replace('_', ' ')})"


def cut_words(sku: str, place: str, wanted: float, got: float, why: int) -> str:
    """Why a place gets less than it could use.

    >>> cut_words("A", "S1", 10, 4, LANE_FULL)
    'A: S1 could use 10 and gets 4: a lane to it is full'
    """
    because = {
        LANE_FULL: "a lane to it is full",
        BUDGET_SPENT: "the budget is spent",
        STOCK_SPENT: "nobody with a lane to it has more to give",
    }.get(why, "the rest is worth more elsewhere")
    return f"{sku}: {place} could use {wanted:,.10g} and gets {got:,.10g}: {because}"


def row_name(kind: int, lane: str) -> str:
    """A coupling row by name.

    >>> from models.network.transfer import WEIGHT
    >>> row_name(WEIGHT, "A-B")
    'capacity_weight of A-B'
    """
    names = ("capacity_units", "capacity_weight", "capacity_volume")
    return "budget" if kind == BUDGET else f"{names[kind]} of {lane}"
