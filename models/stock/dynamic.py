"""Decisions over a season, a shelf life or the end of an item's life: finite-horizon stochastic dynamic programming.

One solver, three ways to set it up. A problem is tables: what each action costs in each state when chance `w` strikes,
and where it leads; `plan` goes backwards from the last period (Puterman, Markov Decision Processes, 4.5; Snyder & Shen
4.4.3). Stocks are whole units up to a cap, so keep the cap near the season's demand: tables are states x actions x
chances.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import comb
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.stock.rates import Floats

Ints: TypeAlias = npt.NDArray[np.int64]
MAX_CELLS = 50_000_000  # states x actions x chances of one period: 400 MB


@dataclass(frozen=True)
class Stage:
    """One period: `cost` and `leads_to` (states, actions, chances), `chance` (chances,) or (states, actions, chances).

    An action that a state does not allow costs np.inf.
    """

    cost: Floats
    leads_to: Ints
    chance: Floats


@dataclass(frozen=True)
class Plan:
    """`cost_to_go` (T + 1, states) expected from each period on, `action` (T, states) the best one."""

    cost_to_go: Floats
    action: Ints


def plan(stages: list[Stage], terminal: Floats, discount: float = 1.0) -> Plan:
    """Best action in every period and state, backwards from `terminal` (states,), the cost of ending in each.

    Ties go to the lowest action, so a plan never orders what makes no difference.
    """
    cost_to_go = [np.asarray(terminal, dtype=np.float64)]
    actions: list[Ints] = []
    for stage in reversed(stages):
        if stage.cost.size > MAX_CELLS:
            raise ValueError(f"{stage.cost.size:,} cells a period are too many; lower the cap on stock")
        expected = ((stage.cost + discount * cost_to_go[0][stage.leads_to]) * stage.chance).sum(axis=2)
        actions.insert(0, np.argmin(expected, axis=1))
        cost_to_go.insert(0, expected.min(axis=1))
    return Plan(np.array(cost_to_go), np.array(actions, dtype=np.int64).reshape(len(stages), -1))


def chain(cost: Floats, chance: Floats, periods: int) -> Floats:
    """Expected cost of `periods` periods, by state of the first, where each later state is drawn by `chance` (S,).

    >>> chain(np.array([20.0, 15.0, 10.0]), np.array([0.4, 0.5, 0.1]), 4)
    array([69.5, 64.5, 59.5])
    """
    states = len(cost)
    stage = Stage(
        np.broadcast_to(cost[:, None, None], (states, 1, states)),
        np.broadcast_to(np.arange(states), (states, 1, states)),
        chance,
    )
    return np.asarray(plan([stage] * periods, np.zeros(states)).cost_to_go[0])


def best_lot(
    keep_cost: Floats, lot_units: Floats, demand_units: Floats, chance: Floats, short_cost: float
) -> tuple[int, float]:
    """Which of some lots to keep each period when nothing carries over; its index and expected cost a period.

    >>> keep, lots = np.array([20.0, 15.0, 10.0]), np.array([3.0, 2.0, 1.0])
    >>> [best_lot(keep, lots, lots, np.array([0.4, 0.5, 0.1]), short) for short in (5.0, 10.0, 20.0)]
    [(2, 16.5), (1, 19.0), (0, 20.0)]
    """
    short = np.maximum(demand_units - lot_units[:, None], 0.0) * short_cost
    cost = (keep_cost[:, None] + short)[None]
    done = plan([Stage(cost, np.zeros(cost.shape, dtype=np.int64), chance)], np.zeros(1))
    return int(done.action[0, 0]), float(done.cost_to_go[0, 0])


@dataclass(frozen=True)
class SeasonPlan:
    """Best `order_up_to` (T, S) by period and stock, expected cost (T + 1, S), and the stock each column stands for."""

    order_up_to: Ints
    cost_to_go: Floats
    stock: Ints


def season(
    demand_pmf: Floats,
    *,
    holding_cost: float,
    shortage_cost: float,
    unit_cost: float,
    order_cost: float = 0.0,
    salvage_value: float = 0.0,
    cap_units: int,
    floor_units: int = 0,
    discount: float = 1.0,
    lost_sales: bool = True,
) -> SeasonPlan:
    """A season of T periods with demand 0, 1, .. a period, `demand_pmf` (T, D); orders arrive at once.

    Stock runs from `floor_units` (negative where customers wait: `lost_sales=False`) to `cap_units`. `salvage_value` is
    what a unit left at the end brings, `unit_cost` what one still owed costs then. An item's end of life is a
    season of one period with everything to come as its demand: see `last_buy`.
    """
    if lost_sales and floor_units != 0:
        raise ValueError("with lost sales stock never falls under zero; floor_units must be 0")
    stock = np.arange(floor_units, cap_units + 1)
    level = stock[None, :]  # the action is a level to order up to
    order = level - stock[:, None]
    buy = np.where(order < 0, np.inf, unit_cost * np.maximum(order, 0) + order_cost * (order > 0))
    stages = []
    for pmf in demand_pmf:
        end = level[..., None] - np.arange(len(pmf))
        keep = holding_cost * np.maximum(end, 0) + shortage_cost * np.maximum(-end, 0)
        leads = np.clip(end, floor_units, cap_units) - floor_units
        shape = (len(stock), len(stock), len(pmf))
        stages.append(Stage(buy[:, :, None] + keep, np.broadcast_to(leads, shape), pmf))
    done = plan(stages, unit_cost * np.maximum(-stock, 0) - salvage_value * np.maximum(stock, 0), discount)
    return SeasonPlan(stock[done.action], done.cost_to_go, stock)


def last_buy(pmf: Floats, unit_cost: float, shortage_cost: float, salvage_value: float) -> int:
    """Units to hold when buying for the last time: demand until the end has probabilities `pmf` (D,).

    >>> last_buy(np.full(11, 1 / 11), unit_cost=4.0, shortage_cost=10.0, salvage_value=1.0)
    7
    """
    done = season(
        pmf[None],
        holding_cost=0.0,
        shortage_cost=shortage_cost,
        unit_cost=unit_cost,
        salvage_value=salvage_value,
        cap_units=len(pmf) - 1,
    )
    return int(done.order_up_to[0, 0])


@dataclass(frozen=True)
class ShelfLifePlan:
    """`order_units` (T, states) by units of each remaining life (`ages` (states, life - 1), oldest first)."""

    order_units: Ints
    cost_to_go: Floats
    ages: Ints


def shelf_life(
    demand_pmf: Floats,
    *,
    life_periods: int,
    unit_cost: float,
    holding_cost: float,
    shortage_cost: float,
    waste_cost: float,
    cap_units: int,
) -> ShelfLifePlan:
    """Orders of an item that is thrown away after `life_periods`, oldest sold first, unmet demand lost.

    The state is how many units have 1, 2, .. life_periods - 1 periods left, so it grows as cap ** (life - 1): for
    lives of a few periods and stocks of a few dozen (Nahmias 1975). What is left at the end is wasted.
    """
    states = np.array(
        [a for a in product(range(cap_units + 1), repeat=life_periods - 1) if sum(a) <= cap_units], dtype=np.int64
    ).reshape(comb(cap_units + life_periods - 1, life_periods - 1), life_periods - 1)
    index = {tuple(a): i for i, a in enumerate(states.tolist())}
    stages = [
        _shelf_stage(states, index, pmf, unit_cost, holding_cost, shortage_cost, waste_cost, cap_units)
        for pmf in demand_pmf
    ]
    done = plan(stages, waste_cost * states.sum(axis=1).astype(np.float64))
    return ShelfLifePlan(done.action, done.cost_to_go, states)


def _shelf_stage(
    states: Ints,
    index: dict[tuple[int, ...], int],
    pmf: Floats,
    unit_cost: float,
    holding_cost: float,
    shortage_cost: float,
    waste_cost: float,
    cap_units: int,
) -> Stage:
    orders = np.arange(cap_units + 1)
    demand = np.arange(len(pmf))
    lots = np.concatenate(
        [
            np.broadcast_to(states[:, None, :], (len(states), len(orders), states.shape[1])),
            np.broadcast_to(orders[None, :, None], (len(states), len(orders), 1)),
        ],
        axis=2,
    )
    before = np.cumsum(lots, axis=2)[..., None, :]
    sold_by = np.minimum(before, demand[:, None])  # cumulative units sold, oldest first
    left = np.diff(before - sold_by, axis=-1, prepend=0)
    wasted, kept = left[..., 0], left[..., 1:]
    short = np.maximum(demand - before[..., -1], 0)
    cost = unit_cost * orders[None, :, None] + waste_cost * wasted + shortage_cost * short
    cost = cost + holding_cost * kept.sum(axis=-1)
    cost = np.where((lots.sum(axis=2) <= cap_units)[..., None], cost, np.inf)
    flat = kept.reshape(cost.size, kept.shape[-1])
    leads = np.array([index.get(tuple(k), 0) for k in flat.tolist()], dtype=np.int64).reshape(cost.shape)
    return Stage(cost, leads, pmf)
