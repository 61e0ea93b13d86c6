"""What to send where, now: surplus stock to where its next unit is worth most.

For each SKU and location the strata of demand over a horizon say how much would be left over (`spare`) and how much of
the shortage something arriving after `lead_days` could still serve (`reach`): stock in place serves the earliest
demand, and demand is taken to come evenly over the horizon.

    spare_u = max(s - d_u, 0)        reach_u = min(max(d_u - s, 0), d_u * (1 - lead / horizon))

A *door* is a location seen through one lead time. Faster arrivals may also serve what slower ones could, so doors of
one location form a chain, each with the part of the reach that the next slower one lacks. A location may send what it
has and receive more in the same plan; each side is then valued from the stock it starts with: on the safe side.

Arcs that cannot pay even for their first pack are left out before anything is solved: most of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from models.network import ladder
from models.network.circulation import Bools, Circulation, Floats, Ints
from models.network.paths import Paths
from models.network.strata import Strata

GIVE, LANE, CHAIN, TAKE, NEED = range(5)  # what an arc is
UNITS, WEIGHT, VOLUME, BUDGET = range(4)  # what a coupling row limits
FAIR_COST_SHARE = 0.01  # of what a lane costs more than the cheapest: enough to choose between lanes to one place


@dataclass(frozen=True)
class Lanes:
    """A directed lanes, sparse: about four a location. Limits are per plan; infinite where there is none."""

    origin: Ints
    destination: Ints
    unit_cost: Floats  # money a unit
    lead_days: Floats
    capacity_units: Floats
    capacity_weight: Floats
    capacity_volume: Floats

    def __post_init__(self) -> None:
        if np.any(self.origin == self.destination):
            raise ValueError("a lane from a location to itself hides shortages: leave it out")
        if len(self.lead_days) and (np.any(self.lead_days < 0) or not np.all(np.isfinite(self.lead_days))):
            raise ValueError("lead days must be finite and not negative")

    @staticmethod
    def plain(origin: Ints, destination: Ints, unit_cost: Floats, **given: Floats) -> Lanes:
        """Lanes without limits or lead times, but for those given by name."""
        count = len(origin)
        free = dict.fromkeys(("capacity_units", "capacity_weight", "capacity_volume"), np.full(count, np.inf))
        rest = {"lead_days": np.zeros(count), **free, **given}
        return Lanes(np.asarray(origin), np.asarray(destination), np.asarray(unit_cost, float), **rest)


@dataclass(frozen=True)
class Goods:
    """K SKUs: whole packs only; weight and volume are of one unit."""

    pack_units: Floats
    weight: Floats
    volume: Floats


@dataclass(frozen=True)
class Picture:
    """Everything a plan is made from; (k, l) arrays, units and money.

    `minimum` must be there after the moves; `frozen` must not be touched. `worth` is the margin lost with a sale plus
    the holding cost it would have ended; `holding` what a unit costs that is not sold, over the shortest horizon of its
    SKU: one span everywhere, or what is left over would move to where less of it is counted.
    """

    lanes: Lanes
    goods: Goods
    strata: Strata
    on_hand: Floats
    in_transit: Floats
    minimum: Floats
    frozen: Floats
    horizon_days: Floats
    worth: Floats
    holding: Floats
    budget: float = np.inf  # money on lanes, all together
    paths: Paths | None = None  # where receipts come at known times: replaces what stock and strata say by themselves
    fair: Bools | None = None  # (k,) SKUs shared by days of cover: which lane is cheaper hardly counts for them

    def some(self, skus: slice) -> Picture:
        """The same picture of some of the SKUs."""
        goods = Goods(self.goods.pack_units[skus], self.goods.weight[skus], self.goods.volume[skus])
        strata = Strata(self.strata.probability[:, skus], self.strata.units[:, skus])
        rest = {name: getattr(self, name)[skus] for name in _PLACES}
        fair = None if self.fair is None else self.fair[skus]
        paths = None if self.paths is None else self.paths.some(skus)
        return replace(self, goods=goods, strata=strata, fair=fair, paths=paths, **rest)

    def charged(self) -> Floats:
        """Money a unit on each lane as the solver sees it, (k, a): for fair SKUs all lanes cost nearly the least."""
        cost = np.broadcast_to(self.lanes.unit_cost, (len(self.on_hand), len(self.lanes.unit_cost)))
        if self.fair is None or cost.shape[1] == 0:
            return cost
        return np.where(self.fair[:, None], cost.min() + FAIR_COST_SHARE * (cost - cost.min()), cost)


_PLACES = ("on_hand", "in_transit", "minimum", "frozen", "horizon_days", "worth", "holding")


class Doors(NamedTuple):
    """A location seen through one lead time; slower doors of a location follow faster ones."""

    location: Ints
    lead_days: Floats
    of_lane: Ints  # (a,)
    slower: Ints  # the next slower door of the same location, -1 for the slowest


class Built(NamedTuple):
    """The circulation and what its arcs and rows mean."""

    circulation: Circulation
    kind: Ints  # (m,) GIVE, LANE, ...
    ref: Ints  # (m,) the location of GIVE and NEED, the lane of LANE, the door of CHAIN and TAKE
    sku: Ints  # (m,)
    row_kind: Ints  # (r,) UNITS, WEIGHT, VOLUME, BUDGET
    row_lane: Ints  # (r,) -1 for the budget
    doors: Doors


class _Arcs(NamedTuple):
    kind: int
    sku: Ints
    ref: Ints
    tail: Ints
    head: Ints
    upper: Floats
    cost: Floats


def doors_of(lanes: Lanes) -> Doors:
    """Distinct (destination, lead) pairs, by location and then from fast to slow."""
    pairs = np.stack([lanes.destination.astype(float), lanes.lead_days], axis=1)
    found, of_lane = np.unique(pairs, axis=0, return_inverse=True)
    location = found[:, 0].astype(np.int64)
    slower = np.where(np.r_[location[1:] == location[:-1], False], np.arange(1, len(location) + 1), -1)
    return Doors(location, found[:, 1], of_lane.reshape(-1), slower)


def spare_units(p: Picture) -> Floats:
    """What each stratum would leave over, shape (u, k, l)."""
    if p.paths is not None:
        return p.paths.spare
    return np.maximum((p.on_hand + p.in_transit)[None] - p.strata.units, 0.0)


def reach_units(p: Picture, doors: Doors) -> Floats:
    """Shortage that arrivals through each door can still serve, shape (u, k, doors)."""
    if p.paths is not None:
        return p.paths.reach(doors.lead_days, doors.location)
    at = doors.location
    demand = p.strata.units[:, :, at]
    short = np.maximum(demand - (p.on_hand + p.in_transit)[None][:, :, at], 0.0)
    left = np.clip(1 - doors.lead_days / np.maximum(p.horizon_days[:, at], 1e-9), 0.0, 1.0)
    return np.minimum(short, demand * left[None])


def movable_packs(p: Picture) -> Floats:
    """Whole packs each place may give, shape (k, l): on hand, less what is frozen or has to stay."""
    kept = np.maximum(p.frozen, p.minimum)
    return np.floor(np.maximum(p.on_hand - kept, 0.0) / p.goods.pack_units[:, None] + 1e-9)


def missing_packs(p: Picture) -> Floats:
    """Whole packs that have to arrive for the minimum, shape (k, l)."""
    missing = np.maximum(p.minimum - p.on_hand - p.in_transit, 0.0)
    return np.ceil(missing / p.goods.pack_units[:, None] - 1e-9)


def build(p: Picture) -> Built:
    """The circulation of a picture: per SKU a root, a node for each giver, a node for each door.

    A flow unit is one pack. Rows: a lane's units, weight and volume where limited, then the budget.
    """
    doors = doors_of(p.lanes)
    spare, reach = spare_units(p), reach_units(p, doors)
    movable, missing = movable_packs(p), missing_packs(p)
    lane_arcs = _paying_lanes(p, doors, spare, reach, movable, missing)
    parts = [
        lane_arcs,
        *_give_arcs(p, doors, spare, movable, lane_arcs),
        *_take_arcs(p, doors, reach, movable, missing, lane_arcs),
        *_need_arcs(p, doors, movable, missing),
    ]
    return _assemble(p, doors, parts)


def _nodes(p: Picture, doors: Doors) -> tuple[int, int, int]:
    """Nodes a block, first giver, first door; node 0 of a block is its root, the last ones stand behind a minimum."""
    places = p.on_hand.shape[1]
    return 1 + 2 * places + len(doors.location), 1, 1 + places


def _paying_lanes(p: Picture, doors: Doors, spare: Floats, reach: Floats, movable: Floats, missing: Floats) -> _Arcs:
    """Lanes on which the first pack would pay, or serves a minimum."""
    pack = p.goods.pack_units[:, None]
    first_loss = p.worth * np.einsum("uk,ukl->kl", p.strata.probability, np.maximum(pack[None] - spare, 0.0))
    first_loss -= p.holding * pack
    at = doors.location
    first_gain = p.worth[:, at] * np.einsum("uk,ukd->kd", p.strata.probability, np.minimum(pack[None], reach))
    first_gain = np.where(missing[:, at] > 0, np.inf, first_gain - p.holding[:, at] * pack)
    cost = p.lanes.unit_cost[None] * pack
    pays = first_gain[:, doors.of_lane] - first_loss[:, p.lanes.origin] - cost > 1e-9
    most = movable[:, p.lanes.origin]
    sku, lane = np.nonzero(pays & (most >= 1) & (_most_by_limits(p) >= 1))
    size, giver, door = _nodes(p, doors)
    return _Arcs(
        LANE,
        sku,
        lane,
        sku * size + giver + p.lanes.origin[lane],
        sku * size + door + doors.of_lane[lane],
        most[sku, lane],
        p.charged()[sku, lane] * p.goods.pack_units[sku],
    )


def _most_by_limits(p: Picture) -> Floats:
    """Packs of each SKU that a lane could carry if it carried nothing else, shape (k, a)."""
    pack = p.goods.pack_units[:, None]
    most = np.full((len(pack), len(p.lanes.origin)), np.inf)
    loads = (pack, p.goods.weight[:, None] * pack, p.goods.volume[:, None] * pack, p.lanes.unit_cost[None] * pack)
    limits = (
        p.lanes.capacity_units,
        p.lanes.capacity_weight,
        p.lanes.capacity_volume,
        np.full(most.shape[1], p.budget),
    )
    for load, limit in zip(loads, limits, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            fits = np.where(load > 0, np.floor(np.maximum(limit[None], 0.0) / load + 1e-9), np.inf)
        most = np.minimum(most, fits)
    return most


def _give_arcs(p: Picture, doors: Doors, spare: Floats, movable: Floats, lanes: _Arcs) -> list[_Arcs]:
    """Steps out of the root to the givers that have a lane."""
    gives = np.zeros(p.on_hand.shape, dtype=bool)
    gives[lanes.sku, p.lanes.origin[lanes.ref]] = True
    sku, at = np.nonzero(gives)
    steps = ladder.give_steps(
        p.strata.probability[:, sku],
        spare[:, sku, at],
        p.goods.pack_units[sku],
        p.worth[sku, at],
        p.holding[sku, at],
        movable[sku, at],
    )
    size, giver, _ = _nodes(p, doors)
    k, i = sku[steps.place], at[steps.place]
    return [_Arcs(GIVE, k, i, k * size, k * size + giver + i, steps.width, steps.money)]


def _take_arcs(p: Picture, doors: Doors, reach: Floats, movable: Floats, missing: Floats, lanes: _Arcs) -> list[_Arcs]:
    """Steps from the doors back to the root, and the chains from fast doors to slow ones."""
    count = len(doors.location)
    wanted = np.zeros((len(p.on_hand), count), dtype=bool)
    wanted[lanes.sku, doors.of_lane[lanes.ref]] = True
    for fast in np.flatnonzero(doors.slower >= 0):  # a used door opens the slower ones behind it
        wanted[:, doors.slower[fast]] |= wanted[:, fast]
    sku, door = np.nonzero(wanted)
    slower = doors.slower[door]
    under = (
        missing[sku, doors.location[door]] > 0
    )  # there all that arrives counts for the minimum: steps at the slowest
    own = reach[:, sku, door] - np.where(slower >= 0, reach[:, sku, np.maximum(slower, 0)], 0.0)
    most = np.where(under & (slower >= 0), 0.0, movable.sum(axis=1)[sku])
    steps = ladder.take_steps(
        p.strata.probability[:, sku],
        np.maximum(own, 0.0),
        p.goods.pack_units[sku],
        p.worth[sku, doors.location[door]],
        p.holding[sku, doors.location[door]],
        most,
    )
    size, _, first = _nodes(p, doors)
    k, d = sku[steps.place], door[steps.place]
    behind = np.where(under[steps.place], len(doors.location) + doors.location[d], d)
    take = _Arcs(TAKE, k, d, k * size + first + behind, k * size, steps.width, steps.money)
    linked = np.flatnonzero(slower >= 0)
    k, d = sku[linked], door[linked]
    node = k * size + first
    chain = _Arcs(CHAIN, k, d, node + d, node + doors.slower[d], movable.sum(axis=1)[k], np.zeros(len(k)))
    return [take, chain]


def _need_arcs(p: Picture, doors: Doors, movable: Floats, missing: Floats) -> list[_Arcs]:
    """Places under their minimum: a required arc, and a free one beside it, between their slowest door and its steps.

    So what arrives for the minimum sells as well. Where no lane leads the required arc begins at a node of its own.
    """
    sku, at = np.nonzero(missing > 0)
    slowest = np.full(p.on_hand.shape[1], -1)
    slowest[doors.location] = np.arange(len(doors.location))  # the last one written is the slowest
    size, giver, first = _nodes(p, doors)
    door = slowest[at]
    tail = sku * size + np.where(door >= 0, first + door, giver + at)
    head = sku * size + first + len(doors.location) + at
    zero = np.zeros(len(sku))
    reached = door >= 0
    beside = _Arcs(
        CHAIN,
        sku[reached],
        door[reached],
        tail[reached],
        head[reached],
        movable.sum(axis=1)[sku[reached]],
        zero[reached],
    )
    return [_Arcs(NEED, sku, at, tail, head, missing[sku, at], zero), beside]


def _assemble(p: Picture, doors: Doors, parts: list[_Arcs]) -> Built:
    sku = np.concatenate([a.sku for a in parts]).astype(np.int64)
    order = np.argsort(sku, kind="stable")
    kind = np.concatenate([np.full(len(a.sku), a.kind) for a in parts])[order]
    ref = np.concatenate([a.ref for a in parts]).astype(np.int64)[order]
    sku = sku[order]
    usage, limit, row_kind, row_lane = _rows(p, kind, ref, sku)
    circulation = Circulation(
        np.concatenate([a.tail for a in parts]).astype(np.int64)[order],
        np.concatenate([a.head for a in parts]).astype(np.int64)[order],
        np.concatenate([a.upper for a in parts])[order],
        np.concatenate([a.cost for a in parts])[order],
        sku,
        kind == NEED,
        usage,
        limit,
    )
    return Built(circulation, kind, ref, sku, row_kind, row_lane, doors)


def _rows(p: Picture, kind: Ints, ref: Ints, sku: Ints) -> tuple[sparse.csr_array, Floats, Ints, Ints]:
    """Coupling rows over the lane arcs: what one pack uses of each limit."""
    arc = np.flatnonzero(kind == LANE)
    lane, pack = ref[arc], p.goods.pack_units[sku[arc]]
    limited = (
        (UNITS, p.lanes.capacity_units, pack),
        (WEIGHT, p.lanes.capacity_weight, pack * p.goods.weight[sku[arc]]),
        (VOLUME, p.lanes.capacity_volume, pack * p.goods.volume[sku[arc]]),
    )
    rows: list[Ints] = []
    cols: list[Ints] = []
    loads: list[Floats] = []
    limits: list[Floats] = []
    kinds: list[int] = []
    lanes: list[Ints] = []
    for name, capacity, uses in limited:
        finite = np.flatnonzero(np.isfinite(capacity))
        number = np.full(len(capacity), -1)
        number[finite] = len(kinds) + np.arange(len(finite))
        on: Bools = number[lane] >= 0
        rows.append(number[lane[on]])
        cols.append(arc[on])
        loads.append(uses[on])
        limits.append(capacity[finite])
        lanes.append(finite)
        kinds += [name] * len(finite)
    if np.isfinite(p.budget):
        rows.append(np.full(len(arc), len(kinds)))
        cols.append(arc)
        loads.append(np.maximum(p.lanes.unit_cost[lane], 0.0) * pack)
        limits.append(np.array([p.budget]))
        lanes.append(np.array([-1]))
        kinds.append(BUDGET)
    entries = (np.concatenate(loads), (np.concatenate(rows), np.concatenate(cols)))
    usage = sparse.csr_array(entries, shape=(len(kinds), len(kind)))
    return usage, np.concatenate(limits), np.array(kinds, dtype=np.int64), np.concatenate(lanes)
