"""A network unrolled over periods: one circulation for what to send now, knowing what arrives and can be sent later.

    stock(t) = stock(t-1) + arrivals(t) + receipts(t) - sent(t) - sold(t)

The longest horizon is cut into N equal periods; a SKU's network is unrolled over them. Within a period: `hold` (what
may be sent), `shelf` (after sending; arrivals of lanes without lead time join here, frozen stock and what is in transit
too), then sales, then the carry to the next period. Sales are steps of each period's demand, an even part of each
stratum: as strata rise and fall together, the steps of all periods at one level are the step of the whole horizon at
that level. A place with a shorter horizon has its demand in the periods it reaches into: what comes later is for its
next order.

What a unit left over costs is said of its SKU's shortest horizon; here everybody holds to the end of the longest one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from models.network import ladder
from models.network.circulation import Circulation, Floats, Ints
from models.network.fixed import NOTHING_FIXED, Fixed
from models.network.transfer import BUDGET, UNITS, VOLUME, WEIGHT, Picture

STOCK, RECEIPT, SEND, PASS, STAY, CARRY, SELL, FIXED = range(8)  # what an arc is
_HOLD, _SHELF, _SALE = range(3)  # nodes of a place in a period


class Unrolled(NamedTuple):
    """The circulation and what its arcs and rows mean: SKU, lane or location, and period of each arc."""

    circulation: Circulation
    kind: Ints
    ref: Ints
    sku: Ints
    period: Ints
    arrives: Ints  # the period in which what is sent arrives, of every SEND
    row_kind: Ints
    row_lane: Ints
    row_period: Ints  # -1 for the budget


def unroll(p: Picture, periods: int, receipts: Floats | None = None, fixed: Fixed = NOTHING_FIXED) -> Unrolled:
    """The circulation of a picture over `periods`; a flow unit is one pack.

    Raises ValueError without periods, and for fixed send-outs that are not whole packs or leave in no period.
    """
    if periods < 1:
        raise ValueError(f"{periods} periods: at least one is needed")
    horizon = float(p.horizon_days.max(initial=0.0))
    longer = horizon / np.maximum(p.horizon_days, 1e-9)
    lead = np.ceil(p.lanes.lead_days / max(horizon / periods, 1e-9) - 1e-9).astype(np.int64)
    coming = np.zeros((periods, *p.on_hand.shape)) if receipts is None else receipts
    places = p.on_hand.shape[1]
    ever = (np.maximum(p.on_hand, 0) + np.maximum(p.in_transit, 0) + coming.sum(axis=0)).sum(axis=1)
    frame = _Frame(
        p, periods, 1 + places * periods * 3, places, lead, np.ceil(ever / p.goods.pack_units), _most_worth(p),
        p.holding * longer.max(axis=1, keepdims=True, initial=1.0), longer,
    )  # fmt: skip
    parts = [
        *_stock_arcs(frame, coming),
        *_fixed_arcs(frame, fixed),
        *[part for t in range(periods) for part in _period_arcs(frame, t)],
    ]
    return _assemble(frame, parts)


class _Frame(NamedTuple):
    p: Picture
    periods: int
    size: int  # nodes a SKU
    places: int
    lead: Ints  # (a,) periods
    most: Floats  # (k,) packs there will ever be
    worth: Floats  # (k, l) the most a pack can be worth at a place, sold there or sent on
    holding: Floats  # (k, l) money a unit over all periods
    longer: Floats  # (k, l) the longest horizon over a place's own, at least 1

    def node(self, sku: Ints, place: Ints, period: int | Ints, which: int) -> Ints:
        return np.asarray(sku * self.size + 1 + (np.asarray(period) * self.places + place) * 3 + which)

    def come(self, end: int) -> Floats:
        """The share of each place's demand, (k, l), that has come before period `end`."""
        return np.minimum(self.longer * end / self.periods, 1.0)


def _most_worth(p: Picture) -> Floats:
    """The most one pack can earn at each place, (k, l), sold whole there or sent on; infinite towards a minimum."""
    pack = p.goods.pack_units[:, None]
    sold = np.einsum("uk,ukl->kl", p.strata.probability, np.minimum(pack[None], p.strata.units))
    worth: Floats = np.where(p.minimum > 0, np.inf, (p.worth - p.holding) * sold)
    for _ in range(p.on_hand.shape[1]):
        onward = worth[:, p.lanes.destination] - p.lanes.unit_cost[None] * pack
        further = worth.copy()
        np.maximum.at(further.T, p.lanes.origin, onward.T)
        if np.array_equal(further, worth):
            break
        worth = further
    return worth


class _Arcs(NamedTuple):
    kind: int
    sku: Ints
    ref: Ints
    period: int
    tail: Ints
    head: Ints
    upper: Floats
    cost: Floats
    required: bool = False


def _whole(f: _Frame, units: Floats) -> Floats:
    packs: Floats = np.floor(np.maximum(units, 0.0) / f.p.goods.pack_units[:, None] + 1e-9)
    return packs


