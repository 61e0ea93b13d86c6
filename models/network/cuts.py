"""Requests that a plan cuts short: who wanted how much, what they got, and why not more.

A place wants every pack that would be worth its cheapest lane if stock were free for the taking.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.network.circulation import Floats, Flow, Ints, used
from models.network.transfer import BUDGET, GIVE, LANE, TAKE, Built, Picture

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
    uses = used(c, flow.units)
    binding = (flow.prices > 1e-9) & (uses > 0.98 * c.limit)
    full = np.zeros(len(p.lanes.origin), dtype=bool)
    full[built.row_lane[binding & (built.row_kind != BUDGET)]] = True
    by_lane = np.bincount(into, full[built.ref[lanes]], keys) > 0
    gives = np.flatnonzero(built.kind == GIVE)
    giver = built.sku[gives] * places + built.ref[gives]
    left = np.bincount(giver, c.upper[gives] - flow.units[gives], keys)
    source = built.sku[lanes] * places + p.lanes.origin[built.ref[lanes]]
    by_stock = np.bincount(into, left[source] > 0.5, keys) == 0
    by_money = bool(np.any(binding & (built.row_kind == BUDGET)))
    return np.where(by_lane, LANE_FULL, BUDGET_SPENT if by_money else np.where(by_stock, STOCK_SPENT, WORTH_MORE))
