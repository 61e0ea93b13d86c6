"""The plan for now: fixed send-outs first, then what pays, in whole packs within every limit.

What is uncoupled is solved in slices of SKUs, so that a hundred thousand of them need no more memory than a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from models.network import transfer
from models.network.circulation import Floats, Flow, Ints
from models.network.cuts import Cuts, cuts_of
from models.network.fixed import NOTHING_FIXED, Fixed
from models.network.priced import GAP
from models.network.shortfall import conflict
from models.network.solve import ARCS_EXACT, solve
from models.network.transfer import CHAIN, GIVE, LANE, NEED, TAKE, Built, Picture

SKUS_A_SLICE = 5_000  # 10 locations of 20 strata: 40 MB a slice, and calls long enough to be worth it


@dataclass(frozen=True)
class Blame:
    """One limit that keeps something required from arriving. `kind`: stock, need, or a row's kind by name."""

    kind: str
    sku: int  # -1 for a row of a lane or the budget
    place: int  # location, or lane of a row; -1 for the budget
    units: float  # how much the limit allows or, of a need, asks


@dataclass(frozen=True)
class Plan:
    """What to send, and what is known of how good that is. Money; less is better; doing nothing costs 0.

    `objective` = lane costs less expected gain; `bound` is proved: no plan is below it (where everything required
    arrives). `prices` belong to the rows named by `row_kind` and `row_lane`.
    """

    sku: Ints
    lane: Ints
    units: Floats
    fixed: np.ndarray  # (n,) whether the send-out was given
    objective: float
    bound: float
    lane_cost: float
    missing_units: Floats  # (k, l) of the minimum
    blames: tuple[Blame, ...]
    prices: Floats
    row_kind: Ints
    row_lane: Ints
    row_limit: Floats  # after fixed send-outs
    row_used: Floats
    cuts: Cuts
    method: str
    rounds: int
    arcs: int

    @property
    def feasible(self) -> bool:
        """Whether every minimum is reached and every fixed send-out was possible."""
        return len(self.blames) == 0

    @property
    def gap(self) -> float:
        """How far the plan may be from the best one, as a share of the bound."""
        return max(self.objective - self.bound, 0.0) / max(abs(self.bound), 1e-9)


def plan(
    p: Picture,
    fixed: Fixed = NOTHING_FIXED,
    gap: float = GAP,
    rounds_most: int = 40,
    arcs_exact: int = ARCS_EXACT,
    enough: Callable[[], bool] = lambda: False,
) -> Plan:
    """The best transfers of a picture, after its fixed send-outs.

    Where a minimum cannot be reached the plan comes as near as can be and says who is to blame; fixed send-outs that
    need more than is there, or than a lane may carry, are left out and blamed. `enough` ends the search for a better
    plan than the one there is (time is up); the bound says how good that one is.
    """
    lawful, blames = _lawful(p, fixed)
    rest = _after(p, lawful)
    coupled = np.isfinite(rest.budget) or any(
        np.isfinite(limit).any()
        for limit in (rest.lanes.capacity_units, rest.lanes.capacity_weight, rest.lanes.capacity_volume)
    )
    slices = [slice(0, len(p.on_hand))] if coupled else _slices(len(p.on_hand))
    parts = [_part(rest, piece, gap, rounds_most, arcs_exact, enough) for piece in slices]
    return _joined(p, lawful, blames, parts)


def _slices(skus: int) -> list[slice]:
    return [slice(first, min(first + SKUS_A_SLICE, skus)) for first in range(0, skus, SKUS_A_SLICE)]


@dataclass(frozen=True)
class _Part:
    first: int
    picture: Picture
    built: Built
    flow: Flow


def _part(p: Picture, piece: slice, gap: float, rounds_most: int, arcs_exact: int, enough: Callable[[], bool]) -> _Part:
    some = p.some(piece)
    built = transfer.build(some)
    return _Part(piece.start, some, built, solve(built.circulation, gap, rounds_most, arcs_exact, enough=enough))


def _lawful(p: Picture, fixed: Fixed) -> tuple[Fixed, list[Blame]]:
    """The fixed send-outs that stock and lanes allow, in the order given, and the others as blames."""
    stock = p.on_hand - p.frozen
    room = [p.lanes.capacity_units.copy(), p.lanes.capacity_weight.copy(), p.lanes.capacity_volume.copy()]
    money, kept, blames = p.budget, [], []
    for i, (sku, lane, units) in enumerate(zip(fixed.sku.tolist(), fixed.lane.tolist(), fixed.units, strict=True)):
        origin = int(p.lanes.origin[lane])
        loads = (units, units * p.goods.weight[sku], units * p.goods.volume[sku])
        cost = max(float(p.lanes.unit_cost[lane]), 0.0) * units
        if units > stock[sku, origin] + 1e-9:
            blames.append(Blame("fixed", sku, lane, float(units)))
            blames.append(Blame("stock", sku, origin, float(max(stock[sku, origin], 0.0))))
        elif (full := [k for k in range(3) if loads[k] > room[k][lane] + 1e-9]) or cost > money + 1e-9:
            blames.append(Blame("fixed", sku, lane, float(units)))
            kind = full[0] if full else transfer.BUDGET
            limit = float(room[kind][lane]) if full else float(money)
            blames.append(Blame(ROW_NAMES[kind], -1, lane if full else -1, limit))
        else:
            stock[sku, origin] -= units
            for k in range(3):
                room[k][lane] -= loads[k]
            money -= cost
            kept.append(i)
    return Fixed(fixed.sku[kept], fixed.lane[kept], fixed.units[kept]), blames


