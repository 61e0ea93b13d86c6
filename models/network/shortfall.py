"""Which limits are to blame when not everything required can arrive.

Only deliveries are counted (every other cost is nothing): the dual prices of that linear programme are a certificate.
A width or row with a price would, if larger, let more arrive; a need without a price is one that is starved by them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize

from models.network.circulation import Circulation, Ints
from models.network.linear import conservation

SEEN = 1e-7


class Conflict(NamedTuple):
    """Arcs and rows that together cannot hold, and how much is missing."""

    needs: Ints  # required arcs
    widths: Ints  # arcs whose width is too small
    rows: Ints  # coupling rows whose limit is too small
    missing: float  # flow units


def conflict(c: Circulation, elastic: np.ndarray) -> Conflict:
    """What keeps the required arcs short; `elastic` (m,) marks arcs whose own width is no limit of the world's."""
    total = float(c.upper[c.required].sum())
    upper = np.where(elastic, total, c.upper)
    rows = conservation(c)
    limits = {"A_ub": c.usage, "b_ub": c.limit} if len(c.limit) else {}
    result = optimize.linprog(
        -1.0 * c.required,
        A_eq=rows,
        b_eq=np.zeros(rows.shape[0]),
        bounds=np.stack([np.zeros(len(upper)), upper], axis=1),
        method="highs-ds",
        **limits,
    )
    if result.status != 0:
        raise ArithmeticError(f"HiGHS found no optimum: {result.message}")
    priced = result.upper.marginals < -SEEN
    row_prices = result.ineqlin.marginals if len(c.limit) else np.zeros(0)
    return Conflict(
        np.flatnonzero(c.required & ~priced),
        np.flatnonzero(priced & ~c.required),
        np.flatnonzero(row_prices < -SEEN),
        total + float(result.fun),
    )
