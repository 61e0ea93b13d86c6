"""Plain min-cost flow: supplies, needs, arcs with cost and width. The textbook door to the same solvers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from models.network.circulation import Circulation, Floats, Flow, Ints, no_rows
from models.network.shortfall import conflict
from models.network.solve import solve


class Shipped(NamedTuple):
    """Flow on each arc, its cost, what is missing at whom, and the nodes and arcs that are to blame."""

    units: Floats  # (m,)
    cost: float
    missing: Floats  # (n,)
    blamed_nodes: Ints  # supplies too small, needs starved
    blamed_arcs: Ints
    blamed_rows: Ints
    flow: Flow

    @property
    def feasible(self) -> bool:
        """Whether every need is met."""
        return self.flow.feasible


def min_cost_flow(
    supply: Floats,
    tail: Ints,
    head: Ints,
    cost: Floats,
    width: Floats | None = None,
    usage: Floats | None = None,
    limit: Floats | None = None,
) -> Shipped:
    """The cheapest way from supplies (positive, (n,)) to needs (negative); supplies need not be used up.

    `width` (m,) whole, default as wide as needed; `usage` (r, m) and `limit` (r,) limit arcs together. Where needs
    cannot all be met as much as possible is, and the shortfall and what causes it are named. Raises ValueError for an
    arc from a node to itself: a free loop hides what is missing.

    >>> shipped = min_cost_flow(np.array([100.0, -50, -50]), np.array([0, 0, 1]), np.array([1, 2, 2]),
    ...                         np.array([10.0, 20, 15]))
    >>> shipped.units, shipped.cost
    (array([50., 50.,  0.]), 1500.0)
    """
    tail, head, supply = np.asarray(tail, np.int64), np.asarray(head, np.int64), np.asarray(supply, float)
    loops = np.flatnonzero(tail == head)
    if len(loops):
        raise ValueError(f"arc {loops[0]} runs from node {tail[loops[0]]} to itself: a free loop hides what is missing")
    gives, needs = np.flatnonzero(supply > 0), np.flatnonzero(supply < 0)
    count, root = len(tail), len(supply)
    open_width = float(np.abs(supply).sum()) + 1 if width is None else None
    upper = np.full(count, open_width) if width is None else np.asarray(width, float)
    total = count + len(gives) + len(needs)
    rows = no_rows(total) if usage is None else _widened(np.atleast_2d(usage), total)
    c = Circulation(
        np.concatenate([tail, np.full(len(gives), root), needs]),
        np.concatenate([head, gives, np.full(len(needs), root)]),
        np.concatenate([upper, supply[gives], -supply[needs]]),
        np.concatenate([np.asarray(cost, float), np.zeros(len(gives) + len(needs))]),
        np.zeros(total, dtype=np.int64),
        np.arange(total) >= count + len(gives),
        rows,
        np.zeros(0) if limit is None else np.asarray(limit, float),
    )
    flow = solve(c)
    missing = np.zeros(root)
    missing[needs] = c.short(flow.units)[count + len(gives) :]
    if flow.feasible:
        return Shipped(flow.units[:count], flow.cost, missing, *(np.zeros(0, np.int64),) * 3, flow)
    why = conflict(c, (np.arange(total) < count) & (width is None))
    arcs = why.widths[why.widths < count]
    short_gives = gives[why.widths[why.widths >= count] - count]
    nodes = np.union1d(short_gives, needs[why.needs - count - len(gives)])
    return Shipped(flow.units[:count], flow.cost, missing, nodes, arcs, why.rows, flow)


def _widened(usage: Floats, total: int) -> sparse.csr_array:
    blank = sparse.csr_array((usage.shape[0], total - usage.shape[1]))
    return sparse.csr_array(sparse.hstack([sparse.csr_array(usage), blank]))
