"""Where to keep safety stock in a chain of stages: guaranteed service, by dynamic programming over a tree.

Each stage promises its customers a service time and is promised one by its suppliers; what lies between, plus its own
lead time, it covers with stock: `z * sd * sqrt(in + lead - out)` units (Simpson 1958; Graves & Willems, Optimizing
Strategic Safety Stock Placement in Supply Chains, M&SOM 2000). The best promises of a tree are found leaf by leaf. A
network with a cycle (two ways between two stages) is refused by name: the method does not hold there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.network.circulation import Floats


class NotATree(ValueError):
    """The network has a cycle or falls apart; `stages` names what shows it."""

    def __init__(self, what: str, stages: Sequence[str]) -> None:
        self.stages = tuple(stages)
        super().__init__(f"{what}: {', '.join(self.stages)}")


@dataclass(frozen=True)
class Stage:
    """One stage. `holding` is money a unit and period at this stage (all value added up to here).

    `bound_units` of one period's demand is `z * sd`: set where outside customers draw on the stage. `service_most` is
    the longest service time it may promise (None: any). `suppliers`: units of each other stage that one unit needs.
    """

    lead: int
    holding: float
    suppliers: Mapping[str, float]
    service_most: int | None = None
    bound_units: float | None = None


@dataclass(frozen=True)
class Placement:
    """The best promises: `service` out and `inbound` per stage, `stock_units` where stock is kept, and its cost."""

    service: dict[str, int]
    inbound: dict[str, int]
    stock_units: dict[str, float]
    cost: float

    def holders(self) -> list[str]:
        """Stages that keep stock, by name."""
        return sorted(name for name, units in self.stock_units.items() if units > 0)


def cumulated(cost_rate: Mapping[str, float], suppliers: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Holding costs from the cost each stage adds: its own plus those of all it is made from.

    >>> cumulated({"a": 2400, "b": 3600, "c": 2400}, {"a": {}, "b": {"a": 1}, "c": {"b": 1}})
    {'a': 2400, 'b': 6000, 'c': 8400}
    """
    total: dict[str, float] = {}
    for name in _upstream_first(suppliers):
        total[name] = cost_rate[name] + sum(units * total[s] for s, units in suppliers[name].items())
    return {name: total[name] for name in cost_rate}


def place(stages: Mapping[str, Stage]) -> Placement:
    """The cheapest guaranteed-service placement of a tree of stages.

    Demand bounds of several customers add up as independent ones do (root of the sum of squares): risk pools are left
    out. Raises NotATree where stages form a cycle or are not connected, ValueError for an unknown supplier.
    """
    order, parent = _tree(stages)
    spread = _spreads(stages)
    longest = _longest(stages)
    tables = _Tables(stages, spread, longest)
    for name in order[:-1]:
        tables.fold(name, parent[name])
    return _read(stages, tables, order, parent)


def cost_of(stages: Mapping[str, Stage], service: Mapping[str, int]) -> float:
    """What given promises cost: each stage waits for its slowest supplier.

    Raises ValueError where a promise is longer than the stage could ever need, or than it may be.
    """
    spread, total = _spreads(stages), 0.0
    for name, stage in stages.items():
        covered = max((service[s] for s in stage.suppliers), default=0) + stage.lead - service[name]
        if covered < 0 or (stage.service_most is not None and service[name] > stage.service_most):
            raise ValueError(f"{name} cannot promise {service[name]}")
        total += stage.holding * spread[name] * float(np.sqrt(covered))
    return total


def parse(text: str) -> dict[str, Stage]:
    """Stages from the literature's text form: a header line, then a stage a line.

    stage_id, lead_time, max_s_time, cost added here, risk_pool (left out), demand mean, sd and z of outside customers,
    then pairs of supplier and units. Missing trailing cells are empty ones. Holding costs are the cumulated costs.
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()[1:] if line.strip()]
    padded = [row + [""] * (8 - len(row)) for row in rows]
    suppliers = {
        row[0]: {row[i]: float(row[i + 1]) for i in range(8, len(row) - 1, 2) if row[i] != ""} for row in padded
    }
    holding = cumulated({row[0]: float(row[3]) for row in padded}, suppliers)
    return {
        row[0]: Stage(
            int(row[1]),
            holding[row[0]],
            suppliers[row[0]],
            int(row[2]) if row[2] != "" else None,
            float(row[6]) * float(row[7]) if row[6] != "" else None,
        )
        for row in padded
    }


def _upstream_first(suppliers: Mapping[str, Mapping[str, float]]) -> list[str]:
    done: list[str] = []
    seen: set[str] = set()
    for first in suppliers:
        stack = [(first, False)]
        while stack:
            name, ready = stack.pop()
            if ready:
                done.append(name)
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((s, False) for s in suppliers[name])
    return done


def _tree(stages: Mapping[str, Stage]) -> tuple[list[str], dict[str, str]]:
    """Leaves first, and each stage's neighbour towards the last one (the root)."""
    near: dict[str, list[str]] = {name: [] for name in stages}
    for name, stage in stages.items():
        for supplier in stage.suppliers:
            if supplier not in stages:
                raise ValueError(f"{name} is made from {supplier}, which is no stage")
            near[name].append(supplier)
            near[supplier].append(name)
    root = next(iter(stages))
    parent, order, stack = {root: root}, [], [root]
    while stack:
        name = stack.pop()
        order.append(name)
        for other in near[name]:
            if other == parent[name]:
                continue
            if other in parent:
                raise NotATree("two ways lead between stages", _cycle(parent, name, other))
            parent[other] = name
            stack.append(other)
    if len(order) < len(stages):
        raise NotATree("stages without a connection to the rest", sorted(set(stages) - set(order)))
    return order[::-1], parent


