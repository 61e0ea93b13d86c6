"""A year of the favorita network, week by week: no rebalancing, proportional to days of cover, and by the solver.

python -m tests.bench.rebalancing               # at half, equal and double transfer cost, and where it would not pay
python -m tests.bench.rebalancing --every 8     # every eighth item only: a minute

Demand is the file's; stock, orders and lead times around it are simulated (there are none in the file). Stores order up
to a level from their warehouse each week, warehouses from a supplier that always has stock; what a store lacks is lost.
Forecasts are exponential smoothing of past demand, lost sales included (a shop would see less): the same for all.

Week: receipts arrive; lateral transfers leave; stores and warehouses order; demand; holding on what is left.

The verdict: at every transfer cost and in every warehouse's stores the solver either costs less than nobody moving
anything, or moves nothing. Exit code 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pyarrow import parquet
from scipy import stats

from models.network.paths import walk
from models.network.plan import plan
from models.network.strata import Strata
from models.network.transfer import Goods, Lanes, Picture
from tests.bench.machine import machine

LEVELS = (np.arange(12) + 0.5) / 12  # strata of equal weight
SMOOTHING = 0.2
SPREAD_WEEKS = 26
WAREHOUSE_LEAD, WAREHOUSE_HOLDING = 3, np.array([0.3, 0.4, 0.2])
EDGE = np.array([0.5, 1.5, 0.7])
LATERAL_WEEKS, LATERAL_FACTOR = 1, 1.5
HELD_WEEKS = 1.0  # how long a unit that does not sell is taken to stay where it was sent before orders make up for it
EXPOSED_WEEKS = 0  # beyond its lead time: what is ordered now arrives then
WEEKS = 52
FACTORS = (0.5, 1.0, 2.0)  # of the transfer cost
MORE_FACTORS = (4.0, 8.0, 16.0, 30.0)  # up to where nothing pays: the solver alone


@dataclass(frozen=True)
class Network:
    """Stores 0..n-1: warehouse, weeks from it, money."""

    warehouse: np.ndarray
    lead: np.ndarray
    holding: np.ndarray
    underage: np.ndarray

    @staticmethod
    def of(stores: int) -> Network:
        """The parameters of the data's README."""
        s = np.arange(stores)
        return Network(s % 3, 1 + s % 6, 0.7 + 0.03 * s, 6.3 + 0.27 * s)

    def lanes(self, factor: float) -> Lanes:
        """Both ways between any two stores of a warehouse; one week."""
        same = self.warehouse[:, None] == self.warehouse[None, :]
        origin, destination = np.nonzero(same & ~np.eye(len(self.lead), dtype=bool))
        cost = LATERAL_FACTOR * factor * EDGE[self.warehouse[origin]]
        return Lanes.plain(origin, destination, cost, lead_days=np.full(len(origin), 7.0 * LATERAL_WEEKS))


@dataclass(frozen=True)
class Year:
    """Totals over the simulated weeks: units and money."""

    demand: float
    lost: float
    stock: float  # mean units in stores at the end of a week
    moved: float
    lateral_cost: float
    underage_cost: float
    holding_cost: float
    edge_cost: float
    by_warehouse: tuple[float, ...]  # all costs of each warehouse and its stores, which trade with nobody else
    moved_by_warehouse: tuple[float, ...]

    @property
    def total(self) -> float:
        """All costs."""
        return self.lateral_cost + self.underage_cost + self.holding_cost + self.edge_cost


