"""A burst: orders at the rated load, then ten times it for a minute, then the rated load until nothing waits any more.

    python -m tests.bench.burst                       # 500 orders a second, 5,000 for 60 s
    python -m tests.bench.burst --rate 1000 --times 20

Printed: the workers' memory at the start, at its most and at the end; the most records and seconds of lag; how long
after the burst it was back; the alerts' latency before, during and after; and whether anything was lost.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tests.bench.bench import Bench, add_options, report, right, run, say
from tests.bench.end_to_end import quantiles
from tests.bench.figures import back_s
from tests.bench.load import Load

LOOK_S = 1.0  # the workers look at their lag about once a second
SMALL_S = 1.0  # lag under a second is none: it comes and goes with the polls
PATIENCE_S = 180.0


@dataclass
class Look:
    """The workers at one moment (monotonic seconds)."""

    at: float
    resident_mb: float
    orders: int  # records waiting
    rows: int  # of sku-events, likewise
    lag_s: float


@dataclass
class Looks:
    """A context in which the workers are looked at once a second."""

    bench: Bench
    found: list[Look] = field(default_factory=list)
    _enough: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Looks:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._enough.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self._enough.wait(LOOK_S):
            try:
                records, lag_s = self.bench.worker.lag()
            except OSError:
                continue  # a worker that is too busy to answer: the next look will see it
            orders, rows = records.get("orders", 0), records.get("sku-events", 0)
            self.found.append(Look(time.monotonic(), self.bench.worker.resident_mb(), orders, rows, lag_s))

    def within(self, since: float, until: float) -> list[Look]:
        """Those of a stretch of time."""
        return [look for look in self.found if since <= look.at < until]

    def back_s(self, since: float) -> float | None:
        """How long after `since` lag was small and stayed so; None where it was not yet."""
        return back_s([(look.at, look.lag_s) for look in self.found], since, SMALL_S)


def measure(bench: Bench) -> bool:
    """The rated load, the burst, the rated load; whether nothing was lost."""
    chosen, late = bench.chosen, 0.0
    with Load(bench) as load, Looks(bench) as looks:
        load.run(chosen.rate, chosen.warm_seconds)
        rated = time.monotonic()
        say(f"{chosen.rate:,} orders a second for {chosen.seconds} s ...")
        load.run(chosen.rate, chosen.seconds)
        burst = time.monotonic()
        say(f"{chosen.rate * chosen.times:,} a second for {chosen.burst_seconds} s ...")
        late = load.run(chosen.rate * chosen.times, chosen.burst_seconds)
        over = time.monotonic()
        say(f"{chosen.rate:,} a second until nothing waits ...")
        while looks.back_s(over) is None and time.monotonic() < over + PATIENCE_S:
            load.run(chosen.rate, 1)
        calm = time.monotonic()
        load.run(chosen.rate, chosen.seconds)
        ended = time.monotonic()
    sound = right(bench)
    told(load, looks, (rated, burst, over, calm, ended), bench, late, sound)
    return sound


def told(load: Load, looks: Looks, at: tuple[float, ...], bench: Bench, late: float, sound: bool) -> None:
    """A line for each stretch of time, then what the whole comes to."""
    rows: dict[str, dict[str, Any]] = {}
    for name, since, until in zip(("rated", "burst", "draining", "rated again"), at, at[1:], strict=False):
        seen, took = looks.within(since, until), quantiles(load.stamps.took_ms(since, until))
        rows[name] = {
            "seconds": round(until - since),
            **{f"p{level}_ms": took[f"p{level}_ms"] for level in (50, 99)},
            "alerts": took["alerts"],
            "orders_waiting": max((look.orders for look in seen), default=0),
            "rows_waiting": max((look.rows for look in seen), default=0),
            "lag_s": round(max((look.lag_s for look in seen), default=0.0), 1),
            "memory_mb": round(max((look.resident_mb for look in seen), default=0.0)),
        }
    if not bench.chosen.json:
        print(f"\n{'most of each':12} " + " ".join(f"{name:>14}" for name in rows["rated"]))
        for name, row in rows.items():
            print(f"{name:12} " + " ".join(f"{value:>14,}" for value in row.values()))
        print()
    back, first, last = looks.back_s(at[2]), looks.within(0, at[1]), looks.within(at[3], at[4])
    report(
        bench.chosen.json,
        **({"stretches": rows} if bench.chosen.json else {}),
        producer_behind_s=round(late, 2),
        burst_orders_per_s=round(bench.chosen.rate * bench.chosen.times * bench.chosen.burst_seconds / (at[2] - at[1])),
        lag_back_after_s=round(back, 1) if back is not None else f"NOT within {PATIENCE_S:.0f} s",
        memory_start_mb=round(first[0].resident_mb) if first else None,
        memory_peak_mb=round(bench.worker.peak_mb()),
        memory_end_mb=round(last[-1].resident_mb) if last else None,
        stock_right=sound,
    )


def main() -> int:
    """Warm up, then measure; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500, help="the rated load, orders a second")
    parser.add_argument("--times", type=int, default=10, help="the burst over the rated load")
    parser.add_argument("--burst-seconds", type=int, default=60, help="how long the burst lasts")
    parser.add_argument("--seconds", type=int, default=20, help="how long the rated load before and after")
    parser.add_argument("--warm-seconds", type=int, default=10, help="of the rated load before anything is measured")
    add_options(parser)
    parser.set_defaults(history=30_000)
    return run(parser.parse_args(), measure)


if __name__ == "__main__":
    sys.exit(main())