def _cycle(parent: Mapping[str, str], one: str, other: str) -> list[str]:
    """The stages on the two ways between two stages already reached."""

    def home(name: str) -> list[str]:
        way = [name]
        while parent[way[-1]] != way[-1]:
            way.append(parent[way[-1]])
        return way

    a, b = home(one), home(other)
    while len(a) > 1 and len(b) > 1 and a[-2] == b[-2]:
        a.pop(), b.pop()
    return a + b[-2::-1]


def _spreads(stages: Mapping[str, Stage]) -> dict[str, float]:
    """Demand bound of one period at each stage: its own and its customers', independent."""
    square = {name: float(stage.bound_units or 0.0) ** 2 for name, stage in stages.items()}
    for name in reversed(_upstream_first({n: s.suppliers for n, s in stages.items()})):
        for supplier, units in stages[name].suppliers.items():
            square[supplier] += units**2 * square[name]
    return {name: float(np.sqrt(value)) for name, value in square.items()}


def _longest(stages: Mapping[str, Stage]) -> dict[str, int]:
    """Longest cumulated lead time at each stage: no promise is ever longer."""
    longest: dict[str, int] = {}
    for name in _upstream_first({n: s.suppliers for n, s in stages.items()}):
        longest[name] = stages[name].lead + max((longest[s] for s in stages[name].suppliers), default=0)
    return longest


class _Tables:
    """For each stage, cost over (inbound, service) of it and of what is folded into it; infinite where unlawful."""

    def __init__(self, stages: Mapping[str, Stage], spread: Mapping[str, float], longest: Mapping[str, int]) -> None:
        self.stages, self.span = stages, longest
        self.table = {name: _own(stage, spread[name], longest[name]) for name, stage in stages.items()}
        self.folded: dict[str, Floats] = {}

    def fold(self, name: str, parent: str) -> None:
        """Add to the parent the best this stage's side can do for each of the parent's promises."""
        mine = self.table[name]
        if parent in self.stages[name].suppliers:  # the parent supplies us: our inbound is at least its service
            best = np.minimum.accumulate(mine.min(axis=1)[::-1])[::-1]
            self.table[parent] += self._fitted(best, self.span[parent] + 1, np.inf)[None, :]
        else:  # we supply the parent: our service is at most its inbound
            best = np.minimum.accumulate(mine.min(axis=0))
            inbound = self.table[parent].shape[0]
            self.table[parent] += self._fitted(best, inbound, float(best[-1]))[:, None]

    @staticmethod
    def _fitted(values: Floats, size: int, beyond: float) -> Floats:
        return np.concatenate([values, np.full(max(size - len(values), 0), beyond)])[:size]


def _own(stage: Stage, spread: float, longest: int) -> Floats:
    """Cost of the stage's own stock over inbound 0..longest - lead and service 0..longest."""
    inbound = np.arange(longest - stage.lead + 1)[:, None]
    service = np.arange(longest + 1)[None, :]
    covered = inbound + stage.lead - service
    most = longest if stage.service_most is None else stage.service_most
    lawful = (covered >= 0) & (service <= most)
    return np.where(lawful, stage.holding * spread * np.sqrt(np.maximum(covered, 0)), np.inf)


def _read(stages: Mapping[str, Stage], t: _Tables, order: Sequence[str], parent: Mapping[str, str]) -> Placement:
    """The promises behind the least cost, from the root outwards."""
    service: dict[str, int] = {}
    inbound: dict[str, int] = {}
    root = order[-1]
    cost = float(t.table[root].min())
    for name in reversed(order):
        table = t.table[name].copy()
        if name != root and parent[name] in stages[name].suppliers:
            table[: service[parent[name]]] = np.inf
        elif name != root:
            table[:, inbound[parent[name]] + 1 :] = np.inf
        inbound[name], service[name] = (int(i) for i in np.unravel_index(int(np.argmin(table)), table.shape))
    spread = _spreads(stages)
    stock = {
        name: spread[name] * float(np.sqrt(inbound[name] + stage.lead - service[name]))
        for name, stage in stages.items()
    }
    return Placement(service, inbound, stock, cost)