def simulate(demand: np.ndarray, first: int, policy: str, factor: float) -> Year:
    """Weeks `first`.. of demand (weeks, items, stores) under a policy: none, cover or solver."""
    weeks, items, stores = demand.shape
    net = Network.of(stores)
    lanes = net.lanes(factor)
    ahead = int(net.lead.max()) + 2
    mean, spread = _forecasts(demand, first)
    ratio = stats.norm.ppf(net.underage / (net.underage + net.holding))
    level = np.rint(_up_to(mean[0], spread[0], net.lead + 1, ratio))
    on_hand, pipeline = level.copy(), np.zeros((ahead, items, stores))
    supplied = np.zeros((WAREHOUSE_LEAD + 1, items, 3))
    depot = _warehouse_level(net, mean[0], spread[0])
    sums = np.zeros((7, 3))
    for n, t in enumerate(range(first, weeks)):
        on_hand, pipeline = on_hand + pipeline[0], np.concatenate([pipeline[1:], np.zeros((1, items, stores))])
        depot, supplied = depot + supplied[0], np.concatenate([supplied[1:], np.zeros((1, items, 3))])
        out, come = _moves(policy, net, lanes, on_hand, pipeline, mean[n], spread[n])
        on_hand, pipeline[LATERAL_WEEKS - 1] = on_hand - out, pipeline[LATERAL_WEEKS - 1] + come
        wanted = np.maximum(
            np.rint(_up_to(mean[n], spread[n], net.lead + 1, ratio)) - on_hand - pipeline.sum(axis=0), 0
        )
        sent = _rationed(net, depot, wanted)
        for s in range(stores):
            pipeline[net.lead[s] - 1, :, s] += sent[:, s]
        depot = depot - _by_warehouse(net, sent)
        target = _warehouse_level(net, mean[n], spread[n])
        supplied[WAREHOUSE_LEAD - 1] += np.maximum(target - depot - supplied.sum(axis=0), 0)
        sold = np.minimum(on_hand, demand[t])
        lost, on_hand = demand[t] - sold, on_hand - sold
        stores_hold = on_hand + come  # a week on the road costs what a week on the shelf does
        sums += [
            _sum(net, lost),
            _sum(net, on_hand),
            _sum(net, come),
            _sum(net, come) * EDGE * LATERAL_FACTOR * factor,
            _sum(net, lost * net.underage),
            _sum(net, stores_hold * net.holding) + depot.sum(axis=0) * WAREHOUSE_HOLDING,
            _sum(net, sent) * EDGE,
        ]
    lost, stock, moved, *money = (float(total) for total in sums.sum(axis=1))
    by_warehouse = tuple(sums[3:].sum(axis=0).tolist())
    total = float(demand[first:].sum())
    return Year(total, lost, stock / (weeks - first), moved, *money, by_warehouse, tuple(sums[2].tolist()))


def _sum(net: Network, units: np.ndarray) -> np.ndarray:
    return _by_warehouse(net, units).sum(axis=0)


