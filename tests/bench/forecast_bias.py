"""Bias of the mean forecast where the true mean is known: demand seen in full, and with days out of stock.

usage: python -m tests.bench.forecast_bias [--seeds 1-20] [--rows 600] [--censor 0.3]

A simulated shop of counts with weekdays and promotions that double demand, 120 days; 7-day sums at 8 weekly origins
against their true means, one line a seed. `known` is who knows the exact effect of weekdays and promotions and takes
from the same censored history nothing but each row's level: what is left is chance, whoever forecasts.
"""

from __future__ import annotations

import argparse
import platform

import numpy as np

from models.demand.backtest import forecast_history
from models.demand.contract import Floats
from models.demand.panel import panel
from tests.models.test_backtest import shop

DAYS, SPAN = 120, 7
ORIGINS = list(range(60, 113, 7))


def biases(seed: int, rows: int, censor: float) -> tuple[float, float, float]:
    """Relative bias in percent: seen in full, censored, and of who knows all effects and sees the censored."""
    units, demand, exposure, promo, mean = shop(seed, rows=rows, days=DAYS, censor=censor)
    truth = sum(mean[:, o + 1 : o + 1 + SPAN].sum() for o in ORIGINS)

    def off(seen: Floats, share: Floats) -> float:
        told = forecast_history(panel(seen, share, flags=(promo,)), [SPAN], ORIGINS)[0].mean.sum()
        return 100.0 * float(told / truth - 1.0)

    levels = [units[:, : o + 1].sum(axis=1) / (exposure * mean)[:, : o + 1].sum(axis=1) for o in ORIGINS]
    known = sum(
        float(level @ mean[:, o + 1 : o + 1 + SPAN].sum(axis=1)) for level, o in zip(levels, ORIGINS, strict=True)
    )
    return off(demand, np.ones_like(exposure)), off(units, exposure), 100.0 * (known / float(truth) - 1.0)


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seeds", default="1-20")
    words.add_argument("--rows", type=int, default=600)
    words.add_argument("--censor", type=float, default=0.3)
    asked = words.parse_args()
    first, _, last = asked.seeds.partition("-")
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}; {asked.rows} rows")
    print("  seed   in full  censored     known   (percent)")
    found = []
    for seed in range(int(first), int(last or first) + 1):
        found.append(biases(seed, asked.rows, asked.censor))
        print("  {:4d}  {:+8.2f}  {:+8.2f}  {:+8.2f}".format(seed, *found[-1]), flush=True)
    table = np.array(found)
    spread = table.std(axis=0, ddof=1) if len(table) > 1 else np.zeros(3)
    for name, row in (("mean", table.mean(axis=0)), ("sd", spread), ("worst", np.abs(table).max(axis=0))):
        print("  {:4s} {:+8.2f}  {:+8.2f}  {:+8.2f}".format(f"{name:5s}", *row))


if __name__ == "__main__":
    main()
