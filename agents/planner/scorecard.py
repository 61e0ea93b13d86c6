"""How forecasts and service turned out: sums that grow as days close, in the shelf's counters, so kept with its state.

Integers (units and shares in thousandths), so that neither order nor slices show. What they mean, and what is made of
them, is in docs/metrics.md: coverage is an interval, as demand is counted in whole units.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.planner.flags import LEARNING
from agents.planner.records import gathered
from agents.planner.shelf import Rows, Shelf
from models.demand.contract import Verdict

SCORED_FROM = 2  # the version from which a closing is scored
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.975, 0.99)  # of which coverage is counted
DAYS, EXPECTED, CAME, MISSED, SUMS = (f"forecast:{name}" for name in ("days", "expected", "came", "missed", "sums"))
HELD, IN_STOCK, PROMISED = (f"service:{name}" for name in ("days", "in_stock", "promised"))

Floats = npt.NDArray[np.float64]


def under(level: float) -> str:
    """The counter of sums under the quantile told at a level."""
    return f"forecast:under:{level:g}"


def within(level: float) -> str:
    """The counter of sums under it or just there."""
    return f"forecast:within:{level:g}"


def score(shelf: Shelf, rows: Rows, units: Floats, exposure: Floats, verdict: Verdict) -> None:
    """The open day of rows (n,) closes: `units` (n,) came, of which the share `exposure` (n,) could be seen."""
    if shelf.version < SCORED_FROM:
        return
    h, counters = gathered(shelf.hot, rows), shelf.counters
    told = h["flags"] & LEARNING > 0
    seen = told & (exposure >= 1.0)
    expected, came = _milli(h["demand_rate"][seen]), _milli(units[seen])
    counters[DAYS] += len(came)
    counters[EXPECTED] += int(expected.sum())
    counters[CAME] += int(came.sum())
    counters[MISSED] += int(np.abs(came - expected).sum())
    known = told & (h["known_day"] <= h["day"])
    counters[HELD] += int(np.count_nonzero(known))
    counters[IN_STOCK] += int(np.count_nonzero(known & (h["opening"] > 0) & (h["opening"] + h["flow0"] > 0)))
    counters[PROMISED] += int(_milli(shelf.policy["service_level"][rows[known]]).sum())
    _judge(counters, verdict)


def _judge(counters: Counter[str], verdict: Verdict) -> None:
    if len(verdict.came_units) == 0:
        return
    came, told = _milli(verdict.came_units)[:, None], _milli(verdict.quantile_units)
    counters[SUMS] += len(came)
    for level, less, most in zip(verdict.levels, (came < told).sum(axis=0), (came <= told).sum(axis=0), strict=True):
        counters[under(level)] += int(less)
        counters[within(level)] += int(most)


def card(counters: Counter[str]) -> dict[str, Any]:
    """What a person reads of a shelf's counters; null where there is nothing to judge by yet."""

    def share(part: int, of: int) -> float | None:
        return round(part / of, 4) if of else None

    sums = counters[SUMS]
    return {
        "days": counters[DAYS],
        "bias": share(counters[EXPECTED] - counters[CAME], counters[CAME]),
        "wape": share(counters[MISSED], counters[CAME]),
        "sums": sums,
        "coverage": {f"{at:g}": [share(counters[name(at)], sums) for name in (under, within)] for at in LEVELS},
        "in_stock": share(counters[IN_STOCK], counters[HELD]),
        "promised": share(counters[PROMISED], 1000 * counters[HELD]),
    }


def _milli(amounts: Floats) -> npt.NDArray[np.int64]:
    return np.asarray(np.rint(amounts * 1000.0), np.int64)
