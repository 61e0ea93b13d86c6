"""From shelves to a problem: what stock, demand, lanes and terms say, on a grid of SKUs by locations.

What counts as stock is what is available, less what open transfers will take; what is on its way from suppliers and
other locations, and what open transfers will bring, counts as in transit. So a transfer that is open is never proposed
again, and lanes have only the room it leaves. Demand is that of lead time plus review, as the planner sees it: what is
ordered later cannot come earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from agents.plan.tables import FAIR_DAYS_FACTOR, Problem
from agents.planner.plan import horizon_days, outlook
from agents.planner.shelf import Rows, Shelf
from models.network import strata
from models.network.fixed import NOTHING_FIXED
from models.network.transfer import Goods, Lanes, Picture

Floats = npt.NDArray[np.float64]

LEVELS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99])
LEAST_COST = 0.01  # money to move a unit: on lanes that cost nothing, a unit that never sells would move for nothing
DAYS_YEAR = 365


@dataclass(frozen=True)
class Grid:
    """Which row of which shelf lies where: SKU k, location l."""

    skus: list[str]
    places: list[str]
    home: npt.NDArray[np.int64]  # (k,) the shelf of each SKU, by its place in the list of shelves
    rows: list[Rows]  # of each shelf: rows that are on the grid
    at: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]  # of each shelf: (k, l) of these rows

    def filled(self, values: Sequence[Floats], otherwise: float = 0.0) -> Floats:
        """(k, l) from each shelf's values of its rows."""
        grid = np.full((len(self.skus), len(self.places)), otherwise)
        for at, its in zip(self.at, values, strict=True):
            grid[at] = its
        return grid


def distributions(shelf: Shelf, rows: Rows, days: Rows, levels: Floats) -> tuple[Floats, Floats]:
    """Mean (n,) and quantiles (q, n) of demand over the coming `days` (n,) of these rows, units, as the planner sees
    it."""
    made = outlook(shelf, rows, days[:, None], levels)
    return made.mean_sum_units[:, 0], made.quantile_sum_units[:, 0].T


def problem(shelves: Sequence[Shelf], budget: float = np.inf) -> Problem:
    """What to decide: SKUs of at least two locations with lanes between them; without lanes it is empty."""
    ways = lanes_of(shelves)
    grid = grid_of(shelves, sorted({place for way in ways for place in way}))
    places = {name: i for i, name in enumerate(grid.places)}
    moving = _moving(shelves, ways)
    lanes, spent = _lanes(ways, places, moving)
    days = [horizon_days(s, r) for s, r in zip(shelves, grid.rows, strict=True)]
    horizon = grid.filled([d.astype(float) for d in days])
    horizon = np.where(horizon > 0, horizon, horizon.max(axis=1, keepdims=True, initial=1.0))
    goods, fair = _goods(shelves, grid)
    price, cost = _money(shelves, grid)
    worth, holding = _worth(shelves, grid, horizon, price, cost, fair)
    on_hand, in_transit = _stock(shelves, grid)
    minimum, frozen = (_said(shelves, grid, name) for name in ("min_stock_units", "frozen_units"))
    picture = Picture(
        lanes, goods, _strata(shelves, grid, days, horizon, fair), on_hand, in_transit, minimum, frozen,
        horizon, worth, holding, max(budget - spent, 0.0), fair=fair,
    )  # fmt: skip
    return Problem(picture, NOTHING_FIXED, grid.skus, grid.places, float(horizon.max(initial=1.0)))