def _stock_arcs(f: _Frame, coming: Floats) -> list[_Arcs]:
    """What is there and what will be: stock gets its whole holding cost back and pays it as it is carried."""
    p = f.p
    free = _whole(f, p.on_hand - p.frozen)
    held = _whole(f, p.on_hand + p.in_transit) - free
    parts = []
    for packs, which in ((free, _HOLD), (np.maximum(held, 0.0), _SHELF)):
        k, i = np.nonzero(packs > 0)
        cost = -f.holding[k, i] * p.goods.pack_units[k]
        parts.append(_Arcs(STOCK, k, i, 0, k * f.size, f.node(k, i, 0, which), packs[k, i], cost))
    for t in range(f.periods):
        packs = _whole(f, coming[t])
        k, i = np.nonzero(packs > 0)
        cost = -f.holding[k, i] * p.goods.pack_units[k] * (f.periods - t) / f.periods
        parts.append(_Arcs(RECEIPT, k, i, t, k * f.size, f.node(k, i, t, _HOLD), packs[k, i], cost))
    return parts


def _period_arcs(f: _Frame, t: int) -> list[_Arcs]:
    """Sending, staying, selling and carrying in period t."""
    p = f.p
    k, i = (a.reshape(-1) for a in np.indices(p.on_hand.shape))
    most = f.most[k]
    zero = np.zeros(len(k))
    hold, shelf, sale = (f.node(k, i, t, which) for which in range(3))
    onward = f.node(k, i, t + 1, _HOLD) if t + 1 < f.periods else k * f.size
    carry_cost = f.holding[k, i] * p.goods.pack_units[k] / f.periods
    must = _must_stay(f, t)[k, i]
    some = np.flatnonzero(must > 0)
    return [
        *_send_arcs(f, t),
        _Arcs(PASS, k, i, t, hold, shelf, most, zero),
        _Arcs(STAY, k[some], i[some], t, shelf[some], sale[some], must[some], zero[some], True),
        _Arcs(PASS, k, i, t, shelf, sale, most, zero),
        _Arcs(CARRY, k, i, t, sale, onward, most, carry_cost),
        _sell_arcs(f, t),
    ]


def _must_stay(f: _Frame, t: int) -> Floats:
    """Packs that have to stand on the shelf in period t, shape (k, l).

    A place over its minimum must not be sent below it now. One under it keeps what it has, and must be up to it in the
    first period anything could arrive.
    """
    p, pack = f.p, f.p.goods.pack_units[:, None]
    stock = p.on_hand + p.in_transit
    wanted, has = np.ceil(p.minimum / pack - 1e-9), _whole(f, stock)
    first = np.full(f.places, f.periods)
    np.minimum.at(first, p.lanes.destination, f.lead)
    due = np.where(first < f.periods, first, 0)[None]  # where nothing can arrive it is due, and missed, at once
    under = stock < p.minimum - 1e-9
    now = np.where(under & (due == t), wanted, 0.0)
    return np.asarray(np.maximum(now, np.minimum(wanted, has)) if t == 0 else now)


def _send_arcs(f: _Frame, t: int) -> list[_Arcs]:
    """Lanes that leave in period t, arrive within the horizon, and could pay for their first pack at best."""
    p = f.p
    lanes = np.flatnonzero(t + f.lead < f.periods)
    pack = p.goods.pack_units[:, None]
    at = p.lanes.destination[lanes]
    gain = f.worth[:, at] + f.holding[:, p.lanes.origin[lanes]] * pack
    k, which = np.nonzero(gain > p.lanes.unit_cost[lanes][None] * pack)
    lane = lanes[which]
    tail = f.node(k, p.lanes.origin[lane], t, _HOLD)
    lead = f.lead[lane]
    head = f.node(k, p.lanes.destination[lane], t + lead, _HOLD) + np.where(lead == 0, _SHELF, _HOLD)
    cost = p.charged()[k, lane] * p.goods.pack_units[k]
    return [_Arcs(SEND, k, lane, t, tail, head, f.most[k], cost + _on_the_way(f, k, lane, lead))]


def _on_the_way(f: _Frame, k: Ints, lane: Ints, periods: Ints) -> Floats:
    """From here to its arrival a pack costs what it would at the place it is going to."""
    money: Floats = f.holding[k, f.p.lanes.destination[lane]] * f.p.goods.pack_units[k] * periods / f.periods
    return money


def _fixed_arcs(f: _Frame, fixed: Fixed) -> list[_Arcs]:
    """Send-outs already promised, in the period each leaves; what arrives after the last one is seen no more."""
    p, packs = f.p, fixed.units / f.p.goods.pack_units[fixed.sku]
    if np.any(np.abs(packs - np.rint(packs)) > 1e-9):
        raise ValueError("fixed send-outs over several periods are of whole packs")
    when = fixed.leaves()
    if np.any((when < 0) | (when >= f.periods)):
        raise ValueError(f"a fixed send-out leaves in period {int(when.max())}; the last one is {f.periods - 1}")
    parts = []
    for t in np.unique(when).tolist():
        mine = np.flatnonzero(when == t)
        k, lane = fixed.sku[mine], fixed.lane[mine]
        lead, left = f.lead[lane], np.minimum(f.lead[lane], f.periods - t)
        there = f.node(k, p.lanes.destination[lane], t + lead, _HOLD) + np.where(lead == 0, _SHELF, _HOLD)
        head = np.where(t + lead < f.periods, there, k * f.size)
        cost = p.lanes.unit_cost[lane] * p.goods.pack_units[k] + _on_the_way(f, k, lane, left)
        tail = f.node(k, p.lanes.origin[lane], t, _HOLD)
        parts.append(_Arcs(FIXED, k, lane, t, tail, head, np.rint(packs[mine]), cost, True))
    return parts


