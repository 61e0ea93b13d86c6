"""The coupled problem as one sparse linear programme, by HiGHS through scipy.

Rows: flow is conserved at every node but each block's root (its row follows from the others), then the coupling rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, sparse

from models.network.circulation import Circulation, Floats, Flow, answer

METHODS = {"simplex": "highs-ds", "interior point": "highs-ipm"}


class Rows(NamedTuple):
    """Conservation of flow: `conserve @ flow = 0`, one row a node that is nobody's root."""

    conserve: sparse.csr_array


def solve_linear(c: Circulation, method: str = "interior point") -> Flow:
    """The best fractional flow and the price of every coupling row; the bound is the optimum itself.

    Raises ArithmeticError where HiGHS does not reach an optimum (it names its status).
    """
    if len(c.tail) == 0:
        return answer(c, np.zeros(0), None, method)
    result = _linprog(c, c.paid(), METHODS[method])
    units = np.clip(result.x, 0.0, c.upper)
    prices = -np.asarray(result.ineqlin.marginals) if len(c.limit) else np.zeros(0)
    return answer(c, units, None, method, prices=np.maximum(prices, 0.0), rounds=int(result.nit))


def conservation(c: Circulation) -> sparse.csr_array:
    """One row a node, one column an arc: +1 where it ends, -1 where it begins; a row of each block is redundant."""
    nodes, ends = np.unique(np.concatenate([c.tail, c.head]), return_inverse=True)
    arcs = np.arange(len(c.tail))
    value = np.concatenate([-np.ones(len(arcs)), np.ones(len(arcs))])
    return sparse.csr_array((value, (ends, np.concatenate([arcs, arcs]))), shape=(len(nodes), len(arcs)))


def _linprog(c: Circulation, cost: Floats, method: str) -> Any:
    rows = conservation(c)
    limits = {"A_ub": c.usage, "b_ub": c.limit} if len(c.limit) else {}
    result = optimize.linprog(
        cost,
        A_eq=rows,
        b_eq=np.zeros(rows.shape[0]),
        bounds=np.stack([np.zeros(len(cost)), c.upper], axis=1),
        method=method,
        **limits,
    )
    if result.status != 0:
        raise ArithmeticError(f"HiGHS found no optimum: {result.message}")
    return result