ROW_NAMES = ("capacity_units", "capacity_weight", "capacity_volume", "budget")


def _after(p: Picture, fixed: Fixed) -> Picture:
    """The picture once the fixed send-outs have left."""
    if len(fixed.sku) == 0:
        return p
    gone, come, lanes = np.zeros_like(p.on_hand), np.zeros_like(p.on_hand), len(p.lanes.origin)
    np.add.at(gone, (fixed.sku, p.lanes.origin[fixed.lane]), fixed.units)
    np.add.at(come, (fixed.sku, p.lanes.destination[fixed.lane]), fixed.units)

    def load(each: Floats) -> Floats:
        return np.bincount(fixed.lane, fixed.units * each, lanes).astype(float)

    left = replace(
        p.lanes,
        capacity_units=p.lanes.capacity_units - load(np.ones(len(fixed.sku))),
        capacity_weight=p.lanes.capacity_weight - load(p.goods.weight[fixed.sku]),
        capacity_volume=p.lanes.capacity_volume - load(p.goods.volume[fixed.sku]),
    )
    spent = float((np.maximum(p.lanes.unit_cost[fixed.lane], 0.0) * fixed.units).sum())
    return replace(
        p, lanes=left, on_hand=p.on_hand - gone, in_transit=p.in_transit + come, budget=max(p.budget - spent, 0.0)
    )


def _joined(p: Picture, fixed: Fixed, blames: list[Blame], parts: list[_Part]) -> Plan:
    missing = np.zeros_like(p.on_hand)
    sku, lane, units = [fixed.sku], [fixed.lane], [fixed.units]
    for part in parts:
        arcs = np.flatnonzero((part.built.kind == LANE) & (part.flow.units > 0.5))
        local = part.built.sku[arcs]
        sku.append(local + part.first)
        lane.append(part.built.ref[arcs])
        units.append(part.flow.units[arcs] * part.picture.goods.pack_units[local])
        needs = np.flatnonzero(part.built.kind == NEED)
        short = part.built.circulation.short(part.flow.units)[needs]
        local = part.built.sku[needs]
        packs = part.picture.goods.pack_units[local]
        missing[local + part.first, part.built.ref[needs]] = np.where(short > 0.5, short * packs, 0.0)
        if not part.flow.feasible:
            blames = blames + _blames(part)
    last = parts[-1].built
    cuts = [cuts_of(part.picture, part.built, part.flow) for part in parts]
    all_lanes, all_units = np.concatenate(lane), np.concatenate(units)
    lane_cost = float(p.lanes.unit_cost[all_lanes] @ all_units)
    fixed_cost = float(p.lanes.unit_cost[fixed.lane] @ fixed.units)
    rewards = [part.built.circulation.reward * part.flow.shortfall for part in parts]
    return Plan(
        np.concatenate(sku).astype(np.int64),
        all_lanes.astype(np.int64),
        all_units,
        np.arange(len(all_lanes)) < len(fixed.sku),
        sum(part.flow.cost for part in parts) + fixed_cost,
        sum(part.flow.bound - reward for part, reward in zip(parts, rewards, strict=True)) + fixed_cost,
        lane_cost,
        missing,
        tuple(blames),
        parts[-1].flow.prices,
        last.row_kind,
        last.row_lane,
        last.circulation.limit,
        np.asarray(last.circulation.usage @ parts[-1].flow.units),
        Cuts(
            np.concatenate([cut.sku + part.first for cut, part in zip(cuts, parts, strict=True)]),
            *(np.concatenate([cut[i] for cut in cuts]) for i in range(1, 5)),
        ),
        parts[-1].flow.method,
        max(part.flow.rounds for part in parts),
        sum(len(part.built.kind) for part in parts),
    )


def _blames(part: _Part) -> list[Blame]:
    """The needs that starve and the stock and rows that starve them."""
    built = part.built
    why = conflict(built.circulation, np.isin(built.kind, (LANE, CHAIN, TAKE)))
    short = built.circulation.short(part.flow.units)
    pack, upper = part.picture.goods.pack_units, built.circulation.upper
    starved = why.needs if len(why.needs) else np.flatnonzero(short > 0.5)
    blames = [
        Blame("need", int(built.sku[a]) + part.first, int(built.ref[a]), float(upper[a] * pack[built.sku[a]]))
        for a in starved
    ]
    gives = why.widths[built.kind[why.widths] == GIVE]
    for key in sorted({(int(built.sku[a]), int(built.ref[a])) for a in gives}):
        mine = gives[(built.sku[gives] == key[0]) & (built.ref[gives] == key[1])]
        units = float(upper[mine].sum() * pack[key[0]])
        blames.append(Blame("stock", key[0] + part.first, key[1], units))
    for row in why.rows:
        kind = ROW_NAMES[built.row_kind[row]]
        blames.append(Blame(kind, -1, int(built.row_lane[row]), float(built.circulation.limit[row])))
    return blames
