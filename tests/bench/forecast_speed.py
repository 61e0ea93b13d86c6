"""What a closing of many rows costs: all experts, weights, three horizons of quantiles, calibration, reorder points.

usage: python -m tests.bench.forecast_speed [--rows 100000] [--days 40] [--measured 8]

Warms up over `--days` with the planner's setting (plan columns, carts, groups, three horizons), then measures CPU time
a part. One core: set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict

import numpy as np

from models.demand.contract import Ahead, Observation
from models.demand.online import FAMILY
from models.stock import reorder

LEVELS = np.array([0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995])
HORIZONS = (9, 7, 14)


def main() -> None:
    """Print microseconds a row, and seconds for a million."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=100_000)
    words.add_argument("--days", type=int, default=40)
    words.add_argument("--measured", type=int, default=8)
    words.add_argument("--busy-plan", action="store_true", help="promotions and prices that move, on a tenth of days")
    asked = words.parse_args()
    rng, n = np.random.default_rng(1), asked.rows
    rate = rng.choice([0.05, 0.5, 3.0, 40.0], n)
    horizons, groups = np.tile(np.array(HORIZONS), (n, 1)), rng.integers(0, 100, (n, 2))
    state, shared, spent = FAMILY.fresh(np.arange(n)), FAMILY.fresh_shared(), defaultdict[str, float](float)
    plan = np.zeros((n, len(FAMILY.plan)))
    ahead = Ahead(np.zeros((n, 14, len(FAMILY.plan))))
    if asked.busy_plan:
        plan[:, :2] = rng.normal(0.0, 0.1, (n, 2)) * (rng.random((n, 2)) < 0.1)
        ahead = Ahead(np.repeat(plan[:, None], 14, axis=1))
    service = np.full(n, 0.95)
    for day in range(asked.days + asked.measured):
        units = rng.poisson(rate).astype(float)
        signals = rng.poisson(rate[:, None] * np.array([9.0, 2.0, 0.5, 0.5, 1.0])).astype(float)
        period = np.full(n, day)
        marks = [time.process_time()]
        done = FAMILY.close(
            state, shared, Observation(period, units, np.ones(n), horizons, plan, ahead, signals, groups)
        )
        marks.append(time.process_time())
        out = FAMILY.outlook(done.state, shared, period, horizons, ahead, LEVELS)
        marks.append(time.process_time())
        reorder.reorder_point_units(LEVELS, out.quantile_sum_units[:, 0], service)
        marks.append(time.process_time())
        shared, state = FAMILY.settle(shared, done.told), done.state
        marks.append(time.process_time())
        if day >= asked.days:
            for part, seconds in zip(("close", "outlook", "reorder points", "settle"), np.diff(marks), strict=True):
                spent[part] += float(seconds) / asked.measured
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{n} rows, {len(HORIZONS)} horizons")
    print(f"state {FAMILY.row.itemsize} B a row, told {FAMILY.told.itemsize} B")
    for part, seconds in [*spent.items(), ("all", sum(spent.values()))]:
        print(f"  {part:16s} {1e6 * seconds / n:7.2f} us a row  {1e6 * seconds / n:7.2f} s a million")


if __name__ == "__main__":
    main()
