"""Does event-to-alert latency move while the network agent solves? One worker, a real Kafka, a real Redis.

    python -m tests.bench.solving --rate 500 --seconds 40

Orders come at a steady rate for three windows: alone, while plans are asked for one after the other, and alone again.
The network: five places with lanes between all of them, each limited in units, so that a solve is a coupled one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import secrets
import sys
import threading
import time
from typing import Any

from stream.events.instants import text_from_ms
from stream.ledger.office import RedisOffice
from tests.bench.end_to_end import Bench, add_options, report, say, watch
from tests.bench.orders import CYCLE_UNITS, PLACES

WINDOWS = ("before", "while it solves", "after")
LANE_UNITS = 300


def lanes(bench: Bench) -> None:
    """Lanes between all places, as facts."""
    at = text_from_ms(time.time_ns() // 1_000_000)
    for a, b in itertools.permutations(range(PLACES), 2):
        ends = {"from_location": f"L{a}", "to_location": f"L{b}"}
        fact = {"event_id": f"lane-{a}-{b}", "type": "catalog.lane", "occurred_at": at, **ends}
        fact |= {"lead_days": 1, "unit_cost": 0.05, "capacity_units": LANE_UNITS}
        bench.send("catalog", f'["lane","L{a}","L{b}"]', json.dumps(fact).encode())
    assert bench.producer.flush(30) == 0
    bench.await_drained()


def asking(bench: Bench, enough: threading.Event, answers: list[dict[str, Any]]) -> None:
    """Plans one after the other until it is enough."""

    async def ask() -> None:
        office = RedisOffice(bench.redis.url, bench.at.namespace)
        while not enough.is_set():
            request = secrets.token_hex(4)
            await office.ask(request)
            while (book := await office.book()).answered != request and not enough.is_set():
                await asyncio.sleep(0.05)
            if book.answered == request:
                answers.append(json.loads(book.outcome))
        await office.close()

    asyncio.run(ask())


def orders(bench: Bench, rate: int, seconds: int, acknowledged: dict[tuple[str, str, str], float]) -> float:
    """A window of orders at a steady rate; how far behind the producer ended."""
    begun = time.monotonic()
    for n in range(rate * seconds):
        while (wait := begun + n / rate - time.monotonic()) > 0:
            bench.producer.poll(min(wait, 0.001))
        at_ms = time.time_ns() // 1_000_000
        order_id, value, body = bench.shop.order(at_ms, bench.shop.lines())
        keys = [(line["sku"], line["location"], text_from_ms(at_ms)) for line in body]

        def told(error: Any, _: Any, keys: list[tuple[str, str, str]] = keys) -> None:
            assert error is None, error
            for key in keys:
                acknowledged.setdefault(key, time.monotonic())

        bench.send("orders", order_id, value, told)
        for sku, received in bench.shop.receipts(body, at_ms + 1):
            bench.send("stock-movements", sku, received)
    bench.producer.flush(30)
    return time.monotonic() - begun - seconds


def measure(bench: Bench, rate: int, seconds: int) -> None:
    """The three windows, and what came of the solves."""
    held: list[tuple[tuple[str, str, str], float]] = []
    enough, solved = threading.Event(), threading.Event()
    watcher = threading.Thread(target=watch, args=(bench, held, enough))
    watcher.start()
    time.sleep(3.0)
    answers: list[dict[str, Any]] = []
    found: dict[str, str] = {}
    for window in WINDOWS:
        acknowledged: dict[tuple[str, str, str], float] = {}
        asker = threading.Thread(target=asking, args=(bench, solved, answers))
        if window == WINDOWS[1]:
            asker.start()
        late = orders(bench, rate, seconds, acknowledged)
        time.sleep(3.0)
        if window == WINDOWS[1]:
            solved.set()
            asker.join()
        took = sorted((at - acknowledged[key]) * 1000 for key, at in held if key in acknowledged)
        assert took, "no alert came"
        at = {share: took[int(len(took) * share)] for share in (0.5, 0.9, 0.99)}
        found[window] = f"{len(took)} alerts, p50 {at[0.5]:.0f} ms, p90 {at[0.9]:.0f}, p99 {at[0.99]:.0f}, "
        found[window] += f"max {took[-1]:.0f}; producer behind {late:.2f} s"
    enough.set()
    watcher.join()
    assert answers, "no solve was done"
    solve_s = [answer.get("seconds", 0.0) for answer in answers]
    kinds = ", ".join(sorted({f"{a['status']} ({a.get('method', a.get('why'))})" for a in answers}))
    done = (
        f"{len(answers)}, {max(solve_s):.1f} s at most; {kinds}; {sum(a.get('proposed', 0) for a in answers)} proposed"
    )
    report(bench.chosen.json, rate=rate, seconds=seconds, solves=done, **found)


def main() -> int:
    """Warm up, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=500, help="orders a second")
    parser.add_argument("--seconds", type=int, default=40, help="length of each window")
    add_options(parser)
    chosen = parser.parse_args()
    bench = Bench(chosen)
    try:
        bench.warm_up()
        bench.stock_up(lambda _: bench.shop.rng.randint(1, CYCLE_UNITS))
        lanes(bench)
        say("measuring ...")
        measure(bench, chosen.rate, chosen.seconds)
    finally:
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
