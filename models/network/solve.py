"""One door for every circulation: apart where nothing couples, exactly where small, by prices where large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.network import whole
from models.network.apart import solve_apart
from models.network.circulation import Circulation, Floats, Flow, used
from models.network.linear import solve_linear
from models.network.priced import GAP, solve_priced

ARCS_EXACT = 250_000  # simplex takes about ten seconds for as many; past here prices are faster


def solve(
    c: Circulation,
    gap: float = GAP,
    rounds_most: int = 40,
    arcs_exact: int = ARCS_EXACT,
    start: Floats | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Flow:
    """A whole flow within all limits, its bound and the prices of the limits.

    Blocks are solved apart first: if their answers fit every row together, that is the optimum and all prices are zero.
    Otherwise the linear programme is solved exactly and rounded (up to `arcs_exact` arcs), or priced to within `gap` or
    until `enough` says so.
    """
    alone = solve_apart(c)
    if np.all(used(c, alone.units) <= c.limit * (1 + 1e-12)):
        return alone
    if len(c.tail) <= arcs_exact:
        return whole.from_fractions(c, solve_linear(c, "simplex"))
    return solve_priced(c, gap, rounds_most, start, enough)
