"""Requests that a plan cuts short: who wanted how much, what they got, and why not more.

A place wants every pack that would be worth its cheapest lane if stock were free for the taking.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.network.circulation import Bools, Floats, Flow, Ints, used
from models.network.transfer import BUDGET, GIVE, LANE, TAKE, Built, Picture
from models.network.unroll import CARRY, FIXED, SELL, SEND, Unrolled

LANE_FULL, BUDGET_SPENT, STOCK_SPENT, WORTH_MORE = range(4)
WHY = ("lane full", "budget spent", "stock spent", "worth more elsewhere")


class Cuts(NamedTuple):
    """One row a SKU and place that got less than it wanted, in units."""

    sku: Ints
    location: Ints
    wanted: Floats
    got: Floats
    why: Ints


def cuts_of(p: Picture, built: Built, flow: Flow) -> Cuts:
    """Requests cut short by this flow."""
    places = p.on_hand.shape[1]
    keys = len(p.on_hand) * places
    c, doors, pack = built.circulation, built.doors, p.goods.pack_units
    lanes = np.flatnonzero(built.kind == LANE)
    into = built.sku[lanes] * places + p.lanes.destination[built.ref[lanes]]
    cheapest = np.full(keys, np.inf)
    np.minimum.at(cheapest, into, c.cost[lanes])
    takes = np.flatnonzero(built.kind == TAKE)
    at = built.sku[takes] * places + doors.location[built.ref[takes]]
    worth = -c.cost[takes] > cheapest[at] + 1e-9
    wanted = np.bincount(at[worth], c.upper[takes[worth]], keys)
    got = np.bincount(into, flow.units[lanes], keys)
    cut = np.flatnonzero(wanted > got + 0.5)
    sku, location = np.divmod(cut, places)
    why = _why(p, built, flow, lanes, into, keys)[cut]
    return Cuts(sku, location, wanted[cut] * pack[sku], got[cut] * pack[sku], why)


def _why(p: Picture, built: Built, flow: Flow, lanes: Ints, into: Ints, keys: int) -> Ints:
    """For each SKU-location the first reason that holds: a full lane, the budget, all senders empty, none of these."""
    c, places = built.circulation, p.on_hand.shape[1]
    gives = np.flatnonzero(built.kind == GIVE)
    giver = built.sku[gives] * places + built.ref[gives]
    left = np.bincount(giver, c.upper[gives] - flow.units[gives], keys)
    source = built.sku[lanes] * places + p.lanes.origin[built.ref[lanes]]
    return _first_reason(p, built, flow, into, built.ref[lanes], left[source] > 0.5, keys)


def _first_reason(
    p: Picture, rows: Built | Unrolled, flow: Flow, into: Ints, lane: Ints, has_more: Bools, keys: int
) -> Ints:
    """Of each SKU-location (keys,): arcs (n,) go `into` it over `lane`, from senders of which some have more."""
    c = rows.circulation
    binding = (flow.prices > 1e-9) & (used(c, flow.units) > 0.98 * c.limit)
    full = np.zeros(len(p.lanes.origin), dtype=bool)
    full[rows.row_lane[binding & (rows.row_kind != BUDGET)]] = True
    by_lane = np.bincount(into, full[lane], keys) > 0
    by_stock = np.bincount(into, has_more, keys) == 0
    by_money = bool(np.any(binding & (rows.row_kind == BUDGET)))
    return np.where(by_lane, LANE_FULL, BUDGET_SPENT if by_money else np.where(by_stock, STOCK_SPENT, WORTH_MORE))


def cuts_of_periods(p: Picture, u: Unrolled, flow: Flow) -> Cuts:
    """Requests cut short over all periods: sales that would have paid the cheapest way there and are not made."""
    places, c, pack = p.on_hand.shape[1], u.circulation, p.goods.pack_units
    keys = len(p.on_hand) * places
    sends = np.flatnonzero(u.kind == SEND)
    into = u.sku[sends] * places + p.lanes.destination[u.ref[sends]]
    cheapest, soonest = np.full(keys, np.inf), np.full(keys, np.iinfo(np.int64).max)
    np.minimum.at(cheapest, into, c.cost[sends])
    np.minimum.at(soonest, into, u.arrives[sends])
    sells = np.flatnonzero(u.kind == SELL)
    at = u.sku[sells] * places + u.ref[sells]
    worth = (-c.cost[sells] > cheapest[at] + 1e-9) & (u.period[sells] >= soonest[at])
    unsold = np.bincount(at[worth], (c.upper - flow.units)[sells[worth]], keys)
    moved = np.flatnonzero(np.isin(u.kind, (SEND, FIXED)))
    got = np.bincount(u.sku[moved] * places + p.lanes.destination[u.ref[moved]], flow.units[moved], keys)
    cut = np.flatnonzero(unsold > 0.5)
    sku, location = np.divmod(cut, places)
    last = np.flatnonzero((u.kind == CARRY) & (u.period == u.period.max(initial=0)))
    left = np.bincount(u.sku[last] * places + u.ref[last], flow.units[last], keys)
    source = u.sku[sends] * places + p.lanes.origin[u.ref[sends]]
    why = _first_reason(p, u, flow, into, u.ref[sends], left[source] > 0.5, keys)[cut]
    return Cuts(sku, location, (got + unsold)[cut] * pack[sku], got[cut] * pack[sku], why)