def _forecasts(demand: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of a week's demand as known before each simulated week."""
    smooth, means, spreads, errors = demand[:8].mean(axis=0), [], [], []
    for t in range(len(demand)):
        if t >= first:
            means.append(smooth)
            spreads.append(np.sqrt(np.mean(np.square(errors[-SPREAD_WEEKS:]), axis=0)) + 0.3)
        errors.append(demand[t] - smooth)
        smooth = smooth + SMOOTHING * (demand[t] - smooth)
    return np.array(means), np.array(spreads)


def _up_to(mean: np.ndarray, spread: np.ndarray, weeks: np.ndarray, z: np.ndarray) -> np.ndarray:
    return mean * weeks + z * spread * np.sqrt(weeks)


def _by_warehouse(net: Network, units: np.ndarray) -> np.ndarray:
    return np.stack([units[:, net.warehouse == w].sum(axis=1) for w in range(3)], axis=1)


def _warehouse_level(net: Network, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    weeks = WAREHOUSE_LEAD + 1
    return np.rint(weeks * _by_warehouse(net, mean) + 1.3 * np.sqrt(weeks * _by_warehouse(net, spread**2)))


def _rationed(net: Network, depot: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What the warehouse can send: all of it, or each its share."""
    total = np.maximum(_by_warehouse(net, wanted), 1e-9)
    share = np.minimum(depot / total, 1.0)[:, net.warehouse]
    return np.floor(wanted * share + 1e-9)


def _moves(
    policy: str,
    net: Network,
    lanes: Lanes,
    on_hand: np.ndarray,
    pipeline: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Units that leave and will come, (items, stores)."""
    if policy == "none":
        return np.zeros_like(on_hand), np.zeros_like(on_hand)
    if policy == "cover":
        return _to_cover(net, on_hand, mean)
    answer = plan(_picture(net, lanes, on_hand, pipeline, mean, spread))
    out, come = np.zeros_like(on_hand), np.zeros_like(on_hand)
    np.add.at(out, (answer.sku, lanes.origin[answer.lane]), answer.units)
    np.add.at(come, (answer.sku, lanes.destination[answer.lane]), answer.units)
    return out, come


def _to_cover(net: Network, on_hand: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Everybody of a warehouse to the same days of cover: whole units, what is short of them scaled to what is over."""
    stock, rate = _by_warehouse(net, on_hand)[:, net.warehouse], _by_warehouse(net, mean)[:, net.warehouse]
    target = stock * mean / np.maximum(rate, 1e-9)
    out, wanted = np.floor(np.maximum(on_hand - target, 0)), np.floor(np.maximum(target - on_hand, 0))
    scale = _by_warehouse(net, out) / np.maximum(_by_warehouse(net, wanted), 1e-9)
    come = np.floor(wanted * np.minimum(scale, 1.0)[:, net.warehouse] + 1e-9)
    back = np.minimum(_by_warehouse(net, come) / np.maximum(_by_warehouse(net, out), 1e-9), 1.0)[:, net.warehouse]
    out = np.floor(out * back + 1e-9)
    for w in range(3):  # what flooring left uneven comes off the largest arrival
        mine = np.flatnonzero(net.warehouse == w)
        over = come[:, mine].sum(axis=1) - out[:, mine].sum(axis=1)
        for item in np.flatnonzero(over > 0):
            for s in mine[np.argsort(-come[item, mine])]:
                cut = min(over[item], come[item, s])
                come[item, s] -= cut
                over[item] -= cut
    return out, come


def _picture(
    net: Network, lanes: Lanes, on_hand: np.ndarray, pipeline: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> Picture:
    """A store is exposed until what it orders now arrives: its lead time."""
    items, stores = on_hand.shape
    weeks = int(net.lead.max()) + 1
    exposed = net.lead + EXPOSED_WEEKS
    total, done = [], np.zeros((len(LEVELS), items, stores))
    z = stats.norm.ppf(LEVELS)[:, None, None]
    for t in range(1, weeks + 1):  # demand of the first t weeks, then by differences
        until = np.maximum(mean[None] * t + z * spread[None] * np.sqrt(t), 0.0)
        until = np.where((t <= exposed)[None, None, :], np.maximum(until, done), done)
        total.append(until - done)
        done = until
    demand = np.stack(total, axis=1)
    receipts = np.concatenate([np.zeros((1, items, stores)), pipeline])[:weeks]
    zero, horizon = np.zeros((items, stores)), np.broadcast_to(7.0 * exposed, (items, stores))
    holding = np.broadcast_to(net.holding * HELD_WEEKS, (items, stores))
    strata = Strata(np.full((len(LEVELS), items), 1 / len(LEVELS)), done)
    goods = Goods(np.ones(items), np.ones(items), np.ones(items))
    base = Picture(
        lanes, goods, strata, on_hand, pipeline.sum(axis=0), zero, zero, horizon, net.underage + holding, holding
    )
    return replace(base, paths=walk(on_hand, receipts, demand, 7.0))


def demand_of(path: Path) -> np.ndarray:
    """The file as (weeks, items, stores); its ten negative values are no demand."""
    table = parquet.read_table(path)
    week, item, store = (table.column(n).to_numpy() for n in ("week_idx", "item_idx", "store_idx"))
    demand = np.zeros((int(week.max()) + 1, int(item.max()) + 1, int(store.max()) + 1))
    demand[week, item, store] = np.maximum(table.column("sales").to_numpy(), 0.0)
    return demand


def lost_money(idle: Year, year: Year) -> list[int]:
    """Warehouses among whose stores something was moved and the year cost no less for it."""
    parts = zip(idle.by_warehouse, year.by_warehouse, year.moved_by_warehouse, strict=True)
    return [n for n, (before, after, moved) in enumerate(parts) if (moved > 0) != (after < before)]


def _verdict(year: Year, lost: list[int]) -> str:
    if lost:
        return f"loses money in warehouse {', '.join(map(str, lost))}"
    return "pays wherever it is used" if year.moved > 0 else "does nothing"


def main() -> int:
    """One line a policy and transfer cost; exit code 1 where the solver's transfers did not pay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="every n-th item only")
    parser.add_argument("--last", type=int, default=0, metavar="WEEKS", help="end so many weeks before the file does")
    chosen = parser.parse_args()
    data = Path(os.environ.get("RESTOCK_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = data / "favorita_21_stores_weekly.parquet"
    if not path.exists():
        print(f"no {path}: set RESTOCK_DATA to where the shared data lies", file=sys.stderr)
        return 2
    demand = demand_of(path)[:, :: chosen.every]
    demand = demand[: len(demand) - chosen.last]
    print(machine("numpy", "ortools"))
    print(f"{demand.shape[1]} items, {demand.shape[2]} stores, weeks {len(demand) - WEEKS} to {len(demand) - 1}")
    print("| | lost sales | mean stock | moved | transport | total cost | against none | | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    cases = [("none", 1.0), *[(p, f) for p in ("cover", "solver") for f in FACTORS]]
    idle, wrong = None, 0
    for policy, factor in [*cases, *[("solver", f) for f in MORE_FACTORS]]:
        begun = time.process_time()
        year = simulate(demand, len(demand) - WEEKS, policy, factor)
        idle = idle or year
        lost = lost_money(idle, year)
        wrong += policy == "solver" and bool(lost)
        cells = (
            f"{policy}, {factor:g} x" if policy != "none" else "none",
            f"{year.lost / year.demand:.2%}", f"{year.stock:,.0f}", f"{year.moved:,.0f}", f"{year.lateral_cost:,.0f}",
            f"{year.total:,.0f}", f"{year.total / idle.total - 1:+.2%}",
            _verdict(year, lost) if policy != "none" else "", f"{time.process_time() - begun:.0f}",
        )  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
