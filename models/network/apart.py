"""Blocks that share nothing, solved whole: OR-tools' cost-scaling min-cost flow, a slice of blocks at a time.

Measured (docs/adr/0006-network-solver.md): the fastest of those tried by far, linear in the number of blocks, and whole
by nature. Its costs are integers: ours are scaled so that the finest step is a billionth of the dearest arc.
"""

from __future__ import annotations

import numpy as np
from ortools.graph.python import min_cost_flow

from models.network.circulation import Circulation, Floats, Flow, Ints, answer

ARCS_A_CALL = 20_000  # a call costs 0.1 ms plus 1 us an arc up to about here, then grows faster than its arcs
COST_STEPS = 1e9  # steps between nothing and the dearest arc
COST_MOST = 2.0**60  # OR-tools multiplies costs by the number of nodes within 63 bits


def solve_apart(c: Circulation) -> Flow:
    """The best whole flow of every block, coupling rows left out.

    The bound is exact up to the rounding of costs (a billionth of the dearest arc a unit).
    """
    return answer(c, best_units(c, c.paid(), c.upper), None, "cost scaling", prices=np.zeros(len(c.limit)))


def best_units(c: Circulation, cost: Floats, upper: Floats) -> Floats:
    """Whole flows (m,) that are best for these costs and widths, block by block."""
    units = np.zeros(len(c.tail))
    live = np.flatnonzero(upper > 0)
    for first, last in _slices(c.block[live]):
        arcs = live[first:last]
        units[arcs] = _solve(c.tail[arcs], c.head[arcs], upper[arcs], cost[arcs])
    return units


def _slices(block: Ints) -> list[tuple[int, int]]:
    """Cuts between blocks, so that a slice has about ARCS_A_CALL arcs or is one block."""
    if len(block) == 0:
        return []
    starts = np.flatnonzero(np.r_[True, np.diff(block) > 0])
    group = starts // ARCS_A_CALL
    cuts = [int(s) for s in starts[np.r_[True, np.diff(group) > 0]]]
    return list(zip(cuts, [*cuts[1:], len(block)], strict=True))


def _solve(tail: Ints, head: Ints, upper: Floats, cost: Floats) -> Ints:
    dearest = float(np.abs(cost).max(initial=0.0))
    if dearest == 0:
        return np.zeros(len(tail), dtype=np.int64)
    number, nodes = _numbered(tail, head)
    first = int(min(tail.min(), head.min()))
    steps = min(COST_STEPS, COST_MOST / (4 * (nodes + 2)))
    solver = min_cost_flow.SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(
        number[tail - first],
        number[head - first],
        upper.astype(np.int64),
        np.rint(cost * (steps / dearest)).astype(np.int64),
    )
    status = solver.solve()
    assert status == solver.OPTIMAL, f"a circulation always has an answer; OR-tools says {status}"
    return np.asarray(solver.flows(arcs), dtype=np.int64)


def _numbered(tail: Ints, head: Ints) -> tuple[Ints, int]:
    """A number without gaps for each node from the first on, and how many there are: no sorting, nodes lie together."""
    first, last = int(min(tail.min(), head.min())), int(max(tail.max(), head.max()))
    there = np.zeros(last - first + 1, dtype=np.bool_)
    there[tail - first] = there[head - first] = True
    number: Ints = np.cumsum(there) - 1
    return number, int(number[-1]) + 1
