"""How throughput grows with workers: one, two and four over the same shelves, and one split in two and three processes.

    python -m tests.bench.scaling                    # 100,000 orders each
    python -m tests.bench.scaling --teams 1,2 --orders 200000

One installation of four shelves, Kafka, Redis and the workers on the same machine; each team runs down a log that was
filled while nobody worked. On few cores more workers mostly take them from each other: the machine is in the heading.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tests.bench.bench import Bench, add_options, report, say
from tests.bench.end_to_end import run_down
from tests.bench.team import Team

COLUMNS = ("workers", "orders/s", "ratio", "second half", "ratio", "CPU s a million orders", "peak MB", "right")


def measure(bench: Bench, teams: list[str]) -> dict[str, dict[str, Any]]:
    """Each team in turn over the same number of orders."""
    found = {}
    for name in teams:
        say(f"workers: {name} ...")
        workers, _, planners = name.partition("-split-")
        found[name] = run_down(bench, Team(bench.at, int(workers), int(planners or 0)))
    return found


def told(found: dict[str, dict[str, Any]]) -> None:
    """A table of ratios to the first team."""
    first = next(iter(found.values()))
    print(f"\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for name, its in found.items():
        workers, _, planners = name.partition("-split-")
        cells = [f"{workers}, an intake and planners: {planners}" if planners else workers]
        for rate in ("orders_per_s", "warm_orders_per_s"):
            cells += [f"{its[rate]:,}", f"{its[rate] / max(first[rate], 1):.2f}"]
        cells += [f"{its['cpu_s_per_million_orders']:.1f}", f"{its['worker_peak_mb']:,}"]
        print("| " + " | ".join([*cells, "yes" if its["stock_right"] else "NO"]) + " |")
    print(flush=True)


def main() -> int:
    """Every team asked for; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100_000, help="orders in the log, each time")
    parser.add_argument(
        "--teams",
        default="1,1-split-1,1-split-2,2,4",
        help="how many workers, with commas; -split-N: as an intake and N planners",
    )
    add_options(parser)
    parser.set_defaults(history=30_000, spy=None)
    chosen = parser.parse_args()
    bench = Bench(chosen)
    try:
        bench.warm_up()
        found = measure(bench, chosen.teams.split(","))
    finally:
        bench.close()
    if not chosen.json:
        told(found)
    right = all(its["stock_right"] for its in found.values())
    report(chosen.json, **({"teams": found} if chosen.json else {"orders": chosen.orders}), stock_right=right)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
