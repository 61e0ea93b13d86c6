"""What the simulated shop costs: seconds and memory to make a world, to live a day of it, and to tell that day.

    python -m tests.bench.shop                         # 1,000,000 SKU-locations at 10 places, 0.2 customers each a day
    python -m tests.bench.shop --rows 1000 --customers-day 4

Living is the pure world alone (truth included); telling writes every event as the JSON that would be published.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import time
from collections import Counter

import numpy as np
import orjson

from agents.shop.config import DAY_MS, Config
from agents.shop.world import World

MIB = 1 << 20


def peak_mib() -> int:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MIB


def main() -> None:
    """Print one line a phase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--locations", type=int, default=10)
    parser.add_argument("--customers-day", type=float, default=0.2)
    parser.add_argument("--restocking", default="own")
    args = parser.parse_args()
    print(f"{' '.join(sys.argv)}\n{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
          f"numpy {np.__version__}; imports: {peak_mib()} MiB")  # fmt: skip
    begun = time.process_time()
    world = World(Config(**vars(args)))
    print(f"world made      {time.process_time() - begun:7.1f} s CPU  peak {peak_mib():6,} MiB")
    begun = time.process_time()
    opening = world.tell(world.now_ms + DAY_MS // 96)
    size = sum(len(orjson.dumps(one.event)) for one in opening)
    print(f"opening told    {time.process_time() - begun:7.1f} s CPU  peak {peak_mib():6,} MiB  "
          f"{len(opening):,} events, {size / MIB:,.0f} MiB")  # fmt: skip
    del opening
    for number in (1, 2, 3):
        begun = time.process_time()
        day = world.day()
        print(f"day {number} lived     {time.process_time() - begun:7.1f} s CPU  peak {peak_mib():6,} MiB  "
              f"{int(day.wanted_units.sum()):,} units wanted, {int(day.lost_units.sum()):,} lost")  # fmt: skip
    begun, events, size, end_ms = time.process_time(), Counter[str](), 0, world.now_ms + DAY_MS
    while world.now_ms < end_ms:  # a step at a time, as the door does it
        for one in world.tell(world.now_ms + DAY_MS // 96):
            events[one.topic] += 1
            size += len(orjson.dumps(one.event))
    spent = time.process_time() - begun
    print(f"day 4 told      {spent:7.1f} s CPU  peak {peak_mib():6,} MiB  {events.total():,} events "
          f"({events.total() / spent:,.0f}/s), {size / MIB:,.0f} MiB: {dict(events)}")  # fmt: skip


if __name__ == "__main__":
    main()
