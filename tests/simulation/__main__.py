"""`python -m tests.simulation --seed 7` replays a seed; `--minutes 60` runs as many as fit."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.laws import Failed, check_seed
from tests.simulation.world import KINDS


def main() -> int:
    """Run one seed, a range, or as many as fit; exit 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--kind", choices=KINDS, default="", help="instead of the seed's own kind of world")
    parser.add_argument("--first", type=int, default=None, help="of several seeds; with --minutes any number")
    parser.add_argument("--count", type=int, default=100, help="how many seeds")
    parser.add_argument("--minutes", type=float, help="as many as fit")
    parser.add_argument("--trace", action="store_true", help="print the way to a failure")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first seed that fails")
    asked = parser.parse_args()
    if asked.seed is not None:
        return run(range(asked.seed, asked.seed + 1), asked)
    first = asked.first if asked.first is not None else int(time.time()) if asked.minutes else 0
    return run(range(first, first + (10**9 if asked.minutes else asked.count)), asked)


def run(seeds: range, asked: argparse.Namespace) -> int:
    """Run seeds within the time; tells what happened in all of them."""
    began_s, happened, done, failed = time.monotonic(), Counter[str](), 0, []
    for seed in seeds:
        if asked.minutes and time.monotonic() - began_s > asked.minutes * 60:
            break
        try:
            report = check_seed(seed, asked.kind, asked.trace)
        except Failed as error:
            failed.append(seed)
            print(error, flush=True)
            if not asked.keep_going:
                break
            continue
        done += 1
        happened += report.happened
        if len(seeds) == 1:
            print(f"{report.kind}: {report.records} records, {report.messages} messages, run {report.digest}")
    for what, times in sorted(happened.items()):
        print(f"{times:8,} {what}")
    print(f"{done:,} seeds hold, {len(failed)} fail {failed or ''}, {time.monotonic() - began_s:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