def _sell_arcs(f: _Frame, t: int) -> _Arcs:
    """Steps of period t's demand, less the loose units that are no whole pack (they are sold first)."""
    p = f.p
    pack = p.goods.pack_units[:, None]
    stock = p.on_hand + p.in_transit
    loose = stock - np.floor(stock / pack + 1e-9) * pack

    def until(end: int) -> Floats:
        left: Floats = np.maximum(p.strata.units * f.come(end) - loose[None], 0.0)
        return left

    k, i = (a.reshape(-1) for a in np.indices(p.on_hand.shape))
    demand = (until(t + 1) - until(t))[:, k, i]
    most = np.ceil(demand[-1] / p.goods.pack_units[k] - 1e-9)
    rest = (f.periods - t) / f.periods
    margin, holding = p.worth[k, i] - p.holding[k, i], f.holding[k, i]
    # a pack sold with chance s earns s * margin, and with 1 - s is held to the end
    worth, kept = margin + holding * rest, holding * rest
    steps = ladder.take_steps(p.strata.probability[:, k], demand, p.goods.pack_units[k], worth, kept, most)
    k, i = k[steps.place], i[steps.place]
    return _Arcs(SELL, k, i, t, f.node(k, i, t, _SALE), k * f.size, steps.width, steps.money)


def _assemble(f: _Frame, parts: list[_Arcs]) -> Unrolled:
    sku = np.concatenate([a.sku for a in parts]).astype(np.int64)
    order = np.argsort(sku, kind="stable")
    kind = np.concatenate([np.full(len(a.sku), a.kind) for a in parts])[order]
    period = np.concatenate([np.full(len(a.sku), a.period) for a in parts])[order]
    required = np.concatenate([np.full(len(a.sku), a.required) for a in parts])[order]
    ref = np.concatenate([a.ref for a in parts]).astype(np.int64)[order]
    usage, limit, row_kind, row_lane, row_period = _rows(f, kind, ref, sku[order], period)
    circulation = Circulation(
        np.concatenate([a.tail for a in parts]).astype(np.int64)[order],
        np.concatenate([a.head for a in parts]).astype(np.int64)[order],
        np.concatenate([a.upper for a in parts])[order],
        np.concatenate([a.cost for a in parts])[order],
        sku[order],
        required,
        usage,
        limit,
    )
    sends = kind == SEND
    arrives = period + np.where(sends, f.lead[np.where(sends, ref, 0)], 0) if len(f.lead) else period
    return Unrolled(circulation, kind, ref, sku[order], period, arrives, row_kind, row_lane, row_period)


def _rows(
    f: _Frame, kind: Ints, ref: Ints, sku: Ints, period: Ints
) -> tuple[sparse.csr_array, Floats, Ints, Ints, Ints]:
    """A row for each limited lane, measure and period; the budget over all."""
    p, arc = f.p, np.flatnonzero(np.isin(kind, (SEND, FIXED)))
    lane, pack, when = ref[arc], p.goods.pack_units[sku[arc]], period[arc]
    measures = (
        (UNITS, p.lanes.capacity_units, pack),
        (WEIGHT, p.lanes.capacity_weight, pack * p.goods.weight[sku[arc]]),
        (VOLUME, p.lanes.capacity_volume, pack * p.goods.volume[sku[arc]]),
        (BUDGET, np.full(len(f.lead), np.inf), pack),
    )
    number = np.full((len(measures), len(f.lead), f.periods), -1)
    limits: list[tuple[float, int, int, int]] = []
    for name, capacity, _ in measures:
        for a in np.flatnonzero(np.isfinite(capacity)):
            number[name, a] = len(limits) + np.arange(f.periods)
            limits += [(float(capacity[a]), name, int(a), t) for t in range(f.periods)]
    rows = [number[name, lane, when] for name, _, _ in measures]
    loads = [uses for _, _, uses in measures]
    if np.isfinite(p.budget):
        rows[BUDGET] = np.full(len(arc), len(limits))
        loads[BUDGET] = np.maximum(p.lanes.unit_cost[lane], 0.0) * pack
        limits.append((p.budget, BUDGET, -1, -1))
    row, load, col = np.concatenate(rows), np.concatenate(loads), np.tile(arc, len(measures))
    on = row >= 0
    usage = sparse.csr_array((load[on], (row[on], col[on])), shape=(len(limits), len(kind)))
    table = np.array(limits, dtype=float).reshape(-1, 4)
    whole = table[:, 1:].astype(np.int64)
    return usage, table[:, 0], whole[:, 0], whole[:, 1], whole[:, 2]
