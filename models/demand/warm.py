"""`python -m models.demand.warm`: compile the forecaster's loops ahead of the first event, or load what is kept.

Compiling takes some 20 s of a processor, once a machine and release (see compiled.py); a worker that met its first
closing unprepared would answer nothing meanwhile.
"""

from __future__ import annotations

import numpy as np

from models.demand import forgetting, online
from models.demand.contract import Family, no_ahead, observation


def warm(family: Family = online.FAMILY) -> None:
    """Call everything once, on one row. Nothing where loops are compiled already."""
    n, heads, period = 1, family.heads, np.zeros(1, np.int64)
    state, shared = family.fresh(np.zeros(n, np.int64)), family.fresh_shared()
    horizons = np.full((n, heads), 2, np.int64)
    plan = np.full((n, len(family.plan)), np.nan)
    closed = family.close(state, shared, observation(period, np.ones(n), np.ones(n), horizons, plan=plan))
    shared = family.settle(shared, closed.told)
    none = np.zeros((1, 1, 1, 1, 1)), np.zeros((1, 1, 1, 1))
    forgetting.learnt(
        none, np.ones(1), (none[0][0], none[1][0]), np.zeros((1, 1)), (1.0, 1.0)
    )  # no horizon is over yet
    family.outlook(closed.state, shared, period, horizons, no_ahead(n), np.array([0.5, 0.95]))
    family.explain(closed.state, shared)


if __name__ == "__main__":
    warm()