def lanes_of(shelves: Sequence[Shelf]) -> dict[tuple[str, str], dict[str, Any]]:
    """Lane facts by (from, to); every shelf has a copy, the one furthest in its log says."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for shelf in sorted(shelves, key=lambda s: s.watermark_ms):
        for key, text in shelf.facts.facts.items():
            if key.startswith('["lane"'):
                _, sender, receiver = orjson.loads(key)
                if sender != receiver:
                    known[sender, receiver] = orjson.loads(text)
    return dict(sorted(known.items()))


def grid_of(shelves: Sequence[Shelf], places: list[str]) -> Grid:
    """SKUs that are known at two or more of these locations."""
    where = {name: i for i, name in enumerate(places)}
    skus, home, rows, at = list[str](), list[int](), list[Rows](), []
    for number, shelf in enumerate(shelves):
        mine, k, i = list[int](), list[int](), list[int]()
        for sku in sorted(shelf.sku_rows):
            there = [(row, where[shelf.names[row][1]]) for row in shelf.sku_rows[sku] if shelf.names[row][1] in where]
            if len(there) > 1:
                mine += [row for row, _ in there]
                i += [place for _, place in there]
                k += [len(skus)] * len(there)
                skus.append(sku)
                home.append(number)
        rows.append(np.array(mine, np.int64))
        at.append((np.array(k, np.int64), np.array(i, np.int64)))
    return Grid(skus, places, np.array(home, np.int64), rows, at)


@dataclass(frozen=True)
class _Moving:
    """Transfers that wait to be shipped: what they use of lanes."""

    lane: list[int]
    units: list[float]
    weight: list[float]
    volume: list[float]


def _moving(shelves: Sequence[Shelf], ways: dict[tuple[str, str], dict[str, Any]]) -> _Moving:
    number = {way: n for n, way in enumerate(ways)}
    out = _Moving([], [], [], [])
    for shelf in shelves:
        for row, transfers in sorted(shelf.transfers.items()):
            sku, place = shelf.names[row]
            item = shelf.facts.get("item", sku)
            for t in transfers:
                lane = number.get((t.other, place)) if t.counts and not t.outbound else None
                if lane is not None:
                    out.lane.append(lane)
                    out.units.append(t.remaining / 1000)
                    out.weight.append(t.remaining / 1000 * (item.get("weight_kg") or 0.0))
                    out.volume.append(t.remaining / 1000 * (item.get("volume_m3") or 0.0))
    return out


def _lanes(ways: dict[tuple[str, str], dict[str, Any]], places: dict[str, int], moving: _Moving) -> tuple[Lanes, float]:
    """Lanes with the room open transfers leave, and what these will cost."""
    facts = list(ways.values())

    def said(name: str, otherwise: float) -> Floats:
        return np.array([float(f[name]) if f.get(name) is not None else otherwise for f in facts])

    def left(name: str, loads: list[float]) -> Floats:
        used = np.bincount(np.array(moving.lane, np.int64), np.array(loads), len(facts))
        return np.maximum(said(name, np.inf) - used, 0.0)

    cost = said("unit_cost", 0.0)
    lanes = Lanes(
        np.array([places[sender] for sender, _ in ways], np.int64),
        np.array([places[receiver] for _, receiver in ways], np.int64),
        np.maximum(cost, LEAST_COST),
        said("lead_days", 0.0),
        left("capacity_units", moving.units),
        left("capacity_weight_kg", moving.weight),
        left("capacity_volume_m3", moving.volume),
    )
    return lanes, float(cost[moving.lane] @ np.array(moving.units)) if moving.lane else 0.0


def _stock(shelves: Sequence[Shelf], grid: Grid) -> tuple[Floats, Floats]:
    here, coming = [], []
    for shelf, rows in zip(shelves, grid.rows, strict=True):
        h = shelf.hot[rows]
        here.append((shelf.available(rows) - shelf.outbound[rows]) / 1000)
        coming.append((h["in_transit"] + h["on_order"] + shelf.inbound[rows]) / 1000)
    return grid.filled(here), grid.filled(coming)


def _strata(
    shelves: Sequence[Shelf], grid: Grid, days: Sequence[Rows], horizon: Floats, fair: npt.NDArray[np.bool_]
) -> strata.Strata:
    found = [distributions(s, r, d, LEVELS) for s, r, d in zip(shelves, grid.rows, days, strict=True)]
    mean = grid.filled([mean for mean, _ in found])
    quantiles = np.stack([grid.filled([q[n] for _, q in found]) for n in range(len(LEVELS))])
    marginal = strata.from_quantiles(mean, LEVELS, quantiles)
    if not fair.any():
        return marginal
    return strata.by_rule(marginal, strata.fair(mean / horizon, horizon.max(axis=1) * FAIR_DAYS_FACTOR), fair)


def _goods(shelves: Sequence[Shelf], grid: Grid) -> tuple[Goods, npt.NDArray[np.bool_]]:
    items = [shelves[n].facts.get("item", sku) for n, sku in zip(grid.home, grid.skus, strict=True)]
    pack, weight, volume = (
        np.array([float(item.get(name) or otherwise) for item in items])
        for name, otherwise in (("pack_units", 1.0), ("weight_kg", 0.0), ("volume_m3", 0.0))
    )
    return Goods(pack, weight, volume), np.array([item.get("share") == "fair" for item in items], np.bool_)


def _said(shelves: Sequence[Shelf], grid: Grid, name: str) -> Floats:
    """A term that only transfers look at: what the policy says goes before what the item says."""
    values = []
    for shelf, rows in zip(shelves, grid.rows, strict=True):
        its = np.zeros(len(rows))
        for n, row in enumerate(rows.tolist()):
            sku, place = shelf.names[row]
            said = shelf.facts.get("policy", sku, place).get(name)
            its[n] = float((shelf.facts.get("item", sku).get(name) if said is None else said) or 0.0)
        values.append(its)
    return grid.filled(values)


def _money(shelves: Sequence[Shelf], grid: Grid) -> tuple[Floats, Floats]:
    """Price and cost a unit: what was said, else the last price seen; 0 where nothing is known."""
    prices, costs = [], []
    for shelf, rows in zip(shelves, grid.rows, strict=True):
        p, seen = shelf.policy[rows], np.nan_to_num(shelf.hot["price"][rows])
        prices.append(np.where(p["unit_price"] > 0, p["unit_price"], seen))
        costs.append(np.asarray(p["unit_cost"], float))
    return grid.filled(prices), grid.filled(costs)


def _worth(
    shelves: Sequence[Shelf], grid: Grid, horizon: Floats, price: Floats, cost: Floats, fair: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """What a sale saved and what a unit left over cost; where nothing may be kept a unit is worth nothing.

    Fair shares look at cover alone, so to them a unit is worth the same everywhere.
    """
    rate = grid.filled([np.asarray(s.policy[r]["holding_cost_rate_year"]) for s, r in _pairs(shelves, grid)])
    kept = grid.filled([_kept(s, r) for s, r in _pairs(shelves, grid)])
    held_days = horizon.min(axis=1, keepdims=True, initial=np.inf)
    holding = np.where(cost > 0, cost, price) * rate / DAYS_YEAR * held_days
    worth = np.maximum(price - cost, 0.0) + holding
    worth[fair], holding[fair] = (
        worth[fair].max(1, keepdims=True, initial=0.0),
        holding[fair].max(1, keepdims=True, initial=0.0),
    )
    return worth * kept, holding


def _pairs(shelves: Sequence[Shelf], grid: Grid) -> list[tuple[Shelf, Rows]]:
    return list(zip(shelves, grid.rows, strict=True))


def _kept(shelf: Shelf, rows: Rows) -> Floats:
    names = (shelf.names[row] for row in rows.tolist())
    return np.array([shelf.facts.policy(*name).status != "do_not_stock" for name in names], float)
