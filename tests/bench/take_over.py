"""How long alerts pause when a worker leaves, joins or dies: two workers under a steady load of orders.

    python -m tests.bench.take_over                      # 300 orders a second, about three minutes
    python -m tests.bench.take_over --rate 200 --split   # each worker as an intake and a planner

One worker is ended by SIGTERM, another joins the one that is left, then one is ended by `kill -9`. The longest gap is
between two alerts a separate read_committed consumer holds; p99 is back once, over a sliding second, it stays within
1.5 times what it was before anything happened. What a killed worker held waits for the session timeout: nobody can
know earlier that it is gone.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agents.settings import Settings
from tests.bench.bench import Bench, add_options, report, right, run, say
from tests.bench.figures import back_s, longest_gap, quantile, sliding
from tests.bench.load import Load

NEAR = 1.5  # times the p99 of before
LEVEL = 0.99


@dataclass
class Event:
    """What happened to a worker, from when to when it was watched (monotonic seconds), and when the deed was done."""

    name: str
    since: float
    done: float = 0.0
    until: float = 0.0


def watched(bench: Bench, watch_s: float) -> list[Event]:
    """A worker leaves, one joins, one dies; each watched for a while."""
    timeout_s = bench.at.settings.session_timeout_ms / 1000
    deeds = (
        ("a worker leaves (SIGTERM)", lambda: bench.worker.leave(gently=True), watch_s),
        ("a worker joins", bench.worker.join, watch_s),
        ("a worker dies (kill -9)", lambda: bench.worker.leave(gently=False), watch_s + timeout_s),
    )
    events = []
    for name, do, seconds in deeds:
        say(f"{name} ...")
        event = Event(name, time.monotonic())
        do()
        event.done = time.monotonic()
        time.sleep(max(0.0, event.since + seconds - event.done))
        event.until = time.monotonic()
        events.append(event)
    return events


def measure(bench: Bench) -> bool:
    """Load in a thread, what happens to workers in this one; whether nothing was lost."""
    chosen = bench.chosen
    timeout_s = bench.at.settings.session_timeout_ms / 1000
    seconds = chosen.warm_seconds + chosen.calm_seconds + 3 * chosen.watch_seconds + timeout_s + 3
    with Load(bench) as load, ThreadPoolExecutor(1) as aside:
        running = aside.submit(load.run, chosen.rate, seconds)
        say(f"{chosen.warm_seconds} s of load, unmeasured, then {chosen.calm_seconds} s of calm ...")
        time.sleep(chosen.warm_seconds)
        calm = time.monotonic()
        time.sleep(chosen.calm_seconds)
        events = watched(bench, chosen.watch_seconds)
        late = running.result()
    sound = right(bench)
    told(bench, load, calm, events, late, sound)
    return sound


def told(bench: Bench, load: Load, calm: float, events: list[Event], late: float, sound: bool) -> None:
    """A line for each, and what it is to be compared with."""
    alerts = load.stamps.alerts()
    instants = [at for at, _ in alerts]
    before = sorted(ms for at, ms in alerts if calm <= at < events[0].since)
    assert before, "no alert came while nothing happened"
    p99 = quantile(before, LEVEL)
    rows: dict[str, dict[str, float | str]] = {}
    for event in events:
        back = back_s(sliding(alerts, LEVEL, event.since, event.until), event.since, NEAR * p99)
        inside = sorted(ms for at, ms in alerts if event.since <= at < event.until)
        rows[event.name] = {
            "longest_gap_s": round(longest_gap(instants, event.since, event.until), 2),
            "p99_back_s": round(back, 1) if back is not None else f"not in {event.until - event.since:.0f} s",
            "p99_ms": round(quantile(inside, LEVEL)) if inside else math.inf,
            "deed_s": round(event.done - event.since, 2),
        }
    if not bench.chosen.json:
        print(f"\n{'':28} {'longest gap s':>14} {'p99 back after s':>17} {'p99 ms':>9} {'the deed took s':>16}")
        for name, row in rows.items():
            print(f"{name:28} " + " ".join(f"{v!s:>{w}}" for v, w in zip(row.values(), (14, 17, 9, 16), strict=True)))
        print()
    timeout_ms, by_default = bench.at.settings.session_timeout_ms, Settings.model_fields["session_timeout_ms"].default
    report(
        bench.chosen.json,
        session_timeout_s=f"{timeout_ms / 1000:g} (default {by_default / 1000:g})",
        calm_p99_ms=round(p99, 1),
        calm_longest_gap_s=round(longest_gap(instants, calm, events[0].since), 2),
        producer_behind_s=round(late, 2),
        alerts=len(alerts),
        **({"events": rows} if bench.chosen.json else {}),
        stock_right=sound,
    )


def main() -> int:
    """Warm up, then measure; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=300, help="orders a second")
    parser.add_argument("--warm-seconds", type=int, default=15, help="of load before anything is measured")
    parser.add_argument("--calm-seconds", type=int, default=15, help="what p99 is compared with")
    parser.add_argument("--watch-seconds", type=int, default=20, help="after each event; after kill -9 a timeout more")
    add_options(parser)
    parser.set_defaults(workers=2, history=30_000)
    chosen = parser.parse_args()
    if chosen.workers < 2:
        parser.error("a take-over needs another worker: --workers 2")
    return run(chosen, measure)


if __name__ == "__main__":
    sys.exit(main())
